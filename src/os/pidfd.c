/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/pidfd.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

pid_t pidfd_clone(uint64_t flags, int cgroup, int *pidfd, struct err *e)
{
	int fd = -1;
	struct clone_args args = {
		.flags = flags | CLONE_PIDFD | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uintptr_t)&fd,
		.exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD, /* else it is the caller's own */
		.cgroup = cgroup >= 0 ? (uint64_t)cgroup : 0,
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0)
		return err_set(e, ERR_SYSTEM, errno, "clone3");
	*pidfd = fd;
	return (pid_t)pid;
}

int pidfd_signal(int pidfd, int signo, struct err *e)
{
	if (!syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0))
		return 0;
	if (errno == ESRCH)
		return err_set(e, ERR_NOT_FOUND, 0, "the process has ended");
	return err_set(e, errno == EINVAL ? ERR_INVALID : ERR_SYSTEM, errno, "send signal %d", signo);
}

int pidfd_wait(int pidfd, bool block, int *exit_code, struct err *e)
{
	siginfo_t info;
	int r;

	info.si_pid = 0;
	do {
		r = waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | (block ? 0 : WNOHANG));
	} while (r && errno == EINTR);
	if (r)
		return err_set(e, ERR_SYSTEM, errno, "waitid");
	if (!info.si_pid)
		return 0;
	*exit_code = info.si_code == CLD_EXITED ? info.si_status & 0xff : 128 + info.si_status;
	return 1;
}
