/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * silod's side of the monitor: start one, and blocking calls on its socket. Thread-safe: nothing is shared.
 *
 * Order of a run: monitor_spawn, monitor_watch (kept open: a monitor whose last connection closes before `start` ends),
 * monitor_attach (optional), monitor_start; events then come on the watching connection, and its end of file means that
 * the run is cleaned up. After a restart of silod: monitor_watch again; ERR_NOT_FOUND = that monitor is gone, its exit
 * record tells the rest.
 *
 * Every call that takes a bundle directory makes a connection of its own. ERR_NOT_FOUND with sys ENOENT or ECONNREFUSED:
 * no monitor there.
 */
#ifndef SILO_MONITOR_CLIENT_H
#define SILO_MONITOR_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define MONITOR_NETWORK_FD 4

struct monitor_process {
	pid_t pid;
	int pidfd; /* readable when it has ended; the caller closes it and reaps with waitid(P_PIDFD) */
};

/**
 * monitor_spawn - start the monitor of a bundle.
 *
 * @program     path of silo-monitor.
 * @network     network namespace or tap device that the monitor gets as MONITOR_NETWORK_FD, or -1; stays the caller's.
 * @bundle_dir  config.json and silo.json are there; gets monitor.sock (mode 0600) and monitor.log (its stderr).
 *
 * Returns when the monitor's program has been executed; it answers once it has prepared the container, connections are
 * possible at once. Its environment is empty but for PATH (and SILO_FAIL_STEP where that is set), its descriptors
 * are 0 (null), 1 and 2 (log), 3 (socket); it makes a session of its own.
 */
int monitor_spawn(const char *program, const char *bundle_dir, int network, struct monitor_process *out,
		  struct err *e) must_check;

/* Have the monitor of a running machine (its bundle's directory) be that of one more bundle, whose container joins it:
 * from then on as after monitor_spawn(), but there is no process of its own. */
int monitor_spawn_joined(const char *machine_dir, const char *bundle_dir, struct err *e) must_check;
/* The same for an OCI runtime: with the container's streams (borrowed; -1 = none; a tty: the first is a socket). */
int monitor_spawn_in_pod(const char *machine_dir, const char *bundle_dir, const int streams[static 3],
			 struct err *e) must_check;

struct monitor_standby {
	struct monitor_process process;
	int sock; /* msg_recv gives {"ready": true} when its VM waits; closing it ends a monitor that still waits */
};

/* Start a monitor that gets its bundle later, and meanwhile a VM ready that has rehearsed with the bundle given here
 * (standby_options). log_fd: its stderr until then; borrowed. */
int monitor_spawn_standby(const char *program, const char *rehearsal_dir, const char *id, uid_t uid,
			  uint64_t disk_bytes, int log_fd, struct monitor_standby *out, struct err *e) must_check;
/* The bundle is its own from now on, as after monitor_spawn(). The caller closes s->sock. On failure the monitor ends. */
int monitor_give(struct monitor_standby *s, const char *bundle_dir, int network, struct err *e) must_check;

/* Connect to the monitor of a bundle; the socket is for msg_send / msg_recv (base/msg.h). */
int monitor_connect(const char *bundle_dir, struct err *e) must_check;

/* One request on a connection of its own. timeout_ms -1 = no limit. fds stay the caller's. Returns the answer. */
json_t *monitor_call(const char *bundle_dir, const json_t *request, const int *fds, size_t n_fds, int timeout_ms,
		     struct err *e) must_check;

/**
 * monitor_watch - connect and ask for events.
 *
 * @state  receives the answer (as monitor_state), new reference; may be NULL.
 * Returns the connection: read events with msg_recv; other requests may not be made on it. If the container has ended
 * meanwhile, its exit event follows at once.
 */
int monitor_watch(const char *bundle_dir, json_t **state, struct err *e) must_check;

/* As monitor_watch, for a container that is to end with this connection. */
int monitor_hold(const char *bundle_dir, struct err *e) must_check;

/* {"status", "pid", "sandbox_pid", "started_at", "execs"} */
json_t *monitor_state(const char *bundle_dir, struct err *e) must_check;
/* {"pid", "sandbox_pid", "started_at"}; waits for preparation and exec. The container's own errors come as they are. */
json_t *monitor_start(const char *bundle_dir, struct err *e) must_check;

struct monitor_streams {
	bool in, out, err;
	const char *detach_keys; /* NULL or "" = the container's */
	int client;              /* connected stream socket; stays the caller's (close it: the monitor has its own copy) */
};
int monitor_attach(const char *bundle_dir, const struct monitor_streams *s, struct err *e) must_check;

struct monitor_exec {
	const char *id;
	const json_t *process; /* OCI process object */
	bool tty;
	bool is_files;                         /* {"files": ...}: also of a container that is paused or not started */
	int rows, cols;                        /* 0 = leave */
	const struct monitor_streams *streams; /* NULL, or client -1 = detached: /dev/null, or a tty nobody reads */
};
/* Returns the pid, or -1. After a failure the client's socket is untouched. The exec_exit event comes before the end of
 * the client's stream; who can't wait for it asks monitor_state. */
pid_t monitor_exec(const char *bundle_dir, const struct monitor_exec *x, struct err *e) must_check;

/* exec NULL = init. all: every process of the container. ERR_CONFLICT: not running; ERR_NOT_FOUND: the process ended. */
int monitor_signal(const char *bundle_dir, const char *exec, int signo, bool all, struct err *e) must_check;
int monitor_resize(const char *bundle_dir, const char *exec, int rows, int cols, struct err *e) must_check;
int monitor_pause(const char *bundle_dir, bool paused, struct err *e) must_check;
json_t *monitor_top(const char *bundle_dir, const json_t *ps_args, struct err *e) must_check; /* {"output", "pids"} */
json_t *monitor_stats(const char *bundle_dir, struct err *e) must_check;
int monitor_update(const char *bundle_dir, const json_t *resources, struct err *e) must_check;
/* Make this the network of a machine (isolation.h, sandbox_network). taps stay the caller's. */
int monitor_network(const char *bundle_dir, const json_t *network, const int *taps, size_t n_taps,
		    struct err *e) must_check;
/* Kill everything and clean up; returns when it has begun. */
int monitor_end(const char *bundle_dir, struct err *e) must_check;

#endif
