/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/lifecycle.h"

#include <string.h>

#include "base/str.h"

/* Docker's texts; {ref}, {id} and {name} are filled in. */
enum refusal {
	NO_REFUSAL,
	ALREADY_STARTED,
	ALREADY_STOPPED,
	START_PAUSED,
	START_DEAD,
	KILL_STOPPED,
	NOT_RUNNING,
	ALREADY_PAUSED,
	NOT_PAUSED,
	REMOVE_RUNNING,
	REMOVE_PAUSED,
	REMOVE_RESTARTING,
	WAIT_RESTARTING,
	EXEC_PAUSED,
	ATTACH_PAUSED,
	IS_DEAD,
	IMPOSSIBLE,
};

static const struct {
	enum err_kind kind;
	const char *text;
} refusals[] = {
	[ALREADY_STARTED] = { ERR_NOT_MODIFIED, "container {id} is already started" },
	[ALREADY_STOPPED] = { ERR_NOT_MODIFIED, "container {id} is already stopped" },
	[START_PAUSED] = { ERR_CONFLICT, "cannot start a paused container, try unpause instead" },
	[START_DEAD] = { ERR_CONFLICT, "container is marked for removal and cannot be started" },
	[KILL_STOPPED] = { ERR_CONFLICT, "cannot kill container: {ref}: container {id} is not running" },
	[NOT_RUNNING] = { ERR_CONFLICT, "container {id} is not running" },
	[ALREADY_PAUSED] = { ERR_CONFLICT, "Container {id} is already paused" },
	[NOT_PAUSED] = { ERR_SYSTEM, "Container {id} is not paused" },
	[REMOVE_RUNNING] = { ERR_CONFLICT, "cannot remove container \"/{name}\": container is running: stop the "
					   "container before removing or force remove" },
	[REMOVE_PAUSED] = { ERR_CONFLICT,
			    "cannot remove container \"/{name}\": container is paused and must be unpaused first" },
	[REMOVE_RESTARTING] = { ERR_CONFLICT, "cannot remove container \"/{name}\": container is restarting: stop the "
					      "container before removing or force remove" },
	[WAIT_RESTARTING] = { ERR_CONFLICT, "Container {id} is restarting, wait until the container is running" },
	[EXEC_PAUSED] = { ERR_CONFLICT, "Container {id} is paused, unpause the container before exec" },
	[ATTACH_PAUSED] = { ERR_CONFLICT, "container {ref} is paused, unpause the container before attach" },
	[IS_DEAD] = { ERR_CONFLICT, "container {id} is marked for removal" },
	[IMPOSSIBLE] = { ERR_SYSTEM, "container {id} can't do this in its state" },
};

#define TO(state) { state, NO_REFUSAL }
#define NO(why) { LIFE_DEAD, why }

static const struct {
	enum life to;
	enum refusal refusal;
} lives[LIFE_N][LIFE_EVENT_N] = {
	[LIFE_CREATED] = {
		[DO_START] = TO(LIFE_RUNNING),     [DO_STOP] = NO(ALREADY_STOPPED),  [DO_KILL] = NO(KILL_STOPPED),
		[DO_PAUSE] = NO(NOT_RUNNING),      [DO_UNPAUSE] = NO(NOT_PAUSED),    [DO_REMOVE] = TO(LIFE_DEAD),
		[DO_EXEC] = NO(NOT_RUNNING),       [DO_ATTACH] = TO(LIFE_CREATED),   [DO_TOP] = NO(NOT_RUNNING),
		[DO_RESIZE] = NO(NOT_RUNNING),     [DO_RENAME] = TO(LIFE_CREATED),   [IT_EXITED] = NO(IMPOSSIBLE),
	},
	[LIFE_RUNNING] = {
		[DO_START] = NO(ALREADY_STARTED),  [DO_STOP] = TO(LIFE_RUNNING),     [DO_KILL] = TO(LIFE_RUNNING),
		[DO_PAUSE] = TO(LIFE_PAUSED),      [DO_UNPAUSE] = NO(NOT_PAUSED),    [DO_REMOVE] = NO(REMOVE_RUNNING),
		[DO_EXEC] = TO(LIFE_RUNNING),      [DO_ATTACH] = TO(LIFE_RUNNING),   [DO_TOP] = TO(LIFE_RUNNING),
		[DO_RESIZE] = TO(LIFE_RUNNING),    [DO_RENAME] = TO(LIFE_RUNNING),   [IT_EXITED] = TO(LIFE_EXITED),
	},
	[LIFE_PAUSED] = {
		[DO_START] = NO(START_PAUSED),     [DO_STOP] = TO(LIFE_PAUSED),      [DO_KILL] = TO(LIFE_PAUSED),
		[DO_PAUSE] = NO(ALREADY_PAUSED),   [DO_UNPAUSE] = TO(LIFE_RUNNING),  [DO_REMOVE] = NO(REMOVE_PAUSED),
		[DO_EXEC] = NO(EXEC_PAUSED),       [DO_ATTACH] = NO(ATTACH_PAUSED),  [DO_TOP] = TO(LIFE_PAUSED),
		[DO_RESIZE] = TO(LIFE_PAUSED),     [DO_RENAME] = TO(LIFE_PAUSED),    [IT_EXITED] = TO(LIFE_EXITED),
	},
	[LIFE_RESTARTING] = {
		[DO_START] = NO(ALREADY_STARTED),  [DO_STOP] = TO(LIFE_EXITED),      [DO_KILL] = TO(LIFE_EXITED),
		[DO_PAUSE] = NO(WAIT_RESTARTING),  [DO_UNPAUSE] = NO(NOT_PAUSED),    [DO_REMOVE] = NO(REMOVE_RESTARTING),
		[DO_EXEC] = NO(WAIT_RESTARTING),   [DO_ATTACH] = NO(WAIT_RESTARTING), [DO_TOP] = NO(WAIT_RESTARTING),
		[DO_RESIZE] = NO(NOT_RUNNING),     [DO_RENAME] = TO(LIFE_RESTARTING), [IT_EXITED] = NO(IMPOSSIBLE),
	},
	[LIFE_EXITED] = {
		[DO_START] = TO(LIFE_RUNNING),     [DO_STOP] = NO(ALREADY_STOPPED),  [DO_KILL] = NO(KILL_STOPPED),
		[DO_PAUSE] = NO(NOT_RUNNING),      [DO_UNPAUSE] = NO(NOT_PAUSED),    [DO_REMOVE] = TO(LIFE_DEAD),
		[DO_EXEC] = NO(NOT_RUNNING),       [DO_ATTACH] = TO(LIFE_EXITED),    [DO_TOP] = NO(NOT_RUNNING),
		[DO_RESIZE] = NO(NOT_RUNNING),     [DO_RENAME] = TO(LIFE_EXITED),    [IT_EXITED] = NO(IMPOSSIBLE),
	},
	[LIFE_DEAD] = {
		[DO_START] = NO(START_DEAD),       [DO_STOP] = NO(ALREADY_STOPPED),  [DO_KILL] = NO(KILL_STOPPED),
		[DO_PAUSE] = NO(NOT_RUNNING),      [DO_UNPAUSE] = NO(NOT_PAUSED),    [DO_REMOVE] = TO(LIFE_DEAD),
		[DO_EXEC] = NO(NOT_RUNNING),       [DO_ATTACH] = NO(IS_DEAD),        [DO_TOP] = NO(NOT_RUNNING),
		[DO_RESIZE] = NO(NOT_RUNNING),     [DO_RENAME] = NO(IS_DEAD),        [IT_EXITED] = NO(IMPOSSIBLE),
	},
};

/* Copy text with {ref}, {id}, {name} filled in: the values come from users and never become a format. */
static void fill(struct str *out, const char *text, const char *ref, const char *id, const char *name)
{
	const struct {
		const char *key, *value;
	} words[] = { { "{ref}", ref }, { "{id}", id }, { "{name}", name } };

	while (*text) {
		size_t i;

		for (i = 0; i < array_len(words) && !str_starts(text, words[i].key); i++)
			;
		if (i < array_len(words)) {
			str_puts(out, words[i].value);
			text += strlen(words[i].key);
		} else {
			str_add(out, text++, 1);
		}
	}
}

int lifecycle_next(enum life from, enum life_event event, const char *ref, const char *id, const char *name,
		   enum life *to, struct err *e)
{
	enum refusal refusal = lives[from][event].refusal;
	autostr text;

	str_init(&text, sizeof(e->msg));
	if (refusal == NO_REFUSAL) {
		*to = lives[from][event].to;
		return 0;
	}
	fill(&text, refusals[refusal].text, ref, id, name);
	return err_set(e, refusals[refusal].kind, 0, "%s", text.s ? text.s : "");
}

static const char *const life_names[] = {
	[LIFE_CREATED] = "created", [LIFE_RUNNING] = "running", [LIFE_PAUSED] = "paused",
	[LIFE_RESTARTING] = "restarting", [LIFE_EXITED] = "exited", [LIFE_DEAD] = "dead",
};

const char *lifecycle_name(enum life state)
{
	return life_names[state];
}

enum life lifecycle_parse(const char *name)
{
	for (enum life s = LIFE_CREATED; s < LIFE_N; s++) {
		if (strcmp(life_names[s], name) == 0)
			return s;
	}
	return LIFE_DEAD;
}
