/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One `docker load`: the archive, unpacked in a work directory, and what is made of it. */
#ifndef SILO_IMAGE_LOAD_H
#define SILO_IMAGE_LOAD_H

#include "image/manifest.h"
#include "image/store.h"

struct ahead;

struct load {
	struct work work;
	struct ahead *ahead; /* or NULL */
	int archive;         /* directory with the archive's files */
	bool quiet;
	image_progress_fn *progress;
	void *arg;
	pthread_mutex_t lock; /* one line of progress at a time; guards the members below */
	bool cancelled;
};

/* An image in Microsoft's layer format, as its config n describes it. What was made of it is in made. */
int load_windows(struct load *l, struct source_image *src, const struct image_new *n, struct image_new *made,
		 struct err *e) must_check;

/* Open a file of the archive; links of the archive are followed inside it. ERR_INVALID when missing or of wrong size. */
int load_open_part(struct load *l, const struct part *p, struct err *e) must_check;
/* Parse a small JSON file of the archive, verified against what is known of it. New reference. */
json_t *load_json(struct load *l, const struct part *p, struct err *e) must_check;
/* The same, as text (heap). */
char *load_text(struct load *l, const struct part *p, size_t *n, struct err *e) must_check;
/* Unpack the layers that the store doesn't have, two at a time. */
int load_layers(struct load *l, const struct source_image *src, struct image_new *n, struct err *e) must_check;

/* load_ahead.c: layers that are unpacked while the archive comes. NULL: there are no threads for that. */
struct ahead *load_ahead_new(struct work *w, int archive);
void load_ahead_file(void *ahead, const struct unpack_file *f, const char *path); /* an unpack_file_fn */
/* The archive is complete: wait until all that was begun is unpacked. */
void load_ahead_wait(struct ahead *a);
/* The layer that was unpacked from the file fd, if it is what l->diff_id and expected (or "") say. */
bool load_ahead_take(struct ahead *a, int fd, const char *expected, struct layer *l);
void load_ahead_free(struct ahead *a); /* NULL allowed */

/* Send a line (taken). -1 with *e when the client has gone. */
int load_line(struct load *l, json_t *line, struct err *e);

#endif
