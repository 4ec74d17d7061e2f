/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "network/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"

#define KEY_MAX 80
#define BACKLOG 128
#define BUFFER_BYTES (32 * KIB)
#define DATAGRAM_MAX 65536
#define FLOWS_MAX 1024   /* connections and UDP clients in all; more connections are closed, an older client is forgotten */
#define SWEEP_MS 60000   /* a UDP client is forgotten after one to two of these without a datagram */

/* --- the thread ----------------------------------------------------------------------------------------------------------- */

struct command {
	const struct relay_target *add; /* NULL: forget */
	const char *key;
	int sock;
	bool done;
	int rc;
	struct err *e;
};

struct relay {
	pthread_t thread;
	struct loop *loop;
	struct loop_io *wake_io, *sweep;
	int wake, spare; /* a descriptor to give up when there are no more */
	bool stop;
	struct door *doors;
	size_t n_flows;

	pthread_mutex_t lock; /* of the command */
	pthread_cond_t answered, idle;
	struct command *command;
};

/* A published socket. */
struct door {
	struct door *next;
	struct relay *r;
	char key[KEY_MAX];
	bool udp;
	struct sockaddr_storage to;
	socklen_t to_len;
	int sock;
	struct loop_io *io;
	struct flow *flows; /* newest first */
};

/* One direction of a connection. */
struct half {
	char *bytes;
	size_t at, n;
	bool ended; /* nothing more comes in */
	bool shut;  /* and the other side has been told */
};

/* A connection, or a UDP client: side 0 is the client (UDP: the door's socket), side 1 the container. */
struct flow {
	struct flow *next;
	struct door *d;
	int fd[2];
	struct loop_io *io[2];
	struct half half[2]; /* by the side that it comes from */
	bool connected, used;
	struct sockaddr_storage client;
	socklen_t client_len;
};

static void flow_end(struct flow *f)
{
	struct flow **at;

	for (at = &f->d->flows; *at != f; at = &(*at)->next)
		;
	*at = f->next;
	f->d->r->n_flows--;
	for (int i = 0; i < 2; i++) {
		loop_remove(&f->io[i]);
		close_fd(&f->fd[i]);
		free(f->half[i].bytes);
	}
	free(f);
}

static struct flow *flow_new(struct door *d)
{
	struct flow *f = xcalloc(1, sizeof(*f));

	f->d = d;
	f->fd[0] = -1;
	f->fd[1] = socket(d->to.ss_family, (d->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	f->next = d->flows;
	d->flows = f;
	d->r->n_flows++;
	if (f->fd[1] >= 0 && (connect(f->fd[1], (struct sockaddr *)&d->to, d->to_len) == 0 || errno == EINPROGRESS))
		return f;
	flow_end(f);
	return NULL;
}

/* --- TCP ---------------------------------------------------------------------------------------------------------------------- */

/* 0; -1: the connection is over. */
static int fill(struct flow *f, int side)
{
	struct half *h = &f->half[side];
	ssize_t n;

	if (h->ended || h->n)
		return 0;
	n = recv(f->fd[side], h->bytes, BUFFER_BYTES, 0);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	h->ended = n == 0;
	h->at = 0;
	h->n = (size_t)n;
	return 0;
}

static int drain(struct flow *f, int side)
{
	struct half *h = &f->half[side];
	int to = f->fd[!side];

	if (h->n) {
		ssize_t n = send(to, h->bytes + h->at, h->n, MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		h->at += (size_t)n;
		h->n -= (size_t)n;
	}
	if (h->ended && !h->n && !h->shut) {
		h->shut = true;
		return shutdown(to, SHUT_WR);
	}
	return 0;
}

static void on_side_0(void *arg, uint32_t events);
static void on_side_1(void *arg, uint32_t events);

/* A socket that nothing is wanted of isn't watched: its hang-up would be told for ever. */
static int watch(struct flow *f, int side)
{
	uint32_t wanted = f->half[!side].n || (side && !f->connected) ? EPOLLOUT : 0;
	struct err e;

	if (f->connected && !f->half[side].ended && !f->half[side].n)
		wanted |= EPOLLIN;
	if (!wanted) {
		loop_remove(&f->io[side]);
		return 0;
	}
	if (f->io[side]) {
		loop_set_events(f->io[side], wanted);
		return 0;
	}
	f->io[side] = loop_add(f->d->r->loop, f->fd[side], wanted, side ? on_side_1 : on_side_0, f, &e);
	return f->io[side] ? 0 : -1;
}

static int pump(struct flow *f)
{
	for (int side = 0; side < 2; side++) {
		if (fill(f, side) < 0 || drain(f, side) < 0)
			return -1;
	}
	if (f->half[0].shut && f->half[1].shut)
		return -1;
	return watch(f, 0) < 0 ? -1 : watch(f, 1);
}

static void on_side_0(void *arg, uint32_t events unused_arg)
{
	if (pump(arg) < 0)
		flow_end(arg);
}

static void on_side_1(void *arg, uint32_t events)
{
	struct flow *f = arg;
	int failed = 0;
	socklen_t n = sizeof(failed);

	if (!f->connected) {
		/* A hang-up without EPOLLOUT is a refusal too. */
		if (getsockopt(f->fd[1], SOL_SOCKET, SO_ERROR, &failed, &n) < 0 || failed || !(events & EPOLLOUT)) {
			flow_end(f);
			return;
		}
		f->connected = true;
	}
	on_side_0(f, events);
}

/* Without a free descriptor a client could only be left waiting, and would be told of for ever. */
static void refuse_client(struct door *d)
{
	int client;

	close_fd(&d->r->spare);
	client = accept4(d->sock, NULL, NULL, SOCK_CLOEXEC);
	close_fd(&client);
	d->r->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_client(void *arg, uint32_t events unused_arg)
{
	struct door *d = arg;
	autoclose int client = accept4(d->sock, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct flow *f;

	if (client < 0 && (errno == EMFILE || errno == ENFILE))
		refuse_client(d);
	if (client < 0 || d->r->n_flows >= FLOWS_MAX)
		return;
	f = flow_new(d);
	if (!f)
		return;
	f->fd[0] = take_fd(&client);
	for (int i = 0; i < 2; i++)
		f->half[i].bytes = xmalloc(BUFFER_BYTES);
	if (watch(f, 1) < 0)
		flow_end(f);
}

/* --- UDP ---------------------------------------------------------------------------------------------------------------------- */

static void on_sweep(void *arg, uint32_t events unused_arg)
{
	struct relay *r = arg;
	struct flow *f, *next;
	struct err e = { 0 };

	r->sweep = loop_timer(r->loop, SWEEP_MS, on_sweep, r, &e);
	for (struct door *d = r->doors; d; d = d->next) {
		for (f = d->udp ? d->flows : NULL; f; f = next) {
			next = f->next;
			if (!f->used)
				flow_end(f);
			else
				f->used = false;
		}
	}
}

static void on_answer(void *arg, uint32_t events unused_arg)
{
	struct flow *f = arg;
	static const int again[] = { EAGAIN, EINTR, ECONNREFUSED };
	autofree char *bytes = xmalloc(DATAGRAM_MAX);
	ssize_t n = recv(f->fd[1], bytes, DATAGRAM_MAX, 0);

	for (size_t i = 0; n < 0 && i < array_len(again); i++) {
		if (errno == again[i])
			return;
	}
	if (n < 0) {
		flow_end(f);
		return;
	}
	f->used = true;
	if (sendto(f->d->sock, bytes, (size_t)n, 0, (struct sockaddr *)&f->client, f->client_len) < 0)
		log_debug("relay of published ports: %s", strerror(errno));
}

static struct flow *find_client(struct door *d, const struct sockaddr_storage *from, socklen_t n)
{
	struct flow *f, *oldest = NULL;
	struct err e;

	for (f = d->flows; f; oldest = f, f = f->next) {
		if (f->client_len == n && memcmp(&f->client, from, n) == 0)
			return f;
	}
	if (d->r->n_flows >= FLOWS_MAX && oldest)
		flow_end(oldest);
	f = d->r->n_flows < FLOWS_MAX ? flow_new(d) : NULL;
	if (!f)
		return NULL;
	f->client = *from;
	f->client_len = n;
	f->io[1] = loop_add(d->r->loop, f->fd[1], EPOLLIN, on_answer, f, &e);
	if (f->io[1])
		return f;
	flow_end(f);
	return NULL;
}

static void on_datagram(void *arg, uint32_t events unused_arg)
{
	struct door *d = arg;
	struct sockaddr_storage from = { 0 };
	socklen_t from_len = sizeof(from);
	autofree char *bytes = xmalloc(DATAGRAM_MAX);
	ssize_t n = recvfrom(d->sock, bytes, DATAGRAM_MAX, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
	struct flow *f = n < 0 ? NULL : find_client(d, &from, from_len);

	if (!f)
		return;
	f->used = true;
	if (send(f->fd[1], bytes, (size_t)n, MSG_DONTWAIT) < 0)
		log_debug("relay of published ports: %s", strerror(errno));
}

/* --- doors -------------------------------------------------------------------------------------------------------------------- */

static void door_close(struct door *d)
{
	struct flow *f, *next;
	struct door **at;

	for (at = &d->r->doors; *at != d; at = &(*at)->next)
		;
	*at = d->next;
	for (f = d->flows; f; f = next) {
		next = f->next;
		flow_end(f);
	}
	loop_remove(&d->io);
	close_fd(&d->sock);
	free(d);
}

static void set_target(struct door *d, const struct relay_target *t)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&d->to;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&d->to;

	d->to.ss_family = (sa_family_t)t->to.family;
	if (t->to.family == AF_INET6) {
		v6->sin6_port = htons(t->port);
		memcpy(&v6->sin6_addr, t->to.b, 16);
		d->to_len = sizeof(*v6);
	} else {
		v4->sin_port = htons(t->port);
		memcpy(&v4->sin_addr, t->to.b, 4);
		d->to_len = sizeof(*v4);
	}
}

static int door_open(struct relay *r, int sock, const struct relay_target *t, struct err *e)
{
	struct door *d = xcalloc(1, sizeof(*d));

	d->r = r;
	d->udp = t->udp;
	snprintf(d->key, sizeof(d->key), "%s", t->key);
	set_target(d, t);
	d->next = r->doors;
	r->doors = d;
	d->sock = fcntl(sock, F_DUPFD_CLOEXEC, 3);
	if (d->sock < 0 || fcntl(d->sock, F_SETFL, O_NONBLOCK) < 0 || (!d->udp && listen(d->sock, BACKLOG) < 0))
		err_set(e, ERR_SYSTEM, errno, "listen on a published port");
	else
		d->io = loop_add(r->loop, d->sock, EPOLLIN, d->udp ? on_datagram : on_client, d, e);
	if (d->io)
		return 0;
	door_close(d);
	return -1;
}

static void forget(struct relay *r, const char *key)
{
	struct door *d, *next;

	for (d = r->doors; d; d = next) {
		next = d->next;
		if (!key || strcmp(d->key, key) == 0)
			door_close(d);
	}
}

/* --- commands ----------------------------------------------------------------------------------------------------------------- */

static void on_command(void *arg, uint32_t events unused_arg)
{
	struct relay *r = arg;
	struct command *c;
	uint64_t n;

	if (read(r->wake, &n, sizeof(n)) < 0)
		return;
	pthread_mutex_lock(&r->lock);
	c = r->command;
	if (c && !c->done) {
		if (c->add)
			c->rc = door_open(r, c->sock, c->add, c->e);
		else
			forget(r, c->key);
		c->done = true;
		pthread_cond_broadcast(&r->answered);
	}
	if (r->stop)
		loop_stop(r->loop);
	pthread_mutex_unlock(&r->lock);
}

static void *relay_thread(void *arg)
{
	struct relay *r = arg;
	struct err e = { 0 };

	if (loop_run(r->loop, &e) < 0)
		log_error("relay of published ports: %s", e.msg);
	return NULL;
}

static void wake(struct relay *r)
{
	uint64_t one = 1;

	if (write(r->wake, &one, sizeof(one)) < 0)
		log_error("relay of published ports: %s", strerror(errno));
}

/* One command at a time; returns when the thread has done it. */
static int call(struct relay *r, struct command *c)
{
	pthread_mutex_lock(&r->lock);
	while (r->command)
		pthread_cond_wait(&r->idle, &r->lock);
	r->command = c;
	wake(r);
	while (!c->done)
		pthread_cond_wait(&r->answered, &r->lock);
	r->command = NULL;
	pthread_cond_signal(&r->idle);
	pthread_mutex_unlock(&r->lock);
	return c->rc;
}

int relay_add(struct relay *r, int sock, const struct relay_target *t, struct err *e)
{
	return call(r, &(struct command){ .add = t, .sock = sock, .e = e });
}

void relay_forget(struct relay *r, const char *key)
{
	call(r, &(struct command){ .key = key });
}

/* Its thread has ended, or was never there. */
static void relay_close(struct relay *r)
{
	forget(r, NULL);
	loop_remove(&r->sweep);
	loop_remove(&r->wake_io);
	loop_free(r->loop);
	close_fd(&r->wake);
	close_fd(&r->spare);
	pthread_cond_destroy(&r->idle);
	pthread_cond_destroy(&r->answered);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

struct relay *relay_new(struct err *e)
{
	struct relay *r = xcalloc(1, sizeof(*r));

	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->answered, NULL);
	pthread_cond_init(&r->idle, NULL);
	r->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->loop = r->wake < 0 ? NULL : loop_new(e);
	if (r->loop)
		r->wake_io = loop_add(r->loop, r->wake, EPOLLIN, on_command, r, e);
	if (r->wake < 0)
		err_set(e, ERR_SYSTEM, errno, "eventfd");
	if (r->wake_io)
		r->sweep = loop_timer(r->loop, SWEEP_MS, on_sweep, r, e);
	if (r->sweep && pthread_create(&r->thread, NULL, relay_thread, r) == 0)
		return r;
	if (r->sweep)
		err_set(e, ERR_SYSTEM, EAGAIN, "start the relay of published ports");
	relay_close(r);
	return NULL;
}

void relay_free(struct relay *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	wake(r);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	relay_close(r);
}
