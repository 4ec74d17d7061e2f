/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small readers over base/json.h, used by the parsers of this directory only. */
#ifndef SILO_OCI_READER_H
#define SILO_OCI_READER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Strings of an array as a NULL-terminated heap array of borrowed pointers (never NULL on success). */
int read_strings(const json_t *obj, const char *key, const char ***out, size_t *n, struct err *e) must_check;
/* An integer within [min, max]. */
int read_int(const json_t *obj, const char *key, int64_t fallback, int64_t min, int64_t max, int64_t *out,
	     struct err *e) must_check;
/* Call fn for every element, each of which must be an object; errors get "key[i]" in front. */
typedef int read_fn(const json_t *element, void *arg, struct err *e);
int read_each(const json_t *obj, const char *key, read_fn *fn, void *arg, struct err *e) must_check;
/* Number of elements of an array member; 0 for anything else. */
size_t read_count(const json_t *obj, const char *key);

#endif
