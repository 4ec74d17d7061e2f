/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * silo-init - optional pid 1 of a container (docker run --init), bound at /sbin/docker-init.
 *
 *	docker-init [--] PROGRAM [ARG...]
 *
 * Runs the program in its own process group (in the foreground of the terminal, if there is one), forwards signals to
 * it, reaps whatever is orphaned, and ends with the program's exit code (128 + signal; 127 not found, 126 not
 * executable).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOT_FOUND 127
#define NOT_EXECUTABLE 126

static _Noreturn void run_program(char **argv, const sigset_t *mask)
{
	/* SIGTTOU is blocked here, so a background group may take the terminal. Without a terminal this fails: fine. */
	setpgid(0, 0);
	tcsetpgrp(STDIN_FILENO, getpid());
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(argv[0], argv);
	fprintf(stderr, "docker-init: exec %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT || errno == ENOTDIR ? NOT_FOUND : NOT_EXECUTABLE);
}

/* Reap all that ended. Returns the program's exit code, or -1 while it runs. */
static int reap(pid_t program)
{
	int code = -1, status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != program)
			continue;
		if (WIFEXITED(status))
			code = WEXITSTATUS(status);
		else if (WIFSIGNALED(status))
			code = 128 + WTERMSIG(status);
	}
	return code;
}

static int supervise(pid_t program, const sigset_t *all)
{
	for (;;) {
		int code = reap(program);
		int signo;

		if (code >= 0)
			return code;
		signo = sigwaitinfo(all, NULL);
		if (signo > 0 && signo != SIGCHLD)
			kill(program, signo);
	}
}

int main(int argc, char **argv)
{
	sigset_t all, before;
	pid_t program;

	argv += argc > 1 && !strcmp(argv[1], "--") ? 2 : 1;
	if (!argv[0]) {
		fprintf(stderr, "usage: docker-init [--] PROGRAM [ARG...]\n");
		return 1;
	}
	sigfillset(&all);
	/* faults of our own must end us */
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGABRT);
	sigdelset(&all, SIGTRAP);
	sigdelset(&all, SIGSYS);
	sigprocmask(SIG_SETMASK, &all, &before);
	if (getpid() != 1)
		prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	program = fork();
	if (program < 0) {
		fprintf(stderr, "docker-init: fork: %s\n", strerror(errno));
		return 1;
	}
	if (program == 0)
		run_program(argv, &before);
	return supervise(program, &all);
}
