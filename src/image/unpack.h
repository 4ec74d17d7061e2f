/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * silo-unpack: the one place where bytes of an image are decoded. A process of its own that sees nothing but the
 * target directory. Called as `silo-unpack MODE MAX_ENTRIES MAX_BYTES` with
 *	fd 0  the archive: tar, plain or compressed with gzip, zstd, bzip2 or xz
 *	fd 1  receives records (struct unpack_record and its payload) and ends with an 'r' or an 'e'
 *	fd 3  the empty target directory
 * Mode "windows" turns a layer of a Windows image into one over Silo's base: the target directory has symbolic links "0"
 * (topmost), "1", ... to what lies below the layer, and the empty directories UNPACK_EMPTY and UNPACK_MERGED; it
 * receives the tar UNPACK_CONVERTED.
 */
#ifndef SILO_IMAGE_UNPACK_H
#define SILO_IMAGE_UNPACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "image/digest.h"

#define UNPACK_TARGET_FD 3
#define UNPACK_PATH_MAX 4096
#define UNPACK_EMPTY "empty"
#define UNPACK_MERGED "merged"
#define UNPACK_CONVERTED "layer.tar"

/* What a layer may hold at most: an image beyond it isn't an image. */
#define UNPACK_LAYER_ENTRIES 1000000ull
#define UNPACK_LAYER_BYTES (64 * GIB)
#define UNPACK_ARCHIVE_ENTRIES 100000ull

enum unpack_mode {
	UNPACK_LAYER,   /* one layer: owners, modes, xattrs, devices; whiteouts in overlayfs form */
	UNPACK_HASHED,  /* the same of a plain tar whose digest is known: diff_id isn't found out */
	UNPACK_ARCHIVE, /* what docker save writes: regular files, directories, links; owned by root, private */
	UNPACK_CONTEXT, /* of docker build: modes, times and xattrs are kept; all owned by root */
	UNPACK_WINDOWS, /* nothing is unpacked: a tar becomes another one; the result's digest is that of what was read */
	UNPACK_STREAM,  /* nothing is unpacked: fd 1 receives what fd 0 gives, decompressed, MAX_BYTES at most (0: any);
			 * exit code 0 when that is all */
};

/* Argument MODE. */
static const char *const unpack_mode_names[] = {
	[UNPACK_LAYER] = "layer",     [UNPACK_HASHED] = "hashed", [UNPACK_ARCHIVE] = "archive",
	[UNPACK_CONTEXT] = "context", [UNPACK_STREAM] = "stream", [UNPACK_WINDOWS] = "windows",
};

struct unpack_limits {
	uint64_t entries;
	uint64_t bytes; /* of all files, holes counted */
};

enum unpack_record_type {
	UNPACK_OPAQUE = 'o', /* path of a directory that hides the layers below: setting the xattr needs the parent */
	UNPACK_NOTE = 'n',   /* a line for the user: what couldn't be kept */
	UNPACK_FILE = 'f',   /* struct unpack_file and the path: a file of the archive is complete */
	UNPACK_RESULT = 'r', /* struct unpack_result */
	UNPACK_ERROR = 'e',  /* struct err */
};

struct unpack_record {
	uint32_t type;
	uint32_t length; /* of the payload */
};

/* Of a regular file that could be a layer: large enough, and without holes. */
struct unpack_file {
	char digest[DIGEST_MAX];
	uint64_t bytes;
};

#define UNPACK_PAYLOAD_MAX (sizeof(struct unpack_file) + UNPACK_PATH_MAX)

struct unpack_result {
	char diff_id[DIGEST_MAX]; /* of the uncompressed stream */
	uint64_t tar_bytes;       /* uncompressed */
	uint64_t file_bytes;      /* sum of the sizes of files and symlinks, as Docker's image size */
	uint64_t entries;
	uint64_t plain; /* 1: the stream wasn't compressed, so diff_id is the digest of the blob too */
};

/* --- inside the helper ----------------------------------------------------------------------------------------- */

/* Give up everything but the directory fd 3 and what mode needs. ERR_SYSTEM. */
int unpack_jail(enum unpack_mode mode, struct err *e) must_check;

/**
 * unpack_run - unpack the stream below the directory root.
 *
 * @in, @root    borrowed
 * @records      fd for UNPACK_OPAQUE records, or -1
 * A bad archive: ERR_INVALID or ERR_LIMIT; what was written so far stays (the caller removes it).
 */
int unpack_run(int in, int root, int records, enum unpack_mode mode, const struct unpack_limits *limits,
	       struct unpack_result *out, struct err *e) must_check;

/* Send a line of text as UNPACK_NOTE; records may be -1. Without an answer it can do without. */
void unpack_note(int records, const char *text);

/* --- stream: decompressed and hashed on the way ---------------------------------------------------------------- */
struct unpack_stream;
/* fd borrowed; digested: its SHA-256 will be asked for. */
struct unpack_stream *unpack_stream_new(int fd, bool digested);
void unpack_stream_free(struct unpack_stream *s);
/**
 * unpack_stream_next - the next piece of uncompressed data.
 *
 * Returns its length with *data borrowed until the next call, 0 at the end, or -1 with *e: ERR_INVALID for damaged or
 * truncated data ("unexpected EOF").
 */
ssize_t unpack_stream_next(struct unpack_stream *s, const void **data, struct err *e) must_check;
/* It wasn't compressed: what came in is what was handed out. */
bool unpack_stream_is_plain(const struct unpack_stream *s);
/* Digest and length of all that was handed out. Ends the stream. */
void unpack_stream_digest(struct unpack_stream *s, char out[static DIGEST_MAX], uint64_t *bytes);

#endif
