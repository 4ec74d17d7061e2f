/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"
#include "base/str.h"

#define FILES_MAX 1000
#define CHUNK (64 * KIB)
#define LINE_MAX_BYTES (1 * MIB) /* pieces of 16 KiB, at most six bytes for each */

struct logfile {
	char *path;
	int fd;       /* being read; -1 = nothing yet */
	int newer;    /* to be read after fd's last bytes, or -1 */
	int *older;   /* opened at the start, next one first */
	size_t n_older;
	struct str buf;
	size_t used;   /* bytes of buf that were handed out */
	bool skipping; /* inside a line that was too long */
};

static int open_nth(const char *path, int n)
{
	autofree char *name = n ? xasprintf("%s.%d", path, n) : xstrdup(path);

	return open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* Offset from which `tail` lines follow; *found is how many there were (at most tail). */
static off_t tail_offset(int fd, int64_t tail, int64_t *found)
{
	off_t end = lseek(fd, 0, SEEK_END), at = end;
	autofree char *chunk = xmalloc(CHUNK);
	int64_t newlines = 0;

	*found = 0;
	if (tail == 0)
		return end;
	while (at > 0) {
		size_t n = at > (off_t)CHUNK ? CHUNK : (size_t)at;

		at -= (off_t)n;
		if (pread(fd, chunk, n, at) != (ssize_t)n)
			break;
		for (size_t i = n; i-- > 0;) {
			/* The newline that ends the last line doesn't begin one. */
			if (chunk[i] != '\n' || at + (off_t)i == end - 1)
				continue;
			if (++newlines == tail) {
				*found = tail;
				return at + (off_t)i + 1;
			}
		}
	}
	*found = newlines + (end > 0);
	return 0;
}

/* Place every file so that together the last `tail` lines follow; newest first, as far as needed. */
static void place(struct logfile *l, int *fds, size_t n, int64_t tail)
{
	size_t keep = n;

	for (size_t i = 0; i < n && tail >= 0; i++) {
		int64_t found;

		lseek(fds[i], tail_offset(fds[i], tail, &found), SEEK_SET);
		tail -= found;
		if (tail == 0) {
			keep = i + 1;
			break;
		}
	}
	for (size_t i = keep; i < n; i++)
		close(fds[i]);
	l->older = xcalloc(keep + 1, sizeof(int));
	for (size_t i = 0; i < keep; i++)
		l->older[l->n_older++] = fds[i];
	/* Oldest last in the array, read from there. */
	l->fd = l->n_older ? l->older[--l->n_older] : -1;
}

struct logfile *logfile_open(const char *path, int64_t tail, struct err *e)
{
	autofree int *fds = xcalloc(FILES_MAX, sizeof(int));
	struct logfile *l = xcalloc(1, sizeof(*l));
	size_t n = 0;

	for (int i = 0; i < FILES_MAX; i++) {
		int fd = open_nth(path, i);

		if (fd < 0 && i > 0)
			break;
		if (fd < 0 && errno != ENOENT) {
			err_set(e, ERR_SYSTEM, errno, "open log %s", path);
			free(l);
			return NULL;
		}
		if (fd >= 0)
			fds[n++] = fd;
	}
	l->path = xstrdup(path);
	l->newer = -1;
	str_init(&l->buf, LINE_MAX_BYTES);
	place(l, fds, n, tail);
	return l;
}

void logfile_close(struct logfile *l)
{
	if (!l)
		return;
	close_fd(&l->fd);
	close_fd(&l->newer);
	while (l->n_older)
		close(l->older[--l->n_older]);
	free(l->older);
	str_fini(&l->buf);
	free(l->path);
	free(l);
}

/* A complete line of the buffer as JSON; NULL when there is no complete one, or it isn't valid (*line says which). */
static json_t *take_line(struct logfile *l, bool *line)
{
	char *start = l->buf.s + l->used,
	     *end = l->buf.len > l->used ? memchr(start, '\n', l->buf.len - l->used) : NULL;
	json_t *entry = NULL;

	*line = end != NULL;
	if (!end)
		return NULL;
	if (!l->skipping)
		entry = json_loadb(start, (size_t)(end - start), JSON_ALLOW_NUL, NULL);
	l->skipping = false;
	l->used += (size_t)(end - start) + 1;
	if (json_is_object(entry))
		return entry;
	json_decref(entry);
	return NULL;
}

/* More bytes into the buffer: false at the end of the file. */
static bool fill(struct logfile *l)
{
	char chunk[16 * KIB];
	ssize_t n = l->fd >= 0 ? read(l->fd, chunk, sizeof(chunk)) : 0;

	if (n <= 0)
		return false;
	str_drop(&l->buf, l->used);
	l->used = 0;
	if (str_add(&l->buf, chunk, (size_t)n) < 0) { /* a line beyond all bounds: forget it */
		str_fini(&l->buf);
		str_init(&l->buf, LINE_MAX_BYTES);
		l->skipping = true;
		str_add(&l->buf, chunk, (size_t)n);
	}
	return true;
}

/* The file after ours: rotation has renamed ours to path.k, so it is path.(k-1). -1 = ours is the newest. */
static int open_newer(struct logfile *l)
{
	struct stat mine, st;

	if (l->fd < 0)
		return open_nth(l->path, 0);
	if (fstat(l->fd, &mine) < 0)
		return -1;
	for (int k = 0; k < FILES_MAX; k++) {
		autofree char *name = k ? xasprintf("%s.%d", l->path, k) : xstrdup(l->path);

		if (stat(name, &st) < 0)
			break; /* ours was deleted by rotation: go on with the newest there is */
		if (st.st_ino == mine.st_ino && st.st_dev == mine.st_dev)
			return k ? open_nth(l->path, k - 1) : -1;
	}
	return open_nth(l->path, 0);
}

/* The file is read to its end: go on with a newer one. */
static bool next_file(struct logfile *l)
{
	if (l->newer < 0 && l->n_older)
		l->newer = l->older[--l->n_older];
	else if (l->newer < 0)
		l->newer = open_newer(l);
	else {
		close_fd(&l->fd);
		l->fd = take_fd(&l->newer);
		return true;
	}
	/* Something may have been written between our last read and the rotation: once more to the end of ours. */
	return l->newer >= 0;
}

json_t *logfile_next(struct logfile *l)
{
	for (;;) {
		bool line;
		json_t *entry = take_line(l, &line);

		if (entry)
			return entry;
		if (line || fill(l))
			continue;
		if (!next_file(l))
			return NULL;
	}
}
