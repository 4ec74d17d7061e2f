/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "monitor/jsonlog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"

#define BATCH_BYTES (64 * KIB) /* written with one write() */
/* A piece is at most 6 times longer as JSON (\u0000), plus the other members. */
#define BATCH_MAX (BATCH_BYTES + 6 * LOG_PIECE_MAX + 256)

struct jsonlog {
	char *path;
	int fd; /* -1: could not be reopened after a rotation; tried again with the next batch */
	int64_t size, max_size;
	int max_files;
	uint64_t lost_bytes;
	struct log_lines lines[STREAM_COUNT];
	struct str batch; /* empty between calls */
	const char *stream_name;
	char *attributes; /* with the key, or "" */
	char time[TIME_TEXT_MAX];
};

void log_lines_init(struct log_lines *l)
{
	str_init(&l->rest, LOG_PIECE_MAX);
}

/* Where to cut a line that is too long: not inside a UTF-8 character, if it is one. */
static size_t piece_cut(const char *s, size_t n)
{
	for (size_t back = 0; back < 4 && back < n; back++) {
		unsigned char c = (unsigned char)s[n - 1 - back];
		size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;

		if (c < 0x80)
			break;
		if (c >= 0xc0)
			return need > back + 1 ? n - 1 - back : n;
	}
	return n;
}

/* Hand out the first LOG_PIECE_MAX bytes (or a few less) of a full l->rest. */
static void log_lines_cut(struct log_lines *l, log_piece_fn *fn, void *arg)
{
	size_t n = piece_cut(l->rest.s, l->rest.len);

	fn(arg, l->rest.s, n);
	str_drop(&l->rest, n);
}

static void log_lines_keep(struct log_lines *l, const char *data, size_t n, log_piece_fn *fn, void *arg)
{
	while (n > 0) {
		size_t room = LOG_PIECE_MAX - l->rest.len;
		size_t take = n < room ? n : room;

		str_add(&l->rest, data, take);
		data += take;
		n -= take;
		if (l->rest.len == LOG_PIECE_MAX)
			log_lines_cut(l, fn, arg);
	}
}

void log_lines_feed(struct log_lines *l, const char *data, size_t n, log_piece_fn *fn, void *arg)
{
	const char *newline;

	while (n > 0 && (newline = memchr(data, '\n', n))) {
		size_t line = (size_t)(newline - data) + 1;

		if (l->rest.len == 0 && line <= LOG_PIECE_MAX) {
			fn(arg, data, line);
		} else {
			log_lines_keep(l, data, line, fn, arg);
			if (l->rest.len > 0)
				fn(arg, l->rest.s, l->rest.len);
			str_fini(&l->rest);
		}
		data += line;
		n -= line;
	}
	log_lines_keep(l, data, n, fn, arg);
}

void log_lines_finish(struct log_lines *l, log_piece_fn *fn, void *arg)
{
	if (l->rest.len > 0)
		fn(arg, l->rest.s, l->rest.len);
	str_fini(&l->rest);
}

static int log_file_open(struct jsonlog *log)
{
	struct stat st;

	log->fd = open(log->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0640);
	if (log->fd < 0)
		return -1;
	log->size = fstat(log->fd, &st) ? 0 : st.st_size;
	return 0;
}

struct jsonlog *jsonlog_open(const char *path, int64_t max_size, int max_files, const char *attributes, struct err *e)
{
	struct jsonlog *log = xcalloc(1, sizeof(*log));

	log->attributes = attributes ? xasprintf(",\"attrs\":%s", attributes) : xstrdup("");
	log->path = xstrdup(path);
	log->max_size = max_size;
	log->max_files = max_files < 1 ? 1 : max_files;
	str_init(&log->batch, BATCH_MAX + strlen(log->attributes));
	for (int i = 0; i < STREAM_COUNT; i++)
		log_lines_init(&log->lines[i]);
	if (log_file_open(log)) {
		err_set(e, ERR_SYSTEM, errno, "open log %s", path);
		jsonlog_close(log);
		return NULL;
	}
	return log;
}

/* path -> path.1 -> ... -> path.(max_files - 1); the oldest is overwritten. */
static void log_rotate(struct jsonlog *log)
{
	close_fd(&log->fd);
	if (log->max_files == 1)
		unlink(log->path);
	for (int i = log->max_files - 1; i > 0; i--) {
		autofree char *from = i == 1 ? xstrdup(log->path) : xasprintf("%s.%d", log->path, i - 1);
		autofree char *to = xasprintf("%s.%d", log->path, i);

		if (rename(from, to) && errno != ENOENT)
			log_warn("rotate %s: %s", from, strerror(errno));
	}
	log_file_open(log);
}

/* Write the batch, or leave the file as it was: a reader never sees half a line followed by another. */
static void log_flush(struct jsonlog *log)
{
	size_t n = log->batch.len;
	struct stat st;

	if (n == 0)
		return;
	if (log->max_size > 0 && log->size >= log->max_size)
		log_rotate(log);
	if (log->fd < 0)
		log_file_open(log);
	if (log->fd >= 0 && io_write_all(log->fd, log->batch.s, n) == 0) {
		log->size += (int64_t)n;
	} else {
		if (log->lost_bytes == 0)
			log_warn("log %s: %s; output is dropped", log->path, strerror(errno));
		log->lost_bytes += n;
		if (log->fd >= 0 && fstat(log->fd, &st) == 0 && st.st_size > log->size && ftruncate(log->fd, log->size))
			log_warn("log %s: %s", log->path, strerror(errno));
	}
	log->batch.len = 0;
}

static void log_piece(void *arg, const char *piece, size_t n)
{
	struct jsonlog *log = arg;
	int64_t full = log->max_size > 0 && log->max_size < (int64_t)BATCH_BYTES ? log->max_size : (int64_t)BATCH_BYTES;

	str_puts(&log->batch, "{\"log\":");
	str_add_json(&log->batch, piece, n);
	str_puts(&log->batch, log->stream_name);
	str_puts(&log->batch, log->attributes);
	str_puts(&log->batch, ",\"time\":\"");
	str_puts(&log->batch, log->time);
	str_puts(&log->batch, "\"}\n");
	if ((int64_t)log->batch.len >= full ||
	    (log->max_size > 0 && log->size + (int64_t)log->batch.len >= log->max_size))
		log_flush(log);
}

static void log_begin(struct jsonlog *log, int stream)
{
	static const char *const names[STREAM_COUNT] = {
		[STREAM_STDOUT] = ",\"stream\":\"stdout\"",
		[STREAM_STDERR] = ",\"stream\":\"stderr\"",
	};
	struct timespec now = time_now();

	log->stream_name = names[stream];
	time_format(&now, log->time);
}

/* The batch's memory isn't kept: a monitor mostly idles, and malloc has it again at once. */
static void log_end(struct jsonlog *log)
{
	log_flush(log);
	str_fini(&log->batch);
}

void jsonlog_write(struct jsonlog *log, int stream, const char *data, size_t n)
{
	if (!log)
		return;
	log_begin(log, stream);
	log_lines_feed(&log->lines[stream], data, n, log_piece, log);
	log_end(log);
}

void jsonlog_close(struct jsonlog *log)
{
	if (!log)
		return;
	for (int i = 0; i < STREAM_COUNT; i++) {
		log_begin(log, i);
		log_lines_finish(&log->lines[i], log_piece, log);
		log_end(log);
	}
	if (log->lost_bytes)
		log_warn("log %s: %llu bytes were dropped", log->path, (unsigned long long)log->lost_bytes);
	close_fd(&log->fd);
	free(log->attributes);
	free(log->path);
	free(log);
}
