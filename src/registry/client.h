/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A registry as the helper sees it: endpoints, credentials, tokens, patience. Thread-safe. See registry/wire.h. */
#ifndef SILO_REGISTRY_CLIENT_H
#define SILO_REGISTRY_CLIENT_H

#include <jansson.h>
#include <pthread.h>

#include "registry/answer.h"
#include "registry/http.h"
#include "registry/wire.h"

#define CLIENT_CONNECTIONS_MAX 16

struct endpoint {
	char *url; /* without a slash at the end */
	bool mirror;
	struct http_peer peer;
	char *ca_path, *cert_path, *key_path;
	/* Guarded by the client's lock: what the registry has asked for. */
	struct challenge challenge;
	char *token; /* value of the header Authorization, or NULL */
};

struct client {
	json_t *config; /* the first message; strings below are borrowed from it */
	const char *name, *actions, *user_agent;
	const char *username, *password, *identity_token, *registry_token;
	int attempts;
	struct endpoint endpoints[REGISTRY_ENDPOINTS_MAX];
	size_t n_endpoints;
	pthread_mutex_t lock; /* guards the members below */
	size_t current;       /* the endpoint that has answered */
	struct http *idle[CLIENT_CONNECTIONS_MAX];
	size_t n_idle;
};

/* Takes config. TLS files are left to jail_prepare(). ERR_INVALID. */
int client_init(struct client *c, json_t *config, struct err *e) must_check;
void client_fini(struct client *c);

/* One operation that runs, and whom to tell. */
struct job {
	struct client *client;
	const json_t *args; /* the message */
	int reply;          /* its socket */
	int file, file2;    /* or -1 */
	struct http *http;
	int64_t told_ms;
	char code[ANSWER_CODE_MAX]; /* of the error */
	bool login;                 /* ask for a token that can stand for the password from now on */
	char *identity_token;       /* what was given then, or a new one for an old one; heap, or NULL */
};

/* Progress. */
void job_tell_bytes(struct job *j, int64_t bytes, bool last);
/* Wait, telling so. -1 with *e when the operation is cancelled meanwhile. */
int job_pause(struct job *j, int64_t seconds, struct err *e) must_check;

/**
 * client_try - one request to one endpoint, authorised: a token is got where the registry asks for one.
 *
 * @path   behind the endpoint's URL: "/v2/..."; or a whole URL
 * @scope  another repository that the token shall be good for ("repository:y:pull"), or NULL
 * r->url, r->authorization, r->peer and r->cancel are filled in.
 */
enum http_failure client_try(struct job *j, struct endpoint *ep, const char *path, const char *scope,
			     struct http_request *r, struct http_answer *a, struct err *e) must_check;

/**
 * client_do - a request to the first endpoint that serves it, tried again where that can help.
 *
 * Returns 0 with a 2xx answer, or -1 with *e and j->code. ep_out (may be NULL) receives the endpoint.
 */
int client_do(struct job *j, const char *path, const char *scope, struct http_request *r, struct http_answer *a,
	      struct endpoint **ep_out, struct err *e) must_check;

/* Whether a status may be another one a moment later; the seconds to wait then, at most a minute; else -1. */
int64_t retry_pause(const struct http_answer *a, int attempt);

/* "/v2/NAME" and what the format says. Heap string. */
char *client_path(const struct client *c, const char *fmt, ...) printf_like(2, 3);

/* token.c: the Authorization for a challenge (heap string), or NULL with *e and code. */
char *token_get(struct job *j, const struct endpoint *ep, const struct challenge *c, const char *extra_scope,
		struct err *e) must_check;

/* operations.c: run an operation; its result, or NULL with *e. */
json_t *operation_run(struct job *j, struct err *e) must_check;

/* compress.c: gzip a file into another. -1 with *e. */
int compress_file(struct job *j, int in, int out, struct err *e) must_check;

/* helper_jail.c: read what the endpoints' TLS and name resolution need, then give up all else. */
int helper_jail(struct client *c, struct err *e) must_check;

#endif
