/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One end of the agent channel: requests, replies, events and process streams over one byte stream. Host and guest use
 * the same code; the host calls, the guest answers. The peer is taken for hostile: whatever breaks the rules of wire.h
 * breaks the channel, nothing more, and no buffer grows beyond a bound.
 *
 * The program must ignore SIGPIPE. Handlers are called from the loop only, never from inside channel_call(): what arrives meanwhile waits.
 */
#ifndef SILO_HYPERV_CHANNEL_H
#define SILO_HYPERV_CHANNEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"

struct channel;
struct stream;

struct channel_handlers {
	void *arg;
	/* A request to be answered by channel_reply(id); borrowed. NULL: a request breaks the channel. */
	void (*request)(void *arg, int64_t id, const char *op, const json_t *body);
	/* An event of the peer; borrowed. NULL: events are dropped. */
	void (*event)(void *arg, const char *name, const json_t *body);
	/* Once: the peer has gone (ERR_NOT_FOUND) or broken the rules (ERR_INVALID). Streams are closed, calls fail. */
	void (*broken)(void *arg, const struct err *why);
};

/**
 * channel_new - serve one end.
 *
 * @fd  non-blocking, readable and writable; stays the caller's, who closes it after channel_free().
 */
struct channel *channel_new(struct loop *l, int fd, const struct channel_handlers *h, struct err *e) must_check;
/* Frees the streams that are left too. Allowed from inside a handler. NULL allowed. */
void channel_free(struct channel *c);

/**
 * channel_call - send a request and wait for its answer; stream data keeps moving into the buffers meanwhile.
 *
 * @request     JSON object; "id" and "op" are set here. Borrowed.
 * @timeout_ms  ERR_TIMEOUT after that; a later answer is ignored.
 * Returns the answer (new reference), or NULL with the peer's error, or that of a broken channel.
 */
json_t *channel_call(struct channel *c, const char *op, json_t *request, int timeout_ms, struct err *e) must_check;

/* Nothing goes over it any more; the broken handler has been called or is about to be. */
bool channel_is_broken(const struct channel *c);

/* Answer a request. body: borrowed object or NULL; failure: non-NULL sends the error instead. */
void channel_reply(struct channel *c, int64_t id, const json_t *body, const struct err *failure);
/* Send {"event": name} with the members of body (borrowed, may be NULL). */
void channel_event(struct channel *c, const char *name, const json_t *body);
/* Push out what is queued, waiting at most timeout_ms: before the guest powers off. */
void channel_flush(struct channel *c, int timeout_ms);

/* ---- process streams: bytes between a local descriptor and the peer's ---- */

struct stream_options {
	uint32_t id; /* chosen by the host with channel_stream_id(), the same on both ends */
	int from;    /* local descriptor whose bytes are sent, or -1; taken */
	int to;      /* local descriptor that receives the peer's bytes, or -1; taken; may equal from */
	bool tty;    /* the end of one direction ends the other too */
	bool held;   /* reads nothing from `from` before stream_release() */
	/* Called from the loop after anything has moved; ask stream_flushed() and the like. May be NULL. */
	void (*moved)(void *arg, struct stream *s);
	void *arg;
};

/* A number for a new stream; never used twice on this channel. */
uint32_t channel_stream_id(struct channel *c);

/**
 * stream_new - bridge descriptors with the peer's stream of the same id.
 *
 * The descriptors are made non-blocking and are taken even on failure. ERR_CONFLICT: the id is in use.
 */
struct stream *stream_new(struct channel *c, const struct stream_options *o, struct err *e) must_check;
void stream_release(struct stream *s);
/* The peer's bytes have all been written to `to` (or nobody takes them any more). */
bool stream_flushed(const struct stream *s);
/* Both directions have ended. */
bool stream_ended(const struct stream *s);

/**
 * stream_drain - from now on stream_drained() tells whether what is in `from` at this moment has been sent.
 *
 * For the output of a process that has ended: its pipe may be kept open, and written to, by others.
 */
void stream_drain(struct stream *s);
bool stream_drained(const struct stream *s);
/* Close the descriptors, tell the peer unless both directions have ended, free. NULL allowed. */
void stream_free(struct stream *s);

#endif
