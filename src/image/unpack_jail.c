/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a bug in libarchive, zstd or the extractor must not reach: the rest of the file system (the target directory
 * becomes the root, alone in its own mount namespace), the network, other processes' IPC, and most of root's power.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "image/unpack.h"

#define CAP_BIT(c) (1ull << (c))

/* What recording owners, modes, devices and file capabilities takes. The overlay's own xattrs are the parent's job:
 * they need CAP_SYS_ADMIN. */
#define LAYER_CAPS \
	(CAP_BIT(CAP_CHOWN) | CAP_BIT(CAP_DAC_OVERRIDE) | CAP_BIT(CAP_FOWNER) | CAP_BIT(CAP_FSETID) | \
	 CAP_BIT(CAP_MKNOD) | CAP_BIT(CAP_SETFCAP))
static const uint64_t caps_of[] = {
	[UNPACK_LAYER] = LAYER_CAPS,
	[UNPACK_HASHED] = LAYER_CAPS,
	[UNPACK_ARCHIVE] = 0,
	[UNPACK_STREAM] = 0,
	[UNPACK_WINDOWS] = 0,
	[UNPACK_CONTEXT] = CAP_BIT(CAP_CHOWN) | CAP_BIT(CAP_DAC_OVERRIDE) | CAP_BIT(CAP_FOWNER) | CAP_BIT(CAP_FSETID),
};

static const struct {
	int resource;
	rlim_t limit;
} rlimits[] = {
	{ RLIMIT_CORE, 0 },
	{ RLIMIT_NOFILE, 64 },
	{ RLIMIT_NPROC, 0 },
	{ RLIMIT_AS, 2 * GIB },
	{ RLIMIT_CPU, 1800 }, /* seconds */
};

/* The parent's death ends the helper, also if it came before prctl(). */
static int tie_to_parent(struct err *e)
{
	struct pollfd result = { .fd = 1 };

	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		return err_set(e, ERR_SYSTEM, errno, "PR_SET_PDEATHSIG");
	if (poll(&result, 1, 0) == 1 && (result.revents & POLLERR))
		return err_set(e, ERR_SYSTEM, 0, "the parent process is gone");
	return 0;
}

/* The target directory, mounted without devices, set-id programs and execution, becomes "/". */
static int enter_target(struct err *e)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC };
	int tree;

	/* Through the working directory, which unshare() carries over into the new namespace; an fd stays in the old. */
	if (fchdir(UNPACK_TARGET_FD))
		return err_set(e, ERR_SYSTEM, errno, "target directory");
	if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS))
		return err_set(e, ERR_SYSTEM, errno, "unshare");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return err_set(e, ERR_SYSTEM, errno, "private mounts");
	tree = (int)syscall(SYS_open_tree, AT_FDCWD, ".", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0)
		return err_set(e, ERR_SYSTEM, errno, "open_tree");
	if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) && errno != ENOSYS)
		return err_set(e, ERR_SYSTEM, errno, "mount_setattr");
	/* Onto the old root, then the two change places and the old one goes. */
	if (syscall(SYS_move_mount, tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH))
		return err_set(e, ERR_SYSTEM, errno, "move_mount");
	if (fchdir(tree) || syscall(SYS_pivot_root, ".", "."))
		return err_set(e, ERR_SYSTEM, errno, "pivot_root");
	if (umount2(".", MNT_DETACH) || chdir("/"))
		return err_set(e, ERR_SYSTEM, errno, "leaving the old root");
	/* The old descriptor is on the old mount; the new one takes its number. */
	if (dup3(tree, UNPACK_TARGET_FD, O_CLOEXEC) < 0 || close(tree))
		return err_set(e, ERR_SYSTEM, errno, "target directory");
	return 0;
}

static int drop_caps(uint64_t keep, struct err *e)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap))
			return err_set(e, ERR_SYSTEM, errno, "bounding set");
	for (int i = 0; i < 2; i++)
		data[i].effective = data[i].permitted = (uint32_t)(keep >> (32 * i));
	if (syscall(SYS_capset, &head, data))
		return err_set(e, ERR_SYSTEM, errno, "capset");
	return 0;
}

int unpack_jail(enum unpack_mode mode, struct err *e)
{
	if (tie_to_parent(e) || enter_target(e))
		return -1;
	for (size_t i = 0; i < array_len(rlimits); i++) {
		const struct rlimit limit = { rlimits[i].limit, rlimits[i].limit };

		if (setrlimit((__rlimit_resource_t)rlimits[i].resource, &limit))
			return err_set(e, ERR_SYSTEM, errno, "setrlimit");
	}
	umask(0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return err_set(e, ERR_SYSTEM, errno, "no_new_privs");
	return drop_caps(caps_of[mode], e);
}
