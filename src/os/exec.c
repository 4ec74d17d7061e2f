/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/exec.h"

#include <fcntl.h>
#include <sys/mount.h>

#include "base/own.h"
#include "os/mount.h"

int exec_open_readonly(const char *path, struct err *e)
{
	autoclose int fd = mount_clone(AT_FDCWD, path, false, e);

	if (fd < 0 || mount_change(fd, MOUNT_ATTR_RDONLY, 0, 0, false, e))
		return -1;
	return take_fd(&fd);
}
