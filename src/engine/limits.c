/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/limits.h"

#include <string.h>

#include "base/json.h"
#include "engine/spec.h"
#include "isolation/hyperv/template.h"

#define VM_LEAST_MIB 1024
#define VM_MOST_CPUS 256
#define VM_USUAL_MOST_MIB (16 * 1024)
#define DISK_LEAST ((int64_t)(16 * MIB))
#define DISK_MOST ((int64_t)(16 * 1024 * GIB)) /* of ext4 with blocks of 4 KiB */

static int check_ulimit(const char *key, const json_t *ulimit, struct err *e)
{
	const char *name;
	int64_t soft, hard;

	if (!json_is_object(ulimit))
		return err_set(e, ERR_INVALID, 0, "\"%s\" must be an object", key);
	if (json_get_str(ulimit, "Name", key, &name, e) < 0 || json_get_int(ulimit, "Soft", 0, &soft, e) < 0 ||
	    json_get_int(ulimit, "Hard", soft, &hard, e) < 0)
		return -1;
	if (strcmp(name, key) != 0)
		return err_set(e, ERR_INVALID, 0, "\"%s\" has the name \"%.32s\"", key, name);
	if (hard >= 0 && (soft > hard || soft < 0))
		return err_set(e, ERR_INVALID, 0,
			       "ulimit soft limit must be less than or equal to hard limit: %lld > %lld",
			       (long long)soft, (long long)hard);
	return 0;
}

int limits_check_config(const json_t *config, struct err *e)
{
	const char *key, *memory;
	json_t *ulimits, *ulimit;
	int64_t bytes, cpus;

	if (json_get_str(config, "vm-memory", "1g", &memory, e) < 0 ||
	    json_get_int(config, "vm-cpus", TEMPLATE_CPUS, &cpus, e) < 0 ||
	    json_get_object(config, "default-ulimits", &ulimits, e) < 0)
		return -1;
	if (spec_parse_size(memory, &bytes) < 0 || bytes < (int64_t)GIB)
		return err_set(e, ERR_INVALID, 0, "vm-memory: \"%.32s\" is not a size of at least 1g", memory);
	if (cpus < 1 || cpus > VM_MOST_CPUS)
		return err_set(e, ERR_INVALID, 0, "vm-cpus: from 1 to %d, not %lld", VM_MOST_CPUS, (long long)cpus);
	json_object_foreach(ulimits, key, ulimit) {
		if (check_ulimit(key, ulimit, e) < 0)
			return err_prefix(e, "default-ulimits");
	}
	return 0;
}

static bool has_ulimit(const json_t *list, const char *name)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry) {
		if (strcmp(json_str(entry, "Name", ""), name) == 0)
			return true;
	}
	return false;
}

void limits_add_ulimits(const json_t *config, json_t *host)
{
	json_t *list = json_object_get(host, "Ulimits"), *ulimit;
	const char *name;

	json_object_foreach(json_object_get(config, "default-ulimits"), name, ulimit) {
		int64_t soft = json_int(ulimit, "Soft", 0);

		if (json_is_array(list) && !has_ulimit(list, name))
			json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "Name", name, "Hard",
							      (json_int_t)json_int(ulimit, "Hard", soft), "Soft",
							      (json_int_t)soft));
	}
}

int64_t limits_vm_memory_mib(const json_t *config, int64_t host_mib)
{
	int64_t bytes, most = host_mib / 4, size = VM_LEAST_MIB;

	if (most > VM_USUAL_MOST_MIB)
		most = VM_USUAL_MOST_MIB;
	if (spec_parse_size(json_str(config, "vm-memory", ""), &bytes) == 0)
		most = bytes / (int64_t)MIB < host_mib ? bytes / (int64_t)MIB : host_mib;
	while (size * 2 <= most)
		size *= 2;
	return size;
}

int limits_disk_bytes(const json_t *host, bool hyperv, int64_t *bytes, struct err *e)
{
	const json_t *options = json_object_get(host, "StorageOpt"), *value;
	const char *key;

	*bytes = 0;
	if (json_object_size(options) > 0 && !hyperv)
		return err_set(e, ERR_INVALID, 0,
			       "--storage-opt is supported only for overlay over xfs with 'pquota' mount option");
	json_object_foreach((json_t *)(uintptr_t)options, key, value) {
		const char *text = json_is_string(value) ? json_string_value(value) : "";

		if (strcmp(key, "size") != 0)
			return err_set(e, ERR_INVALID, 0, "Unknown option %.64s", key);
		if (spec_parse_size(text, bytes) < 0)
			return err_set(e, ERR_INVALID, 0, "invalid size: '%.64s'", text);
		if (*bytes < DISK_LEAST || *bytes > DISK_MOST)
			return err_set(e, ERR_INVALID, 0, "size of a container's disk: from 16m to 16t, not %.64s",
				       text);
	}
	return 0;
}
