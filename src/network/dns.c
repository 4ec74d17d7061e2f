/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "network/dns.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"

#define PENDING_MAX 256    /* queries on their way; more are answered with a failure */
#define UPSTREAM_MS 2000   /* until the next server is asked */
#define TCP_MAX 32         /* connections served at a time; more are closed */
#define TCP_SECONDS 5
#define TCP_BYTES_MAX 65535
#define SERVER_PORT 53

/* A socket of ours, or the way of one query to its upstream. Found by serial, for it may be gone when its event comes. */
struct dns_sock {
	struct dns_sock *next;
	uint64_t serial;
	char key[DNS_KEY_MAX];
	int fd;
	bool stream;
};

struct pending {
	struct pending *next;
	uint64_t serial, client;
	int fd;
	struct sockaddr_storage from;
	socklen_t from_len;
	int64_t until_ms;
	size_t at; /* upstream being asked */
	struct dns_verdict v;
	struct dns_query q;
	unsigned char msg[DNS_UDP_MAX];
	size_t n;
};

struct dns {
	dns_ask_fn *ask;
	void *arg;
	int epoll, wake;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t idle;
	uint64_t serial;
	struct dns_sock *socks;
	struct pending *pending;
	size_t n_pending, n_tcp;
	bool stop;
};

static int watch(struct dns *d, int fd, uint64_t serial)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = serial };

	return epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &ev);
}

static void from_sockaddr(const struct sockaddr_storage *s, struct ip_addr *out)
{
	*out = (struct ip_addr){ .family = s->ss_family };
	if (s->ss_family == AF_INET6)
		memcpy(out->b, &((const struct sockaddr_in6 *)s)->sin6_addr, 16);
	else
		memcpy(out->b, &((const struct sockaddr_in *)s)->sin_addr, 4);
}

static socklen_t to_sockaddr(const struct ip_addr *a, struct sockaddr_storage *s)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)s;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)s;

	memset(s, 0, sizeof(*s));
	s->ss_family = (sa_family_t)a->family;
	if (a->family == AF_INET6) {
		v6->sin6_port = htons(SERVER_PORT);
		memcpy(&v6->sin6_addr, a->b, 16);
		return sizeof(*v6);
	}
	v4->sin_port = htons(SERVER_PORT);
	memcpy(&v4->sin_addr, a->b, 4);
	return sizeof(*v4);
}

/* --- UDP -------------------------------------------------------------------------------------------------------------- */

static struct dns_sock *find_sock(struct dns *d, uint64_t serial)
{
	struct dns_sock *s;

	for (s = d->socks; s && s->serial != serial; s = s->next)
		;
	return s;
}

/* A new socket to the next upstream: each query has a port of its own, which makes forged answers hard. */
static int ask_upstream(struct dns *d, struct pending *p)
{
	struct sockaddr_storage to;
	socklen_t n;

	if (p->fd >= 0)
		epoll_ctl(d->epoll, EPOLL_CTL_DEL, p->fd, NULL);
	close_fd(&p->fd);
	for (; p->at < p->v.n_upstreams; p->at++) {
		n = to_sockaddr(&p->v.upstreams[p->at], &to);
		p->fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (p->fd >= 0 && connect(p->fd, (struct sockaddr *)&to, n) == 0 &&
		    send(p->fd, p->msg, p->n, 0) == (ssize_t)p->n && watch(d, p->fd, p->serial) == 0) {
			p->until_ms = time_monotonic_ms() + UPSTREAM_MS;
			return 0;
		}
		close_fd(&p->fd);
	}
	return -1;
}

static void drop_pending(struct dns *d, struct pending *p)
{
	struct pending **at;

	for (at = &d->pending; *at != p; at = &(*at)->next)
		;
	*at = p->next;
	d->n_pending--;
	close_fd(&p->fd);
	free(p);
}

static void fail_pending(struct dns *d, struct pending *p)
{
	struct dns_sock *client = find_sock(d, p->client);
	unsigned char out[DNS_UDP_MAX];
	size_t n = dns_format(p->msg, &p->q, DNS_SERVER_FAILURE, NULL, out, sizeof(out));

	if (client)
		sendto(client->fd, out, n, MSG_DONTWAIT, (struct sockaddr *)&p->from, p->from_len);
	drop_pending(d, p);
}

static void retry_pending(struct dns *d, struct pending *p)
{
	p->at++;
	if (ask_upstream(d, p) < 0)
		fail_pending(d, p);
}

/* An answer, or the news that there is none to come. It must bear the question's id. */
static void on_pending(struct dns *d, struct pending *p)
{
	struct dns_sock *client = find_sock(d, p->client);
	unsigned char out[DNS_UDP_MAX];
	ssize_t n = recv(p->fd, out, sizeof(out), MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN) {
		retry_pending(d, p);
	} else if (n >= 12 && memcmp(out, p->msg, 2) == 0) {
		if (client)
			sendto(client->fd, out, (size_t)n, MSG_DONTWAIT, (struct sockaddr *)&p->from, p->from_len);
		drop_pending(d, p);
	}
}

static void answer_udp(struct dns *d, uint64_t serial, struct pending *p)
{
	struct dns_sock *client;
	unsigned char out[DNS_UDP_MAX];
	bool forward = !p->v.known && p->v.n_upstreams > 0 && d->n_pending < PENDING_MAX;
	unsigned rcode = p->v.known ? DNS_OK : p->v.n_upstreams ? DNS_SERVER_FAILURE : p->v.rcode;

	pthread_mutex_lock(&d->lock);
	client = find_sock(d, serial);
	if (client && forward) {
		p->client = serial;
		p->serial = ++d->serial;
		p->next = d->pending;
		d->pending = p;
		d->n_pending++;
		if (ask_upstream(d, p) < 0)
			fail_pending(d, p);
		p = NULL;
	} else if (client) {
		size_t n = dns_format(p->msg, &p->q, rcode, &p->v.records, out, 512);

		sendto(client->fd, out, n, MSG_DONTWAIT, (struct sockaddr *)&p->from, p->from_len);
	}
	pthread_mutex_unlock(&d->lock);
	free(p);
}

/* The engine is asked without our lock: it may be about to close this very socket. */
static void on_query(struct dns *d, uint64_t serial, const char *key, struct pending *p)
{
	struct ip_addr from;

	if (dns_parse(p->msg, p->n, &p->q) < 0) {
		free(p);
		return;
	}
	from_sockaddr(&p->from, &from);
	d->ask(d->arg, key, &from, &p->q, &p->v);
	answer_udp(d, serial, p);
}

/* --- TCP -------------------------------------------------------------------------------------------------------------- */

struct tcp {
	struct dns *d;
	int fd;
	char key[DNS_KEY_MAX];
	struct ip_addr from;
};

static int read_message(int fd, unsigned char *msg, size_t *n)
{
	unsigned char len[2];

	if (io_read_full(fd, len, 2) < 0)
		return -1;
	*n = (size_t)len[0] << 8 | len[1];
	return io_read_full(fd, msg, *n);
}

static int write_message(int fd, const unsigned char *msg, size_t n)
{
	unsigned char len[2] = { (unsigned char)(n >> 8), (unsigned char)n };

	return send(fd, len, 2, MSG_NOSIGNAL | MSG_MORE) == 2 && send(fd, msg, n, MSG_NOSIGNAL) == (ssize_t)n ? 0 : -1;
}

static void set_limits(int fd)
{
	struct timeval limit = { .tv_sec = TCP_SECONDS };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static int forward_tcp(const struct dns_verdict *v, unsigned char *msg, size_t *n)
{
	for (size_t i = 0; i < v->n_upstreams; i++) {
		struct sockaddr_storage to;
		socklen_t len = to_sockaddr(&v->upstreams[i], &to);
		autoclose int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

		set_limits(fd);
		if (fd >= 0 && connect(fd, (struct sockaddr *)&to, len) == 0 && write_message(fd, msg, *n) == 0 &&
		    read_message(fd, msg, n) == 0)
			return 0;
	}
	return -1;
}

static void serve_tcp(struct tcp *t)
{
	autofree unsigned char *msg = xmalloc(2 * TCP_BYTES_MAX);
	unsigned char *out = msg + TCP_BYTES_MAX;
	size_t n;

	while (read_message(t->fd, msg, &n) == 0) {
		struct dns_verdict v = { 0 };
		struct dns_query q;

		if (dns_parse(msg, n, &q) < 0)
			return;
		t->d->ask(t->d->arg, t->key, &t->from, &q, &v);
		if (v.known || !v.n_upstreams) {
			n = dns_format(msg, &q, v.known ? DNS_OK : v.rcode, &v.records, out, DNS_UDP_MAX);
			if (write_message(t->fd, out, n) < 0)
				return;
		} else if (forward_tcp(&v, msg, &n) < 0 || write_message(t->fd, msg, n) < 0) {
			return;
		}
	}
}

static void *tcp_thread(void *arg)
{
	struct tcp *t = arg;
	struct dns *d = t->d;

	serve_tcp(t);
	close_fd(&t->fd);
	free(t);
	pthread_mutex_lock(&d->lock);
	d->n_tcp--;
	pthread_cond_broadcast(&d->idle);
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

/* d->lock held. */
static void on_connection(struct dns *d, const struct dns_sock *s)
{
	struct sockaddr_storage from = { 0 };
	socklen_t n = sizeof(from);
	autoclose int fd = accept4(s->fd, (struct sockaddr *)&from, &n, SOCK_CLOEXEC);
	struct tcp *t;
	pthread_t thread;

	if (fd < 0 || d->n_tcp >= TCP_MAX)
		return;
	set_limits(fd);
	t = xcalloc(1, sizeof(*t));
	t->d = d;
	memcpy(t->key, s->key, sizeof(t->key));
	from_sockaddr(&from, &t->from);
	t->fd = take_fd(&fd);
	if (pthread_create(&thread, NULL, tcp_thread, t) != 0) {
		close_fd(&t->fd);
		free(t);
		return;
	}
	pthread_detach(thread);
	d->n_tcp++;
}

/* --- the thread ------------------------------------------------------------------------------------------------------- */

static struct pending *receive(const struct dns_sock *s)
{
	struct pending *p = xcalloc(1, sizeof(*p));
	ssize_t n;

	p->fd = -1;
	p->from_len = sizeof(p->from);
	n = recvfrom(s->fd, p->msg, sizeof(p->msg), MSG_DONTWAIT, (struct sockaddr *)&p->from, &p->from_len);
	if (n < 0) {
		free(p);
		return NULL;
	}
	p->n = (size_t)n;
	return p;
}

static void on_event(struct dns *d, uint64_t serial)
{
	struct pending *query = NULL, *p;
	struct dns_sock *s;
	char key[DNS_KEY_MAX];

	pthread_mutex_lock(&d->lock);
	s = find_sock(d, serial);
	for (p = d->pending; p && p->serial != serial; p = p->next)
		;
	if (p) {
		on_pending(d, p);
	} else if (s && s->stream) {
		on_connection(d, s);
	} else if (s) {
		memcpy(key, s->key, sizeof(key));
		query = receive(s);
	}
	pthread_mutex_unlock(&d->lock);
	if (query)
		on_query(d, serial, key, query);
}

/* Ask the next server where the time is over. Returns ms until the next one is due, -1 = none. */
static int check_times(struct dns *d)
{
	int64_t now = time_monotonic_ms(), wait = -1;
	struct pending *p, *next;

	pthread_mutex_lock(&d->lock);
	for (p = d->pending; p; p = next) {
		next = p->next;
		if (p->until_ms <= now)
			retry_pending(d, p);
	}
	for (p = d->pending; p; p = p->next) {
		if (wait < 0 || p->until_ms - now < wait)
			wait = p->until_ms - now > 0 ? p->until_ms - now : 1;
	}
	pthread_mutex_unlock(&d->lock);
	return (int)wait;
}

static void *dns_thread(void *arg)
{
	struct dns *d = arg;

	for (;;) {
		struct epoll_event ev;
		int n = epoll_wait(d->epoll, &ev, 1, check_times(d));

		if (n == 1 && ev.data.u64 == 0)
			return NULL;
		if (n == 1)
			on_event(d, ev.data.u64);
	}
}

struct dns *dns_new(dns_ask_fn *ask, void *arg, struct err *e)
{
	struct dns *d = xcalloc(1, sizeof(*d));

	d->ask = ask;
	d->arg = arg;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->idle, NULL);
	d->epoll = epoll_create1(EPOLL_CLOEXEC);
	d->wake = eventfd(0, EFD_CLOEXEC);
	if (d->epoll < 0 || d->wake < 0 || watch(d, d->wake, 0) < 0 ||
	    (errno = pthread_create(&d->thread, NULL, dns_thread, d)) != 0) {
		err_set(e, ERR_SYSTEM, errno, "start the name server");
		close_fd(&d->epoll);
		close_fd(&d->wake);
		free(d);
		return NULL;
	}
	return d;
}

static void sock_free(struct dns *d, struct dns_sock *s)
{
	epoll_ctl(d->epoll, EPOLL_CTL_DEL, s->fd, NULL);
	close_fd(&s->fd);
	free(s);
}

void dns_free(struct dns *d)
{
	struct dns_sock *s;

	if (!d)
		return;
	eventfd_write(d->wake, 1);
	pthread_join(d->thread, NULL);
	pthread_mutex_lock(&d->lock);
	while ((s = d->socks)) {
		d->socks = s->next;
		sock_free(d, s);
	}
	while (d->pending)
		drop_pending(d, d->pending);
	while (d->n_tcp) /* each ends with its time limit */
		pthread_cond_wait(&d->idle, &d->lock);
	pthread_mutex_unlock(&d->lock);
	close_fd(&d->epoll);
	close_fd(&d->wake);
	pthread_cond_destroy(&d->idle);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static int add_sock(struct dns *d, const char *key, int fd, bool stream)
{
	struct dns_sock *s = xcalloc(1, sizeof(*s));

	snprintf(s->key, sizeof(s->key), "%s", key);
	s->fd = fd;
	s->stream = stream;
	s->serial = ++d->serial;
	s->next = d->socks;
	d->socks = s;
	return watch(d, fd, s->serial);
}

int dns_listen(struct dns *d, const char *key, int udp, int tcp, struct err *e)
{
	int rc;

	pthread_mutex_lock(&d->lock);
	rc = add_sock(d, key, udp, false) | add_sock(d, key, tcp, true);
	pthread_mutex_unlock(&d->lock);
	if (rc == 0)
		return 0;
	dns_forget(d, key);
	return err_set(e, ERR_SYSTEM, 0, "watch the name server's sockets");
}

void dns_forget(struct dns *d, const char *key)
{
	struct dns_sock **at;

	pthread_mutex_lock(&d->lock);
	for (at = &d->socks; *at;) {
		struct dns_sock *s = *at;

		if (strcmp(s->key, key) == 0) {
			*at = s->next;
			sock_free(d, s);
		} else {
			at = &s->next;
		}
	}
	pthread_mutex_unlock(&d->lock);
}
