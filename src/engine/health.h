/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Health checks: HEALTHCHECK of an image, --health-*. One thread for all containers. */
#ifndef SILO_ENGINE_HEALTH_H
#define SILO_ENGINE_HEALTH_H

#include "engine/state.h"

struct health_checker *health_new(struct engine *g, struct err *e) must_check;
void health_free(struct health_checker *h);

/* c runs now: begin with its checks, where it has any. fresh: it was just started, so that its state is "starting"; else
 * the daemon was, and what was known before holds. Without c->lock. */
void health_watch(struct engine *g, struct container *c, bool fresh);

/* Config.Healthcheck of the request and of its image in one: each member that isn't given is the image's. New, or NULL. */
json_t *health_merge(const json_t *own, const json_t *image);
/* Docker's texts for what makes no sense in Config.Healthcheck. */
int health_check_config(const json_t *config, struct err *e) must_check;
/* "none", "starting", "healthy", "unhealthy". c->lock held. */
const char *health_status(const struct container *c);

/**
 * health_result - what one result of a probe makes of the state {"Status", "FailingStreak", "Log"}, in place. Pure.
 *
 * @entry  {"Start", "End", "ExitCode", "Output"}: taken.
 * @in_start_period  a failure doesn't count while the state is "starting".
 * Returns true when the status has changed.
 */
bool health_result(json_t *state, json_t *entry, bool in_start_period, int retries);

#endif
