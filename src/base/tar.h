/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tar, as image layers and `docker cp` use it: ustar, pax and GNU headers are read, ustar with pax records where they
 * are needed is written. The same entry always gives the same bytes. The bytes that are read are taken for hostile:
 * every length has a bound, and names are handed out as they are (it is the extractor who checks them).
 * Source: POSIX pax(1), "ustar Interchange Format" and "pax Header"; GNU tar manual, "Tar Internals".
 */
#ifndef SILO_BASE_TAR_H
#define SILO_BASE_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

#define TAR_BLOCK 512
#define TAR_NAME_MAX 4096
#define TAR_PAX_MAX (1 * MIB) /* all records of one entry */
#define TAR_XATTRS_MAX 256
#define TAR_SPARSE_MAX 65536 /* pieces of one file */

struct tar_xattr {
	char *name; /* "security.capability", ... */
	void *value;
	size_t n;
};

struct tar_piece {
	uint64_t at, n;
};

/* type is one of S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, or 0 for a hard link. */
struct tar_entry {
	char *name, *link; /* link: target of a symlink or hard link, else NULL */
	mode_t type, mode; /* mode: the lower 12 bits */
	uint64_t uid, gid;
	uint64_t size; /* of a regular file, holes counted; else 0 */
	int64_t mtime;
	long mtime_ns;
	unsigned major, minor;
	struct tar_xattr *xattrs;
	size_t n_xattrs;
};

/* --- writing --------------------------------------------------------------------------------------------------- */
/* Append the header blocks of an entry. Times are cut to seconds, as Docker does. -1 when out is full. */
int tar_format(const struct tar_entry *t, struct str *out) must_check;
/* Zero bytes that follow n bytes of data. */
static inline size_t tar_padding(uint64_t n)
{
	return (size_t)(-n % TAR_BLOCK);
}
/* After the last entry come so many zero bytes. */
#define TAR_END_BYTES (2 * TAR_BLOCK)

/* --- reading --------------------------------------------------------------------------------------------------- */
struct tar_reader;
/* The next bytes of the archive, borrowed until the next call: their number, 0 at the end, -1 with *e. */
typedef ssize_t tar_source_fn(void *arg, const void **data, struct err *e);

struct tar_reader *tar_reader_new(tar_source_fn *source, void *arg);
void tar_reader_free(struct tar_reader *r);
/**
 * tar_next - the next entry, what is left of the one before is skipped.
 *
 * Returns 1 with *out borrowed until the next call, 0 at the end of the archive, or -1: ERR_INVALID "unexpected EOF",
 * "archive/tar: invalid tar header" and the like, ERR_LIMIT; or the source's error. Never "sparse": such files come as
 * their pieces.
 */
int tar_next(struct tar_reader *r, const struct tar_entry **out, struct err *e) must_check;
/**
 * tar_data - the next piece of the entry's content.
 *
 * @at  receives its place in the file; what no piece covers is a hole. Pieces come in order and stay below entry.size.
 * Returns its length with *data borrowed until the next call, 0 at the end, -1 with *e.
 */
ssize_t tar_data(struct tar_reader *r, const void **data, uint64_t *at, struct err *e) must_check;

#endif
