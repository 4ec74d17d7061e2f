/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A growing byte string with a mandatory maximum. Always NUL-terminated at s[len]. */
#ifndef SILO_BASE_STR_H
#define SILO_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

struct str {
	char *s;
	size_t len;
	size_t cap;
	size_t max; /* bytes; an append that would exceed it fails and leaves the string as it was */
	bool full;  /* an append has failed */
};

#define autostr __attribute__((cleanup(str_fini))) struct str

void str_init(struct str *b, size_t max_bytes);
void str_fini(struct str *b);

/* Append. Return 0, or -1 when the maximum would be exceeded (b->full is then set and stays set). */
int str_add(struct str *b, const void *data, size_t n);
int str_puts(struct str *b, const char *s);
int str_printf(struct str *b, const char *fmt, ...) printf_like(2, 3);

/* Append s as a JSON string with quotes; bytes that are not UTF-8 become U+FFFD (as Go's encoding/json does). */
int str_add_json(struct str *b, const char *s, size_t n);

/* Drop the first n bytes. */
void str_drop(struct str *b, size_t n);

/* Hand out the heap string (never NULL); b is empty afterwards. */
char *str_take(struct str *b);

/* Pure helpers. */
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
bool str_is_hex(const char *s, size_t n); /* first n characters are lower-case hex digits */

#endif
