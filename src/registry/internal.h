/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of silod's side share. */
#ifndef SILO_REGISTRY_INTERNAL_H
#define SILO_REGISTRY_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "image/digest.h"
#include "image/reference.h"
#include "registry/answer.h"
#include "registry/registry.h"
#include "registry/wire.h"

/* --- settings.c: what daemon.json says --------------------------------------------------------------------------- */
struct settings {
	json_t *mirrors;  /* URLs, without a slash at the end */
	json_t *insecure; /* hosts and networks */
	int64_t downloads, uploads, attempts;
};
int settings_read(struct settings *s, const json_t *config, struct err *e) must_check;
void settings_fini(struct settings *s);
/* The host of a normalised name ("docker.io/library/x"): heap string. *path: the rest, borrowed from name. */
char *settings_host(const char *name, const char **path);
bool settings_is_insecure(const struct settings *s, const char *host);
/**
 * settings_helper - the first message for a helper (see wire.h).
 *
 * @name   normalised, "docker.io/library/x"; or only a host with a slash: no repository
 * @pull   mirrors are asked too
 */
json_t *settings_helper(const struct settings *s, const char *name, bool pull, const json_t *auth);

/* --- the whole ------------------------------------------------------------------------------------------------------ */
struct fetch;

struct registry {
	struct registry_options o; /* helper_path is owned */
	struct settings settings;
	atomic_bool stopping;
	pthread_mutex_t lock; /* guards the members below */
	pthread_cond_t changed;
	struct fetch *fetches; /* those that run */
	int64_t downloading;   /* how many of them have a slot */
};

/* --- session.c: a helper that runs, and calls to it -------------------------------------------------------------------- */
struct session;
/* name and auth as in settings_helper(). */
struct session *session_open(struct registry *r, const char *name, bool pull, const json_t *auth,
			     struct err *e) must_check;
struct session *session_get(struct session *s);
void session_put(struct session *s); /* the last one ends the helper */

/* Told of {"bytes"} and {"retry_s"}, and with NULL every now and then; non-zero cancels. */
typedef int session_tell_fn(void *arg, const json_t *progress);
/**
 * session_start - begin an operation.
 *
 * @op    the message (taken); file: borrowed, or -1
 * Returns the socket on which it answers (closing it cancels the operation), or -1.
 */
int session_start(struct session *s, json_t *op, int file, struct err *e) must_check;
/* Gzip the file `in` into `out`. Told of the bytes that were read. */
int session_compress(struct session *s, int in, int out, session_tell_fn *tell, void *arg, struct err *e) must_check;

/* The result of what session_start() began; reply is taken. code (may be NULL) receives the registry's error code. */
json_t *session_finish(int reply, session_tell_fn *tell, void *arg, char *code, struct err *e) must_check;
json_t *session_call(struct session *s, json_t *op, int file, session_tell_fn *tell, void *arg, char *code,
		     struct err *e) must_check;
/**
 * session_text - an operation that brings a small document.
 *
 * @result  receives the operation's result, may be NULL
 * Returns a heap string of *n bytes.
 */
char *session_text(struct session *s, json_t *op, session_tell_fn *tell, void *arg, json_t **result, char *code,
		   size_t *n, struct err *e) must_check;

/* --- fetch.c: downloads of blobs; one for all who want the same ----------------------------------------------------------- */
struct fetch_state {
	int64_t have;    /* bytes in the file */
	int64_t retry_s; /* it waits before it goes on; 0: it doesn't */
	bool started, complete, failed;
};
/**
 * fetch_join - the download of a blob: the one that runs, or a new one.
 *
 * @dir   where the file without a name is made
 * @urls  other addresses, or NULL
 */
struct fetch *fetch_join(struct registry *r, struct session *s, int dir, const char *digest, int64_t size,
			 const json_t *urls, struct err *e) must_check;
void fetch_leave(struct fetch *f);     /* the last one's leaving cancels it; NULL allowed */
int fetch_file(const struct fetch *f); /* borrowed */
void fetch_look(struct fetch *f, struct fetch_state *out);
/* Wait for more than `have` bytes, as blob_growth wants it; ends with "context canceled" when *cancelled is set. */
int64_t fetch_wait(struct fetch *f, int64_t have, const atomic_bool *cancelled, struct err *e);

/* --- select.c: which manifest, and what is in it. Pure ------------------------------------------------------------------- */
struct platform {
	char os[32], architecture[32], variant[16]; /* "" = not given */
	bool any;                 /* nobody has asked for one: Windows will do, where there is no linux */
	const char *windows_host; /* what Windows images must fit, or NULL; borrowed */
};
/* text NULL or "": linux on this machine. ERR_INVALID. */
int platform_parse(const char *text, struct platform *out, struct err *e) must_check;
void platform_format(const struct platform *p, char out[static 96]);
/* The best descriptor of an index (borrowed), or NULL with ERR_NOT_FOUND in Docker's words. */
const json_t *platform_pick(const json_t *index, const struct platform *p, struct err *e) must_check;
/* Whether an image of this config is of the platform. */
bool platform_is(const json_t *config, const struct platform *p);

/* Docker's text for what a registry has said to a pull or push. ref as the user knows it. Changes *e. */
void explain_pull(const char *code, const char *ref, const char *name, struct err *e);

#endif
