/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/str.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"

void str_init(struct str *b, size_t max_bytes)
{
	*b = (struct str){ .max = max_bytes };
}

void str_fini(struct str *b)
{
	free(b->s);
	*b = (struct str){ .max = b->max };
}

/* Room for n more bytes and the NUL. */
static int str_reserve(struct str *b, size_t n)
{
	if (n > b->max || b->len > b->max - n) {
		b->full = true;
		return -1;
	}
	size_t need = b->len + n + 1;

	if (need > b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 64;

		if (cap < need)
			cap = need;
		b->s = xrealloc(b->s, cap);
		b->cap = cap;
	}
	return 0;
}

int str_add(struct str *b, const void *data, size_t n)
{
	if (str_reserve(b, n))
		return -1;
	if (n)
		memcpy(b->s + b->len, data, n);
	b->len += n;
	b->s[b->len] = 0;
	return 0;
}

int str_puts(struct str *b, const char *s)
{
	return str_add(b, s, strlen(s));
}

int str_printf(struct str *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || str_reserve(b, (size_t)n)) {
		b->full = true;
		return -1;
	}
	va_start(ap, fmt);
	vsnprintf(b->s + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
	return 0;
}

/* Length of the valid UTF-8 sequence at s (1..4), or 0. RFC 3629: no overlong forms, no surrogates, at most U+10FFFF. */
static size_t utf8_sequence(const unsigned char *s, size_t n)
{
	unsigned char c = s[0];

	if (c < 0x80)
		return 1;
	size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;

	if (c < 0xc2 || c > 0xf4 || n < len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f) || (c == 0xf0 && s[1] < 0x90) ||
	    (c == 0xf4 && s[1] > 0x8f))
		return 0;
	return len;
}

/* One character as JSON wants it. Returns how many bytes of s it took. */
static size_t json_char(struct str *b, const unsigned char *s, size_t n)
{
	static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";
	size_t len = utf8_sequence(s, n);

	if (!len) {
		str_add(b, "\xef\xbf\xbd", 3); /* U+FFFD */
		return 1;
	}
	if (len == 1 && (s[0] < 0x20 || s[0] == '"' || s[0] == '\\' || s[0] == 0x7f)) {
		for (size_t i = 0; shorts[i]; i += 2)
			if ((unsigned char)shorts[i] == s[0]) {
				char pair[2] = { '\\', shorts[i + 1] };

				str_add(b, pair, 2);
				return 1;
			}
		str_printf(b, "\\u%04x", s[0]);
		return 1;
	}
	str_add(b, s, len);
	return len;
}

int str_add_json(struct str *b, const char *s, size_t n)
{
	const unsigned char *at = (const unsigned char *)s;
	size_t start = b->len;

	str_add(b, "\"", 1);
	while (n && !b->full) {
		/* Runs of plain ASCII are copied at once: log lines are mostly that. */
		size_t plain = 0;

		while (plain < n && at[plain] >= 0x20 && at[plain] < 0x7f && at[plain] != '"' && at[plain] != '\\')
			plain++;
		if (plain)
			str_add(b, at, plain);
		else
			plain = json_char(b, at, n);
		at += plain;
		n -= plain;
	}
	str_add(b, "\"", 1);
	if (b->full) {
		if (b->s) {
			b->len = start;
			b->s[start] = 0;
		}
		return -1;
	}
	return 0;
}

void str_drop(struct str *b, size_t n)
{
	if (n > b->len)
		n = b->len;
	if (!n)
		return;
	memmove(b->s, b->s + n, b->len - n);
	b->len -= n;
	b->s[b->len] = 0;
}

char *str_take(struct str *b)
{
	char *s = b->s ? b->s : xstrdup("");

	*b = (struct str){ .max = b->max };
	return s;
}

bool str_starts(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

bool str_ends(const char *s, const char *suffix)
{
	size_t n = strlen(s), k = strlen(suffix);

	return n >= k && !strcmp(s + n - k, suffix);
}

bool str_is_hex(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
			return false;
	return true;
}
