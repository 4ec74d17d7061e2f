/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "monitor/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/msg.h"
#include "base/own.h"

struct packet {
	struct packet *next;
	size_t n;
	char text[];
};

static void peer_drop(struct peer *p)
{
	loop_remove(&p->io);
	close_fd(&p->sock);
	while (p->first) {
		struct packet *gone = p->first;

		p->first = gone->next;
		free(gone);
	}
	p->last = NULL;
	p->queued_bytes = 0;
}

/* --- sending ---------------------------------------------------------------------------------------------------- */

/* A packet must fit the send buffer as a whole: make it larger for the rare large answer. */
static bool grow_buffer(int sock, size_t n)
{
	int bytes = (int)(n + 4096);

	return setsockopt(sock, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) == 0 ||
	       setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) == 0;
}

/* 1 = sent, 0 = later, -1 = never. */
static int packet_send(struct peer *p, const char *text, size_t n)
{
	bool grown = false;

	for (;;) {
		if (send(p->sock, text, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 1;
		if (errno == EINTR)
			continue;
		if (errno == EMSGSIZE && !grown && grow_buffer(p->sock, n)) {
			grown = true;
			continue;
		}
		return errno == EAGAIN ? 0 : -1;
	}
}

static void peer_flush(struct peer *p)
{
	while (p->first) {
		struct packet *k = p->first;
		int sent = packet_send(p, k->text, k->n);

		if (sent < 0)
			peer_drop(p);
		if (sent <= 0)
			return;
		p->first = k->next;
		if (!p->first)
			p->last = NULL;
		p->queued_bytes -= k->n;
		free(k);
	}
	loop_set_events(p->io, EPOLLIN);
}

static void peer_queue(struct peer *p, const char *text, size_t n)
{
	struct packet *k;

	if (p->queued_bytes + n > PEER_QUEUE_BYTES_MAX) {
		log_warn("a connection that doesn't read is dropped");
		peer_drop(p);
		return;
	}
	k = xmalloc(sizeof(*k) + n);
	k->next = NULL;
	k->n = n;
	memcpy(k->text, text, n);
	if (p->last)
		p->last->next = k;
	else
		p->first = k;
	p->last = k;
	p->queued_bytes += n;
	/* No further request is read from it until it has read its answers. */
	loop_set_events(p->io, EPOLLOUT);
}

void peer_send(struct peer *p, const json_t *message)
{
	autofree char *text = json_text(message);
	size_t n = strlen(text);
	struct err too_large;
	int sent;

	if (p->sock < 0)
		return;
	if (n > MSG_BYTES_MAX) {
		err_set(&too_large, ERR_LIMIT, 0, "the answer of %zu bytes is too large", n);
		autojson *error = msg_error(&too_large);

		peer_send(p, error);
		return;
	}
	sent = p->first ? 0 : packet_send(p, text, n);
	if (sent < 0)
		peer_drop(p);
	else if (sent == 0)
		peer_queue(p, text, n);
}

void peers_push(struct peers *set, const json_t *event)
{
	for (struct peer *p = set->list; p; p = p->next)
		if (p->watches)
			peer_send(p, event);
}

/* --- receiving -------------------------------------------------------------------------------------------------- */

static size_t take_fds(struct msghdr *m, int *fds)
{
	size_t n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t in_it;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		in_it = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < in_it; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (n < MSG_FDS_MAX)
				fds[n++] = fd;
			else
				close(fd);
		}
	}
	return n;
}

static void answer_error(struct peer *p, const struct err *e)
{
	autojson *error = msg_error(e);

	peer_send(p, error);
}

static void peer_handle(struct peer *p, const char *text, size_t n, int *fds, size_t n_fds)
{
	struct err err = { 0 };
	autojson *request = json_parse(text, n, "request", &err);

	if (!request)
		answer_error(p, &err);
	else
		p->set->request(p->set->arg, p, request, fds, n_fds);
	for (size_t i = 0; i < n_fds; i++)
		close_fd(&fds[i]);
}

static void peer_read(struct peer *p)
{
	union {
		char room[CMSG_SPACE(sizeof(int) * MSG_FDS_MAX)];
		struct cmsghdr align;
	} control;
	int fds[MSG_FDS_MAX];
	ssize_t n = recv(p->sock, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || n > (ssize_t)MSG_BYTES_MAX) {
		peer_drop(p);
		return;
	}
	autofree char *text = xmalloc((size_t)n);
	struct iovec iov = { text, (size_t)n };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)
	};

	n = recvmsg(p->sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n <= 0) {
		peer_drop(p);
		return;
	}
	peer_handle(p, text, (size_t)n, fds, take_fds(&m, fds));
}

static void peer_ready(void *arg, uint32_t events)
{
	struct peer *p = arg;

	if (events & EPOLLOUT)
		peer_flush(p);
	else if (events & EPOLLIN)
		peer_read(p); /* a hang-up shows as end of file behind the last request */
	else
		peer_drop(p);
}

/* --- connections ------------------------------------------------------------------------------------------------ */

/* The socket's mode already keeps others away; this also holds where its directory is shared by accident. */
static bool peer_is_trusted(int sock)
{
	struct ucred cred;
	socklen_t n = sizeof(cred);

	return getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0 && (cred.uid == 0 || cred.uid == geteuid());
}

static void listener_ready(void *arg, uint32_t events unused_arg)
{
	struct peers *set = arg;
	autoclose int sock = accept4(set->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct err err;

	if (sock < 0 && (errno == EMFILE || errno == ENFILE)) {
		set->starved = true;
		loop_set_events(set->io, 0);
	}
	if (sock < 0 || !peer_is_trusted(sock))
		return;
	struct peer *p = xcalloc(1, sizeof(*p));

	*p = (struct peer){ .next = set->list, .set = set, .sock = sock };
	p->io = loop_add(set->loop, sock, EPOLLIN, peer_ready, p, &err);
	if (!p->io) {
		log_error("connection: %s", err.msg);
		free(p);
		return;
	}
	take_fd(&sock);
	set->list = p;
	set->seen = true;
	if (++set->n == PEERS_MAX)
		loop_set_events(set->io, 0);
}

int peers_init(struct peers *set, struct loop *l, int listener, struct err *e)
{
	*set = (struct peers){ .loop = l, .listener = listener, .arg = set->arg, .request = set->request };
	set->io = loop_add(l, listener, EPOLLIN, listener_ready, set, e);
	if (!set->io) {
		close_fd(&set->listener);
		return -1;
	}
	return 0;
}

size_t peers_sweep(struct peers *set)
{
	for (struct peer **at = &set->list; *at;) {
		struct peer *p = *at;

		if (p->sock >= 0) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		set->let_go |= p->holds;
		free(p);
		if (set->n-- == PEERS_MAX)
			set->starved = true;
		peers_retry(set);
	}
	return set->n;
}

void peers_retry(struct peers *set)
{
	if (!set->starved || !set->io)
		return;
	set->starved = false;
	loop_set_events(set->io, EPOLLIN);
}

bool peers_are_flushed(const struct peers *set)
{
	for (const struct peer *p = set->list; p; p = p->next)
		if (p->first)
			return false;
	return true;
}

void peers_fini(struct peers *set)
{
	for (struct peer *p = set->list; p; p = p->next)
		peer_drop(p);
	peers_sweep(set);
	loop_remove(&set->io);
	close_fd(&set->listener);
}
