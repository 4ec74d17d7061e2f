/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/sched.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IOPRIO_CLASS_SHIFT_ 13
#define IOPRIO_WHO_PROCESS_ 1

/* glibc before 2.41 has no declaration of it. */
struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

int sched_set_policy(const struct sched_wish *w, struct err *e)
{
	struct attributes a = { .size = sizeof(a),
				.policy = w->policy,
				.flags = w->flags,
				.nice = w->nice,
				.priority = w->priority,
				.runtime = w->runtime_ns,
				.deadline = w->deadline_ns,
				.period = w->period_ns };

	if (syscall(SYS_sched_setattr, 0, &a, 0))
		return err_set(e, errno == EINVAL ? ERR_INVALID : ERR_SYSTEM, errno, "set the scheduler");
	return 0;
}

int sched_set_io_priority(int io_class, int priority, struct err *e)
{
	if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS_, 0, io_class << IOPRIO_CLASS_SHIFT_ | priority))
		return err_set(e, ERR_SYSTEM, errno, "set the I/O priority");
	return 0;
}

int sched_set_cpus(const char *cpus, struct err *e)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (const char *p = cpus; *p;) {
		char *end;
		unsigned long first = strtoul(p, &end, 10), last = first;

		if (end == p)
			return err_set(e, ERR_INVALID, 0, "\"%s\" is not a list of CPUs", cpus);
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		if (first > last || last >= CPU_SETSIZE || (*end && *end != ','))
			return err_set(e, ERR_INVALID, 0, "\"%s\" is not a list of CPUs", cpus);
		for (unsigned long i = first; i <= last; i++)
			CPU_SET(i, &set);
		p = *end ? end + 1 : end;
	}
	if (sched_setaffinity(0, sizeof(set), &set))
		return err_set(e, ERR_INVALID, errno, "CPUs \"%s\"", cpus);
	return 0;
}
