/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life cycle of a container as one table: which request is possible in which state, and what follows. Pure. */
#ifndef SILO_ENGINE_LIFECYCLE_H
#define SILO_ENGINE_LIFECYCLE_H

#include "base/err.h"

enum life { LIFE_CREATED, LIFE_RUNNING, LIFE_PAUSED, LIFE_RESTARTING, LIFE_EXITED, LIFE_DEAD, LIFE_N };

enum life_event {
	DO_START,
	DO_STOP,
	DO_KILL,
	DO_PAUSE,
	DO_UNPAUSE,
	DO_REMOVE,
	DO_EXEC,
	DO_ATTACH,
	DO_TOP,
	DO_RESIZE,
	DO_RENAME,
	IT_EXITED,
	LIFE_EVENT_N,
};

/**
 * lifecycle_next - what an event does in a state.
 *
 * @ref  as the user named the container, @id its full id, @name its name without slash: for Docker's texts.
 * @to   receives the next state.
 * Returns 0, or -1 with Docker's error (ERR_CONFLICT, ERR_NOT_MODIFIED, ...).
 */
int lifecycle_next(enum life from, enum life_event event, const char *ref, const char *id, const char *name,
		   enum life *to, struct err *e) must_check;

/* "created", "running", "paused", "restarting", "exited", "dead": as Docker's State.Status, and back (LIFE_DEAD for another text). */
const char *lifecycle_name(enum life state);
enum life lifecycle_parse(const char *name);

#endif
