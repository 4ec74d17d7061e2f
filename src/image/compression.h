/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a stream is compressed, by its first bytes. */
#ifndef SILO_IMAGE_COMPRESSION_H
#define SILO_IMAGE_COMPRESSION_H

#include <stddef.h>

enum compression {
	COMPRESSION_NONE,
	COMPRESSION_GZIP,
	COMPRESSION_ZSTD,
	/* Those that images can't have: OCI has no name for them. */
	COMPRESSION_BZIP2,
	COMPRESSION_XZ,
};

#define COMPRESSION_HEAD 10 /* so many bytes tell */

/* n: how many there are, fewer than COMPRESSION_HEAD where that is all of the stream. Pure. */
enum compression compression_of(const void *head, size_t n);
/* The same of a regular file's beginning. */
enum compression compression_of_file(int fd);

#endif
