/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cmd/doctor_process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/str.h"
#include "isolation/hyperv/capture.h"

#define CAP_SYS_ADMIN_BIT 21

bool doctor_privileges_missing(void)
{
	autostr text;
	const char *line;

	str_init(&text, 64 * KIB);
	if (io_read_file(AT_FDCWD, "/proc/self/status", &text, NULL))
		return geteuid();
	line = strstr(text.s, "CapEff:");
	return geteuid() || !line || !(strtoull(line + 7, NULL, 16) >> CAP_SYS_ADMIN_BIT & 1);
}

static void check_privileges(json_t *checks)
{
	if (doctor_privileges_missing())
		check_add(checks, CHECK_MISSING, "privileges", "namespaces and mounts need root with CAP_SYS_ADMIN",
			  "run silod (and this command) as root; inside another container with --privileged");
	else
		check_add(checks, CHECK_OK, "privileges", "root", NULL);
}

static void check_kernel(json_t *checks)
{
	static const struct {
		long number;
		const char *name;
	} calls[] = { { SYS_clone3, "clone3" },
		      { SYS_openat2, "openat2" },
		      { SYS_pidfd_open, "pidfd_open" },
		      { SYS_close_range, "close_range" },
		      { SYS_move_mount, "move_mount" } };
	struct utsname host;
	autostr missing;

	str_init(&missing, 256);
	/* Arguments that none of them accepts: only ENOSYS tells something. */
	for (size_t i = 0; i < array_len(calls); i++)
		if (syscall(calls[i].number, -1, 0, -1, -1, -1) < 0 && errno == ENOSYS)
			str_printf(&missing, " %s", calls[i].name);
	uname(&host);
	if (missing.len) {
		autofree char *detail = xasprintf("%s lacks the system calls%s", host.release, missing.s);

		check_add(checks, CHECK_MISSING, "kernel", detail, "use Linux 5.10 or later");
	} else {
		check_add(checks, CHECK_OK, "kernel", host.release, NULL);
	}
}

static void check_namespaces(json_t *checks)
{
	static const char *const kinds[] = { "pid", "mnt", "net", "ipc", "uts", "cgroup" };
	autostr missing;

	str_init(&missing, 256);
	for (size_t i = 0; i < array_len(kinds); i++) {
		autofree char *path = xasprintf("/proc/self/ns/%s", kinds[i]);

		if (access(path, F_OK))
			str_printf(&missing, " %s", kinds[i]);
	}
	if (missing.len) {
		autofree char *detail = xasprintf("the kernel has no%s", missing.s);

		check_add(checks, CHECK_MISSING, "namespaces", detail, "use a kernel with all namespaces");
	} else {
		check_add(checks, CHECK_OK, "namespaces", "pid mnt net ipc uts cgroup", NULL);
	}
}

/* Is the file system known, or is there a module of it that the kernel would load? */
static void check_overlay(json_t *checks)
{
	autofree char *module = NULL;
	struct utsname host;
	autostr text;

	str_init(&text, 64 * KIB);
	if (!io_read_file(AT_FDCWD, "/proc/filesystems", &text, NULL) && text.s && strstr(text.s, "\toverlay\n")) {
		check_add(checks, CHECK_OK, "overlayfs", "known to the kernel", NULL);
		return;
	}
	uname(&host);
	module = xasprintf("/lib/modules/%s/kernel/fs/overlayfs", host.release);
	if (!access(module, F_OK))
		check_add(checks, CHECK_OK, "overlayfs", "module, loaded when needed", NULL);
	else
		check_add(checks, CHECK_MISSING, "overlayfs", "not known to the kernel", "modprobe overlay");
}

static void check_seccomp(json_t *checks)
{
	unsigned action = SECCOMP_RET_ERRNO;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action))
		check_add(checks, CHECK_MISSING, "seccomp", "the kernel can't filter system calls",
			  "use a kernel with CONFIG_SECCOMP_FILTER");
	else
		check_add(checks, CHECK_OK, "seccomp", "filters", NULL);
}

/* Controllers that limits need: of v2 in one file, of v1 one directory each. */
static void check_cgroup(json_t *checks)
{
	static const char *const wanted[] = { "memory", "pids", "cpu" };
	bool v2 = !access("/sys/fs/cgroup/cgroup.controllers", F_OK);
	const char *name = v2                                       ? "version 2"
			   : access("/sys/fs/cgroup/unified", F_OK) ? "version 1"
								    : "version 1 (hybrid)";
	autostr text, missing;

	str_init(&text, 4 * KIB);
	str_init(&missing, 256);
	if (access("/sys/fs/cgroup", F_OK) ||
	    (v2 && io_read_file(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers", &text, NULL))) {
		check_add(checks, CHECK_MISSING, "cgroup", "not mounted", "mount -t cgroup2 cgroup2 /sys/fs/cgroup");
		return;
	}
	for (size_t i = 0; i < array_len(wanted); i++) {
		autofree char *path = xasprintf("/sys/fs/cgroup/%s/tasks", wanted[i]);

		if (v2 ? !text.s || !strstr(text.s, wanted[i]) : access(path, F_OK))
			str_printf(&missing, " %s", wanted[i]);
	}
	if (missing.len) {
		autofree char *detail = xasprintf("%s, without the controllers%s", name, missing.s);

		check_add(checks, CHECK_WARNING, "cgroup", detail, "limits of these kinds won't work");
	} else {
		check_add(checks, CHECK_OK, "cgroup", name, NULL);
	}
}

static void check_ps(json_t *checks)
{
	autofree char *ps = capture_find_program("ps");

	if (ps)
		check_add(checks, CHECK_OK, "ps", ps, NULL);
	else
		check_add(checks, CHECK_WARNING, "ps", "not installed: docker top won't work",
			  "install the package procps");
}

static void (*const process_checks[])(json_t *checks) = {
	check_privileges, check_kernel, check_namespaces, check_overlay, check_seccomp, check_cgroup, check_ps,
};

json_t *doctor_process_checks(void)
{
	json_t *checks = json_array();

	for (size_t i = 0; i < array_len(process_checks); i++)
		process_checks[i](checks);
	return checks;
}
