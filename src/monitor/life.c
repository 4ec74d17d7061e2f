/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "monitor/life.h"

#include <stddef.h>

/* A cell either moves on (why == NULL) or says why not, in Docker's words behind "container ID ". */
struct life_cell {
	enum life_state next;
	const char *why;
};

#define NO(text) { 0, text }
#define TO(state) { LIFE_##state, NULL }

static const struct life_cell life_table[LIFE_STATES][LIFE_EVENTS] = {
	[LIFE_CREATED] = {
		[LIFE_ASK] = TO(CREATED),
		[LIFE_START] = TO(RUNNING),
		[LIFE_ATTACH] = TO(CREATED),
		[LIFE_EXEC] = NO("is not running"),
		[LIFE_SIGNAL] = NO("is not running"),
		[LIFE_RESIZE] = NO("is not running"),
		[LIFE_PAUSE] = NO("is not running"),
		[LIFE_RESUME] = NO("is not paused"),
		[LIFE_MEASURE] = NO("is not running"),
		[LIFE_UPDATE] = TO(CREATED),
		[LIFE_END] = TO(STOPPED),
	},
	[LIFE_RUNNING] = {
		[LIFE_ASK] = TO(RUNNING),
		[LIFE_START] = NO("is already running"),
		[LIFE_ATTACH] = TO(RUNNING),
		[LIFE_EXEC] = TO(RUNNING),
		[LIFE_SIGNAL] = TO(RUNNING),
		[LIFE_RESIZE] = TO(RUNNING),
		[LIFE_PAUSE] = TO(PAUSED),
		[LIFE_RESUME] = NO("is not paused"),
		[LIFE_MEASURE] = TO(RUNNING),
		[LIFE_UPDATE] = TO(RUNNING),
		[LIFE_END] = TO(STOPPED),
	},
	[LIFE_PAUSED] = {
		[LIFE_ASK] = TO(PAUSED),
		[LIFE_START] = NO("is paused, unpause the container before starting it"),
		[LIFE_ATTACH] = NO("is paused, unpause the container before attach"),
		[LIFE_EXEC] = NO("is paused, unpause the container before exec"),
		[LIFE_SIGNAL] = TO(PAUSED),
		[LIFE_RESIZE] = TO(PAUSED),
		[LIFE_PAUSE] = NO("is already paused"),
		[LIFE_RESUME] = TO(RUNNING),
		[LIFE_MEASURE] = TO(PAUSED),
		[LIFE_UPDATE] = TO(PAUSED),
		[LIFE_END] = TO(STOPPED),
	},
	[LIFE_STOPPED] = {
		[LIFE_ASK] = TO(STOPPED),
		[LIFE_START] = NO("has ended"),
		[LIFE_ATTACH] = NO("is not running"),
		[LIFE_EXEC] = NO("is not running"),
		[LIFE_SIGNAL] = NO("is not running"),
		[LIFE_RESIZE] = NO("is not running"),
		[LIFE_PAUSE] = NO("is not running"),
		[LIFE_RESUME] = NO("is not paused"),
		[LIFE_MEASURE] = NO("is not running"),
		[LIFE_UPDATE] = NO("is not running"),
		[LIFE_END] = NO("has ended"),
	},
};

const char *life_name(enum life_state s)
{
	static const char *const names[LIFE_STATES] = {
		[LIFE_CREATED] = "created",
		[LIFE_RUNNING] = "running",
		[LIFE_PAUSED] = "paused",
		[LIFE_STOPPED] = "stopped",
	};

	return names[s];
}

int life_next(enum life_state s, enum life_event ev, const char *id, enum life_state *next, struct err *e)
{
	const struct life_cell *cell = &life_table[s][ev];

	if (cell->why)
		return err_set(e, ERR_CONFLICT, 0, "container %s %s", id, cell->why);
	*next = cell->next;
	return 0;
}
