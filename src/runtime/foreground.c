/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `run` and `exec` without --detach: signals and the terminal are passed on until the process ends. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/json.h"
#include "base/own.h"
#include "os/tty.h"
#include "runtime/runtime.h"

#define CHUNK (32 * KIB)

/* Everything but what the kernel sends for faults of our own, and what can't be caught. */
int foreground_begin(struct err *e)
{
	static const int own[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS, SIGPIPE };
	sigset_t all;
	int fd;

	sigfillset(&all);
	for (size_t i = 0; i < array_len(own); i++)
		sigdelset(&all, own[i]);
	sigprocmask(SIG_BLOCK, &all, NULL);
	fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? err_set(e, ERR_SYSTEM, errno, "signalfd") : fd;
}

static void copy_size(int tty)
{
	struct winsize size;

	if (!ioctl(STDIN_FILENO, TIOCGWINSZ, &size) && (size.ws_row || size.ws_col))
		(void)!tty_resize(tty, size.ws_row, size.ws_col, NULL);
}

static void pass_signals(const struct foreground *f, int signals)
{
	struct signalfd_siginfo info;

	while (read(signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGWINCH && f->tty >= 0)
			copy_size(f->tty);
		else if (info.ssi_signo != SIGCHLD && info.ssi_signo != SIGURG)
			(void)!f->signal(f->arg, (int)info.ssi_signo);
	}
}

/* Move what is there. False at the end of file. */
static bool copy(int from, int to)
{
	char chunk[CHUNK];
	ssize_t n = read(from, chunk, sizeof(chunk)), done = 0;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	while (done < n) {
		ssize_t w = write(to, chunk + done, (size_t)(n - done));
		struct pollfd p = { .fd = to, .events = POLLOUT };

		if (w < 0 && errno == EAGAIN)
			poll(&p, 1, -1);
		else if (w < 0 && errno != EINTR)
			return false;
		done += w > 0 ? w : 0;
	}
	return n > 0;
}

static void drain(int tty)
{
	struct pollfd p = { .fd = tty, .events = POLLIN };

	while (poll(&p, 1, 0) == 1 && (p.revents & POLLIN) && copy(tty, STDOUT_FILENO))
		;
}

static void relay(const struct foreground *f, int signals)
{
	bool in = f->tty >= 0, out = f->tty >= 0;

	for (;;) {
		struct pollfd p[] = {
			{ .fd = f->pidfd, .events = POLLIN },
			{ .fd = signals, .events = POLLIN },
			{ .fd = in ? STDIN_FILENO : -1, .events = POLLIN },
			{ .fd = out ? f->tty : -1, .events = POLLIN },
		};

		if (poll(p, array_len(p), -1) < 0 && errno != EINTR)
			return;
		if (p[1].revents)
			pass_signals(f, signals);
		if (p[2].revents)
			in = copy(STDIN_FILENO, f->tty);
		if (p[3].revents)
			out = copy(f->tty, STDOUT_FILENO);
		if (p[0].revents)
			break;
	}
	if (f->tty >= 0 && out)
		drain(f->tty);
}

void foreground_run(const struct foreground *f, int signals)
{
	struct termios old, raw;
	bool is_tty = f->tty >= 0 && !tcgetattr(STDIN_FILENO, &old);

	if (is_tty) {
		raw = old;
		cfmakeraw(&raw);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	if (f->tty >= 0)
		copy_size(f->tty);
	relay(f, signals);
	if (is_tty)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &old);
}

void console_size(const json_t *process, uint16_t *rows, uint16_t *cols)
{
	const json_t *size = json_object_get(process, "consoleSize");

	*rows = (uint16_t)json_int(size, "height", 0);
	*cols = (uint16_t)json_int(size, "width", 0);
}

/* Texts as runc has them. */
int console_check(const struct launch_options *o, bool terminal, bool detach, struct err *e)
{
	if (detach && terminal && !o->console_socket)
		return err_set(e, ERR_INVALID, 0,
			       "cannot allocate tty if runc will detach without setting console socket");
	if ((!detach || !terminal) && o->console_socket)
		return err_set(e, ERR_INVALID, 0, "cannot use console socket if runc will not detach or allocate tty");
	return 0;
}
