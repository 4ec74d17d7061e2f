/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "monitor/attach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own.h"
#include "monitor/frame.h"

#define INPUT_CHUNK (16 * KIB)

static void attach_ready(void *arg, uint32_t events);

static int check_socket(int sock, struct err *e)
{
	int type = 0;
	socklen_t n = sizeof(type);

	if (getsockopt(sock, SOL_SOCKET, SO_TYPE, &type, &n) < 0 || type != SOCK_STREAM)
		return err_set(e, ERR_INVALID, 0, "attach: the client's descriptor isn't a stream socket");
	return 0;
}

struct attach *attach_new(struct session *s, int sock, const struct attach_wants *w, const struct keys *k,
			  struct err *e)
{
	autoclose int owned = sock;

	if (check_socket(sock, e))
		return NULL;
	struct attach *a = xcalloc(1, sizeof(*a));

	*a = (struct attach){ .session = s, .sock = sock, .in = w->in, .keys = *k };
	a->out[STREAM_STDOUT] = w->out || (s->tty && w->err);
	a->out[STREAM_STDERR] = w->err;
	str_init(&a->queue, ATTACH_QUEUE_MAX);
	a->io = loop_add(s->loop, sock, 0, attach_ready, a, e);
	if (!a->io) {
		free(a);
		return NULL;
	}
	take_fd(&owned);
	return a;
}

void attach_free(struct attach *a)
{
	loop_remove(&a->io);
	loop_remove(&a->deadline);
	close_fd(&a->sock);
	str_fini(&a->queue);
	free(a);
}

void attach_drop(struct attach *a, bool detached)
{
	struct session *s = a->session;

	if (a->sock < 0)
		return;
	loop_remove(&a->io);
	loop_remove(&a->deadline);
	/* silod's HTTP library may hold another copy of the socket: close() alone might not be seen. */
	shutdown(a->sock, SHUT_RDWR);
	close_fd(&a->sock);
	str_fini(&a->queue);
	s->owner.attach_closed(s->owner.arg, s, detached);
	session_rearm(s);
}

/* --- to the client ---------------------------------------------------------------------------------------------- */

static size_t queued(const struct attach *a)
{
	return a->queue.len - a->sent;
}

bool attach_is_full(const struct attach *a, int stream)
{
	return a->sock >= 0 && !a->hung_up && a->out[stream] && queued(a) > ATTACH_QUEUE_SOFT;
}

/* Bytes that the socket took; -1: the client is gone. */
static ssize_t send_some(int sock, const struct iovec *iov, size_t n_iov)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n_iov };
	ssize_t n;

	do
		n = sendmsg(sock, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 && errno == EAGAIN ? 0 : n;
}

/* Returns false when the client is gone (a is dropped then). */
static bool attach_flush(struct attach *a)
{
	struct iovec iov = { a->queue.s + a->sent, queued(a) };
	ssize_t n;

	if (queued(a) == 0)
		return true;
	n = send_some(a->sock, &iov, 1);
	if (n < 0) {
		attach_drop(a, false);
		return false;
	}
	a->sent += (size_t)n;
	if (queued(a) == 0) {
		str_fini(&a->queue);
		a->sent = 0;
	} else if (a->sent > ATTACH_QUEUE_SOFT) {
		str_drop(&a->queue, a->sent);
		a->sent = 0;
	}
	return true;
}

static void attach_queue(struct attach *a, const struct iovec *iov, size_t n_iov, size_t skip)
{
	for (size_t i = 0; i < n_iov; i++) {
		size_t cut = skip < iov[i].iov_len ? skip : iov[i].iov_len;

		skip -= cut;
		if (str_add(&a->queue, (const char *)iov[i].iov_base + cut, iov[i].iov_len - cut)) {
			log_warn("attach: a client that doesn't read is dropped");
			attach_drop(a, false);
			return;
		}
	}
	attach_rearm(a);
}

void attach_output(struct attach *a, int stream, const char *data, size_t n)
{
	unsigned char head[FRAME_HEAD];
	struct iovec iov[2] = { { head, sizeof(head) }, { (void *)(uintptr_t)data, n } };
	bool raw = a->session->tty;
	const struct iovec *first = raw ? &iov[1] : iov;
	size_t n_iov = raw ? 1 : 2;
	size_t total = raw ? n : n + sizeof(head);
	ssize_t sent = 0;

	if (a->sock < 0 || a->hung_up || !a->out[stream])
		return;
	frame_head(stream, n, head);
	if (queued(a) == 0)
		sent = send_some(a->sock, first, n_iov);
	if (sent < 0)
		attach_drop(a, false);
	else if ((size_t)sent < total)
		attach_queue(a, first, n_iov, (size_t)sent);
}

static void finish_expired(void *arg, uint32_t events unused_arg)
{
	struct attach *a = arg;

	a->deadline = NULL;
	attach_drop(a, false);
}

void attach_finish(struct attach *a)
{
	struct err err;

	if (a->sock < 0 || a->finishing)
		return;
	a->finishing = true;
	a->in = false;
	a->out[STREAM_STDOUT] = a->out[STREAM_STDERR] = false;
	if (a->hung_up || queued(a) == 0) {
		attach_drop(a, false);
		return;
	}
	a->deadline = loop_timer(a->session->loop, ATTACH_FINISH_MS, finish_expired, a, &err);
	if (!a->deadline)
		attach_drop(a, false);
	else
		attach_rearm(a);
}

/* --- from the client -------------------------------------------------------------------------------------------- */

static void input_ended(struct attach *a)
{
	struct session *s = a->session;

	a->in = false;
	if (s->stdin_once)
		session_input_end(s);
	if (a->hung_up)
		attach_drop(a, false);
	else if (!s->stdin_once)
		attach_finish(a); /* as Docker: the end of input that isn't the end of stdin is the wish to leave */
	else
		attach_rearm(a);
}

/* Returns true when there may be more. */
static bool input_read(struct attach *a)
{
	unsigned char in[INPUT_CHUNK], out[INPUT_CHUNK + KEYS_MAX];
	size_t n_out;
	ssize_t n = recv(a->sock, in, sizeof(in), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return errno == EINTR;
	if (n <= 0) {
		input_ended(a);
		return false;
	}
	bool leave = keys_filter(&a->keys, in, (size_t)n, out, &n_out);

	session_input(a->session, out, n_out);
	if (leave)
		attach_drop(a, true);
	return !leave;
}

/* The client has closed its socket: its last input still counts (echo x | client, gone at once). */
static void attach_hung_up(struct attach *a)
{
	a->hung_up = true;
	/* HUP would be reported again and again while stdin is full. */
	loop_remove(&a->io);
	while (a->sock >= 0 && a->in && session_wants_input(a->session) && input_read(a))
		continue;
	if (a->sock >= 0 && (!a->in || a->session->in < 0))
		attach_drop(a, false);
	else
		session_rearm(a->session);
}

void attach_rearm(struct attach *a)
{
	bool wants_in = a->in && session_wants_input(a->session);

	if (a->sock < 0)
		return;
	if (a->hung_up) {
		if (wants_in || a->session->in < 0)
			attach_hung_up(a);
		return;
	}
	loop_set_events(a->io, (wants_in ? EPOLLIN : 0) | (queued(a) > 0 ? EPOLLOUT : 0));
}

static void attach_ready(void *arg, uint32_t events)
{
	struct attach *a = arg;

	if (events & (EPOLLHUP | EPOLLERR)) {
		attach_hung_up(a);
		return;
	}
	if (events & EPOLLOUT) {
		if (!attach_flush(a))
			return;
		if (a->finishing && queued(a) == 0) {
			attach_drop(a, false);
			return;
		}
		session_rearm(a->session);
	}
	if ((events & EPOLLIN) && a->in && session_wants_input(a->session))
		input_read(a);
	if (a->sock >= 0)
		attach_rearm(a);
}
