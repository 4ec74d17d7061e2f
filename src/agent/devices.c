/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Devices of a container that are named by what they are: disks of this VM, or all that its kernel has. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "agent/container.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"

#define DEPTH_MAX 3 /* of directories below /dev */

/* {"path", "disk": 0, 1, ... or "target": of the SCSI bus, "access"} gets its numbers, and a rule that lets the container
 * use it. */
static int resolve_disk(struct guest_container *g, json_t *device, json_t *rules, struct err *e)
{
	int64_t number = json_int(device, "disk", 0);
	char name[SCSI_NAME_MAX];
	struct stat st;

	if (number < 0 || number + AGENT_DISKS >= 26)
		return err_set(e, ERR_INVALID, 0, "disk %lld", (long long)number);
	snprintf(name, sizeof name, "/dev/vd%c", (char)('a' + AGENT_DISKS + number));
	if (json_object_get(device, "target") && disks_find(g, json_int(device, "target", -1), name, e))
		return -1;
	if (stat(name, &st))
		return err_set(e, ERR_SYSTEM, errno, "%s", name);
	json_object_set_new(device, "major", json_integer(major(st.st_rdev)));
	json_object_set_new(device, "minor", json_integer(minor(st.st_rdev)));
	json_array_append_new(rules, json_pack("{s:b, s:s, s:I, s:I, s:s}", "allow", 1, "type", "b", "major",
					       (json_int_t)major(st.st_rdev), "minor", (json_int_t)minor(st.st_rdev),
					       "access", json_str(device, "access", "rwm")));
	return 0;
}

/* What a container has of its own, and the way to the host. */
static bool is_left_out(const char *name)
{
	static const char *const names[] = { ".", "..", "pts", "shm", "mqueue", "console", "ptmx" };

	for (size_t i = 0; i < array_len(names); i++)
		if (!strcmp(names[i], name))
			return true;
	return str_starts(name, "vport");
}

static void add_tree(json_t *devices, const char *dir, int depth)
{
	DIR *d = depth ? opendir(dir) : NULL;

	for (struct dirent *entry; d && (entry = readdir(d));) {
		autofree char *path = xasprintf("%s/%s", dir, entry->d_name);
		struct stat st;

		if (is_left_out(entry->d_name) || lstat(path, &st))
			continue;
		if (S_ISDIR(st.st_mode))
			add_tree(devices, path, depth - 1);
		else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
			json_array_append_new(devices,
					      json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i}", "path", path, "type",
							S_ISCHR(st.st_mode) ? "c" : "b", "major",
							(int)major(st.st_rdev), "minor", (int)minor(st.st_rdev),
							"fileMode", (int)(st.st_mode & 07777), "uid", (int)st.st_uid,
							"gid", (int)st.st_gid));
	}
	if (d)
		closedir(d);
}

int devices_resolve(struct guest_container *g, json_t *config, struct err *e)
{
	json_t *linux_part = json_object_get(config, "linux"), *devices = json_object_get(linux_part, "devices");
	json_t *rules = json_object_get(json_object_get(linux_part, "resources"), "devices"), *device;
	bool all = false;

	for (size_t i = json_array_size(devices); i-- > 0;) {
		device = json_array_get(devices, i);
		if (json_bool(device, "all", false)) {
			all = true;
			json_array_remove(devices, i);
		} else if ((json_object_get(device, "disk") || json_object_get(device, "target")) &&
			   resolve_disk(g, device, rules, e)) {
			return -1;
		}
	}
	if (all)
		add_tree(devices, "/dev", DEPTH_MAX);
	return 0;
}
