/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an OCI runtime asks of process isolation beyond isolation.h. Nobody supervises its containers: `create` ends with
 * init parked, `start` lets it go, `exec` and `delete` find it again by its pid and its cgroup.
 */
#ifndef SILO_ISOLATION_RUNTIME_H
#define SILO_ISOLATION_RUNTIME_H

#include <stdbool.h>
#include <sys/types.h>

#include "isolation/isolation.h"
#include "os/cgroup.h"

/* Moments of hooks, in their order. */
enum runtime_moment {
	MOMENT_CREATED,  /* in the runtime: namespaces and mounts are made, the root is not yet changed */
	MOMENT_INSIDE,   /* in init, at the same point */
	MOMENT_STARTING, /* in init, just before the program */
};

struct runtime_wants {
	/* FIFOs that init listens to and reports on after the end of its maker; -1: its maker stays and starts it. */
	int go, status;
	unsigned preserve_fds; /* descriptors 3.. that the process inherits */
	bool no_pivot;
	bool even_paused;  /* an exec may wait for the container to go on */
	bool cgroup_given; /* linux.cgroupsPath is there, of a manager's making, and may have processes in it */
	bool keyring;      /* a session keyring of its own */
	/* Not called where it is NULL. pid is as the runtime sees it. */
	int (*moment)(void *arg, enum runtime_moment m, pid_t pid, struct err *e);
	void *arg;
};

/**
 * process_runtime_create - as container_create() of isolation.h.
 *
 * @b, @w  borrowed for the life of the container's struct.
 */
struct container *process_runtime_create(const struct bundle *b, const struct runtime_wants *w, struct process_io *io,
					 struct err *e) must_check;
/* A running container that another process made. cg is taken in any case; pidfd is duplicated. */
struct container *process_runtime_open(const struct bundle *b, const struct runtime_wants *w, pid_t pid, int pidfd,
				       struct cgroup *cg, struct err *e) must_check;
/* Forget it: it runs on. */
void process_runtime_close(struct container *c);

/* Without rights on cgroups, and without limits, a container has none. */
bool process_has_cgroup(const struct container *c);

int process_pidfd(const struct process *p);
/* Descriptor on which init's seccomp filter asks (SECCOMP_RET_USER_NOTIF), or -1. Borrowed. */
int process_seccomp_listener(const struct process *p);
/* Reap a process: its exit code. */
int process_wait_end(struct process *p, struct err *e) must_check;

#endif
