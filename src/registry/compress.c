/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Layers that came uncompressed go to registries as gzip. In the helper: it is data of somebody's image. */
#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "registry/client.h"

#define IN_BYTES (256 * KIB)
#define OUT_BYTES (256 * KIB)
#define LEVEL 3

/* All that the stream has to say about its input so far. */
static int deflate_input(struct isal_zstream *z, uint8_t *buf, int out, struct err *e)
{
	do {
		z->next_out = buf;
		z->avail_out = OUT_BYTES;
		if (isal_deflate(z) != COMP_OK)
			return err_set(e, ERR_SYSTEM, 0, "gzip");
		if (io_write_all(out, buf, OUT_BYTES - z->avail_out))
			return err_set(e, ERR_SYSTEM, errno, "write");
	} while (!z->avail_out);
	return 0;
}

static int deflate_file(struct job *j, struct isal_zstream *z, uint8_t *in_buf, uint8_t *out_buf, int in, int out,
			struct err *e)
{
	int64_t pos = 0;

	while (!z->end_of_stream) {
		struct pollfd left = { .fd = j->reply };
		ssize_t n = pread(in, in_buf, IN_BYTES, pos);

		if (n < 0)
			return err_set(e, ERR_SYSTEM, errno, "read");
		if (poll(&left, 1, 0) == 1)
			return err_set(e, ERR_SYSTEM, 0, "context canceled");
		pos += n;
		z->next_in = in_buf;
		z->avail_in = (uint32_t)n;
		z->end_of_stream = n == 0;
		if (deflate_input(z, out_buf, out, e))
			return -1;
		job_tell_bytes(j, pos, false);
	}
	return 0;
}

int compress_file(struct job *j, int in, int out, struct err *e)
{
	autofree uint8_t *in_buf = xmalloc(IN_BYTES), *out_buf = xmalloc(OUT_BYTES);
	autofree uint8_t *level_buf = xmalloc(ISAL_DEF_LVL3_DEFAULT);
	autofree struct isal_zstream *z = xcalloc(1, sizeof(*z));

	isal_deflate_init(z);
	z->gzip_flag = IGZIP_GZIP;
	z->level = LEVEL;
	z->level_buf = level_buf;
	z->level_buf_size = ISAL_DEF_LVL3_DEFAULT;
	return deflate_file(j, z, in_buf, out_buf, in, out, e);
}
