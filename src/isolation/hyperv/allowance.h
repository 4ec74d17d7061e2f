/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cgroup of vmwp on the host. The limits of a container hold twice: in the guest, for its processes, and here, for
 * the whole machine, whatever the guest does.
 */
#ifndef SILO_HYPERV_ALLOWANCE_H
#define SILO_HYPERV_ALLOWANCE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "oci/bundle.h"
#include "os/cgroup.h"

struct allowance {
	struct cgroup *cgroup; /* NULL: none */
	int64_t memory_bytes;  /* of the machine */
	int64_t cpus;          /* of the machine */
	int oom_score_adj;     /* of QEMU */
	int64_t quota_us, period_us; /* of CPU time, as in struct cgroup_limits */
	pid_t mover;           /* see allowance_move() */
};

/**
 * allowance_limits - what a machine may take of the host for a container with these limits. Pure.
 *
 * @of            the container's; strings stay borrowed.
 * @memory_bytes  of the machine.
 * Memory: the container's and what guest and QEMU need beside it, never more than the machine and QEMU can use. CPU
 * time: that of the container, but enough to keep the guest's agent alive. Processes: the threads of QEMU. Devices:
 * none, QEMU gets what it may use as descriptors.
 */
void allowance_limits(const struct cgroup_limits *of, int64_t memory_bytes, struct cgroup_limits *out);

/**
 * allowance_open - make the cgroup for a bundle's machine.
 *
 * @template_dir  of the machine; its size is read there.
 * CPU time isn't limited yet: starting the machine is not the container's doing.
 */
int allowance_open(struct allowance *a, const struct bundle *b, const char *template_dir, struct err *e) must_check;
/* Put a running machine into it, and let the OOM killer see it as the container. It costs the kernel a grace period of
 * 15 ms: a process of its own waits for that. */
int allowance_move(struct allowance *a, pid_t pid, struct err *e) must_check;
/* Wait until it is there. */
int allowance_moved(struct allowance *a, struct err *e) must_check;
/* From now on the container's CPU quota holds for the machine; and no longer. */
int allowance_hold(struct allowance *a, struct err *e) must_check;
int allowance_release(struct allowance *a, struct err *e) must_check;
/* Other limits for a container that runs. */
int allowance_update(struct allowance *a, const json_t *resources, struct err *e) must_check;
/* Has the host's OOM killer been there? */
bool allowance_exceeded(const struct allowance *a);
/* After the machine's end. */
void allowance_close(struct allowance *a);

#endif
