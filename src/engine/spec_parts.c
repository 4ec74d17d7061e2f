/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pieces of the runtime spec: capabilities, resources, mounts, sizes. Pure. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/mount_points.h"
#include "engine/spec.h"
#include "engine/spec_parts.h"

/* In the kernel's order (linux/capability.h); is_default: Docker's 14. */
static const struct {
	const char *name;
	bool is_default;
} caps[] = {
	{ "CAP_CHOWN", true },		{ "CAP_DAC_OVERRIDE", true }, { "CAP_DAC_READ_SEARCH", false },
	{ "CAP_FOWNER", true },		{ "CAP_FSETID", true },	      { "CAP_KILL", true },
	{ "CAP_SETGID", true },		{ "CAP_SETUID", true },	      { "CAP_SETPCAP", true },
	{ "CAP_LINUX_IMMUTABLE", false }, { "CAP_NET_BIND_SERVICE", true }, { "CAP_NET_BROADCAST", false },
	{ "CAP_NET_ADMIN", false },	{ "CAP_NET_RAW", true },      { "CAP_IPC_LOCK", false },
	{ "CAP_IPC_OWNER", false },	{ "CAP_SYS_MODULE", false },  { "CAP_SYS_RAWIO", false },
	{ "CAP_SYS_CHROOT", true },	{ "CAP_SYS_PTRACE", false },  { "CAP_SYS_PACCT", false },
	{ "CAP_SYS_ADMIN", false },	{ "CAP_SYS_BOOT", false },    { "CAP_SYS_NICE", false },
	{ "CAP_SYS_RESOURCE", false },	{ "CAP_SYS_TIME", false },    { "CAP_SYS_TTY_CONFIG", false },
	{ "CAP_MKNOD", true },		{ "CAP_LEASE", false },	      { "CAP_AUDIT_WRITE", true },
	{ "CAP_AUDIT_CONTROL", false }, { "CAP_SETFCAP", true },      { "CAP_MAC_OVERRIDE", false },
	{ "CAP_MAC_ADMIN", false },	{ "CAP_SYSLOG", false },      { "CAP_WAKE_ALARM", false },
	{ "CAP_BLOCK_SUSPEND", false }, { "CAP_AUDIT_READ", false },  { "CAP_PERFMON", false },
	{ "CAP_BPF", false },		{ "CAP_CHECKPOINT_RESTORE", false },
};

int spec_cap_name(const char *text, char out[static 32])
{
	const char *name = text && strncasecmp(text, "CAP_", 4) == 0 ? text + 4 : text;

	if (!name)
		return -1;
	if (strcasecmp(name, "ALL") == 0) {
		strcpy(out, "ALL");
		return 0;
	}
	for (size_t i = 0; i < array_len(caps); i++) {
		if (strcasecmp(caps[i].name + 4, name) == 0) {
			snprintf(out, 32, "%s", caps[i].name);
			return 0;
		}
	}
	return -1;
}

static bool listed(const json_t *list, const char *cap)
{
	json_t *entry;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, entry) {
		char name[32];

		if (spec_cap_name(json_string_value(entry), name) == 0 && strcmp(name, cap) == 0)
			return true;
	}
	return false;
}

/* As Docker: "drop ALL" empties the default set, "add ALL" fills it; single names are then added or taken away. */
json_t *spec_caps(const json_t *host)
{
	const json_t *add = json_object_get(host, "CapAdd"), *drop = json_object_get(host, "CapDrop");
	bool all = json_bool(host, "Privileged", false) || listed(add, "ALL"), none = listed(drop, "ALL");
	json_t *out = json_array();

	for (size_t i = 0; i < array_len(caps); i++) {
		bool has = all || listed(add, caps[i].name) || (caps[i].is_default && !none);

		if (has && (json_bool(host, "Privileged", false) || !listed(drop, caps[i].name)))
			json_array_append_new(out, json_string(caps[i].name));
	}
	return out;
}

static json_t *memory_resources(const json_t *host)
{
	int64_t limit = json_int(host, "Memory", 0), swap = json_int(host, "MemorySwap", 0);
	const json_t *swappiness = json_object_get(host, "MemorySwappiness");
	json_t *out = json_object();

	if (limit > 0)
		json_object_set_new(out, "limit", json_integer(limit));
	if (swap || limit > 0) /* not given: as much swap as memory */
		json_object_set_new(out, "swap", json_integer(swap ? swap : 2 * limit));
	if (json_int(host, "MemoryReservation", 0) > 0)
		json_object_set(out, "reservation", json_object_get(host, "MemoryReservation"));
	if (json_is_integer(swappiness) && json_integer_value(swappiness) >= 0)
		json_object_set(out, "swappiness", json_object_get(host, "MemorySwappiness"));
	if (json_bool(host, "OomKillDisable", false))
		json_object_set_new(out, "disableOOMKiller", json_true());
	return out;
}

static json_t *cpu_resources(const json_t *host)
{
	int64_t nano = json_int(host, "NanoCpus", 0);
	static const struct {
		const char *from, *to;
	} plain[] = { { "CpuShares", "shares" },
		      { "CpuQuota", "quota" },
		      { "CpuPeriod", "period" },
		      { "CpuRealtimeRuntime", "realtimeRuntime" },
		      { "CpuRealtimePeriod", "realtimePeriod" } };
	json_t *out = json_object();

	for (size_t i = 0; i < array_len(plain); i++) {
		if (json_int(host, plain[i].from, 0))
			json_object_set(out, plain[i].to, json_object_get(host, plain[i].from));
	}
	if (nano > 0) {
		json_object_set_new(out, "period", json_integer(100000));
		json_object_set_new(out, "quota", json_integer(nano / 10000));
	}
	if (*json_str(host, "CpusetCpus", ""))
		json_object_set(out, "cpus", json_object_get(host, "CpusetCpus"));
	if (*json_str(host, "CpusetMems", ""))
		json_object_set(out, "mems", json_object_get(host, "CpusetMems"));
	return out;
}

json_t *spec_resources(const json_t *host)
{
	json_t *out = json_object(), *memory = memory_resources(host), *cpu = cpu_resources(host);
	int64_t pids = json_int(host, "PidsLimit", 0);

	if (json_object_size(memory) > 0)
		json_object_set(out, "memory", memory);
	if (json_object_size(cpu) > 0)
		json_object_set(out, "cpu", cpu);
	json_decref(memory);
	json_decref(cpu);
	if (pids)
		json_object_set_new(out, "pids", json_pack("{s:I}", "limit", (json_int_t)(pids < 0 ? -1 : pids)));
	if (json_int(host, "BlkioWeight", 0))
		json_object_set_new(out, "blockIO", json_pack("{s:O}", "weight", json_object_get(host, "BlkioWeight")));
	if (json_bool(host, "Privileged", false))
		json_object_set_new(out, "devices", json_pack("[{s:b, s:s}]", "allow", 1, "access", "rwm"));
	return out;
}

int spec_parse_size(const char *text, int64_t *bytes)
{
	static const char units[] = "kmgtp";
	char *end;
	double n = strtod(text, &end);
	const char *unit = *end ? strchr(units, *end | 0x20) : NULL;

	if (end == text || n < 0 || n > 1e15)
		return -1;
	if (unit) {
		for (const char *u = units; u <= unit; u++)
			n *= 1024;
		end++;
	}
	if (*end == 'i' || *end == 'I')
		end++;
	if (*end == 'b' || *end == 'B')
		end++;
	if (*end || n > 9e18)
		return -1;
	*bytes = (int64_t)n;
	return 0;
}

static json_t *tmpfs_mount(const char *destination, const char *options)
{
	json_t *list = json_pack("[s, s, s]", "noexec", "nosuid", "nodev");
	autofree char *copy = xstrdup(options);
	char *rest = copy, *option;

	while ((option = strsep(&rest, ","))) {
		if (*option)
			json_array_append_new(list, json_string(option));
	}
	return json_pack("{s:s, s:s, s:s, s:o}", "destination", destination, "type", "tmpfs", "source", "tmpfs",
			 "options", list);
}

static int add_tmpfs(const struct spec_input *in, json_t *list, struct err *e)
{
	const char *destination;
	json_t *options;

	json_object_foreach(json_object_get(in->host, "Tmpfs"), destination, options) {
		if (*destination != '/' || strcmp(destination, "/") == 0)
			return err_set(e, ERR_INVALID, 0, "invalid tmpfs option: mount path must be absolute: %s",
				       destination);
		json_array_append_new(list, tmpfs_mount(destination, json_string_value(options)));
	}
	return 0;
}

/* Read-only holds for what is mounted below, too, as far as nobody asked for less. */
static json_t *bind_of_point(const struct spec_input *in, const json_t *point)
{
	bool readonly = !json_bool(point, "RW", true), plain = json_bool(point, "plain_ro", false);
	bool flat = json_bool(point, "nonrecursive", false);
	const char *propagation = json_str(point, "Propagation", "");
	json_t *mount =
		json_pack("{s:s, s:s, s:s, s:[s, s, s]}", "destination", json_str(point, "Destination", ""), "type",
			  "bind", "source", json_str(point, "Source", ""), "options", flat ? "bind" : "rbind",
			  readonly ? "ro" : "rw", *propagation ? propagation : "rprivate");

	if (in->host_mounts && (str_ends(propagation, "shared") || str_ends(propagation, "slave")))
		json_object_set_new(mount, "host_namespace", json_string(in->host_mounts));
	if (readonly && !flat && !plain)
		json_array_append_new(json_object_get(mount, "options"), json_string("rro"));
	if (json_object_get(point, "subpath"))
		json_object_set(mount, "subpath", json_object_get(point, "subpath"));
	return mount;
}

static void add_points(const struct spec_input *in, json_t *list)
{
	json_t *point;
	size_t i;

	json_array_foreach(json_object_get(in->host, MOUNT_POINTS), i, point) {
		if (strcmp(json_str(point, "Type", ""), "tmpfs") == 0)
			json_array_append_new(
				list, tmpfs_mount(json_str(point, "Destination", ""), json_str(point, "options", "")));
		else
			json_array_append_new(list, bind_of_point(in, point));
	}
}

static size_t depth(const json_t *mount)
{
	const char *p = json_str(mount, "destination", "");
	size_t n = 0;

	for (; *p; p++)
		n += *p == '/' && p[1] && p[1] != '/';
	return n;
}

/* A mount comes after those that lie above it, whatever option it came from. Stable. */
static json_t *sort_by_depth(const json_t *list)
{
	json_t *sorted = json_array(), *mount;
	size_t i, at;

	json_array_foreach((json_t *)(uintptr_t)list, i, mount) {
		for (at = json_array_size(sorted); at > 0 && depth(json_array_get(sorted, at - 1)) > depth(mount); at--)
			;
		json_array_insert(sorted, at, mount);
	}
	return sorted;
}

json_t *spec_user_mounts(const struct spec_input *in, struct err *e)
{
	autojson *list = json_array();

	if (add_tmpfs(in, list, e) < 0)
		return NULL;
	add_points(in, list);
	return sort_by_depth(list);
}
