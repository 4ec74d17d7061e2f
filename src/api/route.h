/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The route table: one line per operation of the Engine API, and how a request finds its line. Pure. */
#ifndef SILO_API_ROUTE_H
#define SILO_API_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define API_MINOR_MIN 24
#define API_MINOR_MAX 50
#define API_VERSION_MIN "1.24"
#define API_VERSION_MAX "1.50"

#define ROUTE_PARAMS_MAX 2

enum route_flags {
	R_PLAIN = 0,
	R_JSON = 1 << 0,   /* the body is JSON: another Content-Type is refused */
	R_UPLOAD = 1 << 1, /* the body is a stream: the handler runs in its own thread and reads r->upload_fd */
};

struct request;
/* Answers with one of reply_*() or stream_*() and returns 0, or returns -1 with *e set. */
typedef int api_handler(struct request *r, struct err *e);

struct route {
	const char *method;
	/* Literal text, "{x}" = one path segment, "{x*}" = the rest up to a literal end (names with slashes). */
	const char *path;
	int since;         /* first API version that has it: minor part of 1.x */
	uint64_t body_max; /* bytes; 0 = a body is read and dropped */
	unsigned flags;    /* enum route_flags */
	api_handler *handler;
	const char *text; /* for handlers that only refuse: what to say */
};

/* The table of the Engine API (routes.c). */
extern const struct route routes[];
extern const size_t n_routes;

/* Match an encoded path against a pattern. Returns the number of decoded heap strings in params, or -1. */
int route_match(const char *pattern, const char *path, char *params[static ROUTE_PARAMS_MAX]) must_check;

/**
 * route_find - the route of a request in a table of n.
 *
 * @minor   API version asked for; routes that came later don't exist for it.
 * @params  receives decoded heap strings; those beyond the route's are NULL.
 * Returns NULL with ERR_NOT_FOUND "page not found", or ERR_UNSUPPORTED when only the method is wrong (405).
 */
const struct route *route_find(const struct route *table, size_t n, const char *method, const char *path, int minor,
			       char *params[static ROUTE_PARAMS_MAX], struct err *e) must_check;

/* Check the version prefix (-1, -1 = none) and return the minor version to serve, or -1 with ERR_INVALID. */
int route_check_version(int major, int minor, struct err *e) must_check;

#endif
