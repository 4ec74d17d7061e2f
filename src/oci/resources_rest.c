/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* linux.resources: what is refused, and what is handed on to cgroup v2 as it is. */
#include <string.h>

#include "base/json.h"
#include "oci/reader.h"
#include "oci/spec.h"

#define UNIFIED_VALUE_MAX 4096

static const struct {
	const char *group, *key; /* key NULL: the group itself */
} refused[] = {
	{ "memory", "kernel" },  { "memory", "kernelTCP" },   { "memory", "checkBeforeUpdate" },
	{ "blockIO", "leafWeight" },
	{ "network", "classID" }, { "network", "priorities" }, { "rdma", NULL },
};

/* Does it ask for something? -1 is "unlimited", which is what holds without it. */
static bool asks(const json_t *j)
{
	switch (j ? json_typeof(j) : JSON_NULL) {
	case JSON_INTEGER:
		return json_integer_value(j) > 0;
	case JSON_REAL:
	case JSON_STRING:
	case JSON_TRUE:
		return true;
	case JSON_ARRAY:
		return json_array_size(j);
	case JSON_OBJECT:
		return json_object_size(j);
	default:
		return false;
	}
}

/* Kubernetes names every size of pages with a limit of 0, which is what a container without a mount of them has. */
static int check_huge_pages(const json_t *j, void *arg, struct err *e)
{
	return asks(json_member(j, "limit")) ? err_set(e, ERR_UNSUPPORTED, 0, "limit: is not supported") : 0;
}

int oci_resources_check(const json_t *resources, struct err *e)
{
	for (size_t i = 0; i < array_len(refused); i++) {
		const json_t *group = json_member(resources, refused[i].group);

		if (asks(refused[i].key ? json_member(group, refused[i].key) : group))
			return err_set(e, ERR_UNSUPPORTED, 0, "%s%s%s: is not supported", refused[i].group,
				       refused[i].key ? "." : "", refused[i].key ? refused[i].key : "");
	}
	return read_each(resources, "hugepageLimits", check_huge_pages, NULL, e);
}

/* A controller's file: no path, and nothing that moves processes or makes cgroups. */
static bool is_file(const char *name)
{
	return strchr(name, '.') && name[0] != '.' && !strchr(name, '/') && strncmp(name, "cgroup.", 7) != 0;
}

int oci_unified_parse(const json_t *resources, struct cgroup_limits *l, struct err *e)
{
	json_t *map, *value;
	const char *key;

	if (json_get_object(resources, "unified", &map, e))
		return -1;
	json_object_foreach(map, key, value) {
		const char *text = json_string_value(value);

		if (l->n_unified == CGROUP_UNIFIED_MAX)
			return err_set(e, ERR_LIMIT, 0, "unified: more than %d", CGROUP_UNIFIED_MAX);
		if (!is_file(key))
			return err_set(e, ERR_INVALID, 0, "unified: \"%s\" is no file of a controller", key);
		if (!text || strlen(text) > UNIFIED_VALUE_MAX)
			return err_set(e, ERR_INVALID, 0, "unified.%s: a string is expected", key);
		l->unified[l->n_unified].file = key;
		l->unified[l->n_unified++].value = text;
	}
	return 0;
}
