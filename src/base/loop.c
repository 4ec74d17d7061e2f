/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/own.h"

struct loop_io {
	struct loop *loop;
	int fd;
	bool is_timer; /* the loop owns the fd */
	bool dead;     /* removed: freed when the round is over */
	loop_fn *fn;
	void *arg;
	struct loop_io *next_dead;
};

struct loop {
	int epoll;
	bool stop;
	int depth; /* nested loop_once(): handles may be freed only by the outermost */
	struct loop_io *dead;
};

struct loop *loop_new(struct err *e)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (epoll < 0) {
		err_set(e, ERR_SYSTEM, errno, "epoll_create1");
		return NULL;
	}
	struct loop *l = xcalloc(1, sizeof *l);

	l->epoll = epoll;
	return l;
}

static void free_dead(struct loop *l)
{
	while (l->dead) {
		struct loop_io *io = l->dead;

		l->dead = io->next_dead;
		free(io);
	}
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	free_dead(l);
	close(l->epoll);
	free(l);
}

struct loop_io *loop_add(struct loop *l, int fd, uint32_t events, loop_fn *fn, void *arg, struct err *e)
{
	struct loop_io *io = xcalloc(1, sizeof *io);

	*io = (struct loop_io){ .loop = l, .fd = fd, .fn = fn, .arg = arg };
	struct epoll_event ev = { .events = events, .data.ptr = io };

	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev)) {
		err_set(e, ERR_SYSTEM, errno, "epoll: watch fd %d", fd);
		free(io);
		return NULL;
	}
	return io;
}

void loop_set_events(struct loop_io *io, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = io };

	epoll_ctl(io->loop->epoll, EPOLL_CTL_MOD, io->fd, &ev);
}

/* Events of this round may still point at the handle: it is only marked, and freed between rounds. */
void loop_remove(struct loop_io **pio)
{
	struct loop_io *io = *pio;

	*pio = NULL;
	if (!io || io->dead)
		return;
	epoll_ctl(io->loop->epoll, EPOLL_CTL_DEL, io->fd, NULL);
	if (io->is_timer)
		close(io->fd);
	io->dead = true;
	io->next_dead = io->loop->dead;
	io->loop->dead = io;
}

struct loop_io *loop_timer(struct loop *l, int64_t ms, loop_fn *fn, void *arg, struct err *e)
{
	autoclose int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0) {
		err_set(e, ERR_SYSTEM, errno, "timerfd_create");
		return NULL;
	}
	/* All zero would disarm it: at least one nanosecond. */
	struct itimerspec t = { .it_value = { .tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000 + (ms <= 0) } };

	if (ms < 0)
		t.it_value = (struct timespec){ .tv_nsec = 1 };
	if (timerfd_settime(fd, 0, &t, NULL)) {
		err_set(e, ERR_SYSTEM, errno, "timerfd_settime");
		return NULL;
	}
	struct loop_io *io = loop_add(l, fd, EPOLLIN, fn, arg, e);

	if (!io)
		return NULL;
	io->is_timer = true;
	take_fd(&fd);
	return io;
}

static void dispatch(struct loop_io *io, uint32_t events)
{
	loop_fn *fn = io->fn;
	void *arg = io->arg;

	if (io->dead)
		return;
	if (io->is_timer) {
		struct loop_io *self = io;

		loop_remove(&self);
		fn(arg, 0);
		return;
	}
	fn(arg, events);
}

int loop_once(struct loop *l, int timeout_ms, struct err *e)
{
	struct epoll_event ev[16];
	int n = epoll_wait(l->epoll, ev, 16, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : err_set(e, ERR_SYSTEM, errno, "epoll_wait");
	l->depth++;
	for (int i = 0; i < n; i++)
		dispatch(ev[i].data.ptr, ev[i].events);
	if (--l->depth == 0)
		free_dead(l);
	return n;
}

int loop_run(struct loop *l, struct err *e)
{
	while (!l->stop)
		if (loop_once(l, -1, e) < 0)
			return -1;
	return 0;
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}
