/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/signals.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define RT_MIN 34 /* as Docker counts: what glibc leaves to programs */
#define RT_MAX 64

static const struct {
	const char *name;
	int number;
} names[] = {
	{ "ABRT", SIGABRT },   { "ALRM", SIGALRM }, { "BUS", SIGBUS },	     { "CHLD", SIGCHLD },   { "CLD", SIGCHLD },
	{ "CONT", SIGCONT },   { "FPE", SIGFPE },   { "HUP", SIGHUP },	     { "ILL", SIGILL },	    { "INT", SIGINT },
	{ "IO", SIGIO },       { "IOT", SIGIOT },   { "KILL", SIGKILL },     { "PIPE", SIGPIPE },   { "POLL", SIGPOLL },
	{ "PROF", SIGPROF },   { "PWR", SIGPWR },   { "QUIT", SIGQUIT },     { "SEGV", SIGSEGV },   { "STKFLT", SIGSTKFLT },
	{ "STOP", SIGSTOP },   { "SYS", SIGSYS },   { "TERM", SIGTERM },     { "TRAP", SIGTRAP },   { "TSTP", SIGTSTP },
	{ "TTIN", SIGTTIN },   { "TTOU", SIGTTOU }, { "URG", SIGURG },	     { "USR1", SIGUSR1 },   { "USR2", SIGUSR2 },
	{ "VTALRM", SIGVTALRM }, { "WINCH", SIGWINCH }, { "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ },
};

static int by_number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	return *end || n < 1 || n > RT_MAX ? -1 : (int)n;
}

static int by_name(const char *name)
{
	for (size_t i = 0; i < array_len(names); i++) {
		if (strcasecmp(names[i].name, name) == 0)
			return names[i].number;
	}
	return -1;
}

/* RTMIN, RTMIN+n, RTMAX, RTMAX-n */
static int by_realtime(const char *name)
{
	bool min = strncasecmp(name, "RTMIN", 5) == 0;
	int n, base = min ? RT_MIN : RT_MAX;
	char *end;

	if (!min && strncasecmp(name, "RTMAX", 5) != 0)
		return -1;
	if (!name[5])
		return base;
	if (name[5] != (min ? '+' : '-') || name[6] < '0' || name[6] > '9')
		return -1;
	n = (int)strtol(name + 6, &end, 10);
	return *end || n > RT_MAX - RT_MIN ? -1 : min ? base + n : base - n;
}

int signal_parse(const char *text, int fallback, struct err *e)
{
	const char *name = text;
	int n;

	if (!text || !*text)
		return fallback;
	if (*text >= '0' && *text <= '9') {
		n = by_number(text);
	} else {
		if (strncasecmp(name, "SIG", 3) == 0)
			name += 3;
		n = by_name(name);
		if (n < 0)
			n = by_realtime(name);
	}
	if (n < 0)
		return err_set(e, ERR_INVALID, 0, "invalid signal: %s", text);
	return n;
}
