/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the specification wants of a config.json and nothing below looks at in time, or at all. */
#include <string.h>

#include "base/json.h"
#include "oci/hooks.h"
#include "runtime/runtime.h"

static int check_annotations(const json_t *config, struct err *e)
{
	json_t *all, *value;
	const char *key;

	if (json_get_object(config, "annotations", &all, e))
		return -1;
	json_object_foreach(all, key, value) {
		if (!json_is_string(value))
			return err_set(e, ERR_INVALID, 0, "annotations.%.100s: a string is expected", key);
	}
	return 0;
}

/* Objects that we add members to. */
static int check_objects(const json_t *config, struct err *e)
{
	json_t *process, *linux_part, *resources;
	const char *cwd;

	if (json_get_object(config, "process", &process, e) || json_get_object(config, "linux", &linux_part, e))
		return -1;
	if (json_get_object(linux_part, "resources", &resources, e))
		return err_prefix(e, "linux");
	if (!process)
		return err_set(e, ERR_INVALID, 0, "process: is needed");
	if (json_get_str(process, "cwd", "", &cwd, e))
		return err_prefix(e, "process");
	return *cwd ? 0 : err_set(e, ERR_INVALID, 0, "process.cwd: is needed");
}

/* The names would be the host's. */
static int check_names(const json_t *config, struct err *e)
{
	static const char *const names[] = { "hostname", "domainname" };
	const json_t *ns;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(config, "linux"), "namespaces"), i, ns) {
		if (!strcmp(json_str(ns, "type", ""), "uts"))
			return 0;
	}
	for (i = 0; i < array_len(names); i++) {
		if (*json_str(config, names[i], ""))
			return err_set(e, ERR_INVALID, 0, "%s: unable to set it without a private UTS namespace",
				       names[i]);
	}
	return 0;
}

static int check_paths(const json_t *config, struct err *e)
{
	static const char *const lists[] = { "maskedPaths", "readonlyPaths" };
	const json_t *linux_part = json_object_get(config, "linux"), *path;
	size_t k;

	for (size_t i = 0; i < array_len(lists); i++) {
		json_array_foreach(json_object_get(linux_part, lists[i]), k, path) {
			if (json_is_string(path) && *json_string_value(path) != '/')
				return err_set(e, ERR_INVALID, 0, "linux.%s[%zu]: \"%s\" is not an absolute path",
					       lists[i], k, json_string_value(path));
		}
	}
	return 0;
}

int check_config(const json_t *config, struct err *e)
{
	return check_objects(config, e) || check_annotations(config, e) || check_names(config, e) ||
			       check_paths(config, e) || hooks_check(config, e)
		       ? -1
		       : 0;
}
