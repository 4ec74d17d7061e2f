/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One thread watches all monitors: events on the watch connection, and the end of the process (pidfd where it is our
 * child; else the connection that closes and can't be made again).
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/msg.h"
#include "base/own.h"
#include "engine/state.h"
#include "monitor/client.h"

#define BATCH 32

struct watch {
	struct watch *next, *dead_next;
	struct container *c;
	int sock, pidfd;
	bool dead;
};

struct watcher {
	struct engine *g;
	int epoll, stop;
	pthread_t thread;
	pthread_mutex_t lock; /* the list */
	struct watch *all;
};

static int add_fd(struct watcher *w, struct watch *x, int fd, struct err *e)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = x };

	if (fd >= 0 && epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
		return err_set(e, ERR_SYSTEM, errno, "watch monitor");
	return 0;
}

int watcher_add(struct watcher *w, struct container *c, int sock, int pidfd, struct err *e)
{
	struct watch *x = xcalloc(1, sizeof(*x));

	x->c = record_get(c);
	x->sock = sock;
	x->pidfd = pidfd;
	pthread_mutex_lock(&w->lock);
	x->next = w->all;
	w->all = x;
	pthread_mutex_unlock(&w->lock);
	if (add_fd(w, x, sock, e) < 0)
		return -1;
	return add_fd(w, x, pidfd, e);
}

/* Hand over everything that has arrived. False at the end of the connection. */
static bool read_events(struct watcher *w, struct watch *x)
{
	for (;;) {
		struct err e = { 0 };
		autojson *event = msg_recv(x->sock, 0, NULL, NULL, &e);

		if (!event)
			return e.kind == ERR_TIMEOUT;
		settle_event(w->g, x->c, event);
	}
}

/* close() alone isn't enough: a child that was just forked may hold a copy until its exec, and the epoll set with it. */
static void forget_fd(struct watcher *w, int *fd)
{
	if (*fd >= 0)
		epoll_ctl(w->epoll, EPOLL_CTL_DEL, *fd, NULL);
	close_fd(fd);
}

/* The monitor drops a watcher that is too slow: ask again. If the container has
 * ended meanwhile, its exit event follows. */
static bool reconnect(struct watcher *w, struct watch *x)
{
	autofree char *dir = path_run(w->g, x->c->id, NULL);

	x->sock = monitor_watch(dir, NULL, NULL);
	return x->sock >= 0 && add_fd(w, x, x->sock, NULL) == 0;
}

static void on_socket(struct watcher *w, struct watch *x)
{
	bool ended;

	if (read_events(w, x))
		return;
	forget_fd(w, &x->sock);
	pthread_mutex_lock(&x->c->lock);
	ended = container_has_ended(x->c, NULL);
	pthread_mutex_unlock(&x->c->lock);
	if (!ended && reconnect(w, x))
		return;
	x->dead = x->pidfd < 0; /* otherwise the pidfd says when it has really gone */
}

static bool process_gone(struct watch *x)
{
	siginfo_t info = { 0 };

	if (x->pidfd < 0)
		return false;
	return waitid(P_PIDFD, (id_t)x->pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid != 0;
}

static void on_ready(struct watcher *w, struct watch *x)
{
	if (x->dead)
		return;
	if (process_gone(x)) {
		if (x->sock >= 0)
			read_events(w, x);
		x->dead = true;
	} else if (x->sock >= 0) {
		on_socket(w, x);
	}
}

static void watch_free(struct watcher *w, struct watch *x)
{
	forget_fd(w, &x->sock);
	forget_fd(w, &x->pidfd);
	record_put(x->c);
	free(x);
}

static void sweep(struct watcher *w)
{
	struct watch *dead = NULL, **p;

	pthread_mutex_lock(&w->lock);
	for (p = &w->all; *p;) {
		struct watch *x = *p;

		if (x->dead) {
			*p = x->next;
			x->dead_next = dead;
			dead = x;
		} else {
			p = &x->next;
		}
	}
	pthread_mutex_unlock(&w->lock);
	while (dead) {
		struct watch *x = dead;

		dead = x->dead_next;
		settle_monitor_gone(w->g, x->c);
		watch_free(w, x);
	}
}

static void *watch_thread(void *arg)
{
	struct watcher *w = arg;
	struct epoll_event events[BATCH];

	while (!w->g->closing) {
		int n = epoll_wait(w->epoll, events, BATCH, -1);
		bool any_dead = false;

		for (int i = 0; i < n; i++) {
			struct watch *x = events[i].data.ptr;

			if (!x)
				return NULL;
			on_ready(w, x);
			any_dead |= x->dead;
		}
		if (any_dead)
			sweep(w);
	}
	return NULL;
}

struct watcher *watcher_new(struct engine *g, struct err *e)
{
	struct watcher *w = xcalloc(1, sizeof(*w));
	struct epoll_event ev = { .events = EPOLLIN };

	w->g = g;
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	w->stop = eventfd(0, EFD_CLOEXEC);
	pthread_mutex_init(&w->lock, NULL);
	if (w->epoll < 0 || w->stop < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->stop, &ev) < 0 ||
	    (errno = pthread_create(&w->thread, NULL, watch_thread, w)) != 0) {
		err_set(e, ERR_SYSTEM, errno, "start the watcher");
		close_fd(&w->epoll);
		close_fd(&w->stop);
		free(w);
		return NULL;
	}
	return w;
}

void watcher_free(struct watcher *w)
{
	struct watch *x;

	if (!w)
		return;
	eventfd_write(w->stop, 1);
	pthread_join(w->thread, NULL);
	while ((x = w->all)) {
		w->all = x->next;
		watch_free(w, x);
	}
	close_fd(&w->epoll);
	close_fd(&w->stop);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
