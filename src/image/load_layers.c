/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Layers don't depend on each other until they are stacked: two helpers unpack at a time. */
#include <string.h>

#include "base/own.h"
#include "image/load.h"

#define WORKERS 2

struct pool {
	struct load *load;
	const struct source_image *src;
	struct image_new *image;
	pthread_mutex_t lock;
	size_t next;
	struct err err; /* the first failure; kind ERR_NONE = none yet */
};

static int report(struct load *l, const struct layer *layer, struct err *e)
{
	int64_t n = (int64_t)layer->blob_bytes;

	if (l->quiet)
		return 0;
	return load_line(l,
			 json_pack("{s:s, s:{s:I, s:I}, s:s%}", "status", "Loading layer", "progressDetail", "current",
				   n, "total", n, "id", digest_hex(layer->diff_id), (size_t)12),
			 e);
}

static int one_layer(struct pool *p, size_t i, struct err *e)
{
	const struct part *part = &p->src->layers[i];
	struct layer *l = &p->image->layers[i];

	if (l->dir[0] || layer_known(p->load->work.store, l->chain))
		return 0;
	l->blob_fd = load_open_part(p->load, part, e);
	if (l->blob_fd < 0)
		return -1;
	if (layer_unpack(&p->load->work, l->blob_fd, NULL, part->digest, l, e))
		return err_prefix(e, "layer %zu", i);
	return report(p->load, l, e);
}

static void *worker(void *arg)
{
	struct pool *p = arg;

	for (;;) {
		struct err e = { 0 };
		size_t i;

		pthread_mutex_lock(&p->lock);
		i = p->err.kind == ERR_NONE ? p->next++ : p->image->n_layers;
		pthread_mutex_unlock(&p->lock);
		if (i >= p->image->n_layers)
			return NULL;
		if (!one_layer(p, i, &e))
			continue;
		pthread_mutex_lock(&p->lock);
		if (p->err.kind == ERR_NONE)
			p->err = e;
		pthread_mutex_unlock(&p->lock);
	}
}

int load_layers(struct load *l, const struct source_image *src, struct image_new *n, struct err *e)
{
	struct pool p = { .load = l, .src = src, .image = n, .lock = PTHREAD_MUTEX_INITIALIZER };
	pthread_t threads[WORKERS - 1];
	size_t started = 0;

	/* The helpers die with the thread that started them: it waits for them. */
	while (started < array_len(threads) && !pthread_create(&threads[started], NULL, worker, &p))
		started++;
	worker(&p);
	while (started)
		pthread_join(threads[--started], NULL);
	pthread_mutex_destroy(&p.lock);
	if (p.err.kind == ERR_NONE)
		return 0;
	*e = p.err;
	return -1;
}
