/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/crew.h"

#include <time.h>

#define TELL_EVERY_NS 100000000

static void fail_locked(struct crew *c, const struct err *e)
{
	if (c->err.kind == ERR_NONE)
		c->err = *e;
	c->cancelled = true;
	pthread_cond_broadcast(&c->offered);
}

static void *worker(void *arg)
{
	struct crew *c = arg;

	pthread_mutex_lock(&c->lock);
	while (!c->cancelled) {
		struct err e = { 0 };
		size_t item = c->next;
		int rc;

		if (item == c->n_items) {
			if (c->closed)
				break;
			pthread_cond_wait(&c->offered, &c->lock);
			continue;
		}
		c->next++;
		pthread_mutex_unlock(&c->lock);
		rc = c->work(c->arg, item, &e);
		pthread_mutex_lock(&c->lock);
		if (rc)
			fail_locked(c, &e);
		pthread_cond_signal(&c->changed);
	}
	c->working--;
	pthread_cond_signal(&c->changed);
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

int crew_start(struct crew *c, size_t n_workers, struct err *e)
{
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	pthread_cond_init(&c->offered, NULL);
	c->ready = true;
	pthread_mutex_lock(&c->lock);
	while (c->n_threads < n_workers && c->n_threads < CREW_MAX &&
	       !pthread_create(&c->threads[c->n_threads], NULL, worker, c))
		c->n_threads++;
	c->working = c->n_threads;
	pthread_mutex_unlock(&c->lock);
	if (c->n_threads || !n_workers)
		return 0;
	crew_abandon(c);
	return err_set(e, ERR_SYSTEM, 0, "no thread for the work");
}

void crew_offer_locked(struct crew *c)
{
	c->n_items++;
	pthread_cond_signal(&c->offered);
}

void crew_tell(struct crew *c)
{
	pthread_cond_signal(&c->changed);
}

/* Until the next change, or the next tenth of a second. Returns how many workers there still are. */
static size_t wait_for_change(struct crew *c)
{
	struct timespec until;
	size_t working;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += TELL_EVERY_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&c->lock);
	if (c->working)
		pthread_cond_timedwait(&c->changed, &c->lock, &until);
	working = c->working;
	pthread_mutex_unlock(&c->lock);
	return working;
}

static void tell_all(struct crew *c)
{
	size_t working;

	do {
		struct err e = { 0 };

		working = wait_for_change(c);
		if (c->cancelled || !c->tell(c->arg, &e))
			continue;
		pthread_mutex_lock(&c->lock);
		fail_locked(c, &e);
		pthread_mutex_unlock(&c->lock);
	} while (working);
}

int crew_end(struct crew *c, struct err *e)
{
	if (!c->ready)
		return 0;
	pthread_mutex_lock(&c->lock);
	c->closed = true;
	pthread_cond_broadcast(&c->offered);
	pthread_mutex_unlock(&c->lock);
	if (c->tell)
		tell_all(c);
	while (c->n_threads)
		pthread_join(c->threads[--c->n_threads], NULL);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->changed);
	pthread_cond_destroy(&c->offered);
	c->ready = false;
	if (c->err.kind == ERR_NONE)
		return 0;
	*e = c->err;
	return -1;
}

void crew_abandon(struct crew *c)
{
	struct err ignored = { 0 };

	c->cancelled = true;
	(void)!crew_end(c, &ignored);
}

int crew_run(struct crew *c, size_t n_workers, struct err *e)
{
	if (crew_start(c, n_workers < c->n_items ? n_workers : c->n_items, e))
		return -1;
	return crew_end(c, e);
}
