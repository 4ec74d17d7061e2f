/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Counters of a cgroup and what the container sees at /sys/fs/cgroup. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "os/cgroup_priv.h"
#include "os/mount.h"
#include "os/numbers.h"

#define NS_PER_TICK (1000000000ll / 100) /* USER_HZ is 100 in every kernel ABI that we run on */

static bool read_number(int dir, const char *file, int64_t *out)
{
	char text[64], *end;

	if (dir < 0 || cgroup_read(dir, file, text, sizeof(text)) || (text[0] < '0' || text[0] > '9'))
		return false;
	*out = (int64_t)strtoull(text, &end, 10);
	return true;
}

static void put_number(json_t *out, const char *key, int dir, const char *file)
{
	int64_t v;

	if (read_number(dir, file, &v))
		json_object_set_new(out, key, json_integer(v));
}

/* "key value" lines as an object; NULL when there is no such file. */
static json_t *read_pairs(int dir, const char *file)
{
	autostr text;
	char *save = NULL;
	json_t *out;

	str_init(&text, 256 * KIB);
	if (dir < 0 || io_read_file(dir, file, &text, NULL))
		return NULL;
	out = json_object();
	for (char *line = text.len ? strtok_r(text.s, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		char *space = strchr(line, ' ');

		if (!space)
			continue;
		*space = '\0';
		json_object_set_new(out, line, json_integer(strtoll(space + 1, NULL, 10)));
	}
	return out;
}

static void cpu_v1(const struct cgroup *cg, json_t *out)
{
	int dir = cgroup_dir(cg, "cpuacct");
	autojson *ticks = read_pairs(dir, "cpuacct.stat");

	put_number(out, "cpu_ns", dir, "cpuacct.usage");
	if (!ticks)
		return;
	json_object_set_new(out, "cpu_user_ns", json_integer(json_int(ticks, "user", 0) * NS_PER_TICK));
	json_object_set_new(out, "cpu_system_ns", json_integer(json_int(ticks, "system", 0) * NS_PER_TICK));
}

static void cpu_v2(const struct cgroup *cg, json_t *out)
{
	autojson *us = read_pairs(cg->h[0].dir, "cpu.stat");

	if (!us)
		return;
	json_object_set_new(out, "cpu_ns", json_integer(json_int(us, "usage_usec", 0) * 1000));
	json_object_set_new(out, "cpu_user_ns", json_integer(json_int(us, "user_usec", 0) * 1000));
	json_object_set_new(out, "cpu_system_ns", json_integer(json_int(us, "system_usec", 0) * 1000));
}

static void memory(const struct cgroup *cg, json_t *out)
{
	bool v1 = cg->version == 1;
	int dir = cgroup_dir(cg, "memory");
	json_t *stat = read_pairs(dir, "memory.stat");

	put_number(out, "memory_bytes", dir, v1 ? "memory.usage_in_bytes" : "memory.current");
	put_number(out, "memory_limit_bytes", dir, v1 ? "memory.limit_in_bytes" : "memory.max");
	put_number(out, "memory_max_bytes", dir, v1 ? "memory.max_usage_in_bytes" : "memory.peak");
	if (stat)
		json_object_set_new(out, "memory_stats", stat);
}

static void blkio_add(json_t *list, unsigned major, unsigned minor, const char *op, int64_t value)
{
	json_array_append_new(list, json_pack("{s:i, s:i, s:s, s:I}", "major", (int)major, "minor", (int)minor, "op",
					      op, "value", (json_int_t)value));
}

/* v1 "8:0 Read 4096" a line. */
static void blkio_line_v1(json_t *list, char *line)
{
	unsigned major, minor;
	const char *op;
	char *space;

	if (numbers_read_device(line, &major, &minor, &op))
		return;
	space = strchr(op, ' ');
	if (!space)
		return;
	*space = '\0';
	blkio_add(list, major, minor, op, strtoll(space + 1, NULL, 10));
}

/* v2 "8:0 rbytes=4096 wbytes=0 rios=1 ..." a line. */
static void blkio_line_v2(json_t *list, const char *line)
{
	static const char *const keys[][2] = { { "rbytes=", "Read" }, { "wbytes=", "Write" } };
	unsigned major, minor;
	const char *rest;

	if (numbers_read_device(line, &major, &minor, &rest))
		return;
	for (size_t i = 0; i < array_len(keys); i++) {
		const char *p = strstr(rest, keys[i][0]);

		if (p)
			blkio_add(list, major, minor, keys[i][1], strtoll(p + strlen(keys[i][0]), NULL, 10));
	}
}

static void blkio(const struct cgroup *cg, json_t *out)
{
	bool v1 = cg->version == 1;
	int dir = cgroup_dir(cg, v1 ? "blkio" : "io");
	json_t *list = json_array();
	char *save = NULL;
	autostr text;

	str_init(&text, 256 * KIB);
	json_object_set_new(out, "blkio", list);
	if (dir < 0 || io_read_file(dir, v1 ? "blkio.throttle.io_service_bytes" : "io.stat", &text, NULL) || !text.len)
		return;
	for (char *line = strtok_r(text.s, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (v1)
			blkio_line_v1(list, line);
		else
			blkio_line_v2(list, line);
	}
}

/* First line of /proc/stat: ticks of all CPUs (user nice system idle iowait irq softirq steal; the guest times are part
 * of user and nice). As Docker counts. */
static void system_cpu(json_t *out)
{
	char text[512];
	int64_t t[8] = { 0 };
	int64_t sum = 0;

	if (cgroup_read(AT_FDCWD, "/proc/stat", text, sizeof(text)) || !str_starts(text, "cpu ") ||
	    numbers_read(text + strlen("cpu "), t, array_len(t)) < 4)
		return;
	for (size_t i = 0; i < array_len(t); i++)
		sum += t[i];
	json_object_set_new(out, "system_cpu_ns", json_integer(sum * NS_PER_TICK));
}

json_t *cgroup_stats(const struct cgroup *cg)
{
	json_t *out = json_object();
	int pids = cgroup_dir(cg, "pids");

	if (cg->version == 1)
		cpu_v1(cg, out);
	else
		cpu_v2(cg, out);
	system_cpu(out);
	json_object_set_new(out, "online_cpus", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
	memory(cg, out);
	put_number(out, "pids", pids, "pids.current");
	put_number(out, "pids_limit", pids, "pids.max");
	blkio(cg, out);
	return out;
}

/* "cpu,cpuacct" mounted at DIR/cpu,cpuacct: DIR/cpu and DIR/cpuacct are symlinks to it, as on every v1 host. */
static void link_controllers(int dir, const char *controllers)
{
	autofree char *list = xstrdup(controllers);
	char *save = NULL;

	if (!strchr(controllers, ','))
		return;
	for (char *name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save))
		symlinkat(controllers, dir, name);
}

static int mount_hierarchy(const struct cgroup *cg, const struct hierarchy *h, int parent, uint64_t attr, bool own_ns,
			   struct err *e)
{
	autofree char *list = xstrdup(h->controllers);
	autoclose int target = -1;
	autoclose int mount = -1;
	const char *options[16];
	size_t n = 0;
	char *save = NULL;

	if (mkdirat(parent, h->controllers, 0755))
		return err_set(e, ERR_SYSTEM, errno, "mkdir %s", h->controllers);
	target = openat(parent, h->controllers, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	for (char *name = strtok_r(list, ",", &save); name && n < array_len(options); name = strtok_r(NULL, ",", &save))
		options[n++] = name;
	if (own_ns) {
		mount = fs_mount("cgroup", NULL, options, n, attr, e);
	} else {
		autofree char *path = xasprintf("%s%s", h->mount, cg->path);

		mount = mount_clone(AT_FDCWD, path, false, e);
		if (mount >= 0 && mount_change(mount, attr, 0, 0, false, e))
			return -1;
	}
	if (mount < 0 || mount_attach(mount, target, e))
		return -1;
	link_controllers(parent, h->controllers);
	return 0;
}

static int mount_view_v1(const struct cgroup *cg, int target, uint64_t attr, bool own_ns, struct err *e)
{
	static const char *const options[] = { "mode=755" };
	autoclose int top =
		fs_mount("tmpfs", "tmpfs", options, array_len(options), attr & ~(uint64_t)MOUNT_ATTR_RDONLY, e);

	if (top < 0 || mount_attach(top, target, e))
		return -1;
	for (size_t i = 0; i < cg->n; i++) {
		if (cg->h[i].dir >= 0 && mount_hierarchy(cg, &cg->h[i], top, attr, own_ns, e))
			return -1;
	}
	return mount_change(top, attr & MOUNT_ATTR_RDONLY, 0, 0, false, e);
}

int cgroup_mount_view(const struct cgroup *cg, int target, uint64_t attr, bool own_namespace, struct err *e)
{
	autoclose int mount = -1;

	if (cg->version == 1)
		return mount_view_v1(cg, target, attr, own_namespace, e);
	/* Without an own namespace only the own directory is shown, never the host's tree. */
	if (own_namespace) {
		mount = fs_mount("cgroup2", "cgroup", NULL, 0, attr, e);
	} else {
		autofree char *path = xasprintf("%s%s", cg->h[0].mount, cg->path);

		mount = mount_clone(AT_FDCWD, path, false, e);
		if (mount >= 0 && mount_change(mount, attr, 0, 0, false, e))
			return -1;
	}
	return mount < 0 ? -1 : mount_attach(mount, target, e);
}
