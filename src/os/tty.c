/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/own.h"
#include "os/mount.h"

int tty_open_pair(int pts, int *master, int *slave, struct err *e)
{
	autoclose int m = -1;
	int unlock = 0;
	int s;

	if (mount_fs_type(pts) != DEVPTS_SUPER_MAGIC)
		return err_set(e, ERR_INVALID, 0, "/dev/pts of the container is not devpts");
	m = openat(pts, "ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);
	if (m < 0 || ioctl(m, TIOCSPTLCK, &unlock))
		return err_set(e, ERR_SYSTEM, errno, "open terminal");
	s = ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (s < 0)
		return err_set(e, ERR_SYSTEM, errno, "open terminal");
	*slave = s;
	*master = take_fd(&m);
	return 0;
}

int tty_resize(int fd, uint16_t rows, uint16_t cols, struct err *e)
{
	struct winsize ws = { .ws_row = rows, .ws_col = cols };

	if (!rows && !cols)
		return 0;
	return ioctl(fd, TIOCSWINSZ, &ws) ? err_set(e, ERR_SYSTEM, errno, "resize terminal") : 0;
}

int tty_make_controlling(int slave, struct err *e)
{
	if (setsid() < 0 && errno != EPERM)
		return err_set(e, ERR_SYSTEM, errno, "setsid");
	return ioctl(slave, TIOCSCTTY, 0) ? err_set(e, ERR_SYSTEM, errno, "set controlling terminal") : 0;
}
