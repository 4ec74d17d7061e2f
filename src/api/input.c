/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the client said: query parameters, headers, JSON bodies. */
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/http.h"
#include "base/io.h"
#include "base/json.h"

#define FILTERS_BYTES_MAX (64 * KIB)

const char *query_str(const struct request *r, const char *key)
{
	const char *value = uri_query(&r->uri, key);

	return value && *value ? value : NULL;
}

/* As Docker: anything but these words is true, so "?all=True" and "?all=yes" work. */
bool query_bool(const struct request *r, const char *key, bool fallback)
{
	static const char *const no[] = { "", "0", "no", "false", "none" };
	const char *value = uri_query(&r->uri, key);

	if (!value)
		return fallback;
	for (size_t i = 0; i < array_len(no); i++)
		if (strcasecmp(value, no[i]) == 0)
			return false;
	return true;
}

int query_int(const struct request *r, const char *key, int64_t fallback, int64_t min, int64_t max, int64_t *out,
	      struct err *e)
{
	const char *value = query_str(r, key);
	char *end;

	*out = fallback;
	if (!value)
		return 0;
	errno = 0;
	*out = strtoll(value, &end, 10);
	if (*end || errno)
		return err_set(e, ERR_INVALID, 0, "invalid value for %s: \"%.64s\" is not a number", key, value);
	if (*out < min || *out > max)
		return err_set(e, ERR_INVALID, 0,
			       "invalid value for %s: %" PRId64 " is not between %" PRId64 " and %" PRId64, key, *out,
			       min, max);
	return 0;
}

int query_time(const struct request *r, const char *key, struct timespec *out, struct err *e)
{
	const char *value = query_str(r, key);

	memset(out, 0, sizeof(*out));
	if (!value || strcmp(value, "0") == 0)
		return 0;
	if (time_parse(value, out) < 0)
		return err_set(e, ERR_INVALID, 0, "invalid value for \"%s\": \"%.64s\" is not a time", key, value);
	return 0;
}

static bool is_filter(const json_t *values)
{
	const json_t *value;
	const char *key;
	size_t i;

	if (json_is_object(values)) {
		json_object_foreach((json_t *)values, key, value) {
			if (!json_is_boolean(value))
				return false;
		}
		return true;
	}
	json_array_foreach(values, i, value) {
		if (!json_is_string(value))
			return false;
	}
	return json_is_array(values);
}

int query_filters(const struct request *r, json_t **out, struct err *e)
{
	const char *text = query_str(r, "filters");
	autojson *filters = NULL;
	const json_t *values;
	const char *key;

	*out = NULL;
	if (!text || strcmp(text, "null") == 0)
		return 0;
	if (strlen(text) > FILTERS_BYTES_MAX)
		return err_set(e, ERR_INVALID, 0, "filters: longer than %d bytes", (int)FILTERS_BYTES_MAX);
	filters = json_parse(text, strlen(text), "filters", e);
	if (!filters)
		return -1;
	if (!json_is_object(filters))
		return err_set(e, ERR_INVALID, 0, "filters: not an object");
	json_object_foreach(filters, key, values) {
		if (!is_filter(values))
			return err_set(e, ERR_INVALID, 0, "invalid filter '%.64s'", key);
	}
	*out = json_incref(filters);
	return 0;
}

int filters_check(const json_t *filters, const char *const *known, size_t n_known, struct err *e)
{
	const json_t *values;
	const char *key;

	json_object_foreach((json_t *)filters, key, values) {
		size_t i = 0;

		while (i < n_known && strcmp(key, known[i]) != 0)
			i++;
		if (i == n_known)
			return err_set(e, ERR_INVALID, 0, "invalid filter '%.64s'", key);
	}
	return 0;
}

const char *request_header(const struct request *r, const char *name)
{
	return MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, name);
}

const json_t *body_json(struct request *r, bool optional, struct err *e)
{
	if (r->doc)
		return r->doc;
	if (r->body.len == 0) {
		if (!optional)
			err_set(e, ERR_INVALID, 0, "invalid JSON: got EOF while reading request body");
		return NULL;
	}
	r->doc = json_parse(r->body.s, r->body.len, "request body", e);
	if (optional && json_is_null(r->doc)) {
		json_decref(r->doc);
		r->doc = NULL;
		return NULL;
	}
	if (r->doc && !json_is_object(r->doc)) {
		err_set(e, ERR_INVALID, 0, "invalid JSON: the request body is not an object");
		json_decref(r->doc);
		r->doc = NULL;
	}
	return r->doc;
}
