/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The container's log in Docker's json-file format, one object a line:
 *	{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.123456789Z"}
 * A line longer than LOG_PIECE_MAX is written in pieces, of which only the last ends in \n, as Docker does.
 */
#ifndef SILO_MONITOR_JSONLOG_H
#define SILO_MONITOR_JSONLOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define LOG_PIECE_MAX (16 * KIB)

enum { STREAM_STDOUT, STREAM_STDERR, STREAM_COUNT };

/* --- splitting a byte stream into pieces; no system call -------------------------------------------------------- */
struct log_lines {
	struct str rest; /* beginning of a line whose end hasn't come yet: always less than LOG_PIECE_MAX */
};

/* One piece of text: a whole line or the end of one (with \n), or an inner piece of a long line (without). */
typedef void log_piece_fn(void *arg, const char *piece, size_t n);

void log_lines_init(struct log_lines *l);
void log_lines_feed(struct log_lines *l, const char *data, size_t n, log_piece_fn *fn, void *arg);
/* At the end of the stream: the unfinished line, if there is one. Frees what l holds. */
void log_lines_finish(struct log_lines *l, log_piece_fn *fn, void *arg);

/* --- the file --------------------------------------------------------------------------------------------------- */
struct jsonlog;

/**
 * jsonlog_open - open or go on with the log at path.
 *
 * @max_size   bytes after which the file becomes path.1 and a new one begins; 0 = never.
 * @max_files  number of files kept, the current one included; with 1 the old one is removed.
 * @attributes JSON of an object that each line has as its member "attrs", or NULL.
 */
struct jsonlog *jsonlog_open(const char *path, int64_t max_size, int max_files, const char *attributes,
			     struct err *e) must_check;

/**
 * jsonlog_write - log what a process has written. Complete lines are in the file when this returns.
 *
 * Never fails: when the disk is full, lines are dropped (whole ones: the file stays readable) and counted.
 * log may be NULL: nothing is logged.
 */
void jsonlog_write(struct jsonlog *log, int stream, const char *data, size_t n);

/* Write the unfinished lines, close, free. NULL is allowed. */
void jsonlog_close(struct jsonlog *log);

#endif
