/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QEMU's machine protocol, as much as starting a VM needs. The peer is not trusted: lines and waits are bounded. */
#ifndef SILO_HYPERV_QMP_H
#define SILO_HYPERV_QMP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define QMP_LINE_MAX (64 * KIB)
#define QMP_EVENTS_MAX 64 /* kept for qmp_wait_event(); more and the oldest are forgotten */

struct qmp {
	int sock;
	int64_t deadline_ms; /* monotonic; every wait of this connection ends there */
	struct str in;
	json_t *events;
	bool broken; /* no answer came, or rubbish: nothing more can be asked */
};

/* @sock  connected stream socket, taken over; made non-blocking. Reads the greeting and leaves negotiation mode. */
int qmp_open(struct qmp *q, int sock, int64_t deadline_ms, struct err *e) must_check;
void qmp_close(struct qmp *q); /* allowed on a zeroed struct with sock -1, and twice */

/**
 * qmp_call - execute one command.
 *
 * @arguments  reference is taken; NULL = none.
 * @fd         sent beside the command, or -1. Stays the caller's.
 * Returns 0 and, where result isn't NULL, a new reference to "return"; or -1: ERR_SYSTEM with QEMU's own text,
 * ERR_TIMEOUT, ERR_INVALID when it talks rubbish.
 */
int qmp_call(struct qmp *q, const char *command, json_t *arguments, int fd, json_t **result, struct err *e) must_check;

/* Between commands: forget what QEMU tells by itself. False when nothing more can come. Doesn't block. */
bool qmp_drain(struct qmp *q);

/* Wait for an event of this name; new reference to the whole message, or NULL with *e. */
json_t *qmp_wait_event(struct qmp *q, const char *name, struct err *e) must_check;

/**
 * qmp_take_message - cut the first complete line out of in and parse it. Pure.
 *
 * Returns 1 and a new object in *message; 0 when there is no complete line yet; -1 with ERR_INVALID.
 */
int qmp_take_message(struct str *in, json_t **message, struct err *e) must_check;

#endif
