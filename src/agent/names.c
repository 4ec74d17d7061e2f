/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * 127.0.0.11:53 in the guest: queries go on to silod, which knows the asker by the VM's address. Nothing of a message is
 * looked at but its id. The containers in here aren't trusted: what they can make this hold is bounded.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/own.h"

#define PORT 53
#define MESSAGE_MAX 4096
#define QUERIES_MAX 64 /* on their way; the oldest gives way */
#define STREAMS_MAX 16 /* TCP connections; more are closed */
#define QUERY_MS 10000 /* the engine asks several servers one after the other */
#define BUFFER_MAX 4096

struct relay {
	struct loop *loop;
	struct sockaddr_storage server;
	socklen_t server_len;
	int udp, tcp; /* -1 = nobody is served */
	struct loop_io *udp_io, *tcp_io;
	struct query *queries; /* newest first */
	size_t n_queries, n_streams;
};

struct query {
	struct query *next;
	struct relay *r;
	struct sockaddr_storage from;
	socklen_t from_len;
	unsigned char id[2];
	int fd;
	struct loop_io *io, *timer;
};

/* --- UDP -------------------------------------------------------------------------------------------------------------- */

static void query_end(struct query *q)
{
	struct query **at;

	for (at = &q->r->queries; *at != q; at = &(*at)->next)
		;
	*at = q->next;
	q->r->n_queries--;
	loop_remove(&q->io);
	loop_remove(&q->timer);
	close_fd(&q->fd);
	free(q);
}

static void on_answer(void *arg, uint32_t events unused_arg)
{
	struct query *q = arg;
	unsigned char msg[MESSAGE_MAX];
	ssize_t n = recv(q->fd, msg, sizeof(msg), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n >= 12 && memcmp(msg, q->id, sizeof(q->id)) == 0)
		sendto(q->r->udp, msg, (size_t)n, MSG_DONTWAIT, (struct sockaddr *)&q->from, q->from_len);
	query_end(q);
}

static void on_timeout(void *arg, uint32_t events unused_arg)
{
	struct query *q = arg;

	q->timer = NULL;
	query_end(q);
}

static int connect_server(const struct relay *r, int type)
{
	autoclose int fd = socket(r->server.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || (connect(fd, (const struct sockaddr *)&r->server, r->server_len) < 0 && errno != EINPROGRESS))
		return -1;
	return take_fd(&fd);
}

static void on_query(void *arg, uint32_t events unused_arg)
{
	struct relay *r = arg;
	unsigned char msg[MESSAGE_MAX];
	struct query *q = xcalloc(1, sizeof(*q)), *last;
	struct err e;
	ssize_t n;

	q->r = r;
	q->from_len = sizeof(q->from);
	n = recvfrom(r->udp, msg, sizeof(msg), MSG_DONTWAIT, (struct sockaddr *)&q->from, &q->from_len);
	if (n < 12) {
		free(q);
		return;
	}
	if (r->n_queries == QUERIES_MAX) {
		for (last = r->queries; last->next; last = last->next)
			;
		query_end(last);
	}
	memcpy(q->id, msg, sizeof(q->id));
	q->fd = connect_server(r, SOCK_DGRAM);
	q->next = r->queries;
	r->queries = q;
	r->n_queries++;
	if (q->fd < 0 || send(q->fd, msg, (size_t)n, 0) != n ||
	    !(q->io = loop_add(r->loop, q->fd, EPOLLIN, on_answer, q, &e)) ||
	    !(q->timer = loop_timer(r->loop, QUERY_MS, on_timeout, q, &e)))
		query_end(q);
}

/* --- TCP: bytes from one side to the other --------------------------------------------------------------------------------- */

struct side {
	struct stream *s;
	int fd;
	struct loop_io *io;
	unsigned char buf[BUFFER_MAX]; /* read here, to be written to the other side */
	size_t n;
	bool ended;
};

struct stream {
	struct relay *r;
	struct side side[2];
	struct loop_io *timer;
};

static void stream_end(struct stream *s)
{
	for (size_t i = 0; i < 2; i++) {
		loop_remove(&s->side[i].io);
		close_fd(&s->side[i].fd);
	}
	loop_remove(&s->timer);
	s->r->n_streams--;
	free(s);
}

static void on_stream_timeout(void *arg, uint32_t events unused_arg)
{
	struct stream *s = arg;

	s->timer = NULL;
	stream_end(s);
}

/* Read from one side what there is, write it to the other. False at the end. */
static bool pump(struct side *from, struct side *to)
{
	ssize_t n;

	if (!from->ended && from->n < BUFFER_MAX) {
		n = recv(from->fd, from->buf + from->n, BUFFER_MAX - from->n, MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != ENOTCONN)
			return false;
		from->ended = n == 0;
		from->n += n > 0 ? (size_t)n : 0;
	}
	if (from->n) {
		n = send(to->fd, from->buf, from->n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != ENOTCONN)
			return false;
		if (n > 0) {
			memmove(from->buf, from->buf + n, from->n - (size_t)n);
			from->n -= (size_t)n;
		}
	}
	return !from->ended || from->n;
}

static void on_side(void *arg, uint32_t events)
{
	struct stream *s = ((struct side *)arg)->s;

	if (events & EPOLLERR || !pump(&s->side[0], &s->side[1]) || !pump(&s->side[1], &s->side[0])) {
		stream_end(s);
		return;
	}
	for (size_t i = 0; i < 2; i++) {
		uint32_t in = s->side[i].n < BUFFER_MAX ? EPOLLIN : 0, out = s->side[1 - i].n ? EPOLLOUT : 0;

		loop_set_events(s->side[i].io, in | out);
	}
}

static void on_connection(void *arg, uint32_t events unused_arg)
{
	struct relay *r = arg;
	autoclose int fd = accept4(r->tcp, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct stream *s;
	struct err e;

	if (fd < 0 || r->n_streams == STREAMS_MAX)
		return;
	s = xcalloc(1, sizeof(*s));
	s->r = r;
	s->side[0] = (struct side){ .s = s, .fd = take_fd(&fd) };
	s->side[1] = (struct side){ .s = s, .fd = connect_server(r, SOCK_STREAM) };
	r->n_streams++;
	if (s->side[1].fd < 0 ||
	    !(s->side[0].io = loop_add(r->loop, s->side[0].fd, EPOLLIN, on_side, &s->side[0], &e)) ||
	    !(s->side[1].io = loop_add(r->loop, s->side[1].fd, EPOLLIN, on_side, &s->side[1], &e)) ||
	    !(s->timer = loop_timer(r->loop, QUERY_MS, on_stream_timeout, s, &e)))
		stream_end(s);
}

/* --- start ------------------------------------------------------------------------------------------------------------------ */

static int open_socket(int type, struct err *e)
{
	struct sockaddr_in name = { .sin_family = AF_INET,
				    .sin_port = htons(PORT),
				    .sin_addr.s_addr = htonl(0x7f00000b) };
	autoclose int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0 ||
	    (type == SOCK_STREAM && listen(fd, 8) < 0))
		return err_set(e, ERR_SYSTEM, errno, "name server's address");
	return take_fd(&fd);
}

static void set_server(struct relay *r, const struct ip_addr *server, unsigned short port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&r->server;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&r->server;

	memset(&r->server, 0, sizeof(r->server));
	r->server.ss_family = (sa_family_t)server->family;
	if (server->family == AF_INET6) {
		v6->sin6_port = htons(port);
		memcpy(&v6->sin6_addr, server->b, 16);
	} else {
		v4->sin_port = htons(port);
		memcpy(&v4->sin_addr, server->b, 4);
	}
	r->server_len = server->family == AF_INET6 ? sizeof(*v6) : sizeof(*v4);
}

static void relay_close(struct relay *r)
{
	loop_remove(&r->udp_io);
	loop_remove(&r->tcp_io);
	close_fd(&r->udp);
	close_fd(&r->tcp);
}

static int relay_open(struct relay *r, struct err *e)
{
	r->udp = open_socket(SOCK_DGRAM, e);
	r->tcp = r->udp < 0 ? -1 : open_socket(SOCK_STREAM, e);
	if (r->tcp >= 0 && (r->udp_io = loop_add(r->loop, r->udp, EPOLLIN, on_query, r, e)) &&
	    (r->tcp_io = loop_add(r->loop, r->tcp, EPOLLIN, on_connection, r, e)))
		return 0;
	relay_close(r);
	return -1;
}

/* The relay itself lives as long as the VM: queries may be on their way. */
int agent_relay_names(struct agent *a, const struct ip_addr *server, unsigned short port, struct err *e)
{
	if (!server) {
		if (a->names)
			relay_close(a->names);
		return 0;
	}
	if (!a->names) {
		a->names = xcalloc(1, sizeof(*a->names));
		*a->names = (struct relay){ .loop = a->loop, .udp = -1, .tcp = -1 };
	}
	set_server(a->names, server, port);
	return a->names->udp >= 0 ? 0 : relay_open(a->names, e);
}
