/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"
#include "base/str.h"
#include "os/mount.h"
#include "windows/layer.h"

#define OPTIONS_MAX 4000 /* a page, less what the kernel needs */

/* "lowerdir=0:1:...:empty", relative to the target directory: one layer alone would be no overlay. */
static int below_options(struct str *out, struct err *e)
{
	struct stat st;
	char name[16];

	str_init(out, OPTIONS_MAX);
	str_puts(out, "lowerdir=");
	for (unsigned i = 0;
	     snprintf(name, sizeof(name), "%u", i) && !fstatat(AT_FDCWD, name, &st, AT_SYMLINK_NOFOLLOW); i++)
		str_printf(out, "%s:", name);
	str_puts(out, UNPACK_EMPTY);
	return out->full ? err_set(e, ERR_LIMIT, 0, "too many layers") : 0;
}

/* The working directory comes along into the new namespace; the descriptor, which would stay behind, is opened anew. */
static int leave_namespace(struct err *e)
{
	autoclose int target = -1;

	if (fchdir(UNPACK_TARGET_FD) || unshare(CLONE_NEWNS))
		return err_set(e, ERR_SYSTEM, errno, "target directory");
	target = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (target < 0 || dup3(target, UNPACK_TARGET_FD, O_CLOEXEC) < 0)
		return err_set(e, ERR_SYSTEM, errno, "target directory");
	return mount_all_private(e);
}

int windows_layer_below(struct err *e)
{
	autoclose int merged = -1, detached = -1;
	autostr options = { 0 };

	if (leave_namespace(e) || below_options(&options, e))
		return -1;
	if (mount("overlay", UNPACK_MERGED, "overlay", MS_RDONLY | MS_NODEV | MS_NOSUID, options.s))
		return err_set(e, ERR_SYSTEM, errno, "overlay of the layers below");
	merged = open(UNPACK_MERGED, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (merged < 0)
		return err_set(e, ERR_SYSTEM, errno, UNPACK_MERGED);
	detached = mount_clone(merged, "", false, e);
	if (detached < 0 ||
	    mount_change(detached, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID, 0, 0,
			 false, e))
		return -1;
	if (umount2(UNPACK_MERGED, MNT_DETACH))
		return err_set(e, ERR_SYSTEM, errno, UNPACK_MERGED);
	return take_fd(&detached);
}
