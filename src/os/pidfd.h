/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Processes by file descriptor: no pid is ever reused under us. Source: clone(2), pidfd_open(2), waitid(2). */
#ifndef SILO_OS_PIDFD_H
#define SILO_OS_PIDFD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/**
 * pidfd_clone - fork with namespaces. To be called from a single-threaded process.
 *
 * @flags   CLONE_NEW* flags.
 * @cgroup  fd of a cgroup v2 directory to be born in, or -1.
 * @pidfd   receives a close-on-exec pidfd in the parent.
 * Returns the pid in the parent, 0 in the child, -1 with *e.
 */
pid_t pidfd_clone(uint64_t flags, int cgroup, int *pidfd, struct err *e) must_check;

/* ERR_NOT_FOUND when the process has ended. */
int pidfd_signal(int pidfd, int signo, struct err *e) must_check;

/**
 * pidfd_wait - reap an own child.
 *
 * @block      false: only look.
 * @exit_code  receives 0..255, or 128 + signal.
 * Returns 1 when reaped, 0 when it still runs, -1 with *e.
 */
int pidfd_wait(int pidfd, bool block, int *exit_code, struct err *e) must_check;

#endif
