/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The caller's streams, in the form in which a monitor can hand them into its virtual machine. */
#ifndef SILO_RUNTIME_GUEST_STDIO_H
#define SILO_RUNTIME_GUEST_STDIO_H

#include <stdbool.h>

#include "base/err.h"

struct guest_stdio {
	bool terminal;
	int fds[3]; /* pipes and sockets, with a file status of their own; -1 = /dev/null. With a terminal: a socket, -1, -1 */
	int master; /* of the terminal that a process of ours keeps between host and guest; else -1 */
};

/**
 * guest_stdio_open - from our own 0, 1, 2, or a new terminal.
 *
 * @record_dir, @exec  whom changes of the terminal's size are told: a container, or an exec in it (NULL = init).
 * What isn't a pipe or a socket is copied by a process of ours, which ends with its stream.
 */
int guest_stdio_open(struct guest_stdio *io, const char *record_dir, const char *exec, bool terminal,
		     struct err *e) must_check;
void guest_stdio_close(struct guest_stdio *io);

#endif
