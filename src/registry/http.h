/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One HTTP exchange with a peer that may be hostile: everything has a maximum. Inside the helper. */
#ifndef SILO_REGISTRY_HTTP_H
#define SILO_REGISTRY_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct http; /* a connection that is kept open between exchanges; one thread at a time */

struct http *http_new(struct err *e) must_check;
void http_free(struct http *h);

/* How to reach a server. */
struct http_peer {
	bool verify;                 /* check its certificate */
	const char *ca_path;         /* bundle of trusted CAs */
	const char *cert_path, *key_path; /* the client's own, or NULL */
	const char *user_agent;
};

/* Where the body of a 2xx answer goes. */
struct http_sink {
	int fd;         /* written at offset `have` on; borrowed */
	int64_t have;   /* bytes that are there; grows */
	int64_t max;    /* more is an error */
	bool whole;     /* exactly max bytes are wanted; what is there is kept when the exchange is tried again */
	void (*tell)(void *arg, int64_t have); /* after each write; may be NULL */
	void *arg;
};

struct http_request {
	const struct http_peer *peer;
	const char *method, *url;
	const char *authorization;    /* value of the header, or NULL; not sent to other hosts after a redirect */
	const char *const *headers;   /* NULL-terminated, "Name: value"; may be NULL */
	const char *body;             /* sent, or NULL */
	int in;                       /* or this file from its beginning, in_bytes of it; -1 */
	int64_t in_bytes;
	void (*sent)(void *arg, int64_t bytes); /* progress of in; may be NULL */
	void *sent_arg;
	struct http_sink *sink;       /* NULL: into the answer's body, at most body_max */
	int64_t body_max;
	int cancel;                   /* socket whose hang-up ends the exchange, or -1 */
	bool follow;                  /* redirects */
};

struct http_answer {
	long status;
	struct str body; /* of answers without 2xx at most 64 KiB are kept */
	char *content_type, *challenges /* one a line */, *location, *link, *range, *retry_after,
		*url /* the last one */;
};
#define autoanswer __attribute__((cleanup(http_answer_fini))) struct http_answer
void http_answer_fini(struct http_answer *a);

/* Why there is no answer, for those who decide whether to try again. */
enum http_failure {
	HTTP_OK,
	HTTP_UNREACHABLE, /* no connection, or not one that speaks this protocol */
	HTTP_BROKEN,      /* it ended in the middle, or nothing came */
	HTTP_FATAL,       /* certificate, too much data, a bad URL */
	HTTP_CANCELLED,
};

/**
 * http_do - send a request and receive its answer. *a is initialised in any case.
 *
 * Returns HTTP_OK with any status, else *e with Go's text: `Get "https://...": dial tcp: lookup x: no such host`.
 */
enum http_failure http_do(struct http *h, const struct http_request *r, struct http_answer *a,
			  struct err *e) must_check;

/* `Get "URL"`, without what may be secret in it. Heap string. */
char *http_what(const char *method, const char *url);

/* Append s, percent-encoded, to a URL. */
void url_add_encoded(struct str *url, const char *s);

#endif
