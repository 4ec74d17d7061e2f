/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pulling and pushing images, as silod sees it. Thread-safe; each call runs in its caller's thread until it is done, or
 * until the client has left. Registries are spoken to by helpers (registry/wire.h); what they bring is checked here.
 */
#ifndef SILO_REGISTRY_H
#define SILO_REGISTRY_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "image/image.h"

struct registry;

struct registry_options {
	const char *helper_path; /* program silo-registry */
	const json_t *config;    /* daemon.json, or NULL: registry-mirrors, insecure-registries, max-concurrent-... */
	struct image_store *images;
	const char *windows_host; /* the version of Windows that images must fit, or NULL: any; borrowed */
	image_event_fn *event;    /* "pull", "push" */
	void *event_arg;
};

/* NULL with ERR_INVALID that names the key of daemon.json. */
struct registry *registry_open(const struct registry_options *o, struct err *e) must_check;
/* Calls that run end soon, with an error; they must have ended before registry_close(). */
void registry_stop(struct registry *r);
void registry_close(struct registry *r);

/* Who wants it, and where the progress goes: lines in Docker's form. */
struct registry_client {
	const json_t
		*auth; /* of X-Registry-Auth: {"username", "password", "identitytoken", "registrytoken"}; or NULL */
	image_progress_fn *progress; /* called by the thread of the call; may be NULL */
	bool (*gone)(void *arg);     /* whether the client has left; may be NULL */
	void *arg;
};

/**
 * registry_pull - bring an image.
 *
 * @ref       as the user wrote it: without a tag or digest it is "latest", or with all_tags every tag
 * @platform  "os[/architecture[/variant]]", or NULL: linux on this machine, and Windows where it isn't for linux
 * Nothing of an image is kept unless all of it came. ERR_NOT_FOUND, ERR_FORBIDDEN, ... with Docker's texts.
 */
int registry_pull(struct registry *r, const char *ref, const char *platform, bool all_tags,
		  const struct registry_client *c, struct err *e) must_check;

/* Send an image, under the tag of ref ("latest" without one), or all tags of that name. */
int registry_push(struct registry *r, const char *ref, bool all_tags, const struct registry_client *c,
		  struct err *e) must_check;

/* GET /distribution/{name}/json: {"Descriptor", "Platforms"}. */
json_t *registry_distribution(struct registry *r, const char *ref, const struct registry_client *c,
			      struct err *e) must_check;

/* POST /auth: try the credentials of body ({"username", "password", "serveraddress", "identitytoken"}). ERR_FORBIDDEN:
 * the registry doesn't take them. */
json_t *registry_login(struct registry *r, const json_t *body, const struct registry_client *c,
		       struct err *e) must_check;

/* GET /images/search: the registry's list. */
json_t *registry_search(struct registry *r, const char *term, int limit, const struct registry_client *c,
			struct err *e) must_check;

/* RegistryConfig of GET /info. */
json_t *registry_info(struct registry *r);

/* The header X-Registry-Auth: base64 (of either alphabet) of JSON. NULL or "": NULL with *e untouched. ERR_INVALID. */
json_t *registry_auth_parse(const char *header, struct err *e) must_check;

#endif
