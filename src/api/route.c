/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/route.h"

#include <stdlib.h>
#include <string.h>

#include "api/uri.h"
#include "base/own.h"

static void params_clear(char *params[static ROUTE_PARAMS_MAX])
{
	for (size_t i = 0; i < ROUTE_PARAMS_MAX; i++) {
		free(params[i]);
		params[i] = NULL;
	}
}

/* How many bytes of path the placeholder in front of rest takes; 0 = it doesn't match. */
static size_t placeholder_length(bool greedy, const char *rest, const char *path)
{
	size_t tail = strlen(rest), all = strlen(path);

	if (!greedy)
		return strcspn(path, "/");
	/* The end behind a greedy placeholder is literal: "{name*}/json". */
	return all > tail && strcmp(path + all - tail, rest) == 0 ? all - tail : 0;
}

static int match(const char *pattern, const char *path, char *params[static ROUTE_PARAMS_MAX])
{
	int n = 0;

	while (*pattern) {
		const char *close;
		size_t taken;

		if (*pattern != '{') {
			if (*pattern++ != *path++)
				return -1;
			continue;
		}
		close = strchr(pattern, '}');
		taken = placeholder_length(close[-1] == '*', close + 1, path);
		if (taken == 0 || n == ROUTE_PARAMS_MAX || !(params[n] = uri_decode(path, taken, false)))
			return -1;
		n++;
		path += taken;
		pattern = close + 1;
	}
	return *path ? -1 : n;
}

int route_match(const char *pattern, const char *path, char *params[static ROUTE_PARAMS_MAX])
{
	int n;

	memset(params, 0, ROUTE_PARAMS_MAX * sizeof(params[0]));
	n = match(pattern, path, params);
	if (n < 0)
		params_clear(params);
	return n;
}

const struct route *route_find(const struct route *table, size_t n, const char *method, const char *path, int minor,
			       char *params[static ROUTE_PARAMS_MAX], struct err *e)
{
	bool other_method = false;

	for (size_t i = 0; i < n; i++) {
		if (table[i].since > minor || route_match(table[i].path, path, params) < 0)
			continue;
		if (strcmp(table[i].method, method) == 0)
			return &table[i];
		params_clear(params);
		other_method = true;
	}
	if (other_method)
		err_set(e, ERR_UNSUPPORTED, 0, "method not allowed");
	else
		err_set(e, ERR_NOT_FOUND, 0, "page not found");
	return NULL;
}

int route_check_version(int major, int minor, struct err *e)
{
	if (major < 0)
		return API_MINOR_MAX;
	if (major > 1 || (major == 1 && minor > API_MINOR_MAX))
		return err_set(e, ERR_INVALID, 0,
			       "client version %d.%d is too new. Maximum supported API version is %s", major, minor,
			       API_VERSION_MAX);
	if (major < 1 || minor < API_MINOR_MIN)
		return err_set(e, ERR_INVALID, 0,
			       "client version %d.%d is too old. Minimum supported API version is %s, please upgrade "
			       "your client to a newer version",
			       major, minor, API_VERSION_MIN);
	return minor;
}
