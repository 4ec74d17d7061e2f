/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The talk between a supervisor and the child that becomes the container's process, over a SOCK_SEQPACKET pair:
 *
 *	child   hooks, user namespace, ...: a request       or  struct err
 *	parent  answer with a number
 *	child   ready (with the terminal's master, if any)  or  struct err
 *	parent  go
 *	child   end of file = execve has succeeded          or  struct err
 */
#ifndef SILO_ISOLATION_SYNC_H
#define SILO_ISOLATION_SYNC_H

#include <stdbool.h>

#include "base/err.h"

int sync_open(int ends[static 2], struct err *e) must_check;

/* What a child asks of its parent, with a number; the parent's answer is a number, too. */
enum sync_request {
	SYNC_READY,
	SYNC_HOOKS,    /* run the hooks of this moment; the answer is the child's pid */
	SYNC_MAPS,     /* write the maps of the child's user namespace */
	SYNC_PID,      /* value is the pid of the process that goes on in the asker's place; there is no answer */
	SYNC_LISTENER, /* value is the number of a descriptor to take out of the child */
};

/* Child: ask and wait for the answer. Only read(2) and write(2), because a seccomp filter may be in force. */
int sync_tell(int sync, enum sync_request what, int value, struct err *e) must_check;
int sync_ask(int sync, enum sync_request what, int value, int *answer, struct err *e) must_check;
/* Parent: the next message: SYNC_READY as sync_wait_ready(), or a request, which sync_answer() answers. */
int sync_wait(int sync, enum sync_request *what, int *value, int *tty, struct err *e) must_check;
int sync_answer(int sync, int value, struct err *e) must_check;

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
