/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading what registries answer: headers and error bodies. Pure. */
#ifndef SILO_REGISTRY_ANSWER_H
#define SILO_REGISTRY_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum challenge_scheme { CHALLENGE_NONE, CHALLENGE_BASIC, CHALLENGE_BEARER };

/* How a registry wants to be convinced. Strings are heap, or NULL. */
struct challenge {
	enum challenge_scheme scheme;
	char *realm, *service, *scope;
};
void challenge_fini(struct challenge *c);

/**
 * challenge_parse - the best of the WWW-Authenticate headers: Bearer before Basic.
 *
 * @headers  their values, one a line
 * A scheme that isn't known, or Bearer without an http(s) realm, is left out. Source: RFC 9110, 11.6.1.
 */
void challenge_parse(const char *headers, struct challenge *out);

/* Seconds of a Retry-After header (a number or an HTTP date, seen from now_s), or -1. */
int64_t retry_after(const char *value, int64_t now_s);

/* First byte that a Content-Range header ("bytes 5-9/10") names, or -1. */
int64_t content_range_start(const char *value);

/* The target of the next page in a Link header: `</v2/x/tags/list?last=b>; rel="next"`. Heap string, or NULL. */
char *link_next(const char *value);

/**
 * answer_error - what an answer with an error status means, in Docker's words: "denied: requested access ...".
 *
 * @what  `Get "https://..."`, for statuses without a usable body
 * @code  receives the registry's code ("DENIED"), or ""
 */
#define ANSWER_CODE_MAX 48
void answer_error(long status, const char *body, size_t n, const char *what, char code[static ANSWER_CODE_MAX],
		  struct err *e);

/* Whether a token or similar may be part of a header: printable ASCII, not too long. */
bool header_safe(const char *text);

/* Replace what isn't printable ASCII, so that a text from outside can be shown and sent as JSON wherever it was cut. */
void text_clean(char *text);

#endif
