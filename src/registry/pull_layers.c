/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The layers of a pull. Downloads run in threads of their own (fetch.c), some workers unpack what has come so far, and
 * the caller's thread tells the client: it is the only one that does.
 */
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "registry/pull.h"

#define WORKERS 3

struct growth {
	struct pull *p;
	struct pull_layer *l;
};

static int64_t grow(void *arg, int64_t have, struct err *e)
{
	struct growth *g = arg;

	g->l->unpacked = have;
	return fetch_wait(g->l->fetch, have, &g->p->crew.cancelled, e);
}

static int one_layer(struct pull *p, size_t i, struct err *e)
{
	struct pull_layer *l = &p->layers[i];
	struct growth g = { p, l };
	const struct blob_growth growth = { grow, &g };

	return image_add_layer(p->add, i, fetch_file(l->fetch), &growth, l->part->digest, e);
}

static int work(void *arg, size_t i, struct err *e)
{
	struct pull *p = arg;
	struct pull_layer *l = &p->layers[i];

	if (!l->fetch)
		return 0;
	l->stage = STAGE_WORKING;
	if (one_layer(p, i, e))
		return -1;
	l->stage = STAGE_DONE;
	return 0;
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
	int stage = l->stage;

	if (!l->fetch || (l->told && !strcmp(l->told, "Pull complete")))
		return 0;
	if (!l->downloaded && tell_download(p, l, e))
		return -1;
	if (!l->downloaded || stage == STAGE_PENDING)
		return 0;
	if (tell(p, l, "Extracting", stage == STAGE_DONE ? l->part->bytes : (int64_t)l->unpacked, e))
		return -1;
	return stage == STAGE_DONE ? tell(p, l, "Pull complete", 0, e) : 0;
}

static int tell_all(void *arg, struct err *e)
{
	struct pull *p = arg;

	for (size_t i = 0; i < p->n_layers; i++)
		if (tell_layer(p, &p->layers[i], e))
			return -1;
	return client_check(p->client, e);
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
	int rc;

	p->crew = (struct crew){ .work = work, .tell = tell_all, .arg = p, .n_items = p->n_layers };
	rc = announce(p, e) || crew_run(&p->crew, WORKERS, e);
	leave_all(p);
	return rc ? -1 : 0;
}
