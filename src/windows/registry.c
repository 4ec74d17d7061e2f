/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/registry.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/io.h"
#include "base/own.h"
#include "base/str.h"

#define REGISTRY_BYTES_MAX (64 * MIB)

struct section {
	char *key;  /* with single backslashes */
	char *tail; /* what follows "]" in its first line */
	char *body; /* its other lines */
};

struct registry {
	char *head; /* lines before the first section */
	struct section *sections;
	size_t n, cap;
};

static struct section *add_section(struct registry *r, char *key, char *tail, char *body)
{
	if (r->n == r->cap) {
		r->cap = r->cap ? 2 * r->cap : 1024;
		r->sections = xrealloc(r->sections, r->cap * sizeof(*r->sections));
	}
	r->sections[r->n] = (struct section){ key, tail, body };
	return &r->sections[r->n++];
}

/* "[A\\B] 123" -> "A\B"; *end receives the "]". */
static char *parse_key(const char *line, const char **end)
{
	char *key = xmalloc(strcspn(line, "\n") + 1), *out = key;
	const char *at = line + 1;

	for (; *at && *at != '\n' && *at != ']'; at++) {
		if (*at == '\\' && at[1] && at[1] != '\n')
			at++;
		*out++ = *at;
	}
	*out = '\0';
	*end = at;
	return key;
}

static void parse(struct registry *r, const char *text)
{
	const char *at = *text == '[' ? text : strstr(text, "\n[");

	at = at && *at == '\n' ? at + 1 : at;
	r->head = xstrndup(text, at ? (size_t)(at - text) : strlen(text));
	while (at) {
		const char *next = strstr(at, "\n["), *close, *line = at + strcspn(at, "\n");
		char *key = parse_key(at, &close), *tail;

		line += *line == '\n';
		next = next ? next + 1 : NULL;
		tail = *close == ']' ? xstrndup(close + 1, strcspn(close + 1, "\n")) : xstrdup("");
		add_section(r, key, tail,
			    next && next < line ? xstrdup("")
						: xstrndup(line, next ? (size_t)(next - line) : strlen(line)));
		at = next;
	}
}

struct registry *registry_load(int dirfd, const char *path, struct err *e)
{
	struct registry *r;
	autostr text;

	str_init(&text, REGISTRY_BYTES_MAX);
	if (io_read_file(dirfd, path, &text, e))
		return NULL;
	if (!text.s || !str_starts(text.s, "WINE REGISTRY Version 2\n")) {
		err_set(e, ERR_INVALID, 0, "%s: no registry of Wine", path);
		return NULL;
	}
	r = xcalloc(1, sizeof(*r));
	parse(r, text.s);
	return r;
}

static void section_fini(struct section *s)
{
	free(s->key);
	free(s->tail);
	free(s->body);
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++)
		section_fini(&r->sections[i]);
	free(r->sections);
	free(r->head);
	free(r);
}

/* A name or key as the file writes it. */
static void add_escaped(struct str *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '\\' || *text == '"')
			str_puts(out, "\\");
		str_add(out, text, 1);
	}
}

int registry_save(const struct registry *r, int dirfd, const char *path, struct err *e)
{
	autostr out;

	str_init(&out, REGISTRY_BYTES_MAX);
	str_puts(&out, r->head);
	for (size_t i = 0; i < r->n; i++) {
		const struct section *s = &r->sections[i];

		str_puts(&out, "[");
		for (const char *at = s->key; *at; at++)
			str_add(&out, *at == '\\' ? "\\\\" : at, *at == '\\' ? 2 : 1);
		str_printf(&out, "]%s\n", s->tail);
		str_puts(&out, s->body);
	}
	if (out.full)
		return err_set(e, ERR_LIMIT, 0, "%s: registry too large", path);
	return io_write_file(dirfd, path, out.s, out.len, 0644, false, e);
}

static struct section *find(struct registry *r, const char *key)
{
	for (size_t i = 0; i < r->n; i++)
		if (!strcasecmp(r->sections[i].key, key))
			return &r->sections[i];
	return NULL;
}

/* Length of a line with its continuations (a line that ends in a backslash). */
static size_t entry_length(const char *line)
{
	const char *at = line;

	for (;;) {
		size_t n = strcspn(at, "\n");
		bool more = n && at[n - 1] == '\\' && at[n];

		at += n + (at[n] == '\n');
		if (!more)
			return (size_t)(at - line);
	}
}

void registry_set(struct registry *r, const char *key, const char *name, const char *text)
{
	struct section *s = find(r, key);
	autostr label, body;

	str_init(&label, KIB);
	str_init(&body, REGISTRY_BYTES_MAX);
	if (*name) {
		str_puts(&label, "\"");
		add_escaped(&label, name);
		str_puts(&label, "\"=");
	} else {
		str_puts(&label, "@=");
	}
	if (!s)
		s = add_section(r, xstrdup(key), xstrdup(" 1700000000"), xstrdup("\n"));
	if (text)
		str_printf(&body, "%s%s\n", label.s, text);
	for (const char *at = s->body; *at; at += entry_length(at))
		if (strncasecmp(at, label.s, label.len) != 0)
			str_add(&body, at, entry_length(at));
	free(s->body);
	s->body = str_take(&body);
}

void registry_set_string(struct registry *r, const char *key, const char *name, const char *value)
{
	autostr text;

	str_init(&text, 64 * KIB);
	str_puts(&text, "\"");
	add_escaped(&text, value);
	str_puts(&text, "\"");
	registry_set(r, key, name, text.s);
}

void registry_delete(struct registry *r, const char *key)
{
	size_t n = strlen(key), kept = 0;

	for (size_t i = 0; i < r->n; i++) {
		struct section *s = &r->sections[i];

		if (!strncasecmp(s->key, key, n) && (!s->key[n] || s->key[n] == '\\'))
			section_fini(s);
		else
			r->sections[kept++] = *s;
	}
	r->n = kept;
}
