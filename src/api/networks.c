/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /networks and /volumes, as far as there are any: the predefined networks, and no volumes. */
#include <stdio.h>
#include <string.h>

#include "api/handlers.h"
#include "api/http.h"
#include "base/json.h"
#include "base/str.h"

/* Ids are constants of ours: the networks are the same on every host. */
static const struct network {
	const char *name, *driver, *id;
} predefined[] = {
	{ "bridge", "bridge", "5110b71d6e0000000000000000000000000000000000000000000000000000b1" },
	{ "host", "host", "5110405700000000000000000000000000000000000000000000000000000f02" },
	{ "none", "null", "5110e0e000000000000000000000000000000000000000000000000000000f03" },
};

static json_t *network_json(const struct network *n)
{
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:{s:s, s:n, s:[]}, s:b, s:b, s:b, s:{s:s}, s:b, s:{}, s:{}, "
		"s:{}}",
		"Name", n->name, "Id", n->id, "Created", "0001-01-01T00:00:00Z", "Scope", "local", "Driver", n->driver,
		"EnableIPv4", 1, "EnableIPv6", 0, "IPAM", "Driver", "default", "Options", "Config", "Internal", 0,
		"Attachable", 0, "Ingress", 0, "ConfigFrom", "Network", "", "ConfigOnly", 0, "Containers", "Options",
		"Labels");
}

/* Does the value of one filter fit? Values of filters that can't fit a predefined network don't. */
static bool value_fits(const struct network *n, const char *key, const char *value)
{
	if (strcmp(key, "name") == 0)
		return strstr(n->name, value) != NULL;
	if (strcmp(key, "id") == 0)
		return str_starts(n->id, value);
	if (strcmp(key, "driver") == 0)
		return strcmp(n->driver, value) == 0;
	if (strcmp(key, "scope") == 0)
		return strcmp(value, "local") == 0;
	if (strcmp(key, "type") == 0)
		return strcmp(value, "builtin") == 0;
	if (strcmp(key, "dangling") == 0)
		return strcmp(value, "0") == 0 || strcmp(value, "false") == 0;
	return false;
}

static bool fits(const struct network *n, const json_t *filters)
{
	const json_t *values, *value;
	const char *key, *name;
	size_t i;

	json_object_foreach((json_t *)filters, key, values) {
		bool any = false;

		json_object_foreach((json_t *)values, name, value) {
			any = any || value_fits(n, key, name);
		}
		json_array_foreach(values, i, value) {
			any = any || value_fits(n, key, json_string_value(value));
		}
		if (!any)
			return false;
	}
	return true;
}

static const char *const network_filters[] = { "dangling", "driver", "id", "label", "name", "scope", "type" };

int api_network_list(struct request *r, struct err *e)
{
	autojson *filters = NULL, *list = json_array();

	if (query_filters(r, &filters, e) < 0 ||
	    filters_check(filters, network_filters, array_len(network_filters), e) < 0)
		return -1;
	for (size_t i = 0; i < array_len(predefined); i++)
		if (fits(&predefined[i], filters))
			json_array_append_new(list, network_json(&predefined[i]));
	return reply_json(r, 200, json_incref(list));
}

int api_network_inspect(struct request *r, struct err *e)
{
	const char *ref = r->param[0];

	for (size_t i = 0; i < array_len(predefined); i++)
		if (strcmp(predefined[i].name, ref) == 0 || (strlen(ref) >= 6 && str_starts(predefined[i].id, ref)))
			return reply_json(r, 200, network_json(&predefined[i]));
	return err_set(e, ERR_NOT_FOUND, 0, "network %.200s not found", ref);
}

int api_network_prune(struct request *r, struct err *e)
{
	return reply_json(r, 200, json_pack("{s:[]}", "NetworksDeleted"));
}

int api_volume_list(struct request *r, struct err *e)
{
	return reply_json(r, 200, json_pack("{s:[], s:n}", "Volumes", "Warnings"));
}

int api_volume_missing(struct request *r, struct err *e)
{
	return err_set(e, ERR_NOT_FOUND, 0, "get %.200s: no such volume", r->param[0]);
}

int api_volume_prune(struct request *r, struct err *e)
{
	return reply_json(r, 200, json_pack("{s:[], s:i}", "VolumesDeleted", "SpaceReclaimed", 0));
}
