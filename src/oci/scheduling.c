/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* process.scheduler, process.ioPriority and process.execCPUAffinity. */
#include <linux/sched.h>
#include <string.h>

#include "base/json.h"
#include "oci/reader.h"
#include "oci/spec.h"

#define SCHED_FLAG_RESET_ON_FORK_ 0x01
#define SCHED_FLAG_RECLAIM_       0x02
#define SCHED_FLAG_DL_OVERRUN_    0x04
#define SCHED_FLAG_KEEP_POLICY_   0x08
#define SCHED_FLAG_KEEP_PARAMS_   0x10
#define SCHED_FLAG_UTIL_MIN_      0x20
#define SCHED_FLAG_UTIL_MAX_      0x40

struct word {
	const char *name;
	unsigned value;
};

/* Source: runtime-spec config.md "scheduler"; sched(7). */
static const struct word policies[] = {
	{ "SCHED_OTHER", 0 }, { "SCHED_FIFO", 1 }, { "SCHED_RR", 2 },       { "SCHED_BATCH", 3 },
	{ "SCHED_ISO", 4 },   { "SCHED_IDLE", 5 }, { "SCHED_DEADLINE", 6 },
};
static const struct word flags[] = {
	{ "SCHED_FLAG_RESET_ON_FORK", SCHED_FLAG_RESET_ON_FORK_ }, { "SCHED_FLAG_RECLAIM", SCHED_FLAG_RECLAIM_ },
	{ "SCHED_FLAG_DL_OVERRUN", SCHED_FLAG_DL_OVERRUN_ },       { "SCHED_FLAG_KEEP_POLICY", SCHED_FLAG_KEEP_POLICY_ },
	{ "SCHED_FLAG_KEEP_PARAMS", SCHED_FLAG_KEEP_PARAMS_ },     { "SCHED_FLAG_UTIL_CLAMP_MIN", SCHED_FLAG_UTIL_MIN_ },
	{ "SCHED_FLAG_UTIL_CLAMP_MAX", SCHED_FLAG_UTIL_MAX_ },
};
static const struct word io_classes[] = {
	{ "IOPRIO_CLASS_RT", 1 }, { "IOPRIO_CLASS_BE", 2 }, { "IOPRIO_CLASS_IDLE", 3 },
};

static int find_word(const struct word *words, size_t n, const char *name, const char *key, unsigned *out,
		     struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(words[i].name, name)) {
			*out = words[i].value;
			return 0;
		}
	}
	return err_set(e, ERR_INVALID, 0, "%s: unknown value \"%s\"", key, name);
}

static int parse_flags(const json_t *j, struct oci_scheduling *s, struct err *e)
{
	json_t *list, *item;
	unsigned flag;
	size_t i;

	if (json_get_strings(j, "flags", &list, e))
		return -1;
	json_array_foreach(list, i, item) {
		if (find_word(flags, array_len(flags), json_string_value(item), "flags", &flag, e))
			return -1;
		s->flags |= flag;
	}
	return 0;
}

static int parse_scheduler(const json_t *j, struct oci_scheduling *s, struct err *e)
{
	int64_t nice, priority, runtime, deadline, period;
	const char *policy;

	if (json_get_str(j, "policy", "", &policy, e) ||
	    find_word(policies, array_len(policies), policy, "policy", &s->policy, e) ||
	    read_int(j, "nice", 0, -20, 19, &nice, e) || read_int(j, "priority", 0, 0, 99, &priority, e) ||
	    read_int(j, "runtime", 0, 0, INT64_MAX, &runtime, e) ||
	    read_int(j, "deadline", 0, 0, INT64_MAX, &deadline, e) ||
	    read_int(j, "period", 0, 0, INT64_MAX, &period, e) || parse_flags(j, s, e))
		return err_prefix(e, "scheduler");
	s->has_policy = true;
	s->nice = (int32_t)nice;
	s->priority = (uint32_t)priority;
	s->runtime_ns = (uint64_t)runtime;
	s->deadline_ns = (uint64_t)deadline;
	s->period_ns = (uint64_t)period;
	return 0;
}

static int parse_io(const json_t *j, struct oci_scheduling *s, struct err *e)
{
	const char *name;
	int64_t priority;
	unsigned class;

	if (json_get_str(j, "class", "", &name, e) ||
	    find_word(io_classes, array_len(io_classes), name, "class", &class, e) ||
	    read_int(j, "priority", 0, 0, 7, &priority, e))
		return err_prefix(e, "ioPriority");
	s->has_io = true;
	s->io_class = (int)class;
	s->io_priority = (int)priority;
	return 0;
}

static int parse_cpus(const json_t *j, const char *key, const char **out, struct err *e)
{
	if (json_get_str(j, key, NULL, out, e))
		return -1;
	if (*out && !**out)
		*out = NULL;
	if (*out && strspn(*out, "0123456789,-") != strlen(*out))
		return err_set(e, ERR_INVALID, 0, "execCPUAffinity.%s: \"%s\" is not a list of CPUs", key, *out);
	return 0;
}

int oci_scheduling_parse(const json_t *process, struct oci_scheduling *s, struct err *e)
{
	json_t *scheduler, *io, *affinity;

	if (json_get_object(process, "scheduler", &scheduler, e) || json_get_object(process, "ioPriority", &io, e) ||
	    json_get_object(process, "execCPUAffinity", &affinity, e))
		return -1;
	if ((scheduler && parse_scheduler(scheduler, s, e)) || (io && parse_io(io, s, e)) ||
	    parse_cpus(affinity, "initial", &s->cpus_initial, e) || parse_cpus(affinity, "final", &s->cpus_final, e))
		return -1;
	return 0;
}
