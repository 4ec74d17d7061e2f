/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Unix sockets with a name. */
#ifndef SILO_BASE_UNIX_H
#define SILO_BASE_UNIX_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* Does somebody listen there, or receive? Whoever does isn't told of the question. */
bool unix_is_served(const char *path);

/**
 * unix_listen - a listening, non-blocking stream socket. The leftover of a process that is gone is replaced.
 *
 * Returns the descriptor, or -1: ERR_CONFLICT when it is served, ERR_INVALID when the name is too long or is no socket's.
 */
int unix_listen(const char *path, mode_t mode, struct err *e) must_check;

#endif
