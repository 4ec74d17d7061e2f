/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "image/compression.h"

#include <stdbool.h>
#include <unistd.h>

#include "base/attr.h"

#define ANY '?'

static const struct {
	enum compression kind;
	size_t n;
	const char *head;
} kinds[] = {
	{ COMPRESSION_GZIP,  2,  "\x1f\x8b"             },
	{ COMPRESSION_ZSTD,  4,  "\x28\xb5\x2f\xfd"     },
	{ COMPRESSION_XZ,    6,  "\xfd" "7zXZ\0"        },
	/* Three letters alone may be the name of a tar's first file: with the mark of a block, or that of the end. */
	{ COMPRESSION_BZIP2, 10, "BZh?1AY&SY"           },
	{ COMPRESSION_BZIP2, 10, "BZh?\x17rE8P\x90"     },
};

static bool matches(const char *head, const char *wanted, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (wanted[i] != ANY && head[i] != wanted[i])
			return false;
	return true;
}

enum compression compression_of(const void *head, size_t n)
{
	for (size_t i = 0; i < array_len(kinds); i++)
		if (n >= kinds[i].n && matches(head, kinds[i].head, kinds[i].n))
			return kinds[i].kind;
	return COMPRESSION_NONE;
}

enum compression compression_of_file(int fd)
{
	char head[COMPRESSION_HEAD];
	ssize_t n = pread(fd, head, sizeof(head), 0);

	return n > 0 ? compression_of(head, (size_t)n) : COMPRESSION_NONE;
}
