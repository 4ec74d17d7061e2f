/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Process isolation: private to this directory. */
#ifndef SILO_ISOLATION_PROCESS_H
#define SILO_ISOLATION_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/loop.h"
#include "isolation/isolation.h"
#include "isolation/process/runtime.h"
#include "os/cgroup.h"

struct sandbox {
	const struct bundle *b;
	struct loop *loop;
	struct isolation_events ev;
};

struct process {
	struct container *c;
	pid_t pid;
	int pidfd;
	int tty;      /* own duplicate of the master, for resize; -1 */
	int listener; /* of its seccomp filter; -1 */
	int report;   /* it says its exit code here; -1 */
	int report_end; /* the process's own end, until it has it; -1 */
	int first;    /* pidfd of the process in front of a user namespace, until it is reaped; -1 */
	struct loop_io *watch;
	bool in_userns; /* of an exec: its parent has had to enter the user namespace already */
	bool ended;
	int exit_code;
	struct process *next; /* of the container's execs */
};

struct container {
	struct sandbox *s;
	const struct bundle *b;
	const struct runtime_wants *runtime; /* NULL: supervised by a monitor or an agent, which it must not outlive */
	struct cgroup *cg;
	struct process init;
	struct process *execs;
	int sync; /* to the parked init; -1 after start */
	struct loop_io *oom_watch;
	bool oom_reported;
};

/* container.c */
struct container *process_container_create(struct sandbox *s, const struct bundle *b, struct process_io *io,
					   struct err *e);
struct container *process_container_new(struct sandbox *s, const struct bundle *b, const struct runtime_wants *w);
/* c is taken: freed when it fails. */
struct container *process_container_make(struct container *c, struct process_io *io, struct err *e);
int process_container_start(struct container *c, struct err *e);
void process_container_delete(struct container *c);

/* exec.c */
struct process *process_container_exec(struct container *c, const json_t *spec, struct process_io *io, struct err *e);
void process_exec_free(struct process *p);

/* watch.c: reap, report exits and OOM kills */
/* Is the end of its init the end of all its processes? */
bool container_owns_pids(const struct container *c);
int process_watch(struct process *p, struct err *e) must_check;
void process_unwatch(struct process *p);
int container_watch_oom(struct container *c, struct err *e) must_check;
/* Kill p and wait until it is gone; no event. For a process that nobody was told of yet. */
void process_abort(struct process *p);

/* A pipe for the exit code, where the process is to report it. */
int process_open_report(struct process *p, const struct oci_process *proc, struct err *e) must_check;

/* birth.c: wait until the child is ready, and do for it what it asks meanwhile. */
int birth_wait_ready(struct process *p, int sync, int *tty, struct err *e) must_check;

/* Close what the caller gave to the process. */
void process_io_close(struct process_io *io);
/* Keep tty (taken) for the caller and a duplicate for resizing. */
int process_keep_tty(struct process *p, struct process_io *io, int tty, struct err *e) must_check;

#endif
