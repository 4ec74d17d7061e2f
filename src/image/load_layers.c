/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Layers don't depend on each other until they are stacked: two helpers unpack at a time. */
#include <string.h>

#include "base/crew.h"
#include "base/own.h"
#include "image/load.h"

#define WORKERS 2

struct pool {
	struct load *load;
	const struct source_image *src;
	struct image_new *image;
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

static int one_layer(void *arg, size_t i, struct err *e)
{
	struct pool *p = arg;
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

/* What was unpacked while the archive came. One thread: a file that is several layers is ready for the first only. */
static int take_ready(struct pool *p, struct err *e)
{
	for (size_t i = 0; i < p->image->n_layers; i++) {
		struct layer *l = &p->image->layers[i];
		struct err missing;

		if (l->dir[0] || layer_known(p->load->work.store, l->chain))
			continue;
		l->blob_fd = load_open_part(p->load, &p->src->layers[i], &missing);
		if (l->blob_fd < 0)
			continue;
		if (!load_ahead_take(p->load->ahead, l->blob_fd, p->src->layers[i].digest, l))
			close_fd(&l->blob_fd);
		else if (report(p->load, l, e))
			return -1;
	}
	return 0;
}

int load_layers(struct load *l, const struct source_image *src, struct image_new *n, struct err *e)
{
	struct pool p = { .load = l, .src = src, .image = n };
	struct crew crew = { .work = one_layer, .arg = &p, .n_items = n->n_layers };

	/* The helpers die with the thread that started them: it waits for them. */
	return take_ready(&p, e) || crew_run(&crew, WORKERS, e) ? -1 : 0;
}
