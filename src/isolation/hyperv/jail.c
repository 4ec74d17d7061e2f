/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"

#define NAMESPACES (CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWCGROUP)
#define SHARES_FILES 4096 /* open files of a VM that shares directories */
#define FD_PARKING 64 /* descriptors are moved up here before they get their final numbers */

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static const struct {
	int resource;
	rlim_t limit;
} jail_limits[] = {
	{ RLIMIT_CORE, 0 },     /* a core dump would hold the guest's memory */
	{ RLIMIT_NOFILE, 256 }, /* QEMU uses some 40 */
	{ RLIMIT_NPROC, 128 },  /* threads: vCPU, up to 64 of disk I/O; QEMU aborts when it gets none. Counted per user */
	{ RLIMIT_MSGQUEUE, 0 },
};

/* What the 9p server needs to give files the owners and modes that the guest asks for. Not CAP_DAC_READ_SEARCH, which
 * opens files by handle wherever they lie. */
static const int share_caps[] = { CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID };

/* ---- the child: only system calls from here to exec, the parent may have threads ---- */

static int child_signals(struct err *e)
{
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL))
		return err_set(e, ERR_SYSTEM, errno, "signal mask");
	return 0;
}

/* Descriptor i becomes fds[i]; status stays open, close-on-exec, behind them. */
static int child_descriptors(const struct jail_options *o, int *status, struct err *e)
{
	int parked[JAIL_FDS_MAX];

	for (size_t i = 0; i < o->n_fds; i++) {
		parked[i] = o->fds[i] < 0 ? -1 : fcntl(o->fds[i], F_DUPFD_CLOEXEC, FD_PARKING);
		if (o->fds[i] >= 0 && parked[i] < 0)
			return err_set(e, ERR_SYSTEM, errno, "duplicate a descriptor");
	}
	*status = fcntl(*status, F_DUPFD_CLOEXEC, FD_PARKING);
	if (*status < 0)
		return err_set(e, ERR_SYSTEM, errno, "duplicate a descriptor");
	for (size_t i = 0; i < o->n_fds; i++)
		if (parked[i] >= 0 && dup2(parked[i], (int)i) < 0)
			return err_set(e, ERR_SYSTEM, errno, "duplicate a descriptor");
	for (size_t i = 0; i < o->n_fds; i++)
		if (parked[i] < 0)
			close((int)i);
	if (dup2(*status, (int)o->n_fds) < 0)
		return err_set(e, ERR_SYSTEM, errno, "duplicate a descriptor");
	*status = (int)o->n_fds;
	if (fcntl(*status, F_SETFD, FD_CLOEXEC) || syscall(SYS_close_range, *status + 1, ~0u, 0))
		return err_set(e, ERR_SYSTEM, errno, "close descriptors");
	return 0;
}

/* The tree becomes the only mount of this namespace. Nothing of it can be written, no device in it opened. */
static int child_root(const struct jail_options *o, struct err *e)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return err_set(e, ERR_SYSTEM, errno, "make mounts private");
	if (mount(o->root_path, o->root_path, NULL, MS_BIND, NULL))
		return err_set(e, ERR_SYSTEM, errno, "bind %s", o->root_path);
	if (mount(NULL, o->root_path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL))
		return err_set(e, ERR_SYSTEM, errno, "make %s read-only", o->root_path);
	/* The old root lands on top of the new one and is taken off again, with everything below it. */
	if (chdir(o->root_path) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		return err_set(e, ERR_SYSTEM, errno, "change root to %s", o->root_path);
	if (sethostname("vmwp", 4) || setdomainname("", 0))
		return err_set(e, ERR_SYSTEM, errno, "set hostname");
	return 0;
}

/* Empty: what is shared is attached later, by the parent. */
static int child_shares(const struct jail_options *o, struct err *e)
{
	if (!o->shares)
		return 0;
	/* QEMU's way to the extended attributes of a file is /proc/self/fd. Of processes it shows this one only. */
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, "subset=pid"))
		return err_set(e, ERR_SYSTEM, errno, "mount /proc");
	if (mount("shares", JAIL_SHARES, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=1m"))
		return err_set(e, ERR_SYSTEM, errno, "mount " JAIL_SHARES);
	/* This mount, not the file system: see jail_shares.c. */
	if (mount(NULL, JAIL_SHARES, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		return err_set(e, ERR_SYSTEM, errno, "make " JAIL_SHARES " read-only");
	return 0;
}

/* The monitor protects itself from the OOM killer; a virtual machine is what that should take. No harm if it fails. */
static void child_oom_score(int score)
{
	autoclose int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	char text[16];
	int n = snprintf(text, sizeof text, "%d", score);

	if (fd >= 0 && write(fd, text, (size_t)n) < 0)
		return;
}

static int child_limits(const struct jail_options *o, struct err *e)
{
	/* Files of a share may have any size: the first of them lifts the limit (jail_share()). */
	struct rlimit files = { o->file_bytes, o->shares ? RLIM_INFINITY : o->file_bytes }, now;

	for (size_t i = 0; i < array_len(jail_limits); i++) {
		struct rlimit limit = { jail_limits[i].limit, jail_limits[i].limit };

		/* The 9p server keeps files open for its guest, and closes some when it comes near the limit. */
		if (o->shares && jail_limits[i].resource == RLIMIT_NOFILE && !getrlimit(RLIMIT_NOFILE, &now))
			limit.rlim_cur = limit.rlim_max = now.rlim_max < SHARES_FILES ? now.rlim_max : SHARES_FILES;
		if (setrlimit((__rlimit_resource_t)jail_limits[i].resource, &limit))
			return err_set(e, ERR_SYSTEM, errno, "set resource limit %d", jail_limits[i].resource);
	}
	if (o->shares && !getrlimit(RLIMIT_FSIZE, &now))
		files.rlim_max = now.rlim_max;
	if (files.rlim_cur > files.rlim_max)
		files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_FSIZE, &files))
		return err_set(e, ERR_SYSTEM, errno, "set file size limit");
	/* Huge pages would double what an idle VM takes: a little heap and translated code here and there. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	return 0;
}

/*
 * A user namespace with all users of the host: capabilities in it hold for files of whoever, but for nothing else of
 * the host, and only where the mounts lead. The parent writes the map: this process has no /proc and no right to.
 */
static int child_user_namespace(int status, struct err *e)
{
	static const struct err map_me = { 0 };
	char done;

	if (unshare(CLONE_NEWUSER))
		return err_set(e, ERR_SYSTEM, errno, "make user namespace");
	if (io_write_all(status, &map_me, sizeof map_me) || io_read_full(status, &done, 1))
		return err_set(e, ERR_SYSTEM, errno, "map users");
	return 0;
}

/* Take over capabilities in every set, so that they outlive exec(2) of an unprivileged user. */
static int child_file_capabilities(struct err *e)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2] = { 0 };

	for (size_t i = 0; i < array_len(share_caps); i++) {
		uint32_t bit = 1u << share_caps[i] % 32;
		struct __user_cap_data_struct *set = &sets[share_caps[i] / 32];

		set->effective |= bit;
		set->permitted |= bit;
		set->inheritable |= bit;
	}
	if (syscall(SYS_capset, &header, sets))
		return err_set(e, ERR_SYSTEM, errno, "set capabilities");
	for (size_t i = 0; i < array_len(share_caps); i++)
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, share_caps[i], 0, 0))
			return err_set(e, ERR_SYSTEM, errno, "keep capabilities");
	return 0;
}

static bool is_kept(const struct jail_options *o, int cap)
{
	for (size_t i = 0; i < array_len(share_caps); i++)
		if (o->shares && share_caps[i] == cap)
			return true;
	return false;
}

static int child_privileges(const struct jail_options *o, int status, struct err *e)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct nothing[2] = { 0 };

	if (o->shares && (child_user_namespace(status, e) || prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)))
		return -1;
	for (int cap = 0; cap < 64; cap++)
		if (!is_kept(o, cap) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0))
			break;
	/* The raw calls: glibc's would signal the other threads, which this process hasn't got. */
	if (syscall(SYS_setgroups, 0, NULL) || syscall(SYS_setresgid, o->uid, o->uid, o->uid) ||
	    syscall(SYS_setresuid, o->uid, o->uid, o->uid))
		return err_set(e, ERR_SYSTEM, errno, "change to user %u", o->uid);
	if (o->shares ? child_file_capabilities(e) : (int)syscall(SYS_capset, &header, nothing))
		return o->shares ? -1 : err_set(e, ERR_SYSTEM, errno, "drop privileges");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return err_set(e, ERR_SYSTEM, errno, "drop privileges");
	return 0;
}

/* vmwp doesn't outlive its monitor. After the change of user, which resets this. */
static int child_die_with_parent(int status, struct err *e)
{
	struct pollfd reader = { .fd = status };

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		return err_set(e, ERR_SYSTEM, errno, "set parent death signal");
	/* It may have died before: then nobody is at the other end of the status socket any more. */
	if (poll(&reader, 1, 0) > 0 && reader.revents & (POLLERR | POLLHUP))
		_exit(1);
	return 0;
}

static _Noreturn void child_main(const struct jail_options *o, int status)
{
	struct err e = { 0 };

	child_oom_score(o->oom_score_adj);
	if ((!o->cgroup || !cgroup_attach_self(o->cgroup, &e)) && !child_signals(&e) && !child_root(o, &e) &&
	    !child_shares(o, &e) && !child_descriptors(o, &status, &e) && !child_limits(o, &e) &&
	    !child_privileges(o, status, &e) && !child_die_with_parent(status, &e)) {
		execve(o->program, o->argv, o->envp);
		err_set(&e, ERR_SYSTEM, errno, "execute %s", o->program);
	}
	if (io_write_all(status, &e, sizeof e)) {
		/* the parent sees that the socket ended early */
	}
	_exit(127);
}

/* ---- the parent ---- */

static int write_map(long child, const char *name, struct err *e)
{
	static const char everybody[] = "0 0 4294967295";
	autofree char *path = xasprintf("/proc/%ld/%s", child, name);
	autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, everybody, sizeof everybody - 1) < 0)
		return err_set(e, ERR_SYSTEM, errno, "%s", name);
	return 0;
}

/* Until the child has executed the program: 0; or -1 with what went wrong. */
static int follow_child(int status, long child, struct err *e)
{
	struct err said;
	ssize_t n;

	for (;;) {
		n = read(status, &said, sizeof said);
		if (n < 0 && errno == EINTR)
			continue;
		if (!n)
			return 0;
		if (n != sizeof said)
			return err_set(e, ERR_SYSTEM, 0, "start failed");
		if (said.kind) {
			*e = said;
			return -1;
		}
		/* It has made its user namespace. */
		if (write_map(child, "uid_map", e) || write_map(child, "gid_map", e) || io_write_all(status, "", 1))
			return -1;
	}
}

int jail_spawn(const struct jail_options *o, pid_t *pid, int *pidfd, struct err *e)
{
	struct clone_args args = { .flags = NAMESPACES | CLONE_PIDFD, .exit_signal = SIGCHLD };
	autoclose int read_end = -1, write_end = -1;
	int ends[2], fd = -1;
	long child;

	if (o->cgroup && cgroup_clone_fd(o->cgroup) >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup_clone_fd(o->cgroup);
	}
	if (!o->uid || o->n_fds > JAIL_FDS_MAX)
		return err_set(e, ERR_INVALID, 0, "vmwp: bad user, or too many descriptors");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return err_set(e, ERR_SYSTEM, errno, "socketpair");
	read_end = ends[0];
	write_end = ends[1];
	args.pidfd = (uintptr_t)&fd;
	child = syscall(SYS_clone3, &args, sizeof args);
	if (child < 0)
		return err_set(e, errno == EPERM ? ERR_FORBIDDEN : ERR_SYSTEM, errno, "vmwp: make namespaces");
	if (!child) {
		close(read_end);
		child_main(o, write_end);
	}
	close_fd(&write_end);
	if (follow_child(read_end, child, e)) {
		jail_kill(&fd);
		return err_prefix(e, "vmwp");
	}
	*pid = (pid_t)child;
	*pidfd = fd;
	return 0;
}

void jail_kill(int *pidfd)
{
	siginfo_t info;

	if (*pidfd < 0)
		return;
	syscall(SYS_pidfd_send_signal, *pidfd, SIGKILL, NULL, 0);
	while (waitid((idtype_t)P_PIDFD, (id_t)*pidfd, &info, WEXITED) < 0 && errno == EINTR)
		;
	close_fd(pidfd);
}
