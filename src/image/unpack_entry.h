/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The extractor's inner parts, shared by unpack.c (the run over an archive) and unpack_entry.c (one file system object). */
#ifndef SILO_IMAGE_UNPACK_ENTRY_H
#define SILO_IMAGE_UNPACK_ENTRY_H

#include <archive.h>
#include <archive_entry.h>
#include <time.h>

#include "image/unpack.h"

/* A directory gets its time last: every entry created in it changes it. */
struct unpack_dir_time {
	char *path;
	struct timespec mtime;
};

struct unpacker {
	int root;
	int records;
	enum unpack_mode mode;
	struct unpack_limits limits;
	struct unpack_stream *stream;
	struct err *stream_err; /* what the stream said when libarchive only says "failed" */
	struct archive *archive;
	bool got_data; /* the stream isn't empty */
	bool empty;    /* it is: nothing to read */
	uint64_t entries, file_bytes;
	/* The directory of the last entry: archives are sorted, so most entries need no path walk. */
	char parent_path[UNPACK_PATH_MAX];
	int parent;
	struct unpack_dir_time *dirs;
	size_t n_dirs, cap_dirs;
};

/* Where an entry goes: directory (borrowed fd), last component, and the whole clean path. */
struct unpack_place {
	int parent;
	const char *base;
	const char *path;
};

/* Open the directory that holds path, creating what is missing, and cut path in two. */
int unpack_place(struct unpacker *u, const char *path, struct unpack_place *out, struct err *e) must_check;
/* Close the cached directory. It never goes stale: an entry only replaces what is below its own directory. */
void unpack_forget_parent(struct unpacker *u);
/* Tell the parent process that this directory hides the layers below. */
int unpack_report_opaque(struct unpacker *u, const char *path, struct err *e) must_check;
/* .wh.NAME: hide NAME of the layers below. */
int unpack_whiteout(struct unpacker *u, const struct unpack_place *at, const char *name, struct err *e) must_check;
/* Make the object of an entry at a place, replacing what is there. */
int unpack_object(struct unpacker *u, struct archive_entry *entry, const struct unpack_place *at,
		  struct err *e) must_check;
/* Owner, mode, xattrs and time of the layer's own root directory. */
int unpack_root_meta(struct unpacker *u, struct archive_entry *entry, struct err *e) must_check;
int unpack_dir_times(struct unpacker *u, struct err *e) must_check;

#endif
