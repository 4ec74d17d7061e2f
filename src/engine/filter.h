/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Filters of the Engine API: {"name": ["a", "b"]} or {"name": {"a": true}}. Pure. filters may be NULL everywhere. */
#ifndef SILO_ENGINE_FILTER_H
#define SILO_ENGINE_FILTER_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/* One form: new object of arrays of strings, or NULL with ERR_INVALID. Unknown names: "invalid filter 'x'". */
json_t *filters_parse(const json_t *filters, const char *const *known, struct err *e) must_check;

bool filters_has(const json_t *f, const char *name);
/* No such filter, or one of its values equals text. */
bool filters_exact(const json_t *f, const char *name, const char *text);
/* No such filter, or one of its values is found in text: as (basic or extended) regular expression, or literally. */
bool filters_match(const json_t *f, const char *name, const char *text);
/* No such filter, or one of its values is a prefix of text. */
bool filters_prefix(const json_t *f, const char *name, const char *text);
/* "key" or "key=value" of every value of this filter holds for the object of strings. */
bool filters_labels(const json_t *f, const char *name, const json_t *labels);

#endif
