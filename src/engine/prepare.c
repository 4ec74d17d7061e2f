/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Start is the critical path of `docker run`, and there is time between the answer to create and the request to start:
 * the client attaches and waits first. So a container is prepared in the background as soon as it has been created, its
 * init parked just before exec. One that isn't started soon is let go again: an idle record must not cost a process.
 *
 * Only with process isolation: a virtual machine is too dear to be started for nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/own.h"
#include "engine/state.h"

#define PARK_MS 5000
#define LINGER_MS 3000
#define QUEUE_MAX 32 /* more created at once than that: they are started the plain way */

struct entry {
	struct entry *next;
	struct container *c;
	bool parked;
	int64_t until_ms; /* monotonic: then a parked one is let go */
};

struct preparer {
	struct engine *g;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct entry *first;
	size_t n;
	bool stop;
};

static void entry_free(struct entry *x)
{
	record_put(x->c);
	free(x);
}

/* The next one to park, or else one whose time is over. p->lock held. Taken off the list; NULL = none yet. */
static struct entry *next_entry(struct preparer *p, int64_t now_ms, int64_t *wake_ms)
{
	struct entry **at, **due = NULL;

	*wake_ms = INT64_MAX;
	for (at = &p->first; *at; at = &(*at)->next) {
		if (!(*at)->parked || (*at)->until_ms <= now_ms) {
			due = at;
			if (!(*at)->parked)
				break;
		} else if ((*at)->until_ms < *wake_ms) {
			*wake_ms = (*at)->until_ms;
		}
	}
	if (!due)
		return NULL;
	struct entry *x = *due;

	*due = x->next;
	p->n--;
	return x;
}

static void put_back(struct preparer *p, struct entry *x)
{
	struct entry **last;

	x->next = NULL;
	for (last = &p->first; *last; last = &(*last)->next)
		;
	*last = x;
	p->n++;
}

/* True when it has to be looked at again. */
static bool handle(struct preparer *p, struct entry *x)
{
	struct container *c = x->c;
	bool again = false;

	if (pthread_mutex_trylock(&c->op) != 0) /* it is being started, or removed: nothing to do here */
		return false;
	if (x->parked) {
		run_unpark(p->g, c);
	} else {
		run_park(p->g, c);
		again = x->parked = c->parked.pidfd >= 0;
		x->until_ms = time_monotonic_ms() + PARK_MS;
	}
	pthread_mutex_unlock(&c->op);
	return again;
}

static void wait_for_work(struct preparer *p, int64_t wake_ms)
{
	struct timespec t = { .tv_sec = wake_ms / 1000, .tv_nsec = (wake_ms % 1000) * 1000000 };

	if (wake_ms == INT64_MAX)
		pthread_cond_wait(&p->more, &p->lock);
	else
		pthread_cond_timedwait(&p->more, &p->lock, &t);
}

static void *prepare_thread(void *arg)
{
	struct preparer *p = arg;

	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		int64_t wake_ms;
		struct entry *x = next_entry(p, time_monotonic_ms(), &wake_ms);
		bool again;

		if (!x) {
			wait_for_work(p, wake_ms);
			continue;
		}
		pthread_mutex_unlock(&p->lock);
		again = handle(p, x);
		pthread_mutex_lock(&p->lock);
		if (again)
			put_back(p, x);
		else
			entry_free(x);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

struct preparer *preparer_new(struct engine *g, struct err *e)
{
	struct preparer *p = xcalloc(1, sizeof(*p));
	pthread_condattr_t attr;

	p->g = g;
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->more, &attr);
	pthread_condattr_destroy(&attr);
	errno = pthread_create(&p->thread, NULL, prepare_thread, p);
	if (errno) {
		err_set(e, ERR_SYSTEM, errno, "start the preparer");
		free(p);
		return NULL;
	}
	return p;
}

void preparer_free(struct preparer *p)
{
	struct entry *x;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->more);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	while ((x = p->first)) {
		p->first = x->next;
		entry_free(x);
	}
	pthread_cond_destroy(&p->more);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static bool add(struct preparer *p, struct container *c, bool parked)
{
	struct entry *x = xcalloc(1, sizeof(*x));

	*x = (struct entry){ .c = record_get(c), .parked = parked, .until_ms = time_monotonic_ms() + LINGER_MS };
	pthread_mutex_lock(&p->lock);
	if (p->n < QUEUE_MAX) {
		put_back(p, x);
		x = NULL;
	}
	pthread_cond_signal(&p->more);
	pthread_mutex_unlock(&p->lock);
	if (!x)
		return true;
	entry_free(x);
	return false;
}

void preparer_add(struct preparer *p, struct container *c)
{
	if (strcmp(c->isolation, "process") == 0)
		add(p, c, false);
}

bool preparer_linger(struct preparer *p, struct container *c)
{
	return add(p, c, true);
}
