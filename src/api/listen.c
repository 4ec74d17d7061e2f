/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/daemon.h"
#include "base/io.h"
#include "base/own.h"
#include "base/str.h"

#define LISTEN_FDS_START 3
#define LISTEN_BACKLOG 1024
#define SOCKET_GROUP "silo"

static int unix_address(const char *path, struct sockaddr_un *a, struct err *e)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	if (path[0] != '/' || strlen(path) >= sizeof(a->sun_path))
		return err_set(e, ERR_INVALID, 0, "socket path \"%s\": must be absolute and shorter than %zu bytes",
			       path, sizeof(a->sun_path));
	memcpy(a->sun_path, path, strlen(path) + 1);
	return 0;
}

static int remove_stale(const char *path, const struct sockaddr_un *a, struct err *e)
{
	autoclose int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_set(e, ERR_SYSTEM, errno, "%s", path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, ERR_CONFLICT, 0, "%s exists and is not a socket", path);
	if (connect(probe, (const struct sockaddr *)a, sizeof(*a)) == 0 || errno != ECONNREFUSED)
		return err_set(e, ERR_CONFLICT, 0, "%s is in use: something is listening on it", path);
	if (unlink(path) < 0)
		return err_set(e, ERR_SYSTEM, errno, "remove stale socket %s", path);
	return 0;
}

static int make_parent(const char *path, struct err *e)
{
	autofree char *parent = xstrdup(path);

	*strrchr(parent, '/') = '\0';
	return *parent ? io_mkdir_all(parent, 0755, e) : 0;
}

/* 0660 from the first moment on: the mask is set while bind() makes the file. */
static int bind_private(int fd, const char *path, const struct sockaddr_un *a, struct err *e)
{
	const struct group *group = getgrnam(SOCKET_GROUP);
	mode_t old = umask(0117);
	int rc = bind(fd, (const struct sockaddr *)a, sizeof(*a));

	umask(old);
	if (rc < 0 || listen(fd, LISTEN_BACKLOG) < 0)
		return err_set(e, ERR_SYSTEM, errno, "listen on %s", path);
	if (group && lchown(path, 0, group->gr_gid) < 0)
		return err_set(e, ERR_SYSTEM, errno, "give %s to group " SOCKET_GROUP, path);
	return 0;
}

static int listen_unix(const char *path, struct err *e)
{
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un a;

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, errno, "socket");
	if (unix_address(path, &a, e) < 0 || make_parent(path, e) < 0 || remove_stale(path, &a, e) < 0 ||
	    bind_private(fd, path, &a, e) < 0)
		return -1;
	return take_fd(&fd);
}

/* Source: sd_listen_fds(3). */
static void take_activated(struct listeners *l)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	size_t n = 0;

	if (pid && count && strtol(pid, NULL, 10) == getpid())
		n = strtoul(count, NULL, 10);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	for (; l->n < n && l->n < LISTENERS_MAX; l->n++) {
		l->fd[l->n] = LISTEN_FDS_START + (int)l->n;
		fcntl(l->fd[l->n], F_SETFD, FD_CLOEXEC);
		fcntl(l->fd[l->n], F_SETFL, fcntl(l->fd[l->n], F_GETFL) | O_NONBLOCK);
	}
}

static int add_path(struct listeners *l, const char *path, struct err *e)
{
	if (l->n == LISTENERS_MAX)
		return err_set(e, ERR_LIMIT, 0, "more than %d sockets", LISTENERS_MAX);
	l->fd[l->n] = listen_unix(path, e);
	if (l->fd[l->n] < 0)
		return -1;
	l->path[l->n++] = xstrdup(path);
	return 0;
}

int listeners_open(struct listeners *l, char *const *hosts, size_t n_hosts, const char *default_path, struct err *e)
{
	memset(l, 0, sizeof(*l));
	take_activated(l);
	for (size_t i = 0; i < n_hosts; i++)
		if (str_starts(hosts[i], "unix://") && add_path(l, hosts[i] + strlen("unix://"), e) < 0)
			return -1;
	if (l->n == 0 && n_hosts > 0)
		return err_set(e, ERR_INVALID, 0, "fd:// needs sockets that systemd has passed");
	return l->n ? 0 : add_path(l, default_path, e);
}

void listeners_remove(struct listeners *l)
{
	for (size_t i = 0; i < l->n; i++) {
		if (l->path[i])
			unlink(l->path[i]);
		free(l->path[i]);
		l->path[i] = NULL;
	}
}
