/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Restart policies. One thread starts again what is due; a container that waits is in the state "restarting", which is
 * in the database, so that another daemon goes on where this one has left.
 */
#include "engine/restart.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 60000
#define LONG_RUN_S 10 /* after a run of this length the back-off begins anew */

struct entry {
	struct entry *next;
	struct container *c;
	int64_t due_ms; /* monotonic */
};

struct restarter {
	struct engine *g;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct entry *first;
	bool stop;
};

int restart_backoff_ms(int last_ms, long ran_s)
{
	if (ran_s >= LONG_RUN_S || last_ms <= 0)
		return BACKOFF_FIRST_MS;
	return last_ms > BACKOFF_MAX_MS / 2 ? BACKOFF_MAX_MS : last_ms * 2;
}

bool restart_is_wanted(const json_t *policy, int exit_code, int restarts, bool stopped)
{
	const char *name = json_str(policy, "Name", "no");
	int64_t most = json_int(policy, "MaximumRetryCount", 0);

	if (stopped)
		return false;
	if (strcmp(name, "on-failure") == 0)
		return exit_code != 0 && (most == 0 || restarts < most);
	return strcmp(name, "always") == 0 || strcmp(name, "unless-stopped") == 0;
}

static bool wanted_at_open(const json_t *policy, const struct container *c)
{
	const char *name = json_str(policy, "Name", "no");

	if (c->state == LIFE_RESTARTING)
		return true;
	if (c->state != LIFE_EXITED || c->removing)
		return false;
	return strcmp(name, "always") == 0 || (strcmp(name, "unless-stopped") == 0 && !c->stop_wanted);
}

static void add(struct restarter *r, struct container *c, int64_t due_ms)
{
	struct entry *x = xcalloc(1, sizeof(*x));

	x->c = record_get(c);
	x->due_ms = due_ms;
	pthread_mutex_lock(&r->lock);
	x->next = r->first;
	r->first = x;
	pthread_cond_signal(&r->more);
	pthread_mutex_unlock(&r->lock);
}

bool restart_after_exit(struct engine *g, struct container *c, long ran_s)
{
	if (c->removing || c->removed ||
	    !restart_is_wanted(json_object_get(c->host, "RestartPolicy"), c->exit_code, c->restart_count,
			       c->stop_wanted))
		return false;
	c->backoff_ms = restart_backoff_ms(c->backoff_ms, ran_s);
	c->restart_count++;
	c->state = LIFE_RESTARTING;
	add(g->restarter, c, time_monotonic_ms() + c->backoff_ms);
	return true;
}

void restart_at_open(struct engine *g, struct container *c)
{
	bool wanted;

	pthread_mutex_lock(&c->lock);
	wanted = wanted_at_open(json_object_get(c->host, "RestartPolicy"), c);
	if (wanted)
		c->state = LIFE_RESTARTING;
	pthread_mutex_unlock(&c->lock);
	if (wanted)
		add(g->restarter, c, time_monotonic_ms());
}

bool restart_cancel(struct engine *g, struct container *c)
{
	bool waited;

	/* A start by the policy that is under way ends first: then there is something to be stopped. */
	pthread_mutex_lock(&c->op);
	pthread_mutex_lock(&c->lock);
	waited = c->state == LIFE_RESTARTING;
	if (waited) {
		c->state = LIFE_EXITED;
		c->stop_wanted = true;
		record_save_state(g->db, c, NULL);
		record_changed(c);
	}
	pthread_mutex_unlock(&c->lock);
	pthread_mutex_unlock(&c->op);
	return waited;
}

static bool still_waits(struct container *c)
{
	bool yes;

	pthread_mutex_lock(&c->lock);
	yes = c->state == LIFE_RESTARTING && !c->removing && !c->removed;
	pthread_mutex_unlock(&c->lock);
	return yes;
}

/* As with Docker, a container that can't be started at all isn't tried again. */
static void start_again(struct engine *g, struct container *c)
{
	struct err e = { 0 };

	pthread_mutex_lock(&c->op);
	if (still_waits(c) && !g->closing && run_start(g, c, &e) < 0) {
		log_error("container %.12s: restart: %s", c->id, e.msg);
		pthread_mutex_lock(&c->lock);
		c->state = LIFE_EXITED;
		record_save_state(g->db, c, NULL);
		record_changed(c);
		pthread_mutex_unlock(&c->lock);
	}
	pthread_mutex_unlock(&c->op);
}

/* The first one that is due, taken off the list, or NULL and when to look again. r->lock held. */
static struct entry *next_due(struct restarter *r, int64_t now_ms, int64_t *wake_ms)
{
	*wake_ms = INT64_MAX;
	for (struct entry **p = &r->first; *p; p = &(*p)->next) {
		struct entry *x = *p;

		if (x->due_ms <= now_ms) {
			*p = x->next;
			return x;
		}
		if (x->due_ms < *wake_ms)
			*wake_ms = x->due_ms;
	}
	return NULL;
}

static void *restart_thread(void *arg)
{
	struct restarter *r = arg;

	pthread_mutex_lock(&r->lock);
	while (!r->stop) {
		int64_t wake_ms;
		struct entry *x = next_due(r, time_monotonic_ms(), &wake_ms);
		struct timespec t = { .tv_sec = wake_ms / 1000, .tv_nsec = (wake_ms % 1000) * 1000000 };

		if (!x && wake_ms == INT64_MAX) {
			pthread_cond_wait(&r->more, &r->lock);
		} else if (!x) {
			pthread_cond_timedwait(&r->more, &r->lock, &t);
		} else {
			pthread_mutex_unlock(&r->lock);
			start_again(r->g, x->c);
			record_put(x->c);
			free(x);
			pthread_mutex_lock(&r->lock);
		}
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

struct restarter *restarter_new(struct engine *g, struct err *e)
{
	struct restarter *r = xcalloc(1, sizeof(*r));
	pthread_condattr_t attr;

	r->g = g;
	pthread_mutex_init(&r->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&r->more, &attr);
	pthread_condattr_destroy(&attr);
	errno = pthread_create(&r->thread, NULL, restart_thread, r);
	if (errno) {
		err_set(e, ERR_SYSTEM, errno, "start the restarter");
		free(r);
		return NULL;
	}
	return r;
}

void restarter_stop(struct restarter *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_broadcast(&r->more);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
}

void restarter_free(struct restarter *r)
{
	struct entry *x;

	if (!r)
		return;
	while ((x = r->first)) {
		r->first = x->next;
		record_put(x->c);
		free(x);
	}
	pthread_cond_destroy(&r->more);
	pthread_mutex_destroy(&r->lock);
	free(r);
}
