/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Paths inside a container's root. The tree belongs to somebody hostile who may exchange a directory for a symlink at
 * any moment: every lookup is one openat2(RESOLVE_IN_ROOT) whose result is used as an fd and never as a string again.
 * Source: openat2(2).
 */
#ifndef SILO_OS_ROOT_H
#define SILO_OS_ROOT_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

/**
 * root_try_open - openat2 below root with "/" and ".." ending at root, magic links refused.
 *
 * @flags    open flags; O_CLOEXEC is added.
 * @resolve  further RESOLVE_* flags, e.g. RESOLVE_NO_SYMLINKS.
 * @mode     for O_CREAT, else 0.
 * Returns an fd, or -1 with errno.
 */
int root_try_open(int root, const char *path, int flags, uint64_t resolve, mode_t mode);
/* The same with an error text that names the path. e->sys has the errno. */
int root_open(int root, const char *path, int flags, uint64_t resolve, struct err *e) must_check;

/* mkdir -p below root; new directories get mode. Returns an O_PATH fd of the directory. A dangling symlink on the way is
 * an error: nothing is created behind it. resolve as above. */
int root_mkdirs(int root, const char *path, mode_t mode, uint64_t resolve, struct err *e) must_check;
/* O_PATH fd of the object at path; an empty file (with its directories) is created when nothing is there. */
int root_touch(int root, const char *path, mode_t mode, struct err *e) must_check;
/* A regular file appended to out; ENOENT gives 0 and leaves out as it is, anything but a regular file is an error. */
int root_read_file(int root, const char *path, struct str *out, struct err *e) must_check;

/* Lexically cleaned absolute path: no "//", "." or ".."; a relative path is taken from "/". Heap string. Pure. */
char *path_clean(const char *path);
/* True when path is dir or lies below it; both cleaned. Pure. */
bool path_is_below(const char *path, const char *dir);

#endif
