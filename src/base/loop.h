/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One epoll loop, one thread: the monitor's and the agent's. Level-triggered. */
#ifndef SILO_BASE_LOOP_H
#define SILO_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/err.h"

struct loop;
struct loop_io;

/* @events  EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLERR | EPOLLRDHUP as reported. */
typedef void loop_fn(void *arg, uint32_t events);

struct loop *loop_new(struct err *e) must_check;
void loop_free(struct loop *l); /* watched fds stay open: they belong to their users */

/**
 * loop_add - call fn(arg, events) whenever fd is ready for events. The fd stays the caller's.
 *
 * Returns a handle, or NULL with *e. fn may remove any handle, its own included.
 */
struct loop_io *loop_add(struct loop *l, int fd, uint32_t events, loop_fn *fn, void *arg, struct err *e) must_check;
void loop_set_events(struct loop_io *io, uint32_t events); /* 0 = only HUP/ERR are reported */
/* Forget the fd; call before closing it. Sets *io to NULL; NULL inside is allowed. */
void loop_remove(struct loop_io **io);

/* One-shot timer: fn(arg, 0) after ms. loop_remove() cancels it; it removes itself after firing (*io is then stale:
 * the callback must clear its copy). */
struct loop_io *loop_timer(struct loop *l, int64_t ms, loop_fn *fn, void *arg, struct err *e) must_check;

/* Run until loop_stop(). */
int loop_run(struct loop *l, struct err *e) must_check;
void loop_stop(struct loop *l);
/* One round: wait at most timeout_ms (-1 = for ever) and dispatch. Returns number of events, or -1. */
int loop_once(struct loop *l, int timeout_ms, struct err *e) must_check;

#endif
