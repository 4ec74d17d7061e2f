/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "monitor/keys.h"

#include <string.h>

/* One key of n bytes; its code, or -1. */
static int key_code(const char *s, size_t n)
{
	static const char controls[] = "@abcdefghijklmnopqrstuvwxyz[\\]^_"; /* position = code */
	const char *found;

	if (n == 1)
		return (unsigned char)s[0];
	if (n == 3 && memcmp(s, "DEL", 3) == 0)
		return 127;
	if (n != 6 || memcmp(s, "ctrl-", 5) != 0)
		return -1;
	found = memchr(controls, s[5], sizeof(controls) - 1);
	return found ? (int)(found - controls) : -1;
}

int keys_parse(const char *text, struct keys *k, struct err *e)
{
	const char *s = text;

	memset(k, 0, sizeof(*k));
	for (;;) {
		size_t n = strcspn(s, ",");
		int code = key_code(s, n);

		if (code < 0 || k->n == KEYS_MAX)
			return err_set(e, ERR_INVALID, 0, "invalid detach keys (%.64s) provided", text);
		k->code[k->n++] = (unsigned char)code;
		if (!s[n])
			return 0;
		s += n + 1;
	}
}

/*
 * The byte c doesn't continue the sequence: give out from the front what can't belong to it any more, until the rest
 * plus c is a beginning of it again. "aab" typed as "aaab" is found.
 */
static size_t keys_fall_back(struct keys *k, unsigned char c, unsigned char *out)
{
	size_t given = 0;

	while (k->seen > 0 && k->code[k->seen] != c) {
		size_t rest = k->seen - 1; /* longest end of the held bytes that is a beginning of the sequence */

		while (rest > 0 && memcmp(k->code, k->code + k->seen - rest, rest) != 0)
			rest--;
		memcpy(out + given, k->code, k->seen - rest);
		given += k->seen - rest;
		k->seen = rest;
	}
	return given;
}

bool keys_filter(struct keys *k, const unsigned char *in, size_t n, unsigned char *out, size_t *n_out)
{
	size_t o = 0;

	for (size_t i = 0; i < n; i++) {
		if (k->n == 0) {
			out[o++] = in[i];
			continue;
		}
		o += keys_fall_back(k, in[i], out + o);
		if (k->code[k->seen] != in[i]) {
			out[o++] = in[i];
			continue;
		}
		if (++k->seen == k->n) {
			k->seen = 0;
			*n_out = o;
			return true;
		}
	}
	*n_out = o;
	return false;
}
