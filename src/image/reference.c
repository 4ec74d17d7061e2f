/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "image/reference.h"

#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "base/str.h"
#include "image/digest.h"

#define NAME_MAX_BYTES 255
#define TAG_MAX_BYTES 128
#define DEFAULT_DOMAIN "docker.io"
#define DEFAULT_PATH "library/"

/* Characters by hand, not <ctype.h>: the grammar is ASCII in every locale. */
static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool has_upper(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] >= 'A' && s[i] <= 'Z')
			return true;
	return false;
}

/* alnum (separator alnum)* with separator one of "." "_" "__" or any number of "-". */
static bool path_component_valid(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n) {
		size_t start = i;

		while (i < n && is_lower_alnum(s[i]))
			i++;
		if (i == start)
			return false;
		if (i == n)
			return true;
		start = i;
		while (i < n && !is_lower_alnum(s[i]))
			i++;
		if (strspn(s + start, "-") >= i - start)
			continue;
		if (i - start > 2 || (i - start == 2 && strncmp(s + start, "__", 2) != 0) || !strchr("._", s[start]))
			return false;
	}
	return false;
}

static bool path_valid(const char *s, size_t n)
{
	const char *end = s + n;

	while (s <= end) {
		const char *slash = memchr(s, '/', (size_t)(end - s));
		size_t len = (size_t)((slash ? slash : end) - s);

		if (!path_component_valid(s, len))
			return false;
		s += len + 1;
	}
	return true;
}

static bool domain_component_valid(const char *s, size_t n)
{
	if (!n || s[0] == '-' || s[n - 1] == '-')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_alnum(s[i]) && s[i] != '-')
			return false;
	return true;
}

static bool host_valid(const char *s, size_t n)
{
	const char *end = s + n;

	if (n > 2 && s[0] == '[' && s[n - 1] == ']') {
		for (size_t i = 1; i < n - 1; i++)
			if (!strchr("0123456789abcdefABCDEF:", s[i]))
				return false;
		return true;
	}
	while (s <= end) {
		const char *dot = memchr(s, '.', (size_t)(end - s));
		size_t len = (size_t)((dot ? dot : end) - s);

		if (!domain_component_valid(s, len))
			return false;
		s += len + 1;
	}
	return true;
}

static bool domain_valid(const char *s, size_t n)
{
	const char *colon = memrchr(s, ':', n);
	size_t port;

	if (!colon || (n && s[n - 1] == ']'))
		return host_valid(s, n);
	port = n - (size_t)(colon + 1 - s);
	return port && strspn(colon + 1, "0123456789") >= port && host_valid(s, (size_t)(colon - s));
}

bool reference_tag_valid(const char *tag)
{
	size_t n = strlen(tag);

	if (!n || n > TAG_MAX_BYTES || (!is_alnum(tag[0]) && tag[0] != '_'))
		return false;
	for (size_t i = 1; i < n; i++)
		if (!is_alnum(tag[i]) && !strchr("_.-", tag[i]))
			return false;
	return true;
}

static int digest_part(const char *text, struct err *e)
{
	if (!str_starts(text, "sha256:")) {
		const char *colon = strchr(text, ':');

		return err_set(e, ERR_INVALID, 0,
			       colon && strlen(colon) > 32 ? "unsupported digest algorithm"
							   : "invalid reference format");
	}
	if (digest_check(text))
		return 0;
	return err_set(e, ERR_INVALID, 0,
		       strlen(text) != 7 + DIGEST_HEX ? "invalid checksum digest length"
						      : "invalid checksum digest format");
}

/* Whether the part before the first "/" is a registry: it has a dot or port, is localhost, or has an upper-case letter. */
static bool is_domain(const char *s, size_t n)
{
	return memchr(s, '.', n) || memchr(s, ':', n) || (n == 9 && !strncmp(s, "localhost", n)) || has_upper(s, n);
}

/* name without tag and digest -> domain/path in out->name. */
static int normalise_name(const char *name, struct reference *out, struct err *e)
{
	const char *slash = strchr(name, '/'), *path = name;
	autofree char *domain = xstrdup(DEFAULT_DOMAIN);

	if (slash && is_domain(name, (size_t)(slash - name))) {
		path = slash + 1;
		if (strncmp(name, "index.docker.io/", 16) != 0) {
			free(domain);
			domain = xstrndup(name, (size_t)(slash - name));
		}
	}
	const char *library = !strcmp(domain, DEFAULT_DOMAIN) && !strchr(path, '/') ? DEFAULT_PATH : "";

	if (has_upper(path, strlen(path)))
		return err_set(e, ERR_INVALID, 0,
			       "invalid reference format: repository name (%s%.255s) must be lowercase", library, path);
	if (!domain_valid(domain, strlen(domain)) || !path_valid(path, strlen(path)))
		return err_set(e, ERR_INVALID, 0, "invalid reference format");
	if (strlen(library) + strlen(path) > NAME_MAX_BYTES)
		return err_set(e, ERR_INVALID, 0, "repository name must not be more than %d characters",
			       NAME_MAX_BYTES);
	out->name = xasprintf("%s/%s%s", domain, library, path);
	return 0;
}

/* The tag's colon comes after the last slash; others belong to a port. */
static char *cut_tag(char *name)
{
	char *slash = strrchr(name, '/');
	char *colon = strchr(slash ? slash : name, ':');

	if (!colon)
		return NULL;
	*colon = '\0';
	return colon + 1;
}

int reference_parse(const char *text, struct reference *out, struct err *e)
{
	char buf[REFERENCE_MAX + 1];
	char *at, *tag, *digest = NULL;

	memset(out, 0, sizeof(*out));
	if (!text || !*text || strlen(text) > REFERENCE_MAX)
		return err_set(e, ERR_INVALID, 0, "invalid reference format");
	if (strlen(text) == DIGEST_HEX && str_is_hex(text, DIGEST_HEX))
		return err_set(e, ERR_INVALID, 0,
			       "invalid repository name (%s), cannot specify 64-byte hexadecimal strings", text);
	memcpy(buf, text, strlen(text) + 1);
	at = strchr(buf, '@');
	if (at) {
		*at = '\0';
		digest = at + 1;
	}
	tag = cut_tag(buf);
	if (normalise_name(buf, out, e))
		return -1;
	if (tag && !reference_tag_valid(tag))
		err_set(e, ERR_INVALID, 0, "invalid reference format");
	else if (!digest || !digest_part(digest, e)) {
		out->tag = tag ? xstrdup(tag) : NULL;
		out->digest = digest ? xstrdup(digest) : NULL;
		return 0;
	}
	reference_fini(out);
	return -1;
}

void reference_fini(struct reference *r)
{
	free(r->name);
	free(r->tag);
	free(r->digest);
	memset(r, 0, sizeof(*r));
}

void reference_set_tag(struct reference *r, const char *tag)
{
	free(r->tag);
	r->tag = tag ? xstrdup(tag) : NULL;
}

void reference_default_tag(struct reference *r)
{
	if (!r->tag && !r->digest)
		r->tag = xstrdup("latest");
}

const char *reference_familiar(const char *normalised)
{
	const char *path = normalised + strlen(DEFAULT_DOMAIN "/");

	if (!str_starts(normalised, DEFAULT_DOMAIN "/"))
		return normalised;
	if (str_starts(path, DEFAULT_PATH) && !strchr(path + strlen(DEFAULT_PATH), '/'))
		return path + strlen(DEFAULT_PATH);
	return path;
}

char *reference_text(const struct reference *r, bool familiar)
{
	return xasprintf("%s%s%s%s%s", familiar ? reference_familiar(r->name) : r->name, r->tag ? ":" : "",
			 r->tag ? r->tag : "", r->digest ? "@" : "", r->digest ? r->digest : "");
}
