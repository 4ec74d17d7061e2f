/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "api/daemon.h"
#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "base/step.h"

#define MOUNTINFO_BYTES_MAX (16 * MIB)

struct private_ns {
	const char *lib_dir, *bin_path;
	int *host_mounts;
};

/* Without propagation the new namespace keeps the mounts of this moment: say so instead of wondering later. */
static int warn_if_private(void *arg, struct err *e)
{
	char *line, *save = NULL;
	autostr info;

	str_init(&info, MOUNTINFO_BYTES_MAX);
	if (io_read_file(AT_FDCWD, "/proc/self/mountinfo", &info, e) < 0)
		return -1;
	for (line = strtok_r(info.s, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (strstr(line, " / / ") && strstr(line, " shared:"))
			return 0;
	log_info("the root file system is not a shared mount: what is mounted on this host from now on can't be bound "
		 "into "
		 "containers before silod is restarted");
	return 0;
}

/* The way back, for binds that are to share their mounts with the host. */
static int keep_host(void *arg, struct err *e)
{
	const struct private_ns *p = arg;

	*p->host_mounts = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	return *p->host_mounts < 0 ? err_set(e, ERR_SYSTEM, errno, "open /proc/self/ns/mnt") : 0;
}

static int leave_host(void *arg, struct err *e)
{
	return unshare(CLONE_NEWNS) < 0 ? err_set(e, ERR_SYSTEM, errno, "unshare") : 0;
}

/* Slave: what the host mounts and unmounts arrives here, nothing goes back. */
static int stop_propagation(void *arg, struct err *e)
{
	return mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ? err_set(e, ERR_SYSTEM, errno, "mount") : 0;
}

static int make_bin(void *arg, struct err *e)
{
	const struct private_ns *p = arg;

	return io_mkdir_all(p->bin_path, 0755, e);
}

static int bind_bin(void *arg, struct err *e)
{
	const struct private_ns *p = arg;

	if (mount(p->lib_dir, p->bin_path, NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, p->bin_path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
		return err_set(e, ERR_SYSTEM, errno, "%s at %s", p->lib_dir, p->bin_path);
	return 0;
}

/* No undo: the namespace ends with the process. */
static const struct step private_ns_steps[] = {
	/* name                     wanted run               undo */
	{ "look at the root mount", NULL,  warn_if_private,  NULL },
	{ "the host's namespace",   NULL,  keep_host,        NULL },
	{ "own mount namespace",    NULL,  leave_host,       NULL },
	{ "stop propagation",       NULL,  stop_propagation, NULL },
	{ "directory of programs",  NULL,  make_bin,         NULL },
	{ "read-only programs",     NULL,  bind_bin,         NULL },
};

char *private_ns_enter(const char *exec_root, int *host_mounts, struct err *e)
{
	autofree char *lib_dir = find_lib_dir(e);
	autofree char *bin_path = xasprintf("%s/bin", exec_root);
	struct private_ns p = { .lib_dir = lib_dir, .bin_path = bin_path, .host_mounts = host_mounts };

	if (!lib_dir || steps_run(private_ns_steps, array_len(private_ns_steps), &p, NULL, e) < 0)
		return NULL;
	return take_ptr(&bin_path);
}
