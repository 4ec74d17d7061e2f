/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "oci/reader.h"

#include "base/json.h"
#include "base/own.h"

int read_strings(const json_t *obj, const char *key, const char ***out, size_t *n, struct err *e)
{
	json_t *list;
	json_t *item;
	size_t i;

	if (json_get_strings(obj, key, &list, e))
		return -1;
	if (json_is_string(list)) {
		*n = 1;
		*out = xcalloc(2, sizeof(**out));
		(*out)[0] = json_string_value(list);
		return 0;
	}
	*n = json_array_size(list);
	*out = xcalloc(*n + 1, sizeof(**out));
	json_array_foreach(list, i, item) {
		(*out)[i] = json_string_value(item);
	}
	return 0;
}

int read_int(const json_t *obj, const char *key, int64_t fallback, int64_t min, int64_t max, int64_t *out,
	     struct err *e)
{
	if (json_get_int(obj, key, fallback, out, e))
		return -1;
	if (*out == fallback || (*out >= min && *out <= max))
		return 0;
	return err_set(e, ERR_INVALID, 0, "%s: %lld is not in %lld..%lld", key, (long long)*out, (long long)min,
		       (long long)max);
}

int read_each(const json_t *obj, const char *key, read_fn *fn, void *arg, struct err *e)
{
	json_t *list;
	json_t *item;
	size_t i;

	if (json_get_array(obj, key, &list, e))
		return -1;
	json_array_foreach(list, i, item) {
		if (!json_is_object(item))
			return err_set(e, ERR_INVALID, 0, "%s[%zu]: an object is expected", key, i);
		if (fn(item, arg, e))
			return err_prefix(e, "%s[%zu]", key, i);
	}
	return 0;
}

size_t read_count(const json_t *obj, const char *key)
{
	return json_array_size(json_member(obj, key));
}
