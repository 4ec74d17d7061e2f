/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pseudo terminals of a container's own devpts. Source: pty(7), ioctl_tty(2). */
#ifndef SILO_OS_TTY_H
#define SILO_OS_TTY_H

#include <stdint.h>

#include "base/err.h"

/**
 * tty_open_pair - new terminal of the devpts instance that pts (a directory fd) is the root of.
 *
 * The slave is opened through its master (TIOCGPTPEER), never by a name that somebody could exchange. Refused when pts
 * isn't devpts. Both fds are close-on-exec; the caller owns them.
 */
int tty_open_pair(int pts, int *master, int *slave, struct err *e) must_check;
/* rows and cols 0 = leave as it is. */
int tty_resize(int fd, uint16_t rows, uint16_t cols, struct err *e) must_check;
/* New session with this terminal as its controlling one. */
int tty_make_controlling(int slave, struct err *e) must_check;

#endif
