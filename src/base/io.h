/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SILO_BASE_IO_H
#define SILO_BASE_IO_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/err.h"
#include "base/str.h"

/* write() all of it; EINTR and short writes handled, EAGAIN waits with poll. 0, or -1 with errno set. */
int io_write_all(int fd, const void *data, size_t n);
/* Read exactly n bytes. 0; -1 with errno (0 = end of file before n bytes). */
int io_read_full(int fd, void *data, size_t n);

/* Whole file below dirfd (AT_FDCWD allowed) appended to out. ERR_LIMIT beyond out->max, ERR_NOT_FOUND on ENOENT. */
int io_read_file(int dirfd, const char *path, struct str *out, struct err *e) must_check;

/**
 * io_write_file - replace a file atomically: written to path.tmpXXXX, (fsync), renamed.
 *
 * @durable  fsync file and directory, so that it survives a power cut. On failure the old file is untouched.
 */
int io_write_file(int dirfd, const char *path, const void *data, size_t n, mode_t mode, bool durable,
		  struct err *e) must_check;

/* Write a short text into an existing kernel file (procfs, cgroupfs): one write(). */
int io_write_kernel(int dirfd, const char *path, const char *text, struct err *e) must_check;

/* mkdir -p; existing directories are kept as they are. Only for Silo's own paths, never inside a container's root. */
int io_mkdir_all(const char *path, mode_t mode, struct err *e) must_check;

/* Remove a tree below dirfd without following symlinks or crossing mounts. Missing: success. */
int io_remove_tree(int dirfd, const char *path, struct err *e);

/* Sum of the sizes of the regular files below a directory (taken; -1: 0), at most depth_max levels deep. No links are
 * followed, no mounts crossed; what can't be read isn't counted. */
int64_t io_tree_bytes(int fd, int depth_max);

/* RFC 3339 with nanoseconds, UTC: "2026-01-02T03:04:05.123456789Z". Trailing zeros are kept (Docker accepts both). */
#define TIME_TEXT_MAX 40
void time_format(const struct timespec *t, char out[static TIME_TEXT_MAX]);
/* RFC 3339 (any offset) or unix seconds "123.456"; 0, or -1. */
int time_parse(const char *s, struct timespec *out);
struct timespec time_now(void);
int64_t time_monotonic_ms(void);

/* n random bytes as 2n lower-case hex digits and a NUL. */
void random_hex(char *out, size_t n_bytes);

#endif
