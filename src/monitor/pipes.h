/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Named pipes that programs of a Windows container serve and the host's programs use. "pipes" of silo.json:
 * [{"listen": path, "meet": path}], two sockets of the monitor's: clients of the host come to the first one; the container
 * has the second one bound, keeps a connection to it open, and is told by a byte that a client is there. From then on this
 * connection is the client's; the container makes another one for the next. That way no connection has to be made into
 * a container, and it is the same in a virtual machine.
 */
#ifndef SILO_MONITOR_PIPES_H
#define SILO_MONITOR_PIPES_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/loop.h"

struct pipes;

/* Listen. On failure nothing is left. list: NULL or empty gives none, and NULL without *e->kind. */
int pipes_open(struct pipes **out, const json_t *list, struct loop *l, struct err *e) must_check;
/* The container has ended: nobody is let in any more. */
void pipes_end(struct pipes *p);
/* After pipes_end(): is there anything that a client hasn't read? */
bool pipes_are_busy(const struct pipes *p);
/* NULL allowed. */
void pipes_free(struct pipes *p);

#endif
