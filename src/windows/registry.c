/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/registry.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/io.h"
#include "base/own.h"
#include "base/str.h"
#include "windows/utf.h"

#define REGISTRY_BYTES_MAX (128 * MIB)
#define KEY_BYTES_MAX (64 * KIB)

struct section {
	char *key;    /* UTF-8 with single backslashes; NULL: deleted */
	char *folded; /* the same for comparing */
	char *tail;   /* what follows "]" in its first line */
	char *body;   /* its other lines */
	size_t next;  /* in its bucket: index + 1, 0 = the last */
};

struct registry {
	char *head; /* lines before the first section */
	struct section *sections;
	size_t n, cap;
	size_t *buckets, n_buckets; /* index + 1 of the newest section; a power of two */
};

/* --- names ---------------------------------------------------------------------------------------------------------- */

static char *fold(const char *key)
{
	char *out = xstrdup(key);

	for (char *at = out; *at; at++)
		*at = (char)(*at >= 'A' && *at <= 'Z' ? *at + 32 : *at);
	return out;
}

static size_t hash_of(const char *folded)
{
	uint64_t h = 1469598103934665603ull;

	for (; *folded; folded++)
		h = (h ^ (unsigned char)*folded) * 1099511628211ull;
	return (size_t)(h ^ (h >> 32));
}

/* Wine writes what isn't ASCII as UTF-16 units in hex, and control characters as C does. Source: server/unicode.c. */
static void add_unit(struct str *out, unsigned unit, char next)
{
	static const char letters[] = ".......abtnvfr.............e....";
	bool digit = isxdigit((unsigned char)next);

	if (unit > 127)
		str_printf(out, digit ? "\\x%04x" : "\\x%x", unit);
	else if (letters[unit] != '.')
		str_printf(out, "\\%c", letters[unit]);
	else
		str_printf(out, digit ? "\\%03o" : "\\%o", unit);
}

/* UTF-8 as the file has it; special: what gets a backslash besides the backslash. */
static void add_escaped(struct str *out, const char *text, const char *special)
{
	for (const char *at = text; *at;) {
		uint32_t c;
		size_t n = utf_decode(at, &c);

		at += n;
		if (c > 0xffff) {
			add_unit(out, 0xd800 + ((c - 0x10000) >> 10), 'f');
			add_unit(out, 0xdc00 + ((c - 0x10000) & 0x3ff), *at);
		} else if (c > 127 || c < 32) {
			add_unit(out, c, *at);
		} else {
			if (c == '\\' || strchr(special, (int)c))
				str_puts(out, "\\");
			str_add(out, at - n, n);
		}
	}
}

/* The unit behind a backslash; *at is moved. */
static unsigned parse_escape(const char **at)
{
	static const char letters[] = "abtnvfre", values[] = "\a\b\t\n\v\f\r\x1b";
	const char *p = *at, *letter;
	unsigned value = 0, digits = 0;

	if (*p == 'x') {
		for (p++; digits < 4 && isxdigit((unsigned char)*p); p++, digits++)
			value = value * 16 + (unsigned)(*p <= '9' ? *p - '0' : (*p | 32) - 'a' + 10);
	} else if (*p >= '0' && *p <= '7') {
		for (; digits < 3 && *p >= '0' && *p <= '7'; p++, digits++)
			value = value * 8 + (unsigned)(*p - '0');
	} else {
		letter = strchr(letters, *p);
		value = letter ? (unsigned char)values[letter - letters] : (unsigned char)*p;
		p++;
	}
	*at = p;
	return value;
}

/* "[A\\B] 123" -> "A\B"; *end receives the "]". */
static char *parse_key(const char *line, const char **end)
{
	unsigned high = 0;
	const char *at = line + 1;
	autostr key;

	str_init(&key, KEY_BYTES_MAX);
	while (*at && *at != '\n' && *at != ']') {
		bool escaped = *at == '\\' && at[1] && at[1] != '\n';
		unsigned unit;

		if (!escaped) {
			str_add(&key, at++, 1);
			continue;
		}
		at++;
		unit = parse_escape(&at);
		if (unit >= 0xdc00 && unit < 0xe000 && high) {
			key.s[key.len -= 3] = '\0'; /* the first half */
			utf_add(&key, 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00));
		} else if (unit) {
			utf_add(&key, unit);
		}
		high = unit >= 0xd800 && unit < 0xdc00 ? unit : 0;
	}
	*end = at;
	return str_take(&key);
}

/* --- sections ------------------------------------------------------------------------------------------------------- */

static void link_section(struct registry *r, size_t i)
{
	size_t *bucket = &r->buckets[hash_of(r->sections[i].folded) & (r->n_buckets - 1)];

	r->sections[i].next = *bucket;
	*bucket = i + 1;
}

static void grow(struct registry *r)
{
	r->cap = r->cap ? 2 * r->cap : 1024;
	r->sections = xrealloc(r->sections, r->cap * sizeof(*r->sections));
	free(r->buckets);
	r->n_buckets = r->cap;
	r->buckets = xcalloc(r->n_buckets, sizeof(*r->buckets));
	for (size_t i = 0; i < r->n; i++)
		if (r->sections[i].key)
			link_section(r, i);
}

static struct section *add_section(struct registry *r, char *key, char *tail, char *body)
{
	if (r->n == r->cap)
		grow(r);
	r->sections[r->n] = (struct section){ .key = key, .folded = fold(key), .tail = tail, .body = body };
	link_section(r, r->n);
	return &r->sections[r->n++];
}

static struct section *find(struct registry *r, const char *key)
{
	autofree char *folded = fold(key);
	size_t i = r->n_buckets ? r->buckets[hash_of(folded) & (r->n_buckets - 1)] : 0;

	for (; i; i = r->sections[i - 1].next)
		if (r->sections[i - 1].key && !strcmp(r->sections[i - 1].folded, folded))
			return &r->sections[i - 1];
	return NULL;
}

static struct section *get(struct registry *r, const char *key)
{
	struct section *s = find(r, key);

	return s ? s : add_section(r, xstrdup(key), xstrdup(" 1700000000"), xstrdup("\n"));
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

struct registry *registry_parse(const char *text)
{
	struct registry *r;

	if (!text || !str_starts(text, "WINE REGISTRY Version 2\n"))
		return NULL;
	r = xcalloc(1, sizeof(*r));
	parse(r, text);
	return r;
}

struct registry *registry_load(int dirfd, const char *path, struct err *e)
{
	struct registry *r;
	autostr text;

	str_init(&text, REGISTRY_BYTES_MAX);
	if (io_read_file(dirfd, path, &text, e))
		return NULL;
	r = registry_parse(text.s);
	if (!r)
		err_set(e, ERR_INVALID, 0, "%s: no registry of Wine", path);
	return r;
}

static void section_fini(struct section *s)
{
	own_free(&s->key);
	own_free(&s->folded);
	own_free(&s->tail);
	own_free(&s->body);
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++)
		section_fini(&r->sections[i]);
	free(r->sections);
	free(r->buckets);
	free(r->head);
	free(r);
}

int registry_text(const struct registry *r, struct str *out, struct err *e)
{
	str_init(out, REGISTRY_BYTES_MAX);
	str_puts(out, r->head);
	for (size_t i = 0; i < r->n; i++) {
		const struct section *s = &r->sections[i];

		if (!s->key)
			continue;
		str_puts(out, "[");
		add_escaped(out, s->key, "[]");
		str_printf(out, "]%s\n", s->tail);
		str_puts(out, s->body);
	}
	return out->full ? err_set(e, ERR_LIMIT, 0, "the registry is too large") : 0;
}

int registry_save(const struct registry *r, int dirfd, const char *path, struct err *e)
{
	autostr out;

	if (registry_text(r, &out, e))
		return err_prefix(e, "%s", path);
	return io_write_file(dirfd, path, out.s, out.len, 0644, false, e);
}

/* --- values --------------------------------------------------------------------------------------------------------- */

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

/* Bytes of the name of a line's value, with quotes and "=": 0 for what is no value. */
static size_t label_length(const char *line)
{
	const char *at = line + 1;

	if (*line == '@')
		return *at == '=' ? 2 : 0;
	if (*line != '"')
		return 0;
	for (; *at && *at != '"' && *at != '\n'; at++)
		at += *at == '\\' && at[1] && at[1] != '\n';
	return *at == '"' && at[1] == '=' ? (size_t)(at + 2 - line) : 0;
}

struct change {
	struct str label;
	const char *text;
};

static int by_label(const void *a, const void *b)
{
	return strcasecmp(((const struct change *)a)->label.s, ((const struct change *)b)->label.s);
}

static bool is_changed(const struct change *changes, size_t n, const char *line)
{
	size_t length = label_length(line);
	autofree char *label = xstrndup(line, length);
	const struct change key = { .label = { .s = label } };

	return length && bsearch(&key, changes, n, sizeof(*changes), by_label);
}

static void change_init(struct change *c, const struct registry_value *v)
{
	str_init(&c->label, REGISTRY_BYTES_MAX);
	str_puts(&c->label, *v->name ? "\"" : "@=");
	if (*v->name) {
		add_escaped(&c->label, v->name, "\"");
		str_puts(&c->label, "\"=");
	}
	c->text = v->text;
}

void registry_set_all(struct registry *r, const char *key, const struct registry_value *values, size_t n)
{
	struct section *s = get(r, key);
	autofree struct change *changes = xcalloc(n + 1, sizeof(*changes));
	autostr body;

	str_init(&body, REGISTRY_BYTES_MAX);
	for (size_t i = 0; i < n; i++) {
		change_init(&changes[i], &values[i]);
		if (values[i].text)
			str_printf(&body, "%s%s\n", changes[i].label.s, values[i].text);
	}
	qsort(changes, n, sizeof(*changes), by_label);
	for (const char *at = s->body; *at; at += entry_length(at))
		if (!is_changed(changes, n, at))
			str_add(&body, at, entry_length(at));
	for (size_t i = 0; i < n; i++)
		str_fini(&changes[i].label);
	free(s->body);
	s->body = str_take(&body);
}

void registry_set(struct registry *r, const char *key, const char *name, const char *text)
{
	const struct registry_value v = { .name = name, .text = text };

	registry_set_all(r, key, &v, 1);
}

void registry_set_string(struct registry *r, const char *key, const char *name, const char *value)
{
	autostr text;

	str_init(&text, 64 * KIB);
	str_puts(&text, "\"");
	add_escaped(&text, value, "\"");
	str_puts(&text, "\"");
	registry_set(r, key, name, text.s);
}

void registry_clear(struct registry *r, const char *key)
{
	struct section *s = get(r, key);

	free(s->body);
	s->body = xstrdup("\n");
}

void registry_delete(struct registry *r, const char *key)
{
	autofree char *folded = fold(key);
	size_t n = strlen(folded);

	for (size_t i = 0; i < r->n; i++) {
		struct section *s = &r->sections[i];

		/* Its place in the bucket stays: the next one is found through it. */
		if (s->key && !strncmp(s->folded, folded, n) && (!s->folded[n] || s->folded[n] == '\\')) {
			section_fini(s);
			*s = (struct section){ .next = s->next };
		}
	}
}

/* @="text", @=str(2):"text" */
char *registry_default(struct registry *r, const char *key)
{
	const struct section *s = find(r, key);
	const char *at = s ? s->body : "", *text;
	autostr out;

	str_init(&out, 64 * KIB);
	while (*at && !str_starts(at, "@="))
		at += entry_length(at);
	text = *at ? at + strlen("@=") : at;
	if (str_starts(text, "str(2):"))
		text += strlen("str(2):");
	if (*text != '"')
		return NULL;
	for (text++; *text && *text != '"' && *text != '\n'; text++) {
		text += *text == '\\' && text[1];
		str_add(&out, text, 1);
	}
	return out.s ? str_take(&out) : xstrdup("");
}

void registry_each(struct registry *r, bool (*fn)(const char *key, void *arg), void *arg)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->sections[i].key && fn(r->sections[i].key, arg))
			return;
}
