/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/json.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/io.h"
#include "base/own.h"

/* jansson recurses per level: refuse deep nesting before it does. Brackets inside strings don't count. */
static bool too_deep(const char *text, size_t n)
{
	int depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < n; i++) {
		char c = text[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > JSON_DEPTH_MAX)
				return true;
		} else if (c == '}' || c == ']') {
			depth--;
		}
	}
	return false;
}

static bool too_wide(const char *digits, size_t n)
{
	return n > 19 || (n == 19 && memcmp(digits, "9223372036854775807", 19) > 0);
}

/*
 * Numbers beyond 63 bits (2^64 - 1 is a usual way to say "unlimited") are errors to jansson, where other languages take
 * them: they are made reals. Returns the text with ".0" behind every such integer.
 */
static char *widen_integers(const char *text, size_t n, size_t *n_out)
{
	char *out = xmalloc(n + n / 8 + 3), *to = out;
	bool in_string = false;

	for (size_t i = 0; i < n;) {
		size_t digits = 0;

		while (!in_string && i + digits < n && text[i + digits] >= '0' && text[i + digits] <= '9')
			digits++;
		if (digits) {
			bool after_point = i && (strchr(".eE+", text[i - 1]) ||
						 (i > 1 && text[i - 1] == '-' && strchr("eE", text[i - 2])));
			bool before_point = i + digits < n && strchr(".eE", text[i + digits]);

			memcpy(to, text + i, digits);
			to += digits;
			i += digits;
			if (too_wide(text + i - digits, digits) && !after_point && !before_point) {
				*to++ = '.';
				*to++ = '0';
			}
			continue;
		}
		if (in_string && text[i] == '\\' && i + 1 < n)
			*to++ = text[i++];
		else if (text[i] == '"')
			in_string = !in_string;
		*to++ = text[i++];
	}
	*n_out = (size_t)(to - out);
	return out;
}

json_t *json_parse(const char *text, size_t n, const char *what, struct err *e)
{
	json_error_t je;

	if (too_deep(text, n)) {
		err_set(e, ERR_INVALID, 0, "%s: JSON is nested deeper than %d levels", what, JSON_DEPTH_MAX);
		return NULL;
	}
	json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);

	if (!j && json_error_code(&je) == json_error_numeric_overflow) {
		size_t n_wide;
		autofree char *wide = widen_integers(text, n, &n_wide);

		j = json_loadb(wide, n_wide, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);
	}
	if (!j)
		err_set(e, ERR_INVALID, 0, "%s: invalid JSON at line %d column %d: %s", what, je.line, je.column,
			je.text);
	return j;
}

json_t *json_parse_file(int dirfd, const char *path, size_t max_bytes, struct err *e)
{
	autostr text;

	str_init(&text, max_bytes);
	if (io_read_file(dirfd, path, &text, e))
		return NULL;
	return json_parse(text.s ? text.s : "", text.len, path, e);
}

char *json_text(const json_t *j)
{
	char *s = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);

	return s ? s : xstrdup("null");
}

json_t *json_member(const json_t *obj, const char *key)
{
	json_t *found = json_object_get(obj, key);

	if (!found) {
		const char *k;
		json_t *v;

		/* cast: the iteration macro takes a plain pointer but changes nothing */
		json_object_foreach((json_t *)(uintptr_t)obj, k, v)
			if (!strcasecmp(k, key)) {
				found = v;
				break;
			}
	}
	return json_is_null(found) ? NULL : found;
}

static const char *type_name(const json_t *j)
{
	static const char *const names[] = { "object", "array", "string", "number", "number", "bool", "bool", "null" };

	return names[json_typeof(j)];
}

static int wrong_type(const json_t *v, const char *key, const char *wanted, struct err *e)
{
	return err_set(e, ERR_INVALID, 0, "invalid value for %s: expected %s, got %s", key, wanted, type_name(v));
}

int json_get_str(const json_t *obj, const char *key, const char *fallback, const char **out, struct err *e)
{
	json_t *v = json_member(obj, key);

	*out = fallback;
	if (!v)
		return 0;
	if (!json_is_string(v))
		return wrong_type(v, key, "string", e);
	/* A NUL inside would cut every later use short without a word. */
	if (strlen(json_string_value(v)) != json_string_length(v))
		return err_set(e, ERR_INVALID, 0, "invalid value for %s: it contains a NUL byte", key);
	*out = json_string_value(v);
	return 0;
}

int json_get_int(const json_t *obj, const char *key, int64_t fallback, int64_t *out, struct err *e)
{
	json_t *v = json_member(obj, key);

	*out = fallback;
	if (!v)
		return 0;
	if (!json_is_integer(v))
		return wrong_type(v, key, "integer", e);
	*out = json_integer_value(v);
	return 0;
}

int json_get_bool(const json_t *obj, const char *key, bool fallback, bool *out, struct err *e)
{
	json_t *v = json_member(obj, key);

	*out = fallback;
	if (!v)
		return 0;
	if (!json_is_boolean(v))
		return wrong_type(v, key, "bool", e);
	*out = json_is_true(v);
	return 0;
}

int json_get_array(const json_t *obj, const char *key, json_t **out, struct err *e)
{
	*out = json_member(obj, key);
	if (*out && !json_is_array(*out)) {
		int r = wrong_type(*out, key, "array", e);

		*out = NULL;
		return r;
	}
	return 0;
}

int json_get_object(const json_t *obj, const char *key, json_t **out, struct err *e)
{
	*out = json_member(obj, key);
	if (*out && !json_is_object(*out)) {
		int r = wrong_type(*out, key, "object", e);

		*out = NULL;
		return r;
	}
	return 0;
}

int json_get_strings(const json_t *obj, const char *key, json_t **out, struct err *e)
{
	json_t *v = json_member(obj, key);
	json_t *item;
	size_t i;

	*out = NULL;
	if (!v)
		return 0;
	if (!json_is_array(v))
		return wrong_type(v, key, "array of strings", e);
	json_array_foreach(v, i, item) {
		if (!json_is_string(item))
			return wrong_type(item, key, "array of strings", e);
		if (strlen(json_string_value(item)) != json_string_length(item))
			return err_set(e, ERR_INVALID, 0, "invalid value for %s: it contains a NUL byte", key);
	}
	*out = v;
	return 0;
}

const char *json_str(const json_t *obj, const char *key, const char *fallback)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_string(v) ? json_string_value(v) : fallback;
}

int64_t json_int(const json_t *obj, const char *key, int64_t fallback)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_integer(v) ? json_integer_value(v) : fallback;
}

bool json_bool(const json_t *obj, const char *key, bool fallback)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_boolean(v) ? json_is_true(v) : fallback;
}

void json_own_decref(json_t **j)
{
	json_decref(*j);
}
