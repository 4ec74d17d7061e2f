/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "build/dockerfile.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"

#define WORDS_MAX 1024   /* of one instruction that Silo looks into */
#define WORD_DEPTH_MAX 8 /* of ${A:-${B:-... */

struct parser {
	const char *next; /* of the text */
	int line;         /* of the instruction, from 1 */
	int lines;        /* read so far */
	char escape;
	const json_t *given; /* arguments of the build */
	const char *target;
	json_t *defaults; /* ARG before the first FROM: {name: value} */
	json_t *stages;   /* names; "" for one without */
	json_t *images;
	bool done; /* the target is complete */
};

/* --- lines ------------------------------------------------------------------------------------------------------- */

/* The next line of the text, without its end; NULL at the end of the text. Heap. */
static char *read_line(struct parser *p)
{
	size_t n = strcspn(p->next, "\n");
	char *line;

	if (!*p->next)
		return NULL;
	line = xstrndup(p->next, n);
	p->next += n + (p->next[n] == '\n');
	p->lines++;
	return line;
}

static const char *skip_blanks(const char *s)
{
	return s + strspn(s, " \t\r\f\v");
}

/* "# escape=`" in the comments at the very top says which character continues a line. */
static void read_directives(struct parser *p)
{
	for (;;) {
		const char *s = skip_blanks(p->next);

		if (*s != '#')
			return;
		s = skip_blanks(s + 1);
		if (!strncasecmp(s, "escape", 6) && *skip_blanks(s + 6) == '=') {
			s = skip_blanks(skip_blanks(s + 6) + 1);
			p->escape = *s == '`' ? '`' : '\\';
		} else if (!strchr(s, '=') || strcspn(s, "=") > strcspn(s, "\n")) {
			return; /* an ordinary comment ends the directives */
		}
		free(read_line(p));
	}
}

static void trim_end(char *s)
{
	size_t n = strlen(s);

	while (n && isspace((unsigned char)s[n - 1]))
		s[--n] = '\0';
}

/* The next instruction with its continuations joined; comments and empty lines between them are left out. */
static char *read_instruction(struct parser *p)
{
	bool more = false;
	autostr whole;
	char *line;

	str_init(&whole, DOCKERFILE_BYTES_MAX);
	while ((line = read_line(p))) {
		autofree char *own = line;
		const char *s = skip_blanks(line);

		trim_end(line);
		if (!*s || *s == '#')
			continue;
		if (!more)
			p->line = p->lines;
		more = line[strlen(line) - 1] == p->escape;
		if (more)
			line[strlen(line) - 1] = '\0';
		str_puts(&whole, whole.len ? line : s);
		if (!more)
			break;
	}
	return whole.len ? str_take(&whole) : NULL;
}

/* --- words and variables ----------------------------------------------------------------------------------------- */

static bool is_name(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* What an argument is here; "" when it has no value. */
static const char *value_of(const struct parser *p, const char *name)
{
	const json_t *given = json_object_get(p->given, name);

	if (!json_object_get(p->defaults, name)) /* it was never declared */
		return "";
	return json_is_string(given) ? json_string_value(given) : json_str(p->defaults, name, "");
}

static void expand(const struct parser *p, const char *s, int depth, struct str *out);

/* "NAME}", "NAME:-word}" or "NAME:+word}". Returns what follows the brace. */
static const char *expand_braces(const struct parser *p, const char *s, int depth, struct str *out)
{
	size_t n = 0, end = strcspn(s, "}");

	while (is_name(s[n]))
		n++;
	autofree char *name = xstrndup(s, n);
	const char *value = value_of(p, name);
	bool has_word = n + 2 <= end && s[n] == ':' && (s[n + 1] == '-' || s[n + 1] == '+');
	bool takes_word = has_word && (s[n + 1] == '-') == !*value;

	if (takes_word) {
		autofree char *word = xstrndup(s + n + 2, end - n - 2);

		expand(p, word, depth + 1, out);
	} else if (!has_word || s[n + 1] == '-') {
		str_puts(out, value);
	}
	return s + end + (s[end] == '}');
}

/* Variables replaced, quotes taken away. */
static void expand(const struct parser *p, const char *s, int depth, struct str *out)
{
	char quote = '\0';

	while (*s) {
		if (*s == p->escape && s[1] && quote != '\'') {
			str_add(out, s + 1, 1);
			s += 2;
		} else if ((*s == '"' || *s == '\'') && (!quote || quote == *s)) {
			quote = quote ? '\0' : *s;
			s++;
		} else if (*s == '$' && s[1] == '{' && quote != '\'' && depth < WORD_DEPTH_MAX) {
			s = expand_braces(p, s + 2, depth, out);
		} else if (*s == '$' && is_name(s[1]) && quote != '\'') {
			size_t n = 1;

			while (is_name(s[n]))
				n++;
			autofree char *name = xstrndup(s + 1, n - 1);

			str_puts(out, value_of(p, name));
			s += n;
		} else {
			str_add(out, s++, 1);
		}
	}
}

static char *expanded(const struct parser *p, const char *s)
{
	autostr out;

	str_init(&out, DOCKERFILE_BYTES_MAX);
	expand(p, s, 0, &out);
	return str_take(&out);
}

/* Split at blanks outside of quotes, in place. Returns how many words there are. */
static size_t split(char *s, char *words[static WORDS_MAX])
{
	size_t n = 0;

	while (n < WORDS_MAX) {
		char quote = '\0';

		while (isspace((unsigned char)*s))
			s++;
		if (!*s)
			break;
		words[n++] = s;
		for (; *s && (quote || !isspace((unsigned char)*s)); s++) {
			if (quote ? *s == quote : *s == '"' || *s == '\'')
				quote = quote ? '\0' : *s;
		}
		if (*s)
			*s++ = '\0';
	}
	return n;
}

/* --- instructions ------------------------------------------------------------------------------------------------ */

static int parse_error(const struct parser *p, struct err *e, const char *text, const char *what)
{
	return err_set(e, ERR_INVALID, 0, "dockerfile parse error on line %d: %s%.200s", p->line, text, what);
}

static bool is_stage(const struct parser *p, const char *name)
{
	char *end;
	unsigned long number = strtoul(name, &end, 10);
	const json_t *stage;
	size_t i;

	if (isdigit((unsigned char)*name) && !*end && number < json_array_size(p->stages))
		return true;
	json_array_foreach(p->stages, i, stage) {
		if (!strcasecmp(json_string_value(stage), name) && *name)
			return true;
	}
	return false;
}

static void add_image(struct parser *p, const char *name)
{
	const json_t *image;
	size_t i;

	if (!*name || !strcmp(name, "scratch") || is_stage(p, name))
		return;
	json_array_foreach(p->images, i, image) {
		if (!strcmp(json_string_value(image), name))
			return;
	}
	json_array_append_new(p->images, json_string(name));
}

static int do_arg(struct parser *p, char **words, size_t n, struct err *e)
{
	if (json_array_size(p->stages)) /* of a stage: no matter for FROM */
		return 0;
	for (size_t i = 1; i < n; i++) {
		char *equals = strchr(words[i], '=');
		autofree char *value = expanded(p, equals ? equals + 1 : "");

		if (equals)
			*equals = '\0';
		json_object_set_new(p->defaults, words[i], json_string(value));
	}
	return 0;
}

static int do_from(struct parser *p, char **words, size_t n, struct err *e)
{
	size_t at = 1;
	bool named;

	if (json_array_size(p->stages) && p->target && is_stage(p, p->target)) {
		p->done = true;
		return 0;
	}
	while (at < n && str_starts(words[at], "--"))
		at++;
	named = n == at + 3 && !strcasecmp(words[at + 1], "AS");
	if (n != at + 1 && !named)
		return parse_error(p, e, "FROM requires either one or three arguments", "");
	autofree char *image = expanded(p, words[at]);

	if (!*image)
		return err_set(e, ERR_INVALID, 0, "base name (%.200s) should not be blank", words[at]);
	add_image(p, image);
	json_array_append_new(p->stages, json_string(named ? words[at + 2] : ""));
	return 0;
}

/* COPY --from=IMAGE */
static int do_copy(struct parser *p, char **words, size_t n, struct err *e)
{
	for (size_t i = 1; i < n && str_starts(words[i], "--"); i++)
		if (str_starts(words[i], "--from="))
			add_image(p, words[i] + strlen("--from="));
	return 0;
}

/* RUN --mount=type=bind,from=IMAGE,... */
static int do_run(struct parser *p, char **words, size_t n, struct err *e)
{
	for (size_t i = 1; i < n && str_starts(words[i], "--"); i++) {
		char *save = NULL;

		if (!str_starts(words[i], "--mount="))
			continue;
		for (char *part = strtok_r(words[i] + strlen("--mount="), ",", &save); part;
		     part = strtok_r(NULL, ",", &save))
			if (str_starts(part, "from="))
				add_image(p, part + strlen("from="));
	}
	return 0;
}

static const struct instruction {
	const char *name;
	int (*run)(struct parser *p, char **words, size_t n, struct err *e); /* NULL = no matter here */
} instructions[] = {
	{ "ADD", do_copy },       { "ARG", do_arg },   { "CMD", NULL },        { "COPY", do_copy }, { "ENTRYPOINT", NULL },
	{ "ENV", NULL },          { "EXPOSE", NULL },  { "FROM", do_from },    { "HEALTHCHECK", NULL }, { "LABEL", NULL },
	{ "MAINTAINER", NULL },   { "ONBUILD", NULL }, { "RUN", do_run },      { "SHELL", NULL },   { "STOPSIGNAL", NULL },
	{ "USER", NULL },         { "VOLUME", NULL },  { "WORKDIR", NULL },
};

static int one_instruction(struct parser *p, char *text, struct err *e)
{
	char *words[WORDS_MAX];
	size_t n = split(text, words);

	if (!n)
		return 0;
	for (size_t i = 0; i < array_len(instructions); i++) {
		if (strcasecmp(instructions[i].name, words[0]) != 0)
			continue;
		if (!json_array_size(p->stages) && strcmp(instructions[i].name, "ARG") != 0 &&
		    strcmp(instructions[i].name, "FROM") != 0)
			return parse_error(p, e, "no build stage in current context", "");
		return instructions[i].run ? instructions[i].run(p, words, n, e) : 0;
	}
	return parse_error(p, e, "unknown instruction: ", words[0]);
}

static int parse(struct parser *p, struct err *e)
{
	char *text;

	read_directives(p);
	while (!p->done && (text = read_instruction(p))) {
		autofree char *own = text;

		if (one_instruction(p, text, e))
			return -1;
	}
	if (!json_array_size(p->stages))
		return err_set(e, ERR_INVALID, 0, "file with no instructions");
	if (p->target && !is_stage(p, p->target))
		return err_set(e, ERR_INVALID, 0, "failed to reach build target %.200s in Dockerfile", p->target);
	return 0;
}

json_t *dockerfile_images(const char *text, const json_t *args, const char *target, struct err *e)
{
	autojson *defaults = json_object(), *stages = json_array(), *images = json_array();
	struct parser p = { .next = text,
			    .escape = '\\',
			    .given = args,
			    .target = target,
			    .defaults = defaults,
			    .stages = stages,
			    .images = images };

	return parse(&p, e) ? NULL : json_incref(images);
}
