/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/str.h"
#include "os/pidfd.h"
#include "os/run.h"

#define HELPER_ARGS_MAX (2 + 3 * 340 + 1)
#define HELPER_TIMEOUT_MS 10000

/* newuidmap PID inside outside size ...: knows /etc/subuid. */
static int map_by_helper(const char *helper, pid_t pid, const struct id_map *maps, size_t n, struct err *e)
{
	autofree char **owned = xcalloc(3 * n + 1, sizeof(*owned));
	const char *argv[HELPER_ARGS_MAX] = { helper };
	autofree char *pid_text = xasprintf("%d", pid);
	autostr out;
	size_t used = 0;
	int r;

	str_init(&out, 4 * KIB);
	argv[1] = pid_text;
	for (size_t i = 0; i < n && 3 * i + 5 < HELPER_ARGS_MAX; i++) {
		const uint32_t values[] = { maps[i].inside, maps[i].outside, maps[i].size };

		for (size_t k = 0; k < 3; k++)
			argv[2 + used + k] = owned[used + k] = xasprintf("%u", values[k]);
		used += 3;
	}
	r = run_capture(argv, HELPER_TIMEOUT_MS, &out, e);
	for (size_t i = 0; i < used; i++)
		own_free(&owned[i]);
	return r;
}

static int write_map(pid_t pid, const char *file, const char *helper, const struct id_map *maps, size_t n,
		     struct err *e)
{
	autofree char *path = xasprintf("/proc/%d/%s", pid, file);
	struct err why = { 0 };
	autostr text;

	str_init(&text, 16 * KIB);
	for (size_t i = 0; i < n; i++)
		str_printf(&text, "%u %u %u\n", maps[i].inside, maps[i].outside, maps[i].size);
	if (!io_write_kernel(AT_FDCWD, path, text.s ? text.s : "", &why))
		return 0;
	/* one id, our own, may be mapped by everybody; more need the helper */
	if (geteuid() != 0 && !map_by_helper(helper, pid, maps, n, e))
		return 0;
	*e = why;
	return -1;
}

bool userns_is_initial(void)
{
	unsigned inside = 1, outside = 1, size = 0;
	autostr text;

	str_init(&text, 16 * KIB);
	if (io_read_file(AT_FDCWD, "/proc/self/uid_map", &text, NULL) || !text.len)
		return true; /* a kernel without them */
	return sscanf(text.s, "%u %u %u", &inside, &outside, &size) == 3 && !inside && !outside && size == UINT32_MAX;
}

int userns_write_maps(pid_t pid, const struct id_maps *m, struct err *e)
{
	autofree char *setgroups = xasprintf("/proc/%d/setgroups", pid);
	bool single = m->n_gids == 1 && m->gids[0].size == 1;

	if (geteuid() != 0 && single && io_write_kernel(AT_FDCWD, setgroups, "deny", e))
		return -1;
	if (write_map(pid, "gid_map", "newgidmap", m->gids, m->n_gids, e))
		return -1;
	return write_map(pid, "uid_map", "newuidmap", m->uids, m->n_uids, e);
}

/* What /proc calls a process, which may show another pid namespace than ours. */
static int pid_in_proc(int pidfd, pid_t *pid, struct err *e)
{
	char path[40];
	const char *line;
	autostr text;

	str_init(&text, 4 * KIB);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	if (io_read_file(AT_FDCWD, path, &text, e))
		return -1;
	line = text.len ? strstr(text.s, "Pid:") : NULL;
	*pid = line ? (pid_t)strtol(line + 4, NULL, 10) : 0;
	return *pid > 0 ? 0 : err_set(e, ERR_SYSTEM, 0, "%s has no pid", path);
}

/* The namespace lives as long as somebody has it open; its first process isn't needed any more then. */
static int open_namespace(const struct id_maps *m, struct err *e)
{
	autoclose int pidfd = -1;
	autofree char *path = NULL;
	pid_t pid = pidfd_clone(CLONE_NEWUSER, -1, &pidfd, e);
	int fd = -1, code;

	if (pid < 0)
		return -1;
	if (pid == 0) {
		pause();
		_exit(0);
	}
	if (!pid_in_proc(pidfd, &pid, e) && !userns_write_maps(pid, m, e)) {
		path = xasprintf("/proc/%d/ns/user", pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			err_set(e, ERR_SYSTEM, errno, "open %s", path);
	}
	(void)!pidfd_signal(pidfd, SIGKILL, NULL);
	(void)!pidfd_wait(pidfd, true, &code, NULL);
	return fd;
}

int mount_idmap(int mount, const struct id_maps *m, bool recursive, struct err *e)
{
	autoclose int ns = open_namespace(m, e);
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)ns };

	if (ns < 0)
		return err_prefix(e, "namespace of an id-mapped mount");
	if (mount_setattr(mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0u), &attr, sizeof(attr)))
		return err_set(e, ERR_SYSTEM, errno, "map the ids of the mount (can its file system?)");
	return 0;
}
