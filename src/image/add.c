/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "image/add.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "image/store.h"
#include "image/windows_form.h"

struct image_add {
	struct work work;
	struct image_new image;
	/* of an image in Microsoft's format: image is what came, made what becomes of it */
	bool is_windows;
	struct windows_form form;
	struct image_new made;
};

struct image_add *image_add_new(struct image_store *s, const char *kind, struct err *e)
{
	struct image_add *a = xcalloc(1, sizeof(*a));

	a->work.fd = -1;
	if (!work_open(s, kind, &a->work, e))
		return a;
	image_add_free(a);
	return NULL;
}

void image_add_free(struct image_add *a)
{
	if (!a)
		return;
	windows_form_fini(&a->form);
	image_new_fini(&a->made);
	image_new_fini(&a->image);
	work_close(&a->work);
	free(a);
}

int image_add_dir(const struct image_add *a)
{
	return a->work.fd;
}

int image_add_config(struct image_add *a, char *text, size_t n, struct err *e)
{
	return image_new_config(&a->image, text, n, e);
}

int image_add_source(struct image_add *a, const struct source_image *src, struct err *e)
{
	if (!windows_form_is(a->image.config))
		return 0;
	a->is_windows = true;
	if (windows_form_open(a->work.store, &a->image, src, &a->form, e))
		return -1;
	json_array_append(a->form.notes, json_object_get(a->form.base, "comment"));
	/* One that has been converted before is known by now. */
	return a->form.found ? windows_form_convert(&a->work, &a->form, &a->image, &a->made, e) : 0;
}

json_t *image_add_notes(struct image_add *a)
{
	json_t *notes = json_array();

	if (a->is_windows) {
		json_array_extend(notes, a->form.notes);
		json_array_clear(a->form.notes);
	}
	return notes;
}

const char *image_add_id(const struct image_add *a)
{
	return a->made.n_layers ? a->made.id : a->image.id;
}

size_t image_add_layer_count(const struct image_add *a)
{
	return a->image.n_layers;
}

const char *image_add_diff_id(const struct image_add *a, size_t i)
{
	return a->image.layers[i].diff_id;
}

bool image_add_wants(const struct image_add *a, size_t i)
{
	const struct layer *l = &a->image.layers[i];

	if (a->is_windows)
		return i >= a->form.n_base && !a->form.found && a->form.blobs[i] < 0;
	return !l->dir[0] && !layer_known(a->work.store, l->chain);
}

/* Kept until all are there: each is converted over those below it. */
static int keep_blob(struct image_add *a, size_t i, int fd, const struct blob_growth *g, const char *expected,
		     struct err *e)
{
	char digest[DIGEST_MAX];
	int64_t have = 0, now = 0;
	uint64_t bytes;

	while (g && (now = g->wait(g->arg, have, e)) > have)
		have = now;
	if (now < 0 || digest_of_file(fd, digest, &bytes, e))
		return -1;
	if (*expected && strcmp(expected, digest) != 0)
		return err_set(e, ERR_INVALID, 0, "filesystem layer verification failed for digest %s", expected);
	close_fd(&a->form.blobs[i]);
	a->form.blobs[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return a->form.blobs[i] < 0 ? err_set(e, ERR_SYSTEM, errno, "blob of a layer") : 0;
}

int image_add_layer(struct image_add *a, size_t i, int fd, const struct blob_growth *growth, const char *expected,
		    struct err *e)
{
	struct layer *l = &a->image.layers[i];

	if (a->is_windows)
		return keep_blob(a, i, fd, growth, expected, e);
	close_fd(&l->blob_fd);
	l->blob_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return layer_unpack(&a->work, fd, growth, expected, l, e);
}

int image_add_finish(struct image_add *a, const json_t *names, const char *manifest, const char *media_type,
		     struct err *e)
{
	/* The manifest isn't that of what becomes of it. */
	if (a->is_windows) {
		if (a->form.found)
			return image_commit(&a->work, &a->made, names, e);
		image_new_fini(&a->made);
		a->made = (struct image_new){ 0 };
		if (windows_form_convert(&a->work, &a->form, &a->image, &a->made, e))
			return -1;
		return image_commit(&a->work, &a->made, names, e);
	}
	a->image.manifest = manifest;
	a->image.manifest_type = media_type;
	return image_commit(&a->work, &a->image, names, e);
}
