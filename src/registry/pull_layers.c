/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The layers of a pull. Downloads run in threads of their own (fetch.c), some workers unpack what has come so far, and
 * the caller's thread tells the client: it is the only one that does.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "registry/pull.h"

#define WORKERS 3
#define TELL_EVERY_NS 100000000

struct growth {
	struct pull *p;
	struct pull_layer *l;
};

static int64_t grow(void *arg, int64_t have, struct err *e)
{
	struct growth *g = arg;

	g->l->unpacked = have;
	return fetch_wait(g->l->fetch, have, &g->p->cancelled, e);
}

static int one_layer(struct pull *p, size_t i, struct err *e)
{
	struct pull_layer *l = &p->layers[i];
	struct growth g = { p, l };
	const struct blob_growth growth = { grow, &g };

	return image_add_layer(p->add, i, fetch_file(l->fetch), &growth, l->part->digest, e);
}

static void *worker(void *arg)
{
	struct pull *p = arg;

	pthread_mutex_lock(&p->lock);
	while (p->next < p->n_layers && p->err.kind == ERR_NONE && !p->cancelled) {
		size_t i = p->next++;
		struct err e = { 0 };
		int rc;

		if (!p->layers[i].fetch)
			continue;
		p->layers[i].stage = STAGE_WORKING;
		pthread_mutex_unlock(&p->lock);
		rc = one_layer(p, i, &e);
		pthread_mutex_lock(&p->lock);
		p->layers[i].stage = rc ? STAGE_PENDING : STAGE_DONE;
		if (rc && p->err.kind == ERR_NONE) {
			p->err = e;
			p->cancelled = true; /* the others' work isn't wanted any more */
		}
		pthread_cond_signal(&p->changed);
	}
	p->working--;
	pthread_cond_signal(&p->changed);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* --- telling -------------------------------------------------------------------------------------------------- */
/* Say something new, or the same with another number. */
static int tell(struct pull *p, struct pull_layer *l, const char *what, int64_t bytes, struct err *e)
{
	bool counted = !strcmp(what, "Downloading") || !strcmp(what, "Extracting");

	if (l->told && !strcmp(l->told, what) && (!counted || l->told_bytes == bytes))
		return 0;
	l->told = what;
	l->told_bytes = bytes;
	return client_status(p->client, l->id, what, bytes, counted ? l->part->bytes : 0, e);
}

static int tell_download(struct pull *p, struct pull_layer *l, struct err *e)
{
	struct fetch_state f;

	fetch_look(l->fetch, &f);
	if (f.retry_s) {
		autofree char *text =
			xasprintf("Retrying in %lld second%s", (long long)f.retry_s, f.retry_s == 1 ? "" : "s");

		if (l->told && str_starts(l->told, "Retrying"))
			return 0;
		l->told = "Retrying";
		return client_status(p->client, l->id, text, 0, 0, e);
	}
	if (!f.complete)
		return tell(p, l, f.started ? "Downloading" : "Waiting", f.have, e);
	l->downloaded = true;
	return tell(p, l, "Verifying Checksum", 0, e) || tell(p, l, "Download complete", 0, e) ? -1 : 0;
}

static int tell_layer(struct pull *p, struct pull_layer *l, struct err *e)
{
	enum layer_stage stage;

	if (!l->fetch || (l->told && !strcmp(l->told, "Pull complete")))
		return 0;
	pthread_mutex_lock(&p->lock);
	stage = l->stage;
	pthread_mutex_unlock(&p->lock);
	if (!l->downloaded && tell_download(p, l, e))
		return -1;
	if (!l->downloaded || stage == STAGE_PENDING)
		return 0;
	if (tell(p, l, "Extracting", stage == STAGE_DONE ? l->part->bytes : (int64_t)l->unpacked, e))
		return -1;
	return stage == STAGE_DONE ? tell(p, l, "Pull complete", 0, e) : 0;
}

/* Until the workers have ended: every change, at most ten times a second. */
static void tell_all(struct pull *p)
{
	struct err e = { 0 };
	size_t working;

	do {
		struct timespec until = time_after_ns(TELL_EVERY_NS);

		pthread_mutex_lock(&p->lock);
		if (p->working)
			pthread_cond_timedwait(&p->changed, &p->lock, &until);
		working = p->working;
		pthread_mutex_unlock(&p->lock);
		if (p->cancelled)
			continue;
		for (size_t i = 0; i < p->n_layers && e.kind == ERR_NONE; i++)
			(void)tell_layer(p, &p->layers[i], &e);
		if (e.kind == ERR_NONE && !client_tick((void *)(uintptr_t)p->client, NULL))
			continue;
		pthread_mutex_lock(&p->lock);
		if (p->err.kind == ERR_NONE)
			err_set(&p->err, ERR_SYSTEM, 0, "context canceled");
		pthread_mutex_unlock(&p->lock);
		p->cancelled = true;
	} while (working);
}

/* --- all ---------------------------------------------------------------------------------------------------------- */
/* What is to come, in the order of the image. */
static int announce(struct pull *p, struct err *e)
{
	for (size_t i = 0; i < p->n_layers; i++) {
		struct pull_layer *l = &p->layers[i];
		bool wanted = image_add_wants(p->add, i);

		if (!l->told &&
		    client_status(p->client, l->id, wanted ? "Pulling fs layer" : "Already exists", 0, 0, e))
			return -1;
		l->told = wanted ? "Pulling fs layer" : "Already exists";
		if (!wanted)
			continue;
		l->fetch = fetch_join(p->r, p->s, image_add_dir(p->add), l->part->digest, l->part->bytes, l->urls, e);
		if (!l->fetch)
			return -1;
	}
	return 0;
}

static void leave_all(struct pull *p)
{
	for (size_t i = 0; i < p->n_layers; i++) {
		fetch_leave(p->layers[i].fetch);
		p->layers[i].fetch = NULL;
	}
}

int pull_layers(struct pull *p, struct err *e)
{
	pthread_t threads[WORKERS];
	size_t started = 0;

	p->next = 0;
	if (announce(p, e)) {
		leave_all(p);
		return -1;
	}
	pthread_mutex_lock(&p->lock);
	while (started < WORKERS && started < p->n_layers && !pthread_create(&threads[started], NULL, worker, p))
		started++;
	p->working = started;
	pthread_mutex_unlock(&p->lock);
	if (!started && p->n_layers)
		err_set(&p->err, ERR_SYSTEM, 0, "no thread to unpack");
	tell_all(p);
	while (started)
		pthread_join(threads[--started], NULL);
	leave_all(p);
	if (p->err.kind == ERR_NONE)
		return 0;
	*e = p->err;
	return -1;
}
