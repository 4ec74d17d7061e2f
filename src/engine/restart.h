/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Restart policies: what follows when a container has ended, and at the start of the engine. */
#ifndef SILO_ENGINE_RESTART_H
#define SILO_ENGINE_RESTART_H

#include "engine/state.h"

struct restarter *restarter_new(struct engine *g, struct err *e) must_check;
/* End the thread; what waits stays "restarting" in the database. restart_after_exit() may still be called. */
void restarter_stop(struct restarter *r);
void restarter_free(struct restarter *r);

/**
 * restart_after_exit - c has ended with c->exit_code after ran_s seconds: start it again?
 *
 * c->lock held. True: c->state is LIFE_RESTARTING now, and the restarter's thread will start it when the back-off is over.
 */
bool restart_after_exit(struct engine *g, struct container *c, long ran_s);
/* The engine has been opened and c doesn't run: start it when its policy says so. */
void restart_at_open(struct engine *g, struct container *c);
/* The user stops c: when it waits for its restart it is "exited" from now on (true). Neither c->op nor c->lock held. */
bool restart_cancel(struct engine *g, struct container *c);

/* Pure. policy: HostConfig.RestartPolicy. restarts: how often it was restarted; stopped: by the user. */
bool restart_is_wanted(const json_t *policy, int exit_code, int restarts, bool stopped);
/* Pure. Docker's back-off: 100 ms, doubled up to a minute, from the beginning after a run of 10 s. */
int restart_backoff_ms(int last_ms, long ran_s);

#endif
