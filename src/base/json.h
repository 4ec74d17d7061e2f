/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * jansson with Silo's rules for JSON from outside: bounded size, bounded depth, no duplicate keys; keys of API bodies
 * are matched without regard to case (as Go does), null means default, a wrong type is an ERR_INVALID that names the
 * key and both types.
 */
#ifndef SILO_BASE_JSON_H
#define SILO_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define JSON_DEPTH_MAX 64

/* Parse. what names the document in errors ("request body"). NULL with ERR_INVALID. */
json_t *json_parse(const char *text, size_t n, const char *what, struct err *e) must_check;
json_t *json_parse_file(int dirfd, const char *path, size_t max_bytes, struct err *e) must_check;
/* Serialise compactly; heap string, never NULL. */
char *json_text(const json_t *j);

/* Member by name without regard to case; NULL when absent or null. Borrowed. obj may be NULL. */
json_t *json_member(const json_t *obj, const char *key);

/* Typed members: 0 and *out = value or fallback; -1 with ERR_INVALID on a wrong type. Strings are borrowed. */
int json_get_str(const json_t *obj, const char *key, const char *fallback, const char **out, struct err *e);
int json_get_int(const json_t *obj, const char *key, int64_t fallback, int64_t *out, struct err *e);
int json_get_bool(const json_t *obj, const char *key, bool fallback, bool *out, struct err *e);
int json_get_array(const json_t *obj, const char *key, json_t **out, struct err *e);  /* NULL when absent */
int json_get_object(const json_t *obj, const char *key, json_t **out, struct err *e); /* NULL when absent */
/* As json_get_array, and every element must be a string without NUL. */
int json_get_strings(const json_t *obj, const char *key, json_t **out, struct err *e);

/* Shortcuts without errors, for documents that Silo wrote itself: value, or fallback on any other type. */
const char *json_str(const json_t *obj, const char *key, const char *fallback);
int64_t json_int(const json_t *obj, const char *key, int64_t fallback);
bool json_bool(const json_t *obj, const char *key, bool fallback);

#define autojson __attribute__((cleanup(json_own_decref))) json_t
void json_own_decref(json_t **j);

#endif
