/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What makes a process a good daemon: sockets, lock, service manager, private mount namespace. */
#ifndef SILO_API_DAEMON_H
#define SILO_API_DAEMON_H

#include <signal.h>
#include <stddef.h>

#include "base/err.h"

/**
 * daemon_lock - take DIR/silod.lock for the life of the process. The directory is made where missing (0711).
 *
 * Returns the lock's fd, or -1: ERR_CONFLICT when another silod has it.
 */
int daemon_lock(const char *dir, struct err *e) must_check;

#define LISTENERS_MAX 8

struct listeners {
	size_t n;
	int fd[LISTENERS_MAX];
	char *path[LISTENERS_MAX]; /* NULL: the service manager's, not ours to remove */
};

/**
 * listeners_open - sockets passed by systemd (LISTEN_FDS, LISTEN_PID), and those of the hosts; the default path where
 * there are neither.
 *
 * @hosts  unix://PATH; fd:// stands for systemd's.
 * Sockets have mode 0660 and group `silo` where that exists. A stale one (nobody answers) is replaced; ERR_CONFLICT
 * when somebody does or when the path is no socket.
 */
int listeners_open(struct listeners *l, char *const *hosts, size_t n_hosts, const char *default_path,
		   struct err *e) must_check;
/* Remove the socket files that are ours. */
void listeners_remove(struct listeners *l);

/* sd_notify(3) without its library: "READY=1", "STOPPING=1". Silent where there is no service manager. */
void notify_manager(const char *state);

/* Signals that end or reload the daemon, blocked for sigwait() before there are threads; SIGPIPE ignored; as many open
 * files as the host allows. Children must reset mask and dispositions. */
void daemon_prepare(sigset_t *signals);

/* Directory of silo-monitor and its siblings: beside this program, or ../libexec/silo. Heap string, or NULL. */
char *find_lib_dir(struct err *e) must_check;

/**
 * private_ns_enter - give this process (no threads yet) a mount namespace of its own that receives the host's mounts
 * and sends none back, with find_lib_dir() mounted read-only at EXEC_ROOT/bin.
 *
 * Programs of ours that run inside containers are executed from there, so that not even root in a container can write
 * to them (CVE-2019-5736). Returns that path as a heap string, or NULL. *host_mounts: the namespace that was left.
 */
char *private_ns_enter(const char *exec_root, int *host_mounts, struct err *e) must_check;

#endif
