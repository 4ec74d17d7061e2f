/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/filter.h"

#include <regex.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"

static bool is_known(const char *name, const char *const *known)
{
	for (; *known; known++) {
		if (strcmp(*known, name) == 0)
			return true;
	}
	return false;
}

/* Values of one filter as an array of strings; a map's keys with false are left out, as Docker does. */
static json_t *values_of(const json_t *value)
{
	json_t *out = json_array(), *item;
	const char *key;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)value, i, item) {
		if (!json_is_string(item)) {
			json_decref(out);
			return NULL;
		}
		json_array_append(out, item);
	}
	json_object_foreach((json_t *)(uintptr_t)value, key, item) {
		if (!json_is_false(item))
			json_array_append_new(out, json_string(key));
	}
	return out;
}

json_t *filters_parse(const json_t *filters, const char *const *known, struct err *e)
{
	autojson *out = json_object();
	const char *name;
	json_t *value;

	if (filters && !json_is_object(filters) && !json_is_null(filters)) {
		err_set(e, ERR_INVALID, 0, "invalid filters: expected object");
		return NULL;
	}
	json_object_foreach((json_t *)(uintptr_t)filters, name, value) {
		json_t *values;

		if (!is_known(name, known)) {
			err_set(e, ERR_INVALID, 0, "invalid filter '%s'", name);
			return NULL;
		}
		values = json_is_array(value) || json_is_object(value) ? values_of(value) : NULL;
		if (!values) {
			err_set(e, ERR_INVALID, 0, "invalid filter '%s': expected a list or a map of strings", name);
			return NULL;
		}
		json_object_set_new(out, name, values);
	}
	return take_ptr(&out);
}

static json_t *list_of(const json_t *f, const char *name)
{
	json_t *list = json_object_get(f, name);

	return json_array_size(list) > 0 ? list : NULL;
}

bool filters_has(const json_t *f, const char *name)
{
	return list_of(f, name) != NULL;
}

bool filters_exact(const json_t *f, const char *name, const char *text)
{
	json_t *list = list_of(f, name), *item;
	size_t i;

	json_array_foreach(list, i, item) {
		if (strcmp(json_string_value(item), text) == 0)
			return true;
	}
	return !list;
}

static bool regex_found(const char *pattern, const char *text)
{
	regex_t re;
	bool found;

	/* A bound on the pattern keeps a hostile one from costing much. */
	if (strlen(pattern) > 256 || regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0)
		return false;
	found = regexec(&re, text, 0, NULL, 0) == 0;
	regfree(&re);
	return found;
}

bool filters_match(const json_t *f, const char *name, const char *text)
{
	json_t *list = list_of(f, name), *item;
	size_t i;

	json_array_foreach(list, i, item) {
		const char *pattern = json_string_value(item);

		if (strcmp(pattern, text) == 0 || regex_found(pattern, text))
			return true;
	}
	return !list;
}

bool filters_prefix(const json_t *f, const char *name, const char *text)
{
	json_t *list = list_of(f, name), *item;
	size_t i;

	json_array_foreach(list, i, item) {
		if (str_starts(text, json_string_value(item)))
			return true;
	}
	return !list;
}

bool filters_labels(const json_t *f, const char *name, const json_t *labels)
{
	json_t *item;
	size_t i;

	json_array_foreach(list_of(f, name), i, item) {
		const char *text = json_string_value(item), *eq = strchr(text, '=');
		autofree char *key = xstrndup(text, eq ? (size_t)(eq - text) : strlen(text));
		const json_t *value = json_object_get(labels, key);

		if (!json_is_string(value) || (eq && strcmp(json_string_value(value), eq + 1) != 0))
			return false;
	}
	return true;
}
