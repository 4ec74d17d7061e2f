/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* silo kill | delete | pause | resume | update | checkpoint */
#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "cmd/oci.h"

#define RESOURCES_BYTES_MAX (1 * MIB)
#define SIGNAL_MAX 64

static const struct {
	const char *name;
	int number;
} signals[] = {
	{ "HUP", SIGHUP },   { "INT", SIGINT },       { "QUIT", SIGQUIT },   { "ILL", SIGILL },   { "TRAP", SIGTRAP },
	{ "ABRT", SIGABRT }, { "IOT", SIGIOT },       { "BUS", SIGBUS },     { "FPE", SIGFPE },   { "KILL", SIGKILL },
	{ "USR1", SIGUSR1 }, { "SEGV", SIGSEGV },     { "USR2", SIGUSR2 },   { "PIPE", SIGPIPE }, { "ALRM", SIGALRM },
	{ "TERM", SIGTERM }, { "STKFLT", SIGSTKFLT }, { "CHLD", SIGCHLD },   { "CONT", SIGCONT }, { "STOP", SIGSTOP },
	{ "TSTP", SIGTSTP }, { "TTIN", SIGTTIN },     { "TTOU", SIGTTOU },   { "URG", SIGURG },   { "XCPU", SIGXCPU },
	{ "XFSZ", SIGXFSZ }, { "VTALRM", SIGVTALRM }, { "PROF", SIGPROF },   { "IO", SIGIO },     { "WINCH", SIGWINCH },
	{ "PWR", SIGPWR },   { "SYS", SIGSYS },       { "POLL", SIGPOLL },
};

/* "KILL", "SIGKILL", "9", "RTMIN+1". */
static int parse_signal(const char *text, struct err *e)
{
	const char *name = strncasecmp(text, "SIG", 3) ? text : text + 3;
	char *end;
	long n = strtol(text, &end, 10);

	if (isdigit((unsigned char)*text) && !*end && n >= 0 && n <= SIGNAL_MAX)
		return (int)n;
	for (size_t i = 0; i < array_len(signals); i++) {
		if (!strcasecmp(signals[i].name, name))
			return signals[i].number;
	}
	if (!strncasecmp(name, "RTMIN+", 6)) {
		n = strtol(name + 6, &end, 10);
		if (isdigit((unsigned char)name[6]) && !*end && n <= 30)
			return 34 + (int)n;
	}
	return err_set(e, ERR_INVALID, 0, "unknown signal \"%s\"", text);
}

int oci_kill(const struct runtime *rt, int argc, char **argv, struct err *e)
{
	static const struct cli_option options[] = { { "all", 'a', CLI_FLAG, 0 } };
	bool all = false;
	int first = cli_parse(argc, argv, options, 1, &all, e);
	int signo;

	if (first < 0)
		return -1;
	if (first == argc || argc - first > 2)
		return err_set(e, ERR_INVALID, 0, "kill: a container id and perhaps a signal are needed");
	signo = parse_signal(first + 1 < argc ? argv[first + 1] : "TERM", e);
	return signo < 0 ? -1 : runtime_kill(rt, argv[first], signo, all, e);
}

int oci_delete(const struct runtime *rt, int argc, char **argv, struct err *e)
{
	static const struct cli_option options[] = { { "force", 'f', CLI_FLAG, 0 } };
	bool force = false;
	int first = cli_parse(argc, argv, options, 1, &force, e);
	const char *id = first < 0 ? NULL : cli_id(argc, argv, first, e);

	return id ? runtime_delete(rt, id, force, e) : -1;
}

static int pause_or_resume(const struct runtime *rt, int argc, char **argv, bool paused, struct err *e)
{
	int first = cli_parse(argc, argv, NULL, 0, NULL, e);
	const char *id = first < 0 ? NULL : cli_id(argc, argv, first, e);

	return id ? runtime_pause(rt, id, paused, e) : -1;
}

int oci_pause(const struct runtime *rt, int argc, char **argv, struct err *e)
{
	return pause_or_resume(rt, argc, argv, true, e);
}

int oci_resume(const struct runtime *rt, int argc, char **argv, struct err *e)
{
	return pause_or_resume(rt, argc, argv, false, e);
}

int oci_checkpoint(const struct runtime *rt, int argc, char **argv, struct err *e)
{
	return err_set(e, ERR_UNSUPPORTED, 0, "%s is not supported", argv[0]);
}

/* ---- update ---- */

struct update_options {
	const char *resources, *blkio_weight, *cpu_period, *cpu_quota, *cpu_share, *cpus, *mems;
	const char *memory, *memory_reservation, *memory_swap, *pids_limit, *cpu_rt_period, *cpu_rt_runtime, *cpu_burst,
		*cpu_idle;
};

#define AT(member) offsetof(struct update_options, member)
static const struct cli_option update_options[] = {
	{ "resources", 'r', CLI_STRING, AT(resources) },
	{ "blkio-weight", 0, CLI_STRING, AT(blkio_weight) },
	{ "cpu-period", 0, CLI_STRING, AT(cpu_period) },
	{ "cpu-quota", 0, CLI_STRING, AT(cpu_quota) },
	{ "cpu-share", 0, CLI_STRING, AT(cpu_share) },
	{ "cpuset-cpus", 0, CLI_STRING, AT(cpus) },
	{ "cpuset-mems", 0, CLI_STRING, AT(mems) },
	{ "memory", 0, CLI_STRING, AT(memory) },
	{ "memory-reservation", 0, CLI_STRING, AT(memory_reservation) },
	{ "memory-swap", 0, CLI_STRING, AT(memory_swap) },
	{ "pids-limit", 0, CLI_STRING, AT(pids_limit) },
	{ "cpu-rt-period", 0, CLI_STRING, AT(cpu_rt_period) },
	{ "cpu-rt-runtime", 0, CLI_STRING, AT(cpu_rt_runtime) },
	{ "cpu-burst", 0, CLI_STRING, AT(cpu_burst) },
	{ "cpu-idle", 0, CLI_STRING, AT(cpu_idle) },
	{ "l3-cache-schema", 0, CLI_REFUSED, 0 },
	{ "mem-bw-schema", 0, CLI_REFUSED, 0 },
};

/* Where an option goes in linux.resources. */
static const struct {
	size_t offset;
	const char *option, *group, *key;
	enum { VALUE_NUMBER, VALUE_TEXT, VALUE_SIZE } kind;
} update_targets[] = {
	{ AT(blkio_weight), "blkio-weight", "blockIO", "weight", VALUE_NUMBER },
	{ AT(cpu_period), "cpu-period", "cpu", "period", VALUE_NUMBER },
	{ AT(cpu_quota), "cpu-quota", "cpu", "quota", VALUE_NUMBER },
	{ AT(cpu_share), "cpu-share", "cpu", "shares", VALUE_NUMBER },
	{ AT(cpus), "cpuset-cpus", "cpu", "cpus", VALUE_TEXT },
	{ AT(mems), "cpuset-mems", "cpu", "mems", VALUE_TEXT },
	{ AT(memory), "memory", "memory", "limit", VALUE_SIZE },
	{ AT(memory_reservation), "memory-reservation", "memory", "reservation", VALUE_SIZE },
	{ AT(memory_swap), "memory-swap", "memory", "swap", VALUE_SIZE },
	{ AT(pids_limit), "pids-limit", "pids", "limit", VALUE_NUMBER },
	{ AT(cpu_rt_period), "cpu-rt-period", "cpu", "realtimePeriod", VALUE_NUMBER },
	{ AT(cpu_rt_runtime), "cpu-rt-runtime", "cpu", "realtimeRuntime", VALUE_NUMBER },
	{ AT(cpu_burst), "cpu-burst", "cpu", "burst", VALUE_NUMBER },
	{ AT(cpu_idle), "cpu-idle", "cpu", "idle", VALUE_NUMBER },
};
#undef AT

/* "30M" for a size. */
static int parse_number(const char *text, bool is_size, long long *out)
{
	static const char units[] = "bkmgt";
	const char *unit;
	char *end;

	*out = strtoll(text, &end, 10);
	if (end == text)
		return -1;
	if (!*end)
		return 0;
	unit = is_size ? strchr(units, tolower((unsigned char)*end)) : NULL;
	if (!unit || !*unit || *out < 0 || (end[1] && strcasecmp(end + 1, "b") != 0) || *out > LLONG_MAX >> 40)
		return -1;
	*out <<= 10 * (unit - units);
	return 0;
}

static int add_target(json_t *resources, size_t i, const char *value, struct err *e)
{
	json_t *group = json_object_get(resources, update_targets[i].group), *j;
	bool text = update_targets[i].kind == VALUE_TEXT;
	long long n = 0;

	if (!text && parse_number(value, update_targets[i].kind == VALUE_SIZE, &n))
		return err_set(e, ERR_INVALID, 0, "invalid value \"%s\" for --%s", value, update_targets[i].option);
	if (!group) {
		group = json_object();
		json_object_set_new(resources, update_targets[i].group, group);
	}
	j = text ? json_string(value) : json_integer(n);
	return json_object_set_new(group, update_targets[i].key, j);
}

static json_t *resources_of(const struct update_options *o, struct err *e)
{
	autojson *resources = NULL;

	if (o->resources)
		return json_parse_file(AT_FDCWD, strcmp(o->resources, "-") ? o->resources : "/dev/stdin",
				       RESOURCES_BYTES_MAX, e);
	resources = json_object();
	for (size_t i = 0; i < array_len(update_targets); i++) {
		const char *value = *(const char *const *)((const char *)o + update_targets[i].offset);

		if (value && *value && add_target(resources, i, value, e))
			return NULL;
	}
	return take_ptr(&resources);
}

int oci_update(const struct runtime *rt, int argc, char **argv, struct err *e)
{
	struct update_options o = { 0 };
	int first = cli_parse(argc, argv, update_options, array_len(update_options), &o, e);
	const char *id = first < 0 ? NULL : cli_id(argc, argv, first, e);
	autojson *resources = id ? resources_of(&o, e) : NULL;

	return resources ? runtime_update(rt, id, resources, e) : -1;
}
