/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/allowance.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "isolation/hyperv/facts.h"
#include "oci/spec.h"

/* QEMU beside the guest's memory: its buffer of translated code, its heap, page tables. An idle one has 45 MiB. */
#define QEMU_BYTES (int64_t)(192 * MIB)
/* Kernel and agent of the guest, and free memory of the guest that hasn't been given back yet. */
#define GUEST_BYTES (int64_t)(256 * MIB)
/* Threads: vCPUs, disk I/O, 9p. The jail has the same limit per user. */
#define QEMU_THREADS 128
/* A tenth of a CPU: an agent with less doesn't answer in time. */
#define QUOTA_LEAST_DIVISOR 10
#define PERIOD_DEFAULT_US 100000

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void memory_limits(const struct cgroup_limits *of, int64_t machine, struct cgroup_limits *out)
{
	int64_t asked = of->memory_bytes, swap = of->memory_swap_bytes;

	/* Pages that were used and freed lie between used ones and can't be given back: a quarter for them. */
	if (asked > 0)
		machine = least(machine, asked + asked / 4 + GUEST_BYTES);
	out->memory_bytes = machine + QEMU_BYTES;
	/* The guest has no swap: what the container may swap is what the host may swap of the machine. */
	if (asked > 0 && swap >= asked)
		out->memory_swap_bytes = out->memory_bytes + (swap - asked);
	else if (swap == -1)
		out->memory_swap_bytes = -1;
}

static int64_t quota_of(const struct cgroup_limits *of)
{
	int64_t period = of->cpu_period_us > 0 ? of->cpu_period_us : PERIOD_DEFAULT_US;
	int64_t floor = period / QUOTA_LEAST_DIVISOR;

	if (of->cpu_quota_us <= 0)
		return -1;
	return of->cpu_quota_us < floor ? floor : of->cpu_quota_us;
}

void allowance_limits(const struct cgroup_limits *of, int64_t memory_bytes, struct cgroup_limits *out)
{
	*out = *of;
	out->n_devices = 0;
	out->oom_kill_disable = false;
	out->pids = QEMU_THREADS;
	out->cpu_quota_us = quota_of(of);
	memory_limits(of, memory_bytes, out);
}

int allowance_open(struct allowance *a, const struct bundle *b, const char *template_dir, struct err *e)
{
	autofree struct cgroup_limits *l = xcalloc(1, sizeof *l);
	autofree char *fallback = xasprintf("/silo/%s", b->id);
	const char *path = b->spec->cgroups_path ? b->spec->cgroups_path : fallback;
	struct vm_facts facts;

	if (facts_load(template_dir, &facts, e))
		return -1;
	*a = (struct allowance){ .memory_bytes = facts.memory_mib * (int64_t)MIB, .cpus = facts.cpus };
	facts_fini(&facts);
	allowance_limits(&b->spec->limits, a->memory_bytes, l);
	a->quota_us = l->cpu_quota_us;
	a->period_us = l->cpu_period_us;
	a->oom_score_adj = b->spec->process.oom_score_adj;
	l->cpu_quota_us = CGROUP_UNSET;
	a->cgroup = json_bool(b->silo, "cgroup_given", false) ? cgroup_adopt(path, l, e) : cgroup_new(path, l, e);
	return a->cgroup ? 0 : -1;
}

/* As in the jail: as far as it is allowed. */
static void set_oom_score(pid_t pid, int score)
{
	autofree char *path = xasprintf("/proc/%d/oom_score_adj", pid);
	char text[16];
	struct err e;

	snprintf(text, sizeof text, "%d", score);
	if (score && io_write_kernel(AT_FDCWD, path, text, &e))
		log_debug("%s", e.msg);
}

int allowance_move(struct allowance *a, pid_t pid, struct err *e)
{
	struct err ignored;

	set_oom_score(pid, a->oom_score_adj);

	a->mover = fork();
	if (a->mover < 0)
		return err_set(e, ERR_SYSTEM, errno, "fork");
	if (!a->mover)
		_exit(cgroup_attach(a->cgroup, pid, &ignored) ? 1 : 0);
	return 0;
}

int allowance_moved(struct allowance *a, struct err *e)
{
	int status = 0;
	pid_t done;

	if (!a->mover)
		return 0;
	do
		done = waitpid(a->mover, &status, 0);
	while (done < 0 && errno == EINTR);
	a->mover = 0;
	if (done < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
		return err_set(e, ERR_SYSTEM, 0, "the virtual machine can't be put into its cgroup");
	return 0;
}

static int set_quota(struct allowance *a, int64_t quota_us, struct err *e)
{
	autofree struct cgroup_limits *l = xcalloc(1, sizeof *l);

	cgroup_limits_init(l);
	l->cpu_quota_us = quota_us;
	l->cpu_period_us = a->period_us;
	return cgroup_update(a->cgroup, l, e);
}

int allowance_hold(struct allowance *a, struct err *e)
{
	return a->quota_us > 0 ? set_quota(a, a->quota_us, e) : 0;
}

int allowance_release(struct allowance *a, struct err *e)
{
	return a->quota_us > 0 ? set_quota(a, -1, e) : 0;
}

int allowance_update(struct allowance *a, const json_t *resources, struct err *e)
{
	autofree struct cgroup_limits *of = xcalloc(1, sizeof *of), *l = xcalloc(1, sizeof *l);

	if (!a->cgroup)
		return 0;
	if (oci_resources_parse(resources, of, e))
		return -1;
	allowance_limits(of, a->memory_bytes, l);
	a->quota_us = l->cpu_quota_us;
	a->period_us = l->cpu_period_us;
	return cgroup_update(a->cgroup, l, e);
}

bool allowance_exceeded(const struct allowance *a)
{
	return a->cgroup && cgroup_oom_kills(a->cgroup) > 0;
}

void allowance_close(struct allowance *a)
{
	struct err e;

	if (allowance_moved(a, &e))
		log_warn("%s", e.msg);
	cgroup_remove(a->cgroup);
	a->cgroup = NULL;
}
