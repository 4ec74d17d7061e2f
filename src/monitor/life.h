/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life of a container as its monitor sees it: one [state][event] table. */
#ifndef SILO_MONITOR_LIFE_H
#define SILO_MONITOR_LIFE_H

#include "base/err.h"

enum life_state {
	LIFE_CREATED, /* init is parked before exec */
	LIFE_RUNNING,
	LIFE_PAUSED,
	LIFE_STOPPED, /* ended, or never could be started; the monitor only cleans up */
	LIFE_STATES,
};

enum life_event {
	LIFE_ASK, /* state, watch: always possible */
	LIFE_START,
	LIFE_ATTACH,
	LIFE_EXEC,
	LIFE_SIGNAL,
	LIFE_RESIZE,
	LIFE_PAUSE,
	LIFE_RESUME,
	LIFE_MEASURE, /* top, stats */
	LIFE_UPDATE,
	LIFE_END, /* the container has ended, was lost, or is given up */
	LIFE_EVENTS,
};

/* "created", "running", "paused", "stopped". */
const char *life_name(enum life_state s);

/**
 * life_next - may this happen now, and what is the state afterwards. Pure.
 *
 * @id  the container's id, for the text of the error.
 * Returns 0 and *next, or -1 with ERR_CONFLICT ("container ID is not running").
 */
int life_next(enum life_state s, enum life_event ev, const char *id, enum life_state *next, struct err *e) must_check;

#endif
