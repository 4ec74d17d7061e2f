/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The `filters` parameter of the image calls, in both of its forms: {"label": ["a=b"]} and {"label": {"a=b": true}}. */
#ifndef SILO_IMAGE_FILTER_H
#define SILO_IMAGE_FILTER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "base/err.h"

/* Only these keys, and their values strings. ERR_INVALID "invalid filter 'x'". filters may be NULL. */
int filter_check(const json_t *filters, const char *const *keys, size_t n_keys, struct err *e) must_check;
/* Values of a key as a new array; empty when absent. */
json_t *filter_values(const json_t *filters, const char *key);
/* Value of a boolean key. *out stays when it is absent. ERR_INVALID. */
int filter_bool(const json_t *filters, const char *key, bool *out, struct err *e) must_check;
/* RFC 3339, a part of it ("2024-01-15": the host's zone), unix seconds, or a Go duration ("1h30m") before now. ERR_INVALID. */
int filter_time(const char *text, struct timespec now, struct timespec *out, struct err *e) must_check;
/* Whether labels (object or NULL) have all of "key" or "key=value". */
bool filter_labels(const json_t *wanted, const json_t *labels);

#endif
