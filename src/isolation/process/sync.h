/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The talk between a supervisor and the child that becomes the container's process, over a SOCK_SEQPACKET pair:
 *
 *	child   ready (with the terminal's master, if any)  or  struct err
 *	parent  go
 *	child   end of file = execve has succeeded          or  struct err
 */
#ifndef SILO_ISOLATION_SYNC_H
#define SILO_ISOLATION_SYNC_H

#include <stdbool.h>

#include "base/err.h"

int sync_open(int ends[static 2], struct err *e) must_check;

/* Child. sync_send_ready closes nothing; tty -1 = none. */
int sync_send_ready(int sync, int tty, struct err *e) must_check;
/* False: the parent is gone. Only read(2), because a seccomp filter is in force. */
bool sync_wait_go(int sync);
void sync_send_error(int sync, const struct err *failure);

/* Parent. tty receives the master or -1. The child's own error becomes *e; a child that died gives ERR_SYSTEM. */
int sync_wait_ready(int sync, int *tty, struct err *e) must_check;
int sync_send_go(int sync, struct err *e) must_check;
int sync_wait_exec(int sync, struct err *e) must_check;

#endif
