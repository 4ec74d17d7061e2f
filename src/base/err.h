/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SILO_BASE_ERR_H
#define SILO_BASE_ERR_H

#include "base/attr.h"

/*
 * What went wrong, as the caller of the engine sees it. Chosen by whoever knows the meaning: an ENOENT of a file of
 * ours is ERR_SYSTEM, an unknown container is ERR_NOT_FOUND. api/http.c has the one table from kind to HTTP status.
 */
enum err_kind {
	ERR_NONE = 0,
	ERR_SYSTEM,         /* the host or Silo failed: 500 */
	ERR_INVALID,        /* the request is wrong: 400 */
	ERR_NOT_FOUND,      /* no such object: 404 */
	ERR_CONFLICT,       /* the object is in a state or in use so that it can't be done: 409 */
	ERR_NOT_MODIFIED,   /* already so: 304 */
	ERR_FORBIDDEN,      /* 403 */
	ERR_UNSUPPORTED,    /* refused by design: 400 with the reason; 501 where Docker says so */
	ERR_UNAVAILABLE,    /* 503, e.g. swarm calls */
	ERR_TIMEOUT,        /* no answer in time: 500 */
	ERR_LIMIT,          /* larger than a bound of ours: 400 (413 for bodies) */
	ERR_NO_COMMAND,     /* the program isn't there: 400 at start, exit code 127 */
	ERR_NOT_EXECUTABLE, /* the program can't be executed: 400 at start, exit code 126 */
};

/* Plain data, at most 512 bytes, so that a child can hand it to its parent with one write(). */
struct err {
	enum err_kind kind;
	int sys;       /* errno, or 0 when no system call failed */
	char msg[504]; /* "outer step: inner object: reason" */
};

/**
 * err_set - fill *e and return -1, so that a caller can write `return err_set(...)`.
 *
 * @sys  errno to append as ": strerror", or 0.
 * A too long text is cut. *e may be NULL (the error is dropped).
 */
#define err_set(...) (err_fill(__VA_ARGS__), err_failed())
void err_fill(struct err *e, enum err_kind kind, int sys, const char *fmt, ...) printf_like(4, 5);

/**
 * err_prefix - put what this level was doing in front of the message of *e: "what: old message". Returns -1.
 */
#define err_prefix(...) (err_put_before(__VA_ARGS__), err_failed())
void err_put_before(struct err *e, const char *fmt, ...) printf_like(2, 3);

/* Here for all to see, so that compilers and analyzers know what follows an error. */
static inline int err_failed(void)
{
	return -1;
}

/* Name of a kind ("not_found"), as sent between Silo's processes, and back (ERR_SYSTEM for an unknown name). */
const char *err_kind_name(enum err_kind kind);
enum err_kind err_kind_parse(const char *name);

#endif
