/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "image/filter.h"

#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"

static bool is_listed(const char *key, const char *const *keys, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(key, keys[i]))
			return true;
	return false;
}

int filter_check(const json_t *filters, const char *const *keys, size_t n_keys, struct err *e)
{
	const char *key;
	json_t *value, *item;
	size_t i;

	if (filters && !json_is_object(filters) && !json_is_null(filters))
		return err_set(e, ERR_INVALID, 0, "invalid filter");
	/* cast: the iteration macro takes a plain pointer but changes nothing */
	json_object_foreach((json_t *)(uintptr_t)filters, key, value) {
		if (!is_listed(key, keys, n_keys) || (!json_is_array(value) && !json_is_object(value)))
			return err_set(e, ERR_INVALID, 0, "invalid filter '%.200s'", key);
		json_array_foreach(value, i, item)
			if (!json_is_string(item))
				return err_set(e, ERR_INVALID, 0, "invalid filter '%.200s'", key);
	}
	return 0;
}

json_t *filter_values(const json_t *filters, const char *key)
{
	json_t *value = json_object_get(filters, key), *list = json_array(), *item;
	const char *name;
	size_t i;

	json_array_foreach(value, i, item)
		json_array_append(list, item);
	json_object_foreach(value, name, item)
		if (json_is_true(item))
			json_array_append_new(list, json_string(name));
	return list;
}

int filter_bool(const json_t *filters, const char *key, bool *out, struct err *e)
{
	autojson *list = filter_values(filters, key);
	const char *text = json_string_value(json_array_get(list, 0));

	if (!text)
		return 0;
	if (json_array_size(list) == 1 && (!strcmp(text, "1") || !strcasecmp(text, "true")))
		*out = true;
	else if (json_array_size(list) == 1 && (!strcmp(text, "0") || !strcasecmp(text, "false")))
		*out = false;
	else
		return err_set(e, ERR_INVALID, 0, "invalid filter '%s=[%.100s]'", key, text);
	return 0;
}

/* "1h30m", "90s", "1.5h"; -1 when it is none. */
static int parse_duration(const char *s, double *seconds)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = { { "ns", 1e-9 }, { "us", 1e-6 }, { "ms", 1e-3 }, { "h", 3600 }, { "m", 60 }, { "s", 1 } };

	for (*seconds = 0; *s;) {
		size_t i, digits = strspn(s, "0123456789.");
		char *end;
		double n = strtod(s, &end);

		if (!digits || end != s + digits)
			return -1;
		for (i = 0; i < array_len(units) && strncmp(end, units[i].unit, strlen(units[i].unit)) != 0; i++)
			;
		if (i == array_len(units))
			return -1;
		*seconds += n * units[i].seconds;
		s = end + strlen(units[i].unit);
	}
	return 0;
}

/* A day, or a time without its zone, which is the host's then: "2024-01-15", "2024-01-15T10", "2024-01-15T10:30". */
static int parse_local(const char *text, struct timespec *out)
{
	static const char rest[] = "0000-00-00T00:00:00Z";
	size_t n = strlen(text);
	bool whole = n == strlen("0000-00-00") || n == strlen("0000-00-00T00") || n == strlen("0000-00-00T00:00") ||
		     n == strlen("0000-00-00T00:00:00");
	autofree char *full = whole ? xasprintf("%s%s", text, rest + n) : NULL;
	struct tm local;

	if (!full || time_parse(full, out) || !localtime_r(&out->tv_sec, &local))
		return -1;
	out->tv_sec -= local.tm_gmtoff;
	return 0;
}

int filter_time(const char *text, struct timespec now, struct timespec *out, struct err *e)
{
	double seconds;

	if (*text && !parse_duration(text, &seconds) && seconds < 1e12) {
		out->tv_sec = now.tv_sec - (time_t)seconds;
		out->tv_nsec = now.tv_nsec;
		return 0;
	}
	if (!parse_local(text, out) || !time_parse(text, out))
		return 0;
	return err_set(e, ERR_INVALID, 0, "failed to parse value as time or duration: \"%.100s\"", text);
}

bool filter_labels(const json_t *wanted, const json_t *labels)
{
	size_t i;
	json_t *v;

	json_array_foreach(wanted, i, v) {
		const char *text = json_string_value(v), *equals = strchr(text, '=');
		autofree char *key = equals ? xstrndup(text, (size_t)(equals - text)) : xstrdup(text);
		const char *value = json_string_value(json_object_get(labels, key));

		if (!value || (equals && strcmp(value, equals + 1) != 0))
			return false;
	}
	return true;
}
