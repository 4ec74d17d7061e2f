/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A crew: some threads do a number of items, in order, while the thread that has called them together tells of it. */
#ifndef SILO_BASE_CREW_H
#define SILO_BASE_CREW_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define CREW_MAX 16

struct crew {
	/* Called by the workers, one item each. A failure ends the work: no further item is begun. */
	int (*work)(void *arg, size_t item, struct err *e);
	/* Called by the thread in crew_end(): at each crew_tell(), and ten times a second. A failure cancels the work.
	 * NULL: nobody wants to know. */
	int (*tell)(void *arg, struct err *e);
	void *arg;
	size_t n_items;
	atomic_bool cancelled; /* what is under way isn't wanted any more; read by work() */
	pthread_mutex_t lock;  /* may also guard what work() leaves for tell() */
	/* --- private; zero --- */
	pthread_cond_t changed, offered;
	pthread_t threads[CREW_MAX];
	size_t n_threads, next, working;
	bool ready, closed;
	struct err err; /* the first failure */
};

/* Begin with the n_items that there are. At most CREW_MAX workers. ERR_SYSTEM. */
int crew_start(struct crew *c, size_t n_workers, struct err *e) must_check;
/* One item more: number n_items. Under c->lock, so that what belongs to it can be set with it. */
void crew_offer_locked(struct crew *c);
/* Something has changed that is worth telling. */
void crew_tell(struct crew *c);
/* No more items: wait for the last one. 0, or -1 with the first failure. To be called once after crew_start(). */
int crew_end(struct crew *c, struct err *e) must_check;
/* End, and begin nothing new. */
void crew_abandon(struct crew *c);
/* All of it: no more workers than items. */
int crew_run(struct crew *c, size_t n_workers, struct err *e) must_check;

#endif
