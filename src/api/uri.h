/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The raw request target: version prefix, path, query. Pure. libmicrohttpd hands out percent-decoded C strings, in
 * which "/_ping%00x" looks like "/_ping": Silo therefore takes the target apart itself.
 */
#ifndef SILO_API_URI_H
#define SILO_API_URI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define URI_BYTES_MAX (32 * KIB)
#define URI_QUERY_MAX 64

struct uri_param {
	char *key, *value; /* decoded */
};

struct uri {
	int major, minor; /* of the prefix /v1.NN; -1 without one */
	char *path;       /* below the prefix, still percent-encoded, starts with '/' */
	struct uri_param query[URI_QUERY_MAX];
	size_t n_query;
};

/**
 * uri_parse - take a request target ("/v1.41/containers/json?all=1", or absolute form) apart.
 *
 * Returns 0, or -1 with ERR_INVALID: bad escape, %00, more than URI_QUERY_MAX parameters. In both cases *u must be
 * given to uri_fini().
 */
int uri_parse(struct uri *u, const char *raw, struct err *e) must_check;
void uri_fini(struct uri *u);

/* First value of a key; NULL when absent. "?all" without '=' has the value "". Borrowed. */
const char *uri_query(const struct uri *u, const char *key);

/* Percent-decode n bytes (plus: '+' is a blank, as in queries). Heap string, or NULL on a bad escape or %00. */
char *uri_decode(const char *s, size_t n, bool plus) must_check;

#endif
