/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bridging of descriptors with streams of the peer. A descriptor is in the loop only while it can move: a hung-up pipe
 * that nobody may read yet would otherwise be reported for ever.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"
#include "isolation/hyperv/channel_priv.h"

#define CREDIT_STEP_BYTES (STREAM_WINDOW_BYTES / 4) /* smaller amounts are credited together */
#define CHUNKS_PER_ROUND 8
#define DRAIN_TTY_BYTES MIB /* more than a tty can hold */

static void on_from(void *arg, uint32_t events);
static void on_to(void *arg, uint32_t events);

static struct stream *stream_find(struct channel *c, uint32_t id)
{
	for (struct stream *s = c->streams; s; s = s->next)
		if (s->id == id)
			return s;
	return NULL;
}

static void mark_moved(struct stream *s)
{
	if (s->moved)
		s->moved_pending = true;
}

static int set_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

struct stream *stream_new(struct channel *c, const struct stream_options *o, struct err *e)
{
	autoclose int from = o->from;
	/* One descriptor can be watched once only: each direction has its own. */
	autoclose int to = o->to >= 0 && o->to == o->from ? fcntl(o->to, F_DUPFD_CLOEXEC, 3) : o->to;

	if ((from >= 0 && set_nonblock(from)) || (o->to >= 0 && (to < 0 || set_nonblock(to)))) {
		err_set(e, ERR_SYSTEM, errno, "stream %u", o->id);
		return NULL;
	}
	if (o->id == 0 || o->id == UINT32_MAX || stream_find(c, o->id)) {
		err_set(e, ERR_CONFLICT, 0, "stream %u is in use", o->id);
		return NULL;
	}
	struct stream *s = xcalloc(1, sizeof *s);

	*s = (struct stream){
		.channel = c, .id = o->id, .tty = o->tty, .held = o->held, .moved = o->moved, .arg = o->arg
	};
	s->credit = from >= 0 ? STREAM_WINDOW_BYTES : 0;
	s->window = to >= 0 ? STREAM_WINDOW_BYTES : 0;
	s->sends = from >= 0;
	s->takes = to >= 0;
	s->socket = o->to >= 0 && o->to == o->from && !o->tty;
	s->from = take_fd(&from);
	s->to = take_fd(&to);
	str_init(&s->pending, STREAM_WINDOW_BYTES);
	s->next = c->streams;
	c->streams = s;
	if (o->id >= c->next_stream)
		c->next_stream = o->id + 1;
	if (c->broken)
		streams_shut(c);
	else
		stream_arm(s);
	return s;
}

/* ---- ends ---- */

static void close_from(struct stream *s)
{
	loop_remove(&s->io_from);
	close_fd(&s->from);
	mark_moved(s);
}

static void close_to(struct stream *s)
{
	loop_remove(&s->io_to);
	if (s->to >= 0)
		shutdown(s->to, SHUT_WR); /* a duplicate of `from` would keep a socket open */
	close_fd(&s->to);
	str_fini(&s->pending);
	mark_moved(s);
}

static void tell_end(struct stream *s, enum frame_type type)
{
	if (s->told_end)
		return;
	s->told_end = true;
	channel_send_frame(s->channel, type, 0, s->id, NULL, 0);
}

/* Nobody takes the peer's bytes any more: it need not send them. */
static void refuse(struct stream *s)
{
	close_to(s);
	close_from(s);
	s->told_end = false; /* EOF may have been said: CLOSE says more */
	tell_end(s, FRAME_CLOSE);
}

/* Has whoever is connected gone altogether, and not just said its last word? */
static bool has_hung_up(const struct stream *s)
{
	struct pollfd p = { .fd = s->to };

	return s->socket && s->to >= 0 && poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR);
}

/* The source has ended: a tty's other direction has nobody left either. */
static void end_from(struct stream *s)
{
	if (has_hung_up(s)) {
		refuse(s);
		return;
	}
	close_from(s);
	tell_end(s, FRAME_EOF);
	if (s->tty)
		close_to(s);
}

/* ---- descriptor to peer ---- */

static void account_drain(struct stream *s, size_t n)
{
	if (!s->draining || s->drained)
		return;
	s->drain_left -= n < s->drain_left ? n : s->drain_left;
	if (!s->drain_left) {
		s->drained = true;
		mark_moved(s);
	}
}

/* Read one chunk and send it. False: nothing more can be read now. */
static bool send_chunk(struct stream *s)
{
	char buf[STREAM_CHUNK_BYTES];
	ssize_t n = read(s->from, buf, s->credit < sizeof buf ? s->credit : sizeof buf);

	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && errno == EAGAIN) {
		account_drain(s, s->drain_left);
		return false;
	}
	if (n <= 0) {
		end_from(s);
		return false;
	}
	s->credit -= (uint32_t)n;
	channel_send_frame(s->channel, FRAME_DATA, 0, s->id, buf, (size_t)n);
	account_drain(s, (size_t)n);
	return true;
}

static bool may_send(const struct stream *s)
{
	return s->from >= 0 && !s->held && s->credit && channel_has_room(s->channel);
}

static void pump_from(struct stream *s)
{
	for (int i = 0; i < CHUNKS_PER_ROUND && may_send(s); i++)
		if (!send_chunk(s))
			return;
}

static void on_from(void *arg, uint32_t events)
{
	struct stream *s = arg;
	struct channel *c = s->channel;

	pump_from(s);
	stream_arm(s);
	channel_settle(c);
	channel_dispatch(c);
}

/* ---- peer to descriptor ---- */

static void give_credit(struct stream *s)
{
	unsigned char n[4];

	if (s->taken < CREDIT_STEP_BYTES || s->to_ended)
		return;
	wire_put_u32(n, s->taken);
	s->window += s->taken;
	s->taken = 0;
	channel_send_frame(s->channel, FRAME_CREDIT, 0, s->id, n, sizeof n);
}

static void write_pending(struct stream *s)
{
	size_t done = 0;

	while (s->to >= 0 && done < s->pending.len) {
		ssize_t n = write(s->to, s->pending.s + done, s->pending.len - done);

		if (n > 0) {
			done += (size_t)n;
		} else if (n < 0 && errno == EINTR) {
			continue;
		} else if (n < 0 && errno == EAGAIN) {
			break;
		} else {
			refuse(s);
			return;
		}
	}
	str_drop(&s->pending, done);
	s->taken += (uint32_t)done;
	give_credit(s);
	if (s->pending.len)
		return;
	str_fini(&s->pending);
	mark_moved(s);
	if (s->to_ended) {
		close_to(s);
		if (s->tty) {
			close_from(s);
			s->told_end = true; /* the peer's tty has ended as a whole */
		}
	}
}

static void on_to(void *arg, uint32_t events)
{
	struct stream *s = arg;
	struct channel *c = s->channel;

	if (s->from < 0 && has_hung_up(s))
		refuse(s);
	else
		write_pending(s);
	stream_arm(s);
	channel_settle(c);
	channel_dispatch(c);
}

/* ---- watching ---- */

static void watch(struct stream *s, struct loop_io **io, int fd, bool wanted, uint32_t events, loop_fn *fn)
{
	struct err e;

	if (!wanted) {
		loop_remove(io);
	} else if (!*io) {
		*io = loop_add(s->channel->loop, fd, events, fn, s, &e);
		if (!*io && e.sys == EPERM)
			s->unwatchable = true;
		else if (!*io)
			channel_break(s->channel, ERR_SYSTEM, 0, "%s", e.msg);
	}
}

void stream_arm(struct stream *s)
{
	if (s->draining && !s->drained)
		pump_from(s);
	if (!s->unwatchable)
		watch(s, &s->io_from, s->from, may_send(s), EPOLLIN, on_from);
	if (s->unwatchable)
		while (may_send(s) && send_chunk(s))
			;
	/* A client that has said its last word may leave before it was answered: the peer wants to know. */
	bool may_leave = s->socket && s->from < 0;

	watch(s, &s->io_to, s->to, s->to >= 0 && (s->pending.len || may_leave), EPOLLOUT, on_to);
	if (s->io_to && s->socket)
		loop_set_events(s->io_to, s->pending.len ? EPOLLOUT : 0);
}

void streams_arm(struct channel *c)
{
	for (struct stream *s = c->streams; s; s = s->next)
		stream_arm(s);
}

/* ---- frames ---- */

static const char *take_data(struct stream *s, const unsigned char *data, uint32_t n)
{
	if (n > s->window || s->to_ended)
		return "more data than allowed";
	s->window -= n;
	if (s->to < 0)
		return NULL; /* refused; was on the way */
	if (str_add(&s->pending, data, n))
		return "more data than allowed";
	write_pending(s);
	return NULL;
}

static const char *take_end(struct stream *s)
{
	if (!s->takes || s->to_ended)
		return "an end of what never was";
	s->to_ended = true;
	write_pending(s);
	return NULL;
}

static const char *take_credit(struct stream *s, uint32_t n)
{
	if (!s->sends || n > STREAM_WINDOW_BYTES - s->credit)
		return "credit beyond the window";
	s->credit += n;
	return NULL;
}

static const char *take_close(struct stream *s)
{
	close_from(s);
	s->told_end = true;
	if (s->to_ended)
		return NULL;
	s->to_ended = true;
	write_pending(s);
	return NULL;
}

int stream_take_frame(struct channel *c, const struct frame *f, const unsigned char *data)
{
	struct stream *s = stream_find(c, f->stream);
	const char *wrong = NULL;

	if (!s) {
		/* Freed here while the frame was on its way, or (CLOSE) never opened here. */
		if (f->stream >= c->next_stream && f->type != FRAME_CLOSE)
			channel_break(c, ERR_INVALID, 0, "frame type %u for stream %u that isn't", f->type, f->stream);
		return c->broken ? -1 : 0;
	}
	switch (f->type) {
	case FRAME_DATA:
		wrong = take_data(s, data, f->length);
		break;
	case FRAME_EOF:
		wrong = take_end(s);
		break;
	case FRAME_CREDIT:
		wrong = take_credit(s, wire_get_u32(data));
		break;
	default:
		wrong = take_close(s);
		break;
	}
	if (wrong)
		channel_break(c, ERR_INVALID, 0, "stream %u: %s", f->stream, wrong);
	else if (!c->broken)
		stream_arm(s);
	return c->broken ? -1 : 0;
}

/* ---- owner's side ---- */

/* The owner isn't in a handler of ours: what he may want to know comes from the loop. */
static void settle_owner(struct stream *s)
{
	channel_settle(s->channel);
	if (s->moved_pending)
		channel_dispatch_later(s->channel);
}

void stream_release(struct stream *s)
{
	s->held = false;
	stream_arm(s);
	settle_owner(s);
}

bool stream_flushed(const struct stream *s)
{
	return s->to < 0 || !s->pending.len;
}

bool stream_ended(const struct stream *s)
{
	return s->from < 0 && s->to < 0;
}

void stream_drain(struct stream *s)
{
	int queued = 0;

	if (s->from < 0 || s->draining)
		return;
	s->draining = true;
	/* A tty's count isn't exact: there the drain ends where nothing more can be read. */
	if (s->tty || ioctl(s->from, FIONREAD, &queued))
		s->drain_left = DRAIN_TTY_BYTES;
	else
		s->drain_left = (size_t)queued;
	account_drain(s, 0);
	stream_arm(s);
	settle_owner(s);
}

bool stream_drained(const struct stream *s)
{
	return s->from < 0 || s->drained;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	struct channel *c = s->channel;

	if (s->from >= 0 || (s->takes && !s->to_ended)) {
		s->told_end = s->told_end && s->from < 0 && s->to < 0;
		tell_end(s, FRAME_CLOSE);
	}
	close_from(s);
	close_to(s);
	for (struct stream **p = &c->streams; *p; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			break;
		}
	free(s);
	channel_settle(c);
}

void streams_shut(struct channel *c)
{
	for (struct stream *s = c->streams; s; s = s->next) {
		/* What has arrived is handed over where it fits: last words of a guest that died. */
		if (s->to >= 0 && s->pending.len && write(s->to, s->pending.s, s->pending.len) < 0)
			str_fini(&s->pending);
		s->told_end = true;
		close_from(s);
		close_to(s);
	}
}

void streams_free(struct channel *c)
{
	while (c->streams) {
		struct stream *s = c->streams;

		c->streams = s->next;
		s->moved = NULL;
		close_from(s);
		close_to(s);
		free(s);
	}
}
