/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How the calling process is scheduled. Source: sched_setattr(2), ioprio_set(2), sched_setaffinity(2). */
#ifndef SILO_OS_SCHED_H
#define SILO_OS_SCHED_H

#include <stdint.h>

#include "base/err.h"

struct sched_wish {
	uint32_t policy, priority;
	int32_t nice;
	uint64_t flags, runtime_ns, deadline_ns, period_ns;
};

int sched_set_policy(const struct sched_wish *w, struct err *e) must_check;
int sched_set_io_priority(int io_class, int priority, struct err *e) must_check;
/* cpus: a list as "0-1,3". */
int sched_set_cpus(const char *cpus, struct err *e) must_check;

#endif
