/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* docker import --change and docker commit --change: one Dockerfile instruction each. Pure. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "image/make.h"

#define WORD_MAX (64 * KIB)

static const char *skip_space(const char *s)
{
	return s + strspn(s, " \t\r\n");
}

/**
 * Next word of a line, quotes and backslashes removed. NULL at the end.
 * @stop  a character that also ends the word where it isn't quoted, or '\0'
 */
static char *next_word(const char **line, char stop)
{
	const char *s = skip_space(*line);
	char quote = '\0';
	autostr word;

	str_init(&word, WORD_MAX);
	if (!*s)
		return NULL;
	for (; *s && (quote || (*s != stop && !strchr(" \t\r\n", *s))); s++) {
		if (quote ? *s == quote : *s == '"' || *s == '\'')
			quote = quote ? '\0' : *s;
		else if (*s == '\\' && s[1] && quote != '\'')
			str_add(&word, ++s, 1);
		else
			str_add(&word, s, 1);
	}
	*line = s;
	return str_take(&word);
}

/* ["a", "b"], or NULL where it isn't a JSON list of strings (then it is the shell form). */
static json_t *exec_form(const char *args)
{
	json_t *list = *args == '[' ? json_parse(args, strlen(args), "change", NULL) : NULL;
	size_t i;
	json_t *v;

	if (json_is_array(list)) {
		json_array_foreach(list, i, v)
			if (!json_is_string(v))
				break;
		if (i == json_array_size(list))
			return list;
	}
	json_decref(list);
	return NULL;
}

struct change;
typedef int change_fn(const struct change *c, const char *args, json_t *config, struct err *e);

struct change {
	const char *word;
	const char *key;
	change_fn *apply;
};

static int set_command(const struct change *c, const char *args, json_t *config, struct err *e)
{
	json_t *list = exec_form(args);

	if (!list)
		list = json_pack("[s, s, s]", "/bin/sh", "-c", args);
	return json_object_set_new(config, c->key, list) ? err_set(e, ERR_INVALID, 0, "%s: not UTF-8", c->word) : 0;
}

static int set_text(const struct change *c, const char *args, json_t *config, struct err *e)
{
	autofree char *text = next_word(&args, '\0');

	if (*skip_space(args) || json_object_set_new(config, c->key, json_string(text)))
		return err_set(e, ERR_INVALID, 0, "%s requires exactly one argument", c->word);
	return 0;
}

/* An entry of the list of "KEY=value" is replaced by a later one of the same key. */
static void env_set(json_t *list, const char *key, const char *value)
{
	autofree char *text = xasprintf("%s=%s", key, value);
	size_t i, n = strlen(key);
	json_t *v;

	json_array_foreach(list, i, v)
		if (!strncmp(json_string_value(v), text, n + 1)) {
			json_array_set_new(list, i, json_string(text));
			return;
		}
	json_array_append_new(list, json_string(text));
}

static void pair_set(json_t *target, const char *key, const char *value)
{
	if (json_is_array(target))
		env_set(target, key, value);
	else
		json_object_set_new(target, key, json_string(value));
}

/* "a=b c=d", or the old form "a the rest". */
static int set_pairs(const struct change *c, const char *args, json_t *config, struct err *e)
{
	json_t *target = json_object_get(config, c->key);

	if (!target) {
		target = strcmp(c->key, "Env") ? json_object() : json_array();
		json_object_set_new(config, c->key, target);
	}
	while (*(args = skip_space(args))) {
		autofree char *key = next_word(&args, '=');
		autofree char *value = NULL;

		if (*args == '=' && *key) {
			args++;
			value = *args && !strchr(" \t\r\n", *args) ? next_word(&args, '\0') : xstrdup("");
			pair_set(target, key, value);
			continue;
		}
		if (!*key || !*skip_space(args))
			return err_set(e, ERR_INVALID, 0, "%s must have two arguments", c->word);
		pair_set(target, key, skip_space(args));
		return 0;
	}
	return 0;
}

static json_t *set_of(json_t *config, const char *key)
{
	json_t *set = json_object_get(config, key);

	if (!set) {
		set = json_object();
		json_object_set_new(config, key, set);
	}
	return set;
}

static int add_volumes(const struct change *c, const char *args, json_t *config, struct err *e)
{
	autojson *list = exec_form(args);
	json_t *set = set_of(config, c->key), *v;
	char *word;
	size_t i;

	json_array_foreach(list, i, v)
		json_object_set_new(set, json_string_value(v), json_object());
	while (!list && (word = next_word(&args, '\0'))) {
		json_object_set_new(set, word, json_object());
		free(word);
	}
	return 0;
}

static int add_ports(const struct change *c, const char *args, json_t *config, struct err *e)
{
	json_t *set = set_of(config, c->key);
	char *next;

	while ((next = next_word(&args, '\0'))) {
		autofree char *word = next;
		autofree char *port = strchr(word, '/') ? xstrdup(word) : xasprintf("%s/tcp", word);
		size_t digits = strspn(port, "0123456789-");

		if (!digits || port[digits] != '/')
			return err_set(e, ERR_INVALID, 0, "invalid containerPort: %.100s", word);
		json_object_set_new(set, port, json_object());
	}
	return 0;
}

static int add_onbuild(const struct change *c, const char *args, json_t *config, struct err *e)
{
	json_t *list = json_object_get(config, c->key);

	if (!list) {
		list = json_array();
		json_object_set_new(config, c->key, list);
	}
	json_array_append_new(list, json_string(args));
	return 0;
}

static const struct change changes_table[] = {
	{ "CMD",        "Cmd",          set_command },
	{ "ENTRYPOINT", "Entrypoint",   set_command },
	{ "ENV",        "Env",          set_pairs   },
	{ "EXPOSE",     "ExposedPorts", add_ports   },
	{ "LABEL",      "Labels",       set_pairs   },
	{ "ONBUILD",    "OnBuild",      add_onbuild },
	{ "STOPSIGNAL", "StopSignal",   set_text    },
	{ "USER",       "User",         set_text    },
	{ "VOLUME",     "Volumes",      add_volumes },
	{ "WORKDIR",    "WorkingDir",   set_text    },
};

static int apply_one(const char *line, json_t *config, struct err *e)
{
	const char *s = skip_space(line);
	size_t n = strcspn(s, " \t\r\n");
	const char *args = skip_space(s + n);

	for (size_t i = 0; i < array_len(changes_table); i++) {
		const struct change *c = &changes_table[i];

		if (strlen(c->word) != n || strncasecmp(c->word, s, n) != 0)
			continue;
		if (!*args)
			return err_set(e, ERR_INVALID, 0, "%s requires at least one argument", c->word);
		return c->apply(c, args, config, e);
	}
	return err_set(e, ERR_INVALID, 0, "%.*s is not a valid change command", (int)(n < 100 ? n : 100), s);
}

int changes_apply(const json_t *changes, json_t *config, struct err *e)
{
	size_t i;
	json_t *v;

	json_array_foreach(changes, i, v) {
		if (!json_is_string(v))
			return err_set(e, ERR_INVALID, 0, "changes: not a list of strings");
		if (apply_one(json_string_value(v), config, e))
			return -1;
	}
	return 0;
}
