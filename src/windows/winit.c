/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * silo-winit: the first process of a Windows container, and of every exec in it. It starts Wine's server (as pid 1),
 * then the launcher with the program, and stands between them and the outside: signals become console control events,
 * the pty a pseudo console, the 32-bit exit code what Linux can carry.
 *
 *	silo-winit [--cwd DIR] [--user NAME] COMMANDLINE
 *
 * The program's environment is silo-winit's own. With a terminal on stdin there is a console.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "windows/guest/control.h"
#include "windows/layout.h"

#define LAUNCHER WINDOWS_DRIVE_C "/windows/system32/silo-run.exe"
#define LAUNCHER_CONSOLE WINDOWS_DRIVE_C "/windows/system32/silo-console.exe"
#define EXIT_NOT_FOUND 127
#define EXIT_CANNOT_RUN 126
#define END_SECONDS 5 /* for Wine's server to write the registry */
#define KEY_CTRL_C 3
#define REPORT_FD 3

/* Events: wincon.h. SIGKILL needs none. */
static const struct {
	int signo, event;
} events[] = {
	{ SIGINT, 0 },  /* CTRL_C_EVENT */
	{ SIGQUIT, 1 }, /* CTRL_BREAK_EVENT */
	{ SIGHUP, 2 },  /* CTRL_CLOSE_EVENT */
	{ SIGTERM, 6 }, /* CTRL_SHUTDOWN_EVENT */
};

/* Texts of the errors that are the user's own: winerror.h. */
static const struct {
	unsigned code;
	int exit_code;
	const char *text;
} failures[] = {
	{ 2, EXIT_NOT_FOUND, "The system cannot find the file specified." },
	{ 3, EXIT_NOT_FOUND, "The system cannot find the path specified." },
	{ 5, EXIT_CANNOT_RUN, "Access is denied." },
	{ 193, EXIT_CANNOT_RUN, "%1 is not a valid Win32 application." },
	{ 216, EXIT_CANNOT_RUN, "This version of %1 is not compatible with the version of Windows you're running." },
	{ 267, EXIT_CANNOT_RUN, "The directory name is invalid." },
};

struct winit {
	const char *directory, *user, *command;
	bool first;   /* pid 1 */
	bool console; /* stdin is a terminal */
	struct termios cooked;
	pid_t launcher;
	int signals; /* signalfd */
	int control; /* to the launcher */
	int report;  /* where the exit code is told; -1 */
	int input;   /* pipe to the console's input; -1 */
	bool done, told;
	unsigned code;
};

static _Noreturn void die(const char *what)
{
	dprintf(2, "silo-winit: %s: %s\n", what, strerror(errno));
	_exit(125);
}

static void tell(struct winit *w, char what, const char *text)
{
	char packet[CONTROL_BYTES_MAX];
	int n = snprintf(packet, sizeof(packet), "%c%s", what, text);

	if (n < 0 || (size_t)n >= sizeof(packet)) {
		errno = E2BIG;
		die("command line or environment");
	}
	(void)!send(w->control, packet, (size_t)n, MSG_NOSIGNAL);
}

static void tell_size(struct winit *w)
{
	struct winsize size = { 0 };
	char text[32];

	if (ioctl(0, TIOCGWINSZ, &size) || !size.ws_col || !size.ws_row)
		size = (struct winsize){ .ws_col = 80, .ws_row = 25 };
	snprintf(text, sizeof(text), "%u %u", size.ws_col, size.ws_row);
	tell(w, CONTROL_SIZE, text);
}

/* Conhost speaks the terminal's own language: no line discipline in between. */
static void open_console(struct winit *w)
{
	struct termios raw;

	w->console = isatty(0) && !tcgetattr(0, &w->cooked);
	if (!w->console)
		return;
	raw = w->cooked;
	cfmakeraw(&raw);
	tcsetattr(0, TCSANOW, &raw);
}

static void block_signals(struct winit *w)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGWINCH);
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		sigaddset(&set, events[i].signo);
	sigprocmask(SIG_BLOCK, &set, NULL);
	w->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (w->signals < 0)
		die("signalfd");
}

static void unblock_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Of Wine only; the program's variables go through the control socket, for Wine has its own mind about PATH or TEMP. */
static const char *const wine_environment[] = { "WINEPREFIX=" WINDOWS_PREFIX,
						"WINESERVER=" WINDOWS_SERVER,
						"WINEDEBUG=-all",
						"LC_ALL=C.UTF-8",
						"HOME=/",
						"LD_PRELOAD=" WINDOWS_LIMITS,
						"XDG_RUNTIME_DIR=/run/user/0",
						CONTROL_VARIABLE "=3",
						NULL };

/* The server's first process ends when the server can be reached. */
static void start_server(void)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		die("fork");
	if (!pid) {
		unblock_signals();
		setsid();
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		execle(WINDOWS_SERVER, "wineserver", "-p", NULL, wine_environment);
		_exit(EXIT_NOT_FOUND);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status) {
		errno = 0;
		die("the server of Wine doesn't start");
	}
}

/* What the engine has mounted as a drive gets its letter. */
static void name_drives(void)
{
	for (int letter = 'a'; letter <= 'z'; letter++) {
		char drive[] = WINDOWS_DRIVES "/x", target[] = "../drives/x", link[] = WINDOWS_PREFIX "/dosdevices/x:";

		drive[sizeof(drive) - 2] = target[sizeof(target) - 2] = link[sizeof(link) - 3] = (char)letter;
		if (!access(drive, F_OK))
			(void)!symlink(target, link);
	}
}

static void start_launcher(struct winit *w)
{
	int pair[2], pipe_fds[2] = { -1, -1 };

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		die("socketpair");
	if (w->console && pipe2(pipe_fds, O_CLOEXEC))
		die("pipe");
	w->launcher = fork();
	if (w->launcher < 0)
		die("fork");
	if (!w->launcher) {
		unblock_signals();
		setsid();
		(void)!chdir(WINDOWS_DRIVE_C); /* a directory that Windows can see */
		if (w->console)
			dup2(pipe_fds[0], 0);
		if (pair[1] == 3)
			fcntl(3, F_SETFD, 0);
		else
			dup2(pair[1], 3);
		execle(WINDOWS_LOADER, WINDOWS_LOADER, w->console ? LAUNCHER_CONSOLE : LAUNCHER, NULL,
		       wine_environment);
		_exit(EXIT_NOT_FOUND);
	}
	close(pair[1]);
	w->control = pair[0];
	w->input = pipe_fds[1];
	if (w->console)
		close(pipe_fds[0]);
}

/* Wine has one user with one name: the other one is what its variables say. */
static void tell_user(struct winit *w)
{
	static const char *const variables[] = { "USERNAME=%s",
						 "USERPROFILE=C:\\users\\%s",
						 "HOMEPATH=\\users\\%s",
						 "APPDATA=C:\\users\\%s\\AppData\\Roaming",
						 "LOCALAPPDATA=C:\\users\\%s\\AppData\\Local",
						 "TEMP=C:\\users\\%s\\AppData\\Local\\Temp",
						 "TMP=C:\\users\\%s\\AppData\\Local\\Temp" };
	char text[256];

	for (size_t i = 0; w->user && i < sizeof(variables) / sizeof(variables[0]); i++) {
		const char *at = strstr(variables[i], "%s");

		snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - variables[i]), variables[i], w->user, at + 2);
		tell(w, CONTROL_SETENV, text);
	}
}

/* What is bound there is a socket; what is no socket is left of another start. */
static void tell_pipes(struct winit *w, const char *place, char what)
{
	DIR *dir = opendir(place);
	struct stat st;

	if (!dir)
		return;
	for (struct dirent *entry; (entry = readdir(dir));)
		if (!fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISSOCK(st.st_mode))
			tell(w, what, entry->d_name);
	closedir(dir);
}

static void tell_program(struct winit *w, char **environment)
{
	tell_user(w);
	for (; *environment; environment++)
		tell(w, CONTROL_SETENV, *environment);
	tell(w, CONTROL_DIRECTORY, w->directory);
	if (w->console)
		tell_size(w);
	if (w->first) {
		tell_pipes(w, WINDOWS_PIPES "/client", CONTROL_PIPE_CLIENT);
		tell_pipes(w, WINDOWS_PIPES "/server", CONTROL_PIPE_SERVER);
	}
	tell(w, CONTROL_RUN, w->command);
}

/* Conhost would end at a Ctrl-C byte: the launcher makes a key of it. */
static void pass_input(struct winit *w)
{
	char buffer[4096];
	ssize_t n = read(0, buffer, sizeof(buffer)), from = 0;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		close(w->input);
		w->input = -1;
		return;
	}
	for (ssize_t i = 0; i <= n; i++) {
		if (i < n && buffer[i] != KEY_CTRL_C)
			continue;
		if (i > from && write(w->input, buffer + from, (size_t)(i - from)) < 0)
			return;
		if (i < n)
			tell(w, CONTROL_KEY_C, "");
		from = i + 1;
	}
}

/* A launcher that has died without a word: its own exit code is all there is. */
static void reap(struct winit *w)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != w->launcher)
			continue;
		w->done = true;
		w->launcher = 0;
		if (!w->told)
			w->code = WIFEXITED(status) ? (unsigned)WEXITSTATUS(status) : 128u + (unsigned)WTERMSIG(status);
	}
}

static void take_signal(struct winit *w)
{
	struct signalfd_siginfo info;
	char text[16];

	while (read(w->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGWINCH && w->console)
			tell_size(w);
		for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
			if ((int)info.ssi_signo != events[i].signo)
				continue;
			snprintf(text, sizeof(text), "%d", events[i].event);
			tell(w, CONTROL_EVENT, text);
		}
	}
	reap(w);
}

static void explain_failure(struct winit *w, unsigned error)
{
	const char *text = "";

	w->code = EXIT_CANNOT_RUN;
	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		if (failures[i].code != error)
			continue;
		text = failures[i].text;
		w->code = (unsigned)failures[i].exit_code;
	}
	dprintf(2, "CreateProcess %s: failure in a Windows system call: %s (0x%x)%s\n", w->command, text, error,
		w->console ? "\r" : "");
}

static void take_word(struct winit *w)
{
	char packet[64];
	ssize_t n = recv(w->control, packet, sizeof(packet) - 1, MSG_DONTWAIT);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		close(w->control);
		w->control = -1;
		return;
	}
	packet[n] = '\0';
	if (packet[0] != CONTROL_ENDED && packet[0] != CONTROL_FAILED)
		return;
	w->told = true;
	w->code = (unsigned)strtoul(packet + 1, NULL, 10);
	if (packet[0] == CONTROL_FAILED)
		explain_failure(w, w->code);
}

static void serve(struct winit *w)
{
	while (!w->done) {
		struct pollfd fds[] = { { .fd = w->signals, .events = POLLIN },
					{ .fd = w->control, .events = POLLIN },
					{ .fd = w->input < 0 ? -1 : 0, .events = POLLIN } };

		if (poll(fds, 3, -1) < 0 && errno != EINTR)
			die("poll");
		if (fds[1].revents)
			take_word(w);
		if (fds[0].revents)
			take_signal(w);
		if (fds[2].revents)
			pass_input(w);
	}
	if (w->control >= 0)
		take_word(w);
}

/* Everybody ends, and the server writes the registry: the container's next start finds it. */
static void end_container(void)
{
	struct timespec limit = { .tv_sec = END_SECONDS };
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	kill(-1, SIGTERM);
	for (;;) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);

		if (pid < 0 && errno == ECHILD)
			return;
		if (pid == 0 && sigtimedwait(&child, NULL, &limit) < 0 && errno == EAGAIN)
			return;
	}
}

/* Whoever has started us wants to know all 32 bits, or hasn't given us this pipe. Programs don't get it. */
static int take_report_fd(void)
{
	struct stat st;
	int fd = -1;

	if (!fstat(REPORT_FD, &st) && S_ISFIFO(st.st_mode)) {
		fd = fcntl(REPORT_FD, F_DUPFD_CLOEXEC, REPORT_FD + 1);
		close(REPORT_FD);
	}
	return fd;
}

static void report_exit(const struct winit *w)
{
	uint32_t code = w->code;

	if (w->report >= 0)
		(void)!write(w->report, &code, sizeof(code));
}

/* Linux carries eight bits. What isn't zero must not become zero. */
static int exit_code(const struct winit *w)
{
	if (w->code > 255 && (w->code & 255) == 0)
		return 1;
	return (int)(w->code & 255);
}

static bool read_options(struct winit *w, int argc, char **argv)
{
	static const struct option options[] = { { "cwd", required_argument, NULL, 'c' },
						 { "user", required_argument, NULL, 'u' },
						 { 0 } };

	for (int c; (c = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
		if (c == 'c')
			w->directory = optarg;
		else if (c == 'u')
			w->user = optarg;
		else
			return false;
	}
	w->command = argv[optind];
	return w->command && !argv[optind + 1];
}

int main(int argc, char **argv, char **environment)
{
	struct winit w = {
		.directory = "C:\\", .first = getpid() == 1, .control = -1, .input = -1, .report = take_report_fd()
	};

	if (!read_options(&w, argc, argv)) {
		dprintf(2, "usage: silo-winit [--cwd DIR] [--user NAME] COMMANDLINE\n");
		return 125;
	}
	block_signals(&w);
	open_console(&w);
	if (w.first) {
		name_drives();
		start_server();
	}
	start_launcher(&w);
	tell_program(&w, environment);
	serve(&w);
	if (w.console)
		tcsetattr(0, TCSADRAIN, &w.cooked);
	if (w.first)
		end_container();
	report_exit(&w);
	return exit_code(&w);
}
