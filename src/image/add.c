/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "image/add.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "image/store.h"

struct image_add {
	struct work work;
	struct image_new image;
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

const char *image_add_id(const struct image_add *a)
{
	return a->image.id;
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

	return !l->dir[0] && !layer_known(a->work.store, l->chain);
}

int image_add_layer(struct image_add *a, size_t i, int fd, const struct blob_growth *growth, const char *expected,
		    struct err *e)
{
	struct layer *l = &a->image.layers[i];

	close_fd(&l->blob_fd);
	l->blob_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return layer_unpack(&a->work, fd, growth, expected, l, e);
}

int image_add_finish(struct image_add *a, const json_t *names, const char *manifest, const char *media_type,
		     struct err *e)
{
	a->image.manifest = manifest;
	a->image.manifest_type = media_type;
	return image_commit(&a->work, &a->image, names, e);
}
