/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/guest_stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "monitor/client.h"
#include "os/pidfd.h"
#include "os/tty.h"

#define CHUNK (32 * KIB)

enum stream_kind { STREAM_NONE, STREAM_POLLED, STREAM_COPIED };

static enum stream_kind kind_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)))
		return STREAM_NONE;
	if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || isatty(fd))
		return STREAM_POLLED;
	return STREAM_COPIED;
}

/* The monitor makes it non-blocking: that must not be seen by whoever has the same open file, such as a shell. */
static int open_again(int fd, struct err *e)
{
	char path[32];
	int copy;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	copy = open(path, (fd ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (copy < 0)
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return copy < 0 ? err_set(e, ERR_SYSTEM, errno, "duplicate stream %d", fd) : copy;
}

/* A child of ours that outlives us. keep: the descriptors that it uses. */
static pid_t fork_copier(const int *keep, size_t n, struct err *e)
{
	autoclose int pidfd = -1;
	pid_t pid = pidfd_clone(0, -1, &pidfd, e);
	int next = 3;

	if (pid != 0)
		return pid;
	prctl(PR_SET_NAME, "silo-stdio");
	for (size_t i = 0; i < n; i++)
		next = keep[i] >= next ? keep[i] + 1 : next;
	for (int fd = 3; fd < next; fd++) {
		bool kept = false;

		for (size_t i = 0; i < n; i++)
			kept |= keep[i] == fd;
		if (!kept)
			close(fd);
	}
	close_range((unsigned)next, ~0u, 0);
	return 0;
}

static _Noreturn void copy_all(int from, int to)
{
	char chunk[CHUNK];
	ssize_t n;

	signal(SIGPIPE, SIG_DFL);
	while ((n = read(from, chunk, sizeof(chunk))) > 0 || (n < 0 && errno == EINTR)) {
		if (n > 0 && io_write_all(to, chunk, (size_t)n))
			_exit(1);
	}
	_exit(0);
}

/* A file can't be waited for: a process reads or writes it, with a pipe to the monitor. */
static int open_copied(int fd, struct err *e)
{
	int ends[2], ours, theirs;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return err_set(e, ERR_SYSTEM, errno, "pipe");
	ours = ends[fd ? 0 : 1];
	theirs = ends[fd ? 1 : 0];
	pid = fork_copier(&ours, 1, e);
	if (pid == 0)
		copy_all(fd ? ours : fd, fd ? fd : ours);
	close(ours);
	if (pid < 0)
		close_fd(&theirs);
	return theirs;
}

static int open_stream(int fd, int *out, struct err *e)
{
	switch (kind_of(fd)) {
	case STREAM_NONE:
		return 0;
	case STREAM_POLLED:
		*out = open_again(fd, e);
		break;
	case STREAM_COPIED:
		*out = open_copied(fd, e);
		break;
	}
	return *out < 0 ? -1 : 0;
}

/* ---- terminal ---- */

struct terminal {
	const char *dir, *exec;
	int slave, sock;
};

static void tell_size(const struct terminal *t)
{
	struct winsize size;
	struct err ignored;

	if (!ioctl(t->slave, TIOCGWINSZ, &size) && size.ws_row && size.ws_col)
		(void)!monitor_resize(t->dir, t->exec, size.ws_row, size.ws_col, &ignored);
}

static bool copy_some(int from, int to)
{
	char chunk[CHUNK];
	ssize_t n = read(from, chunk, sizeof(chunk));

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	return n > 0 && !io_write_all(to, chunk, (size_t)n);
}

/* Between the terminal on the host, which only passes bytes on, and that of the guest, which is the real one. */
static _Noreturn void keep_terminal(const struct terminal *t)
{
	struct termios raw;
	struct signalfd_siginfo info;
	bool in = true, sized = false;
	sigset_t winch;
	int signals;

	sigemptyset(&winch);
	sigaddset(&winch, SIGWINCH);
	sigprocmask(SIG_SETMASK, &winch, NULL);
	signals = signalfd(-1, &winch, SFD_CLOEXEC | SFD_NONBLOCK);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	if (signals < 0 || tty_make_controlling(t->slave, NULL) || tcgetattr(t->slave, &raw))
		_exit(1);
	cfmakeraw(&raw);
	tcsetattr(t->slave, TCSANOW, &raw);
	for (;;) {
		struct pollfd p[] = {
			{ .fd = t->sock, .events = POLLIN },
			{ .fd = signals, .events = POLLIN },
			{ .fd = in ? t->slave : -1, .events = POLLIN },
		};

		if (poll(p, array_len(p), -1) < 0 && errno != EINTR)
			_exit(1);
		if (p[0].revents && !copy_some(t->sock, t->slave))
			_exit(0);
		/* what came before the process was there is told with its first output */
		if (p[1].revents || (p[0].revents && !sized)) {
			while (read(signals, &info, sizeof(info)) == sizeof(info))
				;
			sized = p[0].revents;
			tell_size(t);
		}
		if (p[2].revents)
			in = copy_some(t->slave, t->sock);
	}
}

static int open_terminal(struct guest_stdio *io, const char *dir, const char *exec, struct err *e)
{
	autoclose int pts = open("/dev/pts", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoclose int slave = -1;
	struct terminal t = { .dir = dir, .exec = exec };
	int ends[2];
	pid_t pid;

	if (pts < 0)
		return err_set(e, ERR_SYSTEM, errno, "open /dev/pts");
	if (tty_open_pair(pts, &io->master, &slave, e))
		return -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return err_set(e, ERR_SYSTEM, errno, "socketpair");
	io->fds[0] = ends[0];
	t.slave = slave;
	t.sock = ends[1];
	pid = fork_copier((const int[]){ slave, ends[1] }, 2, e);
	if (pid == 0)
		keep_terminal(&t);
	close(ends[1]);
	return pid < 0 ? -1 : 0;
}

int guest_stdio_open(struct guest_stdio *io, const char *record_dir, const char *exec, bool terminal, struct err *e)
{
	int rc = 0;

	*io = (struct guest_stdio){ .terminal = terminal, .fds = { -1, -1, -1 }, .master = -1 };
	if (terminal)
		rc = open_terminal(io, record_dir, exec, e);
	for (int fd = 0; fd < 3 && !terminal && !rc; fd++)
		rc = open_stream(fd, &io->fds[fd], e);
	if (rc)
		guest_stdio_close(io);
	return rc;
}

void guest_stdio_close(struct guest_stdio *io)
{
	for (int i = 0; i < 3; i++)
		close_fd(&io->fds[i]);
	close_fd(&io->master);
}
