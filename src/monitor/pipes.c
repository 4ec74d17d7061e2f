/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "monitor/pipes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "base/unix.h"

#define PIPES_MAX 32
#define RELAYS_MAX 256 /* of a container; more clients wait in the kernel's queue */
#define WAY_BYTES (64 * KIB)

enum { CLIENT, SERVER, SIDES };

/* Bytes from one side to the other. */
struct way {
	size_t at, len;
	bool eof;  /* nothing more will come */
	bool shut; /* and the other side knows */
	char data[WAY_BYTES];
};

struct relay {
	struct pipes *all;
	struct relay *next, **link; /* link: what leads to this one */
	int fd[SIDES];
	struct loop_io *io[SIDES]; /* NULL: that side is gone, what it left is still on its way */
	struct way way[SIDES];     /* from this side */
};

struct pipe {
	struct pipes *all;
	char *path, *meet_path;
	int listener, meet;
	struct loop_io *listener_io, *meet_io;
	int waiting; /* the container's connection for the next client; -1 */
	struct loop_io *waiting_io;
};

struct pipes {
	struct loop *loop;
	struct pipe list[PIPES_MAX];
	size_t n;
	struct relay *relays;
	size_t n_relays;
	bool ended;
};

/* --- relays ----------------------------------------------------------------------------------------------------- */

static void update(struct pipes *p);

static void relay_free(struct relay *r)
{
	for (int i = 0; i < SIDES; i++) {
		loop_remove(&r->io[i]);
		close_fd(&r->fd[i]);
	}
	free(r);
}

static void relay_end(struct relay *r)
{
	struct pipes *p = r->all;

	*r->link = r->next;
	if (r->next)
		r->next->link = r->link;
	p->n_relays--;
	relay_free(r);
	update(p);
}

/* Move what can be moved from side `from`. False: one of the two has failed. */
static bool move(struct relay *r, int from)
{
	struct way *w = &r->way[from];
	ssize_t n;

	for (;;) {
		if (!w->len && !w->eof) {
			n = recv(r->fd[from], w->data, sizeof(w->data), 0);
			if (n < 0 && (errno == EAGAIN || errno == EINTR))
				return true;
			w->eof = n <= 0;
			w->at = 0;
			w->len = n > 0 ? (size_t)n : 0;
		}
		if (!w->len)
			break;
		n = send(r->fd[!from], w->data + w->at, w->len, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		w->at += (size_t)n;
		w->len -= (size_t)n;
	}
	if (w->eof && !w->shut) {
		shutdown(r->fd[!from], SHUT_WR);
		w->shut = true;
	}
	return true;
}

static bool is_done(const struct relay *r, int from)
{
	return r->way[from].eof && !r->way[from].len;
}

/* A side that has left takes nothing any more: the relay ends when what it said has been handed over. */
static void advance(struct relay *r)
{
	bool ok = true, over;

	for (int i = 0; i < SIDES && ok; i++) {
		if (r->io[!i]) {
			ok = move(r, i);
		} else {
			r->way[i].eof = true;
			r->way[i].len = 0;
		}
	}
	over = is_done(r, CLIENT) && is_done(r, SERVER);
	for (int i = 0; i < SIDES; i++)
		over |= !r->io[i] && is_done(r, i);
	if (!ok || over) {
		relay_end(r);
		return;
	}
	for (int i = 0; i < SIDES; i++)
		if (r->io[i])
			loop_set_events(r->io[i], (r->way[i].len || r->way[i].eof ? 0 : EPOLLIN) |
							  (r->way[!i].len ? EPOLLOUT : 0));
}

static void on_side(struct relay *r, int side, uint32_t events)
{
	/* It would be told again and again. */
	if (events & (EPOLLHUP | EPOLLERR))
		loop_remove(&r->io[side]);
	advance(r);
}

static void on_client(void *arg, uint32_t events)
{
	on_side(arg, CLIENT, events);
}

static void on_server(void *arg, uint32_t events)
{
	on_side(arg, SERVER, events);
}

/* Both are taken. */
static void relay_start(struct pipes *p, int client, int server)
{
	static loop_fn *const handlers[SIDES] = { on_client, on_server };
	struct relay *r = xcalloc(1, sizeof(*r));
	struct err e;

	*r = (struct relay){ .all = p, .next = p->relays, .link = &p->relays, .fd = { client, server } };
	if (r->next)
		r->next->link = &r->next;
	p->relays = r;
	p->n_relays++;
	for (int i = 0; i < SIDES; i++) {
		r->io[i] = loop_add(p->loop, r->fd[i], EPOLLIN, handlers[i], r, &e);
		if (!r->io[i]) {
			log_warn("named pipe: %s", e.msg);
			relay_end(r);
			return;
		}
	}
}

/* --- meetings --------------------------------------------------------------------------------------------------- */

/* A client is let in when the container waits for it. */
static void update(struct pipes *p)
{
	for (size_t i = 0; i < p->n && !p->ended; i++) {
		struct pipe *x = &p->list[i];

		loop_set_events(x->meet_io, x->waiting < 0 ? EPOLLIN : 0);
		loop_set_events(x->listener_io, x->waiting >= 0 && p->n_relays < RELAYS_MAX ? EPOLLIN : 0);
	}
}

static void stop_waiting(struct pipe *x)
{
	loop_remove(&x->waiting_io);
	close_fd(&x->waiting);
}

static void on_waiting(void *arg, uint32_t events)
{
	struct pipe *x = arg;

	if (events & (EPOLLHUP | EPOLLERR))
		stop_waiting(x);
	update(x->all);
}

static void on_meet(void *arg, uint32_t events)
{
	struct pipe *x = arg;
	struct err e;

	if (x->waiting >= 0)
		return;
	x->waiting = accept4(x->meet, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (x->waiting < 0)
		return;
	x->waiting_io = loop_add(x->all->loop, x->waiting, 0, on_waiting, x, &e);
	if (!x->waiting_io)
		close_fd(&x->waiting);
	update(x->all);
}

static void on_listener(void *arg, uint32_t events)
{
	struct pipe *x = arg;
	autoclose int client = x->waiting < 0 ? -1 : accept4(x->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (client < 0)
		return;
	loop_remove(&x->waiting_io);
	if (send(x->waiting, "c", 1, MSG_NOSIGNAL) == 1)
		relay_start(x->all, take_fd(&client), take_fd(&x->waiting));
	stop_waiting(x);
	update(x->all);
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static void pipe_close(struct pipe *x)
{
	loop_remove(&x->listener_io);
	loop_remove(&x->meet_io);
	stop_waiting(x);
	if (x->listener >= 0)
		unlink(x->path);
	if (x->meet >= 0)
		unlink(x->meet_path);
	close_fd(&x->listener);
	close_fd(&x->meet);
	free(take_ptr(&x->path));
	free(take_ptr(&x->meet_path));
}

/* The host's root only: whoever else shall be let in is the administrator's to say. */
static int pipe_open(struct pipes *p, const json_t *entry, struct err *e)
{
	struct pipe *x = &p->list[p->n++];

	*x = (struct pipe){ .all = p, .listener = -1, .meet = -1, .waiting = -1 };
	x->path = xstrdup(json_str(entry, "listen", ""));
	x->meet_path = xstrdup(json_str(entry, "meet", ""));
	x->listener = unix_listen(x->path, 0600, e);
	x->meet = x->listener < 0 ? -1 : unix_listen(x->meet_path, 0600, e);
	if (x->meet < 0)
		return -1;
	x->listener_io = loop_add(p->loop, x->listener, 0, on_listener, x, e);
	x->meet_io = x->listener_io ? loop_add(p->loop, x->meet, EPOLLIN, on_meet, x, e) : NULL;
	return x->meet_io ? 0 : -1;
}

int pipes_open(struct pipes **out, const json_t *list, struct loop *l, struct err *e)
{
	struct pipes *p;
	json_t *entry;
	size_t i;

	*out = NULL;
	if (!json_array_size(list))
		return 0;
	if (json_array_size(list) > PIPES_MAX)
		return err_set(e, ERR_LIMIT, 0, "a container serves at most %d named pipes of the host", PIPES_MAX);
	p = xcalloc(1, sizeof(*p));
	p->loop = l;
	json_array_foreach((json_t *)(uintptr_t)list, i, entry)
		if (pipe_open(p, entry, e)) {
			pipes_free(p);
			return -1;
		}
	*out = p;
	return 0;
}

void pipes_end(struct pipes *p)
{
	if (!p)
		return;
	p->ended = true;
	for (size_t i = 0; i < p->n; i++)
		pipe_close(&p->list[i]);
}

bool pipes_are_busy(const struct pipes *p)
{
	return p && p->relays;
}

void pipes_free(struct pipes *p)
{
	struct relay *next;

	if (!p)
		return;
	pipes_end(p);
	for (struct relay *r = p->relays; r; r = next) {
		next = r->next;
		relay_free(r);
	}
	free(p);
}
