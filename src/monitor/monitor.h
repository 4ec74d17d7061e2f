/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The monitor of one container: parent of its init (process) or of its virtual machine (hyperv). It owns the standard
 * streams, the log and the exit code, serves silod on a private socket, and outlives silod. docs/architecture.md has
 * the protocol; monitor/client.h is silod's side of it.
 *
 * Life: sandbox and container are made at once (init parked before exec); requests wait meanwhile. After `start` it
 * runs until init has ended, writes the exit record, tells its watchers, hangs up its clients, and only then deletes
 * the container and the sandbox. It ends when that is done and everything is delivered: its end (end of file on a
 * connection) means that nothing of the run is left.
 *
 * A container that can't be prepared or started: the exit record has `error` and exit_code 127 (no such command), 126
 * (not executable) or 128; `start` is answered with the error; no exit event is pushed; then the monitor ends.
 * A lost sandbox ends the container with exit code 137 and an error, as Docker shows a container whose shim was killed.
 */
#ifndef SILO_MONITOR_H
#define SILO_MONITOR_H

#include <stdbool.h>

#include "base/err.h"

struct loop;
struct sandbox;

struct monitor_options {
	const char *bundle_dir;
	int listener;  /* listening SOCK_SEQPACKET socket; taken */
	int stop_fd;   /* readable (signalfd) = shut down, killing the container; borrowed; -1 = none */
	const char *socket_path; /* unlinked at the end; NULL = not */
	/* For an OCI runtime: the container's streams are these (a tty: the first is a socket), and nobody need be connected.
	 * Taken; -1 = /dev/null. In a process of its own they are 0, 1, 2, and our exit code is to be the container's. */
	bool stand_in;
	int streams[3];
	int *exit_code; /* receives the container's; may be NULL */
	/* A VM that has been waiting for this bundle, and the loop that it lives in; NULL = none. Both are taken. */
	struct sandbox *standby;
	struct loop *loop;
};

/**
 * monitor_run - be the monitor of this bundle until its container is gone.
 *
 * Returns 0 also when the container could not be started (that is told to silod); -1 with *e when the monitor itself
 * failed.
 */
int monitor_run(const struct monitor_options *o, struct err *e) must_check;

#endif
