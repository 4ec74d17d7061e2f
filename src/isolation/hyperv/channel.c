/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/channel.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/msg.h"
#include "base/own.h"
#include "isolation/hyperv/channel_priv.h"

#define READ_BYTES (32 * KIB)
#define READS_PER_ROUND 16 /* then the loop's other descriptors get their turn */

static void on_ready(void *arg, uint32_t events);

struct channel *channel_new(struct loop *l, int fd, const struct channel_handlers *h, struct err *e)
{
	struct channel *c = xcalloc(1, sizeof *c);

	*c = (struct channel){ .loop = l, .fd = fd, .handlers = *h, .next_id = 1, .next_stream = 1 };
	c->inbox_tail = &c->inbox;
	str_init(&c->in, FRAME_HEADER_BYTES + FRAME_PAYLOAD_MAX + READ_BYTES);
	str_init(&c->out, OUT_HARD_BYTES);
	str_init(&c->partial, FRAME_MESSAGE_MAX);
	c->io = loop_add(l, fd, EPOLLIN, on_ready, c, e);
	if (!c->io) {
		free(c);
		return NULL;
	}
	return c;
}

static struct message *inbox_pop(struct channel *c)
{
	struct message *m = c->inbox;

	if (!m)
		return NULL;
	c->inbox = m->next;
	if (!c->inbox)
		c->inbox_tail = &c->inbox;
	c->inbox_len--;
	return m;
}

static void message_free(struct message *m)
{
	json_decref(m->body);
	free(m);
}

void channel_free(struct channel *c)
{
	if (!c || c->dead)
		return;
	streams_free(c);
	loop_remove(&c->io);
	loop_remove(&c->later);
	for (struct message *m; (m = inbox_pop(c));)
		message_free(m);
	json_decref(c->answer);
	str_fini(&c->in);
	str_fini(&c->out);
	str_fini(&c->partial);
	c->dead = true;
	if (!c->dispatching)
		free(c);
}

void channel_break(struct channel *c, enum err_kind kind, int sys, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (c->broken)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	err_set(&c->why, kind, sys, "%s", text);
	c->broken = true;
	loop_remove(&c->io);
	streams_shut(c);
	str_fini(&c->out);
	c->out_pos = 0;
	channel_dispatch_later(c);
}

bool channel_is_broken(const struct channel *c)
{
	return c->broken;
}

/* ---- sending ---- */

bool channel_has_room(const struct channel *c)
{
	return c->out.len - c->out_pos < OUT_SOFT_BYTES;
}

void channel_send_frame(struct channel *c, enum frame_type type, uint16_t flags, uint32_t stream, const void *data,
			size_t n)
{
	unsigned char header[FRAME_HEADER_BYTES];

	if (c->broken || c->dead)
		return;
	frame_pack(header, &(struct frame){ (uint32_t)n, stream, (uint16_t)type, flags });
	if (str_add(&c->out, header, sizeof header) || str_add(&c->out, data, n))
		channel_break(c, ERR_INVALID, 0, "the peer doesn't read");
}

/* Write what the socket takes now. */
static void flush_out(struct channel *c)
{
	while (!c->broken && c->out_pos < c->out.len) {
		ssize_t n = write(c->fd, c->out.s + c->out_pos, c->out.len - c->out_pos);

		if (n > 0) {
			c->out_pos += (size_t)n;
		} else if (n < 0 && errno == EINTR) {
			continue;
		} else if (n == 0 || errno == EAGAIN) {
			break;
		} else {
			channel_break(c, ERR_NOT_FOUND, errno, "write to the channel");
			return;
		}
	}
	if (c->out_pos == c->out.len) {
		if (c->out.cap > OUT_SOFT_BYTES)
			str_fini(&c->out); /* give a burst's memory back */
		c->out.len = 0;
		c->out_pos = 0;
	} else if (c->out_pos > c->out.len / 2) {
		str_drop(&c->out, c->out_pos);
		c->out_pos = 0;
	}
}

void channel_settle(struct channel *c)
{
	if (c->dead || c->broken)
		return;
	flush_out(c);
	if (c->broken)
		return;
	if (channel_has_room(c))
		streams_arm(c);
	bool wants = c->out_pos < c->out.len;

	if (wants != c->wants_write) {
		c->wants_write = wants;
		loop_set_events(c->io, EPOLLIN | (wants ? EPOLLOUT : 0u));
	}
}

static void send_message(struct channel *c, enum frame_type type, const json_t *body)
{
	autofree char *text = json_text(body);
	size_t left = strlen(text);
	const char *p = text;

	if (left > FRAME_MESSAGE_MAX) {
		log_error("channel: a message of %zu bytes is too large", left);
		return;
	}
	do {
		size_t n = left < FRAME_PAYLOAD_MAX ? left : FRAME_PAYLOAD_MAX;

		left -= n;
		channel_send_frame(c, type, left ? FRAME_MORE : 0, 0, p, n);
		p += n;
	} while (left);
	channel_settle(c);
}

/* ---- receiving ---- */

static void inbox_push(struct channel *c, enum frame_type type, json_t *body)
{
	if (c->inbox_len >= INBOX_MAX) {
		channel_break(c, ERR_INVALID, 0, "too many messages at once");
		return;
	}
	struct message *m = xcalloc(1, sizeof *m);

	*m = (struct message){ .type = type, .body = json_incref(body) };
	*c->inbox_tail = m;
	c->inbox_tail = &m->next;
	c->inbox_len++;
}

static void take_message(struct channel *c, enum frame_type type, const char *text, size_t n)
{
	struct err e = { 0 };
	autojson *body = json_parse(text, n, "message", &e);

	if (!body || !json_is_object(body)) {
		channel_break(c, ERR_INVALID, 0, "%s", body ? "a message is not an object" : e.msg);
		return;
	}
	if (type != FRAME_REPLY) {
		if (!(type == FRAME_EVENT ? json_str(body, "event", NULL) : json_str(body, "op", NULL)))
			channel_break(c, ERR_INVALID, 0, "a message has no name");
		else if (type == FRAME_REQUEST && !c->handlers.request)
			channel_break(c, ERR_INVALID, 0, "a request from the wrong side");
		else
			inbox_push(c, type, body);
		return;
	}
	int64_t id = json_int(body, "id", -1);

	if (id <= 0 || id >= c->next_id)
		channel_break(c, ERR_INVALID, 0, "an answer that nobody asked for");
	else if (id == c->awaited && !c->answer)
		c->answer = json_incref(body);
	/* else: the answer to a call that has timed out */
}

static void take_control(struct channel *c, const struct frame *f, const char *data)
{
	if (c->partial.len && f->type != c->partial_type) {
		channel_break(c, ERR_INVALID, 0, "a message within a message");
		return;
	}
	if (!(f->flags & FRAME_MORE) && !c->partial.len) {
		take_message(c, f->type, data, f->length);
		return;
	}
	c->partial_type = f->type;
	if (str_add(&c->partial, data, f->length)) {
		channel_break(c, ERR_INVALID, 0, "a message is larger than %llu bytes", FRAME_MESSAGE_MAX);
	} else if (!(f->flags & FRAME_MORE)) {
		autostr whole = c->partial;

		str_init(&c->partial, FRAME_MESSAGE_MAX);
		take_message(c, f->type, whole.s, whole.len);
	}
}

/* Handle the complete frames in c->in. */
static void take_frames(struct channel *c)
{
	size_t pos = 0;

	while (!c->broken && c->in.len - pos >= FRAME_HEADER_BYTES) {
		const char *at = c->in.s + pos;
		struct frame f;
		struct err e;

		if (frame_parse((const unsigned char *)at, &f, &e)) {
			channel_break(c, ERR_INVALID, 0, "%s", e.msg);
			break;
		}
		if (c->in.len - pos - FRAME_HEADER_BYTES < f.length)
			break;
		at += FRAME_HEADER_BYTES;
		pos += FRAME_HEADER_BYTES + f.length;
		if (f.stream == 0)
			take_control(c, &f, at);
		else
			(void)stream_take_frame(c, &f, (const unsigned char *)at);
	}
	str_drop(&c->in, pos);
	if (!c->in.len && c->in.cap > 2 * READ_BYTES)
		str_fini(&c->in);
}

/* Read and handle frames. False: nothing more to read now. */
static bool read_some(struct channel *c)
{
	char buf[READ_BYTES];
	ssize_t n = read(c->fd, buf, sizeof buf);

	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		channel_break(c, ERR_NOT_FOUND, n < 0 ? errno : 0, "the peer has closed the channel");
		return false;
	}
	if (str_add(&c->in, buf, (size_t)n)) { /* can't be: take_frames leaves less than one frame */
		channel_break(c, ERR_INVALID, 0, "a frame is too long");
		return false;
	}
	take_frames(c);
	return !c->broken;
}

/* ---- handlers ---- */

static void tell(struct channel *c, const struct message *m)
{
	if (m->type == FRAME_REQUEST)
		c->handlers.request(c->handlers.arg, json_int(m->body, "id", 0), json_str(m->body, "op", ""), m->body);
	else if (c->handlers.event)
		c->handlers.event(c->handlers.arg, json_str(m->body, "event", ""), m->body);
}

/* A stream that has moved since its owner was told; the list may change under a handler, so look from the start. */
static struct stream *next_moved(struct channel *c)
{
	for (struct stream *s = c->streams; s; s = s->next)
		if (s->moved_pending)
			return s;
	return NULL;
}

void channel_dispatch(struct channel *c)
{
	if (c->dispatching || c->dead)
		return;
	c->dispatching = true;
	for (struct message *m; !c->dead && (m = inbox_pop(c));) {
		tell(c, m);
		message_free(m);
	}
	for (struct stream *s; !c->dead && (s = next_moved(c));) {
		s->moved_pending = false;
		s->moved(s->arg, s);
	}
	if (!c->dead && c->broken && !c->broken_told) {
		c->broken_told = true;
		loop_remove(&c->later);
		c->handlers.broken(c->handlers.arg, &c->why);
	}
	c->dispatching = false;
	if (c->dead)
		free(c);
	else
		channel_settle(c);
}

static void on_later(void *arg, uint32_t events)
{
	struct channel *c = arg;

	c->later = NULL;
	channel_dispatch(c);
}

void channel_dispatch_later(struct channel *c)
{
	struct err e;

	if (c->dead || c->later)
		return;
	c->later = loop_timer(c->loop, 0, on_later, c, &e);
	if (!c->later)
		log_error("channel: %s", e.msg);
}

static void on_ready(void *arg, uint32_t events)
{
	struct channel *c = arg;

	for (int i = 0; i < READS_PER_ROUND && read_some(c); i++)
		;
	channel_settle(c);
	channel_dispatch(c);
}

/* ---- calls ---- */

/* Move bytes on the channel alone for at most timeout_ms. */
static void pump(struct channel *c, int timeout_ms)
{
	channel_settle(c);
	if (c->broken)
		return;
	struct pollfd p = { .fd = c->fd, .events = POLLIN | (c->wants_write ? POLLOUT : 0) };

	if (poll(&p, 1, timeout_ms) > 0 && (p.revents & ~POLLOUT))
		read_some(c);
	channel_settle(c);
}

json_t *channel_call(struct channel *c, const char *op, json_t *request, int timeout_ms, struct err *e)
{
	int64_t deadline = time_monotonic_ms() + timeout_ms, left;

	if (c->awaited) {
		err_set(e, ERR_CONFLICT, 0, "%s: a call is under way", op);
		return NULL;
	}
	c->awaited = c->next_id++;
	json_object_set_new(request, "id", json_integer(c->awaited));
	json_object_set_new(request, "op", json_string(op));
	send_message(c, FRAME_REQUEST, request);
	while (!c->broken && !c->answer && (left = deadline - time_monotonic_ms()) > 0)
		pump(c, (int)left);
	c->awaited = 0;
	autojson *answer = take_ptr(&c->answer);

	if (c->inbox || next_moved(c))
		channel_dispatch_later(c);
	if (!answer) {
		if (c->broken)
			*e = c->why;
		else
			err_set(e, ERR_TIMEOUT, 0, "%s: no answer within %d ms", op, timeout_ms);
		return NULL;
	}
	return msg_check_error(answer, e) ? NULL : take_ptr(&answer);
}

void channel_reply(struct channel *c, int64_t id, const json_t *body, const struct err *failure)
{
	autojson *answer = failure ? msg_error(failure) : json_object();

	if (!failure && body)
		json_object_update(answer, (json_t *)(uintptr_t)body);
	json_object_set_new(answer, "id", json_integer(id));
	send_message(c, FRAME_REPLY, answer);
}

void channel_event(struct channel *c, const char *name, const json_t *body)
{
	autojson *event = json_object();

	if (body)
		json_object_update(event, (json_t *)(uintptr_t)body);
	json_object_set_new(event, "event", json_string(name));
	send_message(c, FRAME_EVENT, event);
}

void channel_flush(struct channel *c, int timeout_ms)
{
	int64_t deadline = time_monotonic_ms() + timeout_ms, left;

	for (channel_settle(c); !c->broken && c->wants_write && (left = deadline - time_monotonic_ms()) > 0;) {
		struct pollfd p = { .fd = c->fd, .events = POLLOUT };

		poll(&p, 1, (int)left);
		channel_settle(c);
	}
}

uint32_t channel_stream_id(struct channel *c)
{
	return c->next_stream++;
}
