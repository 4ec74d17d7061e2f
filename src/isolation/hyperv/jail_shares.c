/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a running jail serves: mounts are attached in its namespace, by a process of ours that goes there for a moment. The
 * program sees /share by a read-only mount; the directories in it are made by another mount of the same file system,
 * which only that process has.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "isolation/hyperv/jail.h"
#include "os/mount.h"

struct visit {
	const int *mounts; /* NULL: take them away */
	size_t n;
	unsigned first;
};

#define NAME_MAX_BYTES 16

static void share_name(const struct visit *v, size_t i, char name[static NAME_MAX_BYTES])
{
	snprintf(name, NAME_MAX_BYTES, "%u", v->first + (unsigned)i);
}

static int attach(const struct visit *v, size_t i, int shown, int writable, struct err *e)
{
	autoclose int file = -1;
	char name[NAME_MAX_BYTES];
	struct stat st;

	share_name(v, i, name);
	if (fstat(v->mounts[i], &st))
		return err_set(e, ERR_SYSTEM, errno, "stat share %s", name);
	if (S_ISDIR(st.st_mode) ? mkdirat(writable, name, 0755)
				: (file = openat(writable, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644)) < 0)
		return err_set(e, ERR_SYSTEM, errno, "create share %s", name);
	if (move_mount(v->mounts[i], "", shown, name, MOVE_MOUNT_F_EMPTY_PATH))
		return err_set(e, ERR_SYSTEM, errno, "attach share %s", name);
	return 0;
}

/* What isn't there is gone. */
static void detach(const struct visit *v, size_t i, int writable)
{
	char name[NAME_MAX_BYTES], path[sizeof(JAIL_SHARES) + NAME_MAX_BYTES];

	share_name(v, i, name);
	snprintf(path, sizeof path, JAIL_SHARES "/%s", name);
	umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
	if (unlinkat(writable, name, AT_REMOVEDIR) && errno == ENOTDIR)
		unlinkat(writable, name, 0);
}

/* In the jail's mount namespace. */
static int visit_shares(const struct visit *v, struct err *e)
{
	autoclose int shown = open(JAIL_SHARES, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	autoclose int writable = shown < 0 ? -1 : mount_clone(shown, "", false, e);
	int rc = 0;

	if (shown < 0)
		return err_set(e, ERR_SYSTEM, errno, "open " JAIL_SHARES);
	if (writable < 0 || mount_change(writable, 0, MOUNT_ATTR_RDONLY, 0, false, e))
		return -1;
	for (size_t i = 0; i < v->n && !rc && v->mounts; i++)
		rc = attach(v, i, shown, writable, e);
	for (size_t i = 0; i < v->n && (rc || !v->mounts); i++)
		detach(v, i, writable);
	return rc;
}

static _Noreturn void visitor(const struct visit *v, int ns, int answer)
{
	struct err e = { 0 };

	if (setns(ns, CLONE_NEWNS))
		err_set(&e, ERR_SYSTEM, errno, "enter the mount namespace of vmwp");
	else
		(void)!visit_shares(v, &e);
	_exit(io_write_all(answer, &e, sizeof e) ? 1 : 0);
}

static int send_visitor(pid_t pid, const struct visit *v, struct err *e)
{
	char path[32];
	autoclose int ns = -1, read_end = -1, write_end = -1;
	struct err said;
	int ends[2], rc;
	pid_t child;

	snprintf(path, sizeof path, "/proc/%d/ns/mnt", pid);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	if (ns < 0 || pipe2(ends, O_CLOEXEC))
		return err_set(e, ERR_SYSTEM, errno, "mount namespace of vmwp");
	read_end = ends[0];
	write_end = ends[1];
	child = fork();
	if (child < 0)
		return err_set(e, ERR_SYSTEM, errno, "fork");
	if (!child)
		visitor(v, ns, write_end);
	close_fd(&write_end);
	rc = io_read_full(read_end, &said, sizeof said);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	if (rc)
		return err_set(e, ERR_SYSTEM, 0, "the shares of vmwp can't be changed");
	if (!said.kind)
		return 0;
	*e = said;
	return -1;
}

/* Files of a share may have any size. */
static int lift_limits(pid_t pid, struct err *e)
{
	struct rlimit l;

	if (prlimit(pid, RLIMIT_FSIZE, NULL, &l))
		return err_set(e, ERR_SYSTEM, errno, "read the file size limit of vmwp");
	if (l.rlim_cur == l.rlim_max)
		return 0;
	l.rlim_cur = l.rlim_max;
	return prlimit(pid, RLIMIT_FSIZE, &l, NULL) ? err_set(e, ERR_SYSTEM, errno, "set the file size limit of vmwp")
						    : 0;
}

int jail_share(pid_t pid, const int *mounts, size_t n, unsigned first, struct err *e)
{
	const struct visit v = { .mounts = mounts, .n = n, .first = first };

	if (!n)
		return 0;
	return lift_limits(pid, e) || send_visitor(pid, &v, e) ? -1 : 0;
}

int jail_unshare(pid_t pid, size_t n, unsigned first, struct err *e)
{
	const struct visit v = { .n = n, .first = first };

	return n ? send_visitor(pid, &v, e) : 0;
}
