/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "os/lookup.h"
#include "os/pidfd.h"

static _Noreturn void run_child(const char *const *argv, int out)
{
	static const char *const env[] = { "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C", NULL };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct err e = { 0 };
	char path[512];
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
		_exit(126);
	if (lookup_command(argv[0], env, path, sizeof(path), &e)) {
		dprintf(2, "%s\n", e.msg);
		_exit(127);
	}
	close_range(3, ~0u, 0);
	execve(path, (char *const *)argv, (char *const *)env);
	_exit(126);
}

/* Until end of file. */
static int drain(int fd, int timeout_ms, struct str *out, struct err *e)
{
	int64_t deadline = time_monotonic_ms() + timeout_ms;
	char buf[4096];

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = deadline - time_monotonic_ms();
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return err_set(e, ERR_TIMEOUT, 0, "no answer in %d ms", timeout_ms);
		n = read(fd, buf, sizeof(buf));
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return err_set(e, ERR_SYSTEM, errno, "read");
		if (n > 0 && str_add(out, buf, (size_t)n))
			return err_set(e, ERR_LIMIT, 0, "more than %zu bytes of output", out->max);
	}
}

int run_capture(const char *const *argv, int timeout_ms, struct str *out, struct err *e)
{
	autoclose int pidfd = -1;
	autoclose int in = -1;
	autoclose int child_out = -1;
	int fds[2], code = -1, r;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return err_set(e, ERR_SYSTEM, errno, "pipe");
	in = fds[0];
	child_out = fds[1];
	pid = pidfd_clone(0, -1, &pidfd, e);
	if (pid < 0)
		return -1;
	if (pid == 0)
		run_child(argv, child_out);
	close_fd(&child_out);
	r = drain(in, timeout_ms, out, e);
	if (r)
		(void)!pidfd_signal(pidfd, SIGKILL, NULL);
	if (pidfd_wait(pidfd, true, &code, r ? NULL : e) < 0 || r)
		return r ? err_prefix(e, "%s", argv[0]) : -1;
	if (code)
		return err_set(e, ERR_SYSTEM, 0, "%s: exit status %d: %.200s", argv[0], code, out->len ? out->s : "");
	return 0;
}
