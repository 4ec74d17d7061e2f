/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/uri.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "base/str.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Value of the escape "%XY" at s with n bytes left; -1 when it is cut, no hex, or NUL. */
static int escape_value(const char *s, size_t n)
{
	int high = n >= 3 ? hex_digit(s[1]) : -1;
	int low = n >= 3 ? hex_digit(s[2]) : -1;
	int value = high * 16 + low;

	return high < 0 || low < 0 || value == 0 ? -1 : value;
}

char *uri_decode(const char *s, size_t n, bool plus)
{
	autofree char *out = xmalloc(n + 1);
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		int c = (unsigned char)s[i];

		if (c == '%') {
			c = escape_value(s + i, n - i);
			if (c < 0)
				return NULL;
			i += 2;
		} else if (c == '+' && plus) {
			c = ' ';
		}
		out[used++] = (char)c;
	}
	out[used] = '\0';
	return take_ptr(&out);
}

/* "http://host/path" -> "/path": the absolute form that proxies send. */
static const char *skip_authority(const char *raw)
{
	const char *slash;

	if (!str_starts(raw, "http://"))
		return raw;
	slash = strchr(raw + strlen("http://"), '/');
	return slash ? slash : "/";
}

static const char *parse_number(const char *s, int *out)
{
	int digits = 0;

	for (*out = 0; isdigit((unsigned char)*s) && digits < 6; s++, digits++)
		*out = *out * 10 + (*s - '0');
	return digits ? s : NULL;
}

/* Reads "/vMAJOR.MINOR" in front of a '/'; returns what follows, or path itself when there is no such prefix. */
static const char *skip_version(const char *path, struct uri *u)
{
	const char *s = path;
	int major, minor;

	if (!str_starts(s, "/v") || !(s = parse_number(s + 2, &major)) || *s != '.' ||
	    !(s = parse_number(s + 1, &minor)) || *s != '/')
		return path;
	u->major = major;
	u->minor = minor;
	return s;
}

static int query_add(struct uri *u, const char *s, size_t n, struct err *e)
{
	const char *eq = memchr(s, '=', n);
	size_t key_len = eq ? (size_t)(eq - s) : n;
	struct uri_param *p = &u->query[u->n_query];

	if (n == 0)
		return 0;
	if (u->n_query == URI_QUERY_MAX)
		return err_set(e, ERR_INVALID, 0, "more than %d query parameters", URI_QUERY_MAX);
	u->n_query++;
	p->key = uri_decode(s, key_len, true);
	p->value = eq ? uri_decode(eq + 1, n - key_len - 1, true) : xstrdup("");
	if (!p->key || !p->value)
		return err_set(e, ERR_INVALID, 0, "malformed query: bad escape in parameter %zu", u->n_query);
	return 0;
}

int uri_parse(struct uri *u, const char *raw, struct err *e)
{
	const char *path, *end;

	memset(u, 0, sizeof(*u));
	u->major = u->minor = -1;
	path = skip_version(skip_authority(raw), u);
	end = path + strcspn(path, "?#");
	u->path = xstrndup(path, (size_t)(end - path));
	if (u->path[0] != '/')
		return err_set(e, ERR_INVALID, 0, "malformed request path");
	while (*end == '?' || *end == '&') {
		size_t n = strcspn(++end, "&#");

		if (query_add(u, end, n, e) < 0)
			return -1;
		end += n;
	}
	return 0;
}

void uri_fini(struct uri *u)
{
	for (size_t i = 0; i < u->n_query; i++) {
		free(u->query[i].key);
		free(u->query[i].value);
	}
	free(u->path);
	memset(u, 0, sizeof(*u));
}

const char *uri_query(const struct uri *u, const char *key)
{
	for (size_t i = 0; i < u->n_query; i++)
		if (strcmp(u->query[i].key, key) == 0)
			return u->query[i].value;
	return NULL;
}
