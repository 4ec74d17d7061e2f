/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inside of one pull: pull.c asks for documents, pull_layers.c brings the layers. */
#ifndef SILO_REGISTRY_PULL_H
#define SILO_REGISTRY_PULL_H

#include "base/crew.h"
#include "image/add.h"
#include "image/manifest.h"
#include "registry/internal.h"

enum layer_stage { STAGE_PENDING, STAGE_WORKING, STAGE_DONE };

struct pull_layer {
	const struct part *part;
	const json_t *urls; /* borrowed, or NULL */
	char id[13];        /* for the progress */
	struct fetch *fetch;
	_Atomic enum layer_stage stage;
	atomic_llong unpacked;  /* bytes of the blob */
	/* what the client has been told; of the main thread */
	const char *told;
	int64_t told_bytes;
	bool downloaded;
};

struct pull {
	struct registry *r;
	const struct registry_client *client;
	struct session *s;
	struct reference ref; /* with a tag or a digest */
	char *shown;          /* the reference as the user knows it */
	struct platform platform;

	/* the image */
	char top_digest[DIGEST_MAX]; /* of what the reference names: index or manifest */
	char *manifest;
	char media_type[128];
	json_t *document; /* the manifest, parsed */
	struct source_image source;
	struct image_add *add;

	struct pull_layer *layers;
	size_t n_layers;
	struct crew crew; /* unpacks them */
};

/* Send a line (taken). -1 when the client has gone. */
int client_line(const struct registry_client *c, json_t *line, struct err *e);
/* {"status": status, "id": id}; with total > 0 also progressDetail. */
int client_status(const struct registry_client *c, const char *id, const char *status, int64_t current, int64_t total,
		  struct err *e);
/* A session_tell_fn for a struct registry_client: is the client still there? */
int client_tick(void *client, const json_t *progress);

/* The same, for those who wait for nothing else: -1 "context canceled". */
int client_check(const struct registry_client *c, struct err *e) must_check;

/* Download and unpack what the store doesn't have; the progress goes to the client. */
int pull_layers(struct pull *p, struct err *e) must_check;

#endif
