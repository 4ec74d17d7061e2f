/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One HTTP request and the ways to answer it. Handlers run in the connection's own thread and may block.
 *
 * A handler calls one reply_*() and returns its value, or streams: stream_begin(), stream_write()..., and returns 0.
 * Streams and hijacked connections are written past libmicrohttpd, straight to the client's socket: engine calls push
 * bytes, the library could only pull them.
 */
#ifndef SILO_API_HTTP_H
#define SILO_API_HTTP_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "api/route.h"
#include "api/uri.h"
#include "base/err.h"
#include "base/str.h"
#include "engine/engine.h"

struct MHD_Connection;
struct MHD_Response;

/* Runs on a connection that now belongs to the caller. fd is taken. The request is still valid. */
typedef int hijack_fn(struct request *r, int fd, struct err *e);

struct hijack {
	hijack_fn *run; /* NULL = not hijacked */
	bool tty;
	bool run_first; /* run before the head is sent: what the client does after the head then finds it attached */
	int client;     /* the client's socket, taken out of libmicrohttpd's hands; -1 before */
	int sink;       /* swallows what the library writes instead */
};

struct upload {
	bool started, discard;
	int writer; /* our end; the handler reads the other one */
	pthread_t thread;
	int result;
};

struct request {
	struct engine *engine;
	struct image_store *images;
	struct MHD_Connection *conn;
	int client_fd; /* borrowed: to notice that the client has left */
	bool http10, begun, body_too_large;
	struct uri uri;
	const struct route *route;
	char *param[ROUTE_PARAMS_MAX];
	int minor; /* API version to answer with */
	struct str body;
	json_t *doc; /* the body, once body_json() has parsed it */
	uint64_t dropped_bytes;
	struct err err;        /* why the request is refused before its handler runs; kind ERR_NONE = it isn't */
	unsigned err_status;   /* status for err, 0 = by kind */
	int upload_fd;         /* R_UPLOAD handlers read the body here; an aborted upload ends in ECONNRESET, not in EOF */
	struct upload upload;
	struct hijack hijack;
	unsigned status;
	struct MHD_Response *response;
	bool streaming;
	bool cut; /* the stream can't be completed: it ends without its last chunk */
};

/* The only place where an error becomes an HTTP status. */
unsigned http_status(enum err_kind kind);

/* --- whole answers --- */
/* body is taken; NULL: returns -1, so that an engine call that has filled *e can be the argument. */
int reply_json(struct request *r, unsigned status, json_t *body);
int reply_text(struct request *r, unsigned status, const char *content_type, const char *text);
int reply_empty(struct request *r, unsigned status);
int reply_error(struct request *r, unsigned status, const char *message);
void reply_header(struct request *r, const char *name, const char *value);

/* --- streams: status 200, chunked; the connection is closed afterwards --- */
int stream_begin(struct request *r, const char *content_type);
/* The same with one header more; name NULL = none. */
int stream_begin_with(struct request *r, const char *content_type, const char *name, const char *value);
int stream_write(struct request *r, const void *data, size_t n); /* -1: the client has left */
int stream_json(struct request *r, const json_t *line);
void stream_end(struct request *r);
/* Progress, line by line: the stream begins with the first one. An image_progress_fn; arg is the request. */
int progress_line(void *request, const json_t *line);
bool progress_gone(void *request); /* the client has left */
/* The end of an answer with progress. Once that has begun there is no status left to set: the error becomes a line.
 * exit_code: of errorDetail, 0 = none. Returns the value for the handler. */
int progress_end(struct request *r, int rc, int exit_code, struct err *e);
/* "application/vnd.docker.raw-stream" or "...multiplexed-stream", as this API version calls them. */
const char *stream_type(const struct request *r, bool tty);

/* The client has closed its connection (a half-close isn't that). */
bool client_gone(int fd);

/* --- what the client said --- */
bool query_bool(const struct request *r, const char *key, bool fallback);
int query_int(const struct request *r, const char *key, int64_t fallback, int64_t min, int64_t max, int64_t *out,
	      struct err *e) must_check;
int query_time(const struct request *r, const char *key, struct timespec *out, struct err *e) must_check; /* 0: none */
const char *query_str(const struct request *r, const char *key); /* NULL when absent or empty */
/* {"key": ["value"]} or {"key": {"value": true}}; *out is new, or NULL when there are none. */
int query_filters(const struct request *r, json_t **out, struct err *e) must_check;
/* ERR_INVALID "invalid filter 'x'" for a key that isn't in the list. */
int filters_check(const json_t *filters, const char *const *known, size_t n_known, struct err *e) must_check;
/* Lines of all "changes" (save.c): new array. */
json_t *query_changes(const struct request *r);
const char *request_header(const struct request *r, const char *name);
/* The JSON object in the body; an empty body is an error unless optional (then NULL and *e untouched). Borrowed. */
const json_t *body_json(struct request *r, bool optional, struct err *e);

/* --- hijack --- */
/* Answer 101 (200 without an Upgrade header) and let run have the connection. */
int reply_hijack(struct request *r, bool tty, hijack_fn *run);

#endif
