/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/layer_out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/own.h"

struct layer_out {
	FILE *file;
};

static int failed(struct err *e)
{
	return err_set(e, ERR_SYSTEM, errno, "writing the converted layer");
}

struct layer_out *layer_out_new(int dir, const char *name, struct err *e)
{
	autoclose int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
	struct layer_out *o;

	if (!file) {
		failed(e);
		return NULL;
	}
	take_fd(&fd);
	o = xcalloc(1, sizeof(*o));
	o->file = file;
	return o;
}

void layer_out_free(struct layer_out *o)
{
	if (o && o->file)
		fclose(o->file);
	free(o);
}

int layer_out_data(struct layer_out *o, const void *data, size_t n, struct err *e)
{
	return n && fwrite(data, 1, n, o->file) != n ? failed(e) : 0;
}

int layer_out_zeros(struct layer_out *o, uint64_t n, struct err *e)
{
	static const char zeros[4096];

	for (; n > sizeof(zeros); n -= sizeof(zeros))
		if (layer_out_data(o, zeros, sizeof(zeros), e))
			return -1;
	return layer_out_data(o, zeros, (size_t)n, e);
}

int layer_out_entry(struct layer_out *o, const struct tar_entry *t, struct err *e)
{
	autostr blocks;

	str_init(&blocks, 64 * KIB);
	if (tar_format(t, &blocks))
		return err_set(e, ERR_LIMIT, 0, "name too long");
	return layer_out_data(o, blocks.s, blocks.len, e);
}

int layer_out_padding(struct layer_out *o, uint64_t size, struct err *e)
{
	return layer_out_zeros(o, tar_padding(size), e);
}

int layer_out_finish(struct layer_out *o, struct err *e)
{
	if (layer_out_zeros(o, TAR_END_BYTES, e))
		return -1;
	return fflush(o->file) ? failed(e) : 0;
}
