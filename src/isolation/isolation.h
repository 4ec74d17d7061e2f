/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * isolation.h - the one interface between "what a container is told to do" and "how it is isolated".
 *
 * Two implementations: isolation/process (namespaces of the running kernel) and isolation/hyperv (a virtual machine
 * in which an agent runs isolation/process). The monitor on the host and the agent in the guest are the only callers.
 *
 * A sandbox is the boundary, a container is a spec plus a process tree in it. Calls are synchronous and made from the
 * loop's thread; a call of hyperv that waits for the guest's answer has a deadline (ERR_TIMEOUT) and keeps moving
 * stream data meanwhile. Everything that happens later arrives as an event, never from inside a call.
 */
#ifndef SILO_ISOLATION_H
#define SILO_ISOLATION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/loop.h"
#include "oci/bundle.h"

struct sandbox;
struct container;
struct process; /* init of a container, or one exec in it */

struct isolation_events {
	void *arg;
	/* A process has ended and all its output has been handed over. exit_code: 0..255, or 128 + signal;
	 * of one that reports it (oci/spec.h) the 32 bits of a Windows program.
	 * The process pointer stays valid until process_free() (exec) or container_delete() (init). */
	void (*process_exited)(void *arg, struct process *p, int exit_code);
	/* The kernel's OOM killer took a process of this container. May come several times. */
	void (*oom)(void *arg, struct container *c);
	/* The sandbox is gone (VM died, agent silent or talking rubbish): no further event of its containers comes.
	 * Never sent by process isolation. */
	void (*sandbox_lost)(void *arg, const struct err *why);
};

/* Standard streams of a process. */
struct process_io {
	bool tty;
	uint16_t rows, cols; /* initial size of the tty; 0 = leave */
	/* Without tty: the process's own ends, taken (closed) by the call whether it succeeds or not; -1 = /dev/null. */
	int in, out, err;
	/* With tty: receives the caller's end, non-blocking: a pty master, or a socket that behaves like one
	 * (end of file and EIO both mean that the last holder of the tty has closed it). Owned by the caller. */
	int tty_fd;
};

/* A sandbox that waits for its bundle. */
struct standby_options {
	const char *id;           /* the VM's name: [a-z0-9-] */
	const char *template_dir; /* of the VM */
	uid_t uid;                /* unprivileged user that the VM runs as */
	uint64_t disk_bytes;      /* virtual size of the largest disk that it will get */
	/* A container of Silo's own making with an image and an empty disk: run once in the VM and forgotten, so that
	 * QEMU has translated, and the guest's kernel prepared, what the next container needs. */
	const struct bundle *rehearsal;
};

struct isolation {
	const char *name; /* "process", "hyperv": as in --isolation and in inspect */

	/**
	 * sandbox_open - make the boundary. process: nothing but the record. hyperv: a running VM with a ready agent.
	 *
	 * @b   borrowed for the life of the sandbox.
	 * @ev  copied.
	 * On failure nothing is left behind.
	 */
	struct sandbox *(*sandbox_open)(const struct bundle *b, struct loop *l, const struct isolation_events *ev,
					struct err *e);
	/**
	 * standby_open - a sandbox made in advance: a VM that has been cloned and has rehearsed. It has no disks, no name
	 * and no secrets: those come with its bundle, and fresh random numbers too. NULL for process.
	 *
	 * @ev  sandbox_lost only; copied.
	 */
	struct sandbox *(*standby_open)(const struct standby_options *o, struct loop *l,
					const struct isolation_events *ev, struct err *e);
	/* Make it the sandbox of a bundle, as sandbox_open() would have. On failure the sandbox is closed. */
	int (*standby_take)(struct sandbox *s, const struct bundle *b, const struct isolation_events *ev,
			    struct err *e);
	/* End everything in it, wait until it is gone, free. Containers must have been deleted. */
	void (*sandbox_close)(struct sandbox *s);
	/* What the host sees of it: hyperv: pid of vmwp; process: 0. */
	pid_t (*sandbox_pid)(const struct sandbox *s);
	/**
	 * sandbox_network - make this the network of a running sandbox. NULL for process: its namespace is silod's.
	 *
	 * @network  as in silo.json, with all interfaces; those that aren't named any more are taken away.
	 * @taps     devices of new interfaces, borrowed: "tap" of such an interface is an index.
	 * On failure new interfaces aren't there.
	 */
	int (*sandbox_network)(struct sandbox *s, const json_t *network, const int *taps, size_t n_taps, struct err *e);

	/**
	 * container_create - everything up to just before exec of the user's program: namespaces, root file system,
	 * mounts, cgroup, credentials prepared; init parked.
	 *
	 * Fails with ERR_NO_COMMAND / ERR_NOT_EXECUTABLE where that is known already. On failure nothing is left.
	 */
	struct container *(*container_create)(struct sandbox *s, const struct bundle *b, struct process_io *io,
					      struct err *e);
	struct process *(*container_init)(struct container *c); /* borrowed */
	/* Let init exec the user's program; returns when exec has succeeded or failed (ERR_NO_COMMAND, ...). */
	int (*container_start)(struct container *c, struct err *e);
	/**
	 * container_exec - one more process in the container.
	 *
	 * @process  OCI "process" object (args, env, cwd, user, capabilities, noNewPrivileges, terminal); borrowed.
	 * Returns after a successful exec(2). Free with process_free() after its exit event.
	 */
	struct process *(*container_exec)(struct container *c, const json_t *process, struct process_io *io,
					  struct err *e);
	void (*process_free)(struct process *p);
	/* pid as `docker top` and inspect show it: process: the host's; hyperv: the guest's. */
	pid_t (*process_pid)(const struct process *p);
	/* signo as on Linux x86-64. all: every process of the container (p is init). ERR_NOT_FOUND when it has ended. */
	int (*process_signal)(struct process *p, int signo, bool all, struct err *e);
	int (*process_resize)(struct process *p, uint16_t rows, uint16_t cols, struct err *e);

	int (*container_freeze)(struct container *c, bool frozen, struct err *e);
	/**
	 * container_top - run ps(1) with these arguments where the container's processes are visible.
	 *
	 * Returns {"output": "text of ps", "pids": [1, 2]}; the caller keeps the rows of these pids.
	 */
	json_t *(*container_top)(struct container *c, const json_t *ps_args, struct err *e);
	/**
	 * container_stats - counters since start: {"cpu_ns", "cpu_user_ns", "cpu_system_ns", "system_cpu_ns",
	 * "online_cpus", "memory_bytes", "memory_limit_bytes", "memory_max_bytes", "memory_stats": {...}, "pids",
	 * "pids_limit", "blkio": [{"major","minor","op","value"}],
	 * "networks": {"eth0": {"rx_bytes",...}}}; absent = not known here.
	 */
	json_t *(*container_stats)(struct container *c, struct err *e);
	/* resources: OCI linux.resources object. */
	int (*container_update)(struct container *c, const json_t *resources, struct err *e);
	/* Kill what still runs, remove cgroup and mounts, free c, its init and its execs. */
	void (*container_delete)(struct container *c);
};

extern const struct isolation isolation_process;
extern const struct isolation isolation_hyperv; /* not linked into silo-agent */

#endif
