/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"

int daemon_lock(const char *dir, struct err *e)
{
	autofree char *path = xasprintf("%s/silod.lock", dir);
	autoclose int fd = -1;

	if (io_mkdir_all(dir, 0711, e) < 0)
		return -1;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(e, ERR_SYSTEM, errno, "open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return err_set(e, ERR_CONFLICT, 0, "another silod is running on %s (it holds %s)", dir, path);
	return take_fd(&fd);
}

void daemon_prepare(sigset_t *signals)
{
	static const int wanted[] = { SIGTERM, SIGINT, SIGHUP };
	struct rlimit files;

	sigemptyset(signals);
	for (size_t i = 0; i < array_len(wanted); i++)
		sigaddset(signals, wanted[i]);
	pthread_sigmask(SIG_BLOCK, signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* Source: sd_notify(3). A leading '@' is the abstract namespace. */
void notify_manager(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	autoclose int fd = -1;
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t n = path ? strlen(path) : 0;

	if (n == 0 || n >= sizeof(a.sun_path))
		return;
	memcpy(a.sun_path, path, n);
	if (path[0] == '@')
		a.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&a,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
		log_warn("tell the service manager %s: %s", state, strerror(errno));
}

char *find_lib_dir(struct err *e)
{
	static const char *const places[] = { "", "/../libexec/silo" };
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0) {
		err_set(e, ERR_SYSTEM, errno, "readlink /proc/self/exe");
		return NULL;
	}
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	for (size_t i = 0; i < array_len(places); i++) {
		autofree char *dir = xasprintf("%s%s", self, places[i]);
		autofree char *monitor = xasprintf("%s/silo-monitor", dir);

		if (access(monitor, X_OK) == 0)
			return realpath(dir, NULL);
	}
	err_set(e, ERR_SYSTEM, 0, "silo-monitor is neither in %s nor in %s/../libexec/silo", self, self);
	return NULL;
}
