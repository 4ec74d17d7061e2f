/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/unix.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/own.h"

static int set_name(struct sockaddr_un *name, const char *path, struct err *e)
{
	*name = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(name->sun_path))
		return err_set(e, ERR_INVALID, 0, "%s: the name of a socket has at most %zu characters", path,
			       sizeof(name->sun_path) - 1);
	strcpy(name->sun_path, path);
	return 0;
}

/* A socket of another type than the server's finds it, but isn't let in: EPROTOTYPE. */
bool unix_is_served(const char *path)
{
	autoclose int probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un name;

	if (probe < 0 || set_name(&name, path, NULL))
		return false;
	return !connect(probe, (struct sockaddr *)&name, sizeof(name)) || errno == EPROTOTYPE;
}

static int replace_leftover(int fd, const struct sockaddr_un *name, struct err *e)
{
	struct stat st;

	if (lstat(name->sun_path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return err_set(e, ERR_INVALID, 0, "%s is no socket", name->sun_path);
	if (unix_is_served(name->sun_path))
		return err_set(e, ERR_CONFLICT, 0, "%s: another process listens there", name->sun_path);
	if ((unlink(name->sun_path) && errno != ENOENT) || bind(fd, (const struct sockaddr *)name, sizeof(*name)))
		return err_set(e, ERR_SYSTEM, errno, "%s", name->sun_path);
	return 0;
}

int unix_listen(const char *path, mode_t mode, struct err *e)
{
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un name;

	if (fd < 0 || set_name(&name, path, e))
		return fd < 0 ? err_set(e, ERR_SYSTEM, errno, "socket") : -1;
	if (bind(fd, (struct sockaddr *)&name, sizeof(name))) {
		if (errno != EADDRINUSE)
			return err_set(e, ERR_SYSTEM, errno, "%s", path);
		if (replace_leftover(fd, &name, e))
			return -1;
	}
	if (chmod(path, mode) || listen(fd, SOMAXCONN))
		return err_set(e, ERR_SYSTEM, errno, "%s", path);
	return take_fd(&fd);
}
