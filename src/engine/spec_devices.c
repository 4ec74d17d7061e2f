/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/spec_devices.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "oci/devices.h"

#define DEPTH_MAX 8 /* of directories below /dev */

struct lists {
	json_t *devices, *rules; /* borrowed */
	bool privileged;
};

static bool is_device(const struct stat *st)
{
	return S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);
}

static void add_node(struct lists *l, const char *path, const struct stat *st, const char *access)
{
	const char *type = S_ISCHR(st->st_mode) ? "c" : "b";
	json_int_t major_ = major(st->st_rdev), minor_ = minor(st->st_rdev);

	json_array_append_new(l->devices,
			      json_pack("{s:s, s:s, s:I, s:I, s:i, s:i, s:i}", "path", path, "type", type, "major",
					major_, "minor", minor_, "fileMode", (int)(st->st_mode & 07777), "uid",
					(int)st->st_uid, "gid", (int)st->st_gid));
	if (!l->privileged) /* otherwise there is one rule for all */
		json_array_append_new(l->rules, json_pack("{s:b, s:s, s:I, s:I, s:s}", "allow", 1, "type", type,
							  "major", major_, "minor", minor_, "access", access));
}

/* Those that a container has of its own, or that are the host's terminals. As Docker. */
static bool is_left_out(const char *name)
{
	static const char *const names[] = { ".",    "..",          "pts",   "shm",     "fd",  "mqueue",
					     ".lxc", ".lxd-mounts", ".udev", "console", "ptmx" };

	for (size_t i = 0; i < array_len(names); i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

/* Every device node below a directory of the host. */
static void add_tree(struct lists *l, const char *from, const char *to, const char *access, int depth)
{
	DIR *d = depth > 0 ? opendir(from) : NULL;
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		autofree char *source = xasprintf("%s/%s", from, entry->d_name);
		autofree char *target = xasprintf("%s/%s", to, entry->d_name);
		struct stat st;

		if (is_left_out(entry->d_name) || lstat(source, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			add_tree(l, source, target, access, depth - 1);
		else if (is_device(&st))
			add_node(l, target, &st, access);
	}
	if (d)
		closedir(d);
}

/* A disk is opened by the monitor, under the name "source"; its numbers are those that the guest will give it. */
static int add_to_machine(struct lists *l, const char *source, const char *target, const char *access,
			  const struct stat *st, struct err *e)
{
	if (oci_device_is_kernels(S_ISCHR(st->st_mode) ? 'c' : 'b', major(st->st_rdev), minor(st->st_rdev))) {
		add_node(l, target, st, access);
		return 0;
	}
	if (!S_ISBLK(st->st_mode) && !S_ISREG(st->st_mode))
		return err_set(
			e, ERR_UNSUPPORTED, 0,
			"%.200s: a virtual machine (--isolation=hyperv) can be given block devices and disk images, "
			"not %s of the host",
			source, S_ISCHR(st->st_mode) ? "character devices" : "other files");
	json_array_append_new(l->devices,
			      json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i}", "path", target, "type", "b", "source",
					source, "access", access, "fileMode", (int)(st->st_mode & 0777), "uid",
					(int)st->st_uid, "gid", (int)st->st_gid));
	return 0;
}

static int add_device(struct lists *l, const json_t *entry, bool hyperv, struct err *e)
{
	const char *source, *target, *access;
	struct stat st;

	if (json_get_str(entry, "PathOnHost", "", &source, e) < 0 ||
	    json_get_str(entry, "PathInContainer", "", &target, e) < 0 ||
	    json_get_str(entry, "CgroupPermissions", "", &access, e) < 0)
		return -1;
	if (!*target)
		target = source;
	if (!*access)
		access = "rwm";
	if (strspn(access, "rwm") != strlen(access) || strlen(access) > 3)
		return err_set(e, ERR_INVALID, 0, "invalid device mode: %.64s", access);
	if (*target != '/')
		return err_set(e, ERR_INVALID, 0, "%.200s is not an absolute path", target);
	if (stat(source, &st) < 0)
		return err_set(e, ERR_INVALID, errno,
			       "error gathering device information while adding custom device \"%.200s\"", source);
	if (hyperv)
		return add_to_machine(l, source, target, access, &st, e);
	if (S_ISDIR(st.st_mode))
		add_tree(l, source, target, access, DEPTH_MAX);
	else if (is_device(&st))
		add_node(l, target, &st, access);
	else
		return err_set(e, ERR_INVALID, 0,
			       "error gathering device information while adding custom device \"%.200s\": "
			       "not a device node",
			       source);
	return 0;
}

/* A number, or '*' = -1; moves *text behind it and the separator. */
static int rule_number(const char **text, char separator, json_int_t *out)
{
	size_t n = strspn(*text, "0123456789");

	if (**text == '*')
		n = 1;
	if (n == 0 || n > 7 || (*text)[n] != separator)
		return -1;
	*out = **text == '*' ? -1 : atoi(*text);
	*text += n + 1;
	return 0;
}

json_t *devices_parse_rule(const char *text, struct err *e)
{
	const char type[2] = { *text, '\0' }, *rest = text;
	json_int_t major_, minor_;

	if (*text && strchr("abc", *text) && text[1] == ' ') {
		rest += 2;
		if (rule_number(&rest, ':', &major_) == 0 && rule_number(&rest, ' ', &minor_) == 0 && *rest &&
		    strlen(rest) <= 3 && strspn(rest, "rwm") == strlen(rest))
			return json_pack("{s:b, s:s, s:I, s:I, s:s}", "allow", 1, "type", type, "major", major_,
					 "minor", minor_, "access", rest);
	}
	err_set(e, ERR_INVALID, 0, "invalid device cgroup rule format: '%.100s'", text);
	return NULL;
}

static int add_rules(struct lists *l, const json_t *host, struct err *e)
{
	json_t *entry, *rule;
	size_t i;

	json_array_foreach(json_object_get(host, "DeviceCgroupRules"), i, entry) {
		rule = devices_parse_rule(json_string_value(entry), e);
		if (!rule)
			return -1;
		json_array_append_new(l->rules, rule);
	}
	return 0;
}

/* One kind of rates: [{"Path", "Rate"}], or "Weight". */
struct rate_kind {
	const char *from, *to, *value, *member;
};

static int add_rates(json_t *block_io, const struct rate_kind *k, const json_t *list, struct err *e)
{
	json_t *out = json_array(), *entry;
	size_t i;

	json_object_set_new(block_io, k->to, out);
	json_array_foreach((json_t *)(uintptr_t)list, i, entry) {
		const char *path;
		int64_t rate;
		struct stat st;

		if (json_get_str(entry, "Path", "", &path, e) < 0 || json_get_int(entry, k->value, 0, &rate, e) < 0)
			return -1;
		if (rate < 0)
			return err_set(e, ERR_INVALID, 0, "invalid rate for device: %s:%lld", path, (long long)rate);
		if (stat(path, &st) < 0)
			return err_set(e, ERR_INVALID, errno, "%.200s", path);
		if (!S_ISBLK(st.st_mode))
			return err_set(e, ERR_INVALID, 0, "%.200s: not a block device", path);
		json_array_append_new(out, json_pack("{s:I, s:I, s:I}", "major", (json_int_t)major(st.st_rdev), "minor",
						     (json_int_t)minor(st.st_rdev), k->member, (json_int_t)rate));
	}
	return 0;
}

/* hyperv: they hold on the host, for the files in which the disks of the virtual machine are. */
static int add_all_rates(json_t *resources, const json_t *host, struct err *e)
{
	static const struct rate_kind kinds[] = {
		{ "BlkioWeightDevice", "weightDevice", "Weight", "weight" },
		{ "BlkioDeviceReadBps", "throttleReadBpsDevice", "Rate", "rate" },
		{ "BlkioDeviceWriteBps", "throttleWriteBpsDevice", "Rate", "rate" },
		{ "BlkioDeviceReadIOps", "throttleReadIOPSDevice", "Rate", "rate" },
		{ "BlkioDeviceWriteIOps", "throttleWriteIOPSDevice", "Rate", "rate" },
	};

	for (size_t i = 0; i < array_len(kinds); i++) {
		const json_t *list = json_object_get(host, kinds[i].from);

		if (json_array_size(list) == 0)
			continue;
		if (!json_object_get(resources, "blockIO"))
			json_object_set_new(resources, "blockIO", json_object());
		if (add_rates(json_object_get(resources, "blockIO"), &kinds[i], list, e) < 0)
			return -1;
	}
	return 0;
}

int devices_add(json_t *linux_obj, const json_t *host, bool hyperv, struct err *e)
{
	json_t *resources = json_object_get(linux_obj, "resources"), *entry;
	struct lists l = { .devices = json_array(),
			   .rules = json_object_get(resources, "devices"),
			   .privileged = json_bool(host, "Privileged", false) };
	size_t i;

	json_object_set_new(linux_obj, "devices", l.devices);
	if (!l.rules) {
		l.rules = json_array();
		json_object_set_new(resources, "devices", l.rules);
	}
	json_array_foreach(json_object_get(host, "Devices"), i, entry) {
		if (add_device(&l, entry, hyperv, e) < 0)
			return -1;
	}
	/* hyperv: the privileges are those inside the VM; which devices it has its agent knows. */
	if (l.privileged && hyperv)
		json_array_append_new(l.devices, json_pack("{s:s, s:s, s:b}", "path", "/dev", "type", "c", "all", 1));
	else if (l.privileged)
		add_tree(&l, "/dev", "/dev", "rwm", DEPTH_MAX);
	if (add_rules(&l, host, e) < 0)
		return -1;
	return add_all_rates(resources, host, e);
}
