/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One `docker load`: the archive, unpacked in a work directory, and what is made of it. */
#ifndef SILO_IMAGE_LOAD_H
#define SILO_IMAGE_LOAD_H

#include "image/manifest.h"
#include "image/store.h"

struct load {
	struct work work;
	int archive; /* directory with the archive's files */
	bool quiet;
	image_progress_fn *progress;
	void *arg;
	pthread_mutex_t lock; /* one line of progress at a time; guards the members below */
	bool cancelled;
};

/* Open a file of the archive; links of the archive are followed inside it. ERR_INVALID when missing or of wrong size. */
int load_open_part(struct load *l, const struct part *p, struct err *e) must_check;
/* Parse a small JSON file of the archive, verified against what is known of it. New reference. */
json_t *load_json(struct load *l, const struct part *p, struct err *e) must_check;
/* The same, as text (heap). */
char *load_text(struct load *l, const struct part *p, size_t *n, struct err *e) must_check;
/* Unpack the layers that the store doesn't have, two at a time. */
int load_layers(struct load *l, const struct source_image *src, struct image_new *n, struct err *e) must_check;
/* Send a line (taken). -1 with *e when the client has gone. */
int load_line(struct load *l, json_t *line, struct err *e);

#endif
