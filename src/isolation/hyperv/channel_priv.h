/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What channel.c (frames, messages) and stream.c (bridging) share; nobody else includes it. */
#ifndef SILO_HYPERV_CHANNEL_PRIV_H
#define SILO_HYPERV_CHANNEL_PRIV_H

#include "base/str.h"
#include "isolation/hyperv/channel.h"
#include "isolation/hyperv/wire.h"

/* Streams stop reading their descriptors while so much waits to be sent: control messages find room, memory stays small. */
#define OUT_SOFT_BYTES (256 * KIB)
/* A peer that lets so much pile up doesn't read. */
#define OUT_HARD_BYTES (8 * MIB)
#define STREAM_CHUNK_BYTES (32 * KIB)
#define INBOX_MAX 1024

struct message { /* a request or event that waits for its handler */
	enum frame_type type;
	json_t *body;
	struct message *next;
};

struct stream {
	struct channel *channel;
	struct stream *next;
	uint32_t id;
	int from, to;                     /* -1 = this direction has ended, or never was */
	struct loop_io *io_from, *io_to;  /* watched only while there is something to do */
	bool tty, held;
	bool sends, takes;                /* the directions that it was made with */
	bool socket;                      /* `from` and `to` are one connection, whose ends are told apart */
	bool unwatchable;                 /* `from` is a plain file: always ready, epoll refuses it */
	uint32_t credit;                  /* bytes that the peer still takes */
	uint32_t window;                  /* bytes that the peer may still send */
	uint32_t taken;                   /* bytes written to `to` and not yet credited */
	struct str pending;               /* bytes for `to` */
	bool to_ended;                    /* the peer sends no more; `to` is closed when pending is out */
	bool told_end;                    /* EOF or CLOSE has been sent */
	bool draining, drained;
	size_t drain_left;
	bool moved_pending;
	void (*moved)(void *arg, struct stream *s);
	void *arg;
};

struct channel {
	struct loop *loop;
	int fd;
	struct loop_io *io;
	struct loop_io *later; /* timer that dispatches what came in during a call */
	struct channel_handlers handlers;

	struct str in;       /* bytes of frames that are not complete */
	struct str out;      /* frames to send, from out_pos on */
	size_t out_pos;
	struct str partial;  /* control message in pieces (FRAME_MORE) */
	uint16_t partial_type;
	bool wants_write;

	struct message *inbox, **inbox_tail;
	unsigned inbox_len;
	bool dispatching; /* a handler may call us again, or free us */
	bool dead;        /* freed from inside a handler: the dispatcher lets go of the memory */

	int64_t next_id; /* of requests */
	int64_t awaited; /* id that channel_call() waits for, 0 = none */
	json_t *answer;

	bool broken, broken_told;
	struct err why;

	struct stream *streams;
	uint32_t next_stream; /* one more than the highest id that was ever used */
};

/* Queue a frame. Beyond the hard limit the channel breaks. */
void channel_send_frame(struct channel *c, enum frame_type type, uint16_t flags, uint32_t stream, const void *data,
			size_t n);
/* The peer broke the rules or has gone. Only the first call counts. */
void channel_break(struct channel *c, enum err_kind kind, int sys, const char *fmt, ...) printf_like(4, 5);
/* Have handlers called from the loop, soon. */
void channel_dispatch_later(struct channel *c);
/* Send what can be sent, watch for the rest. */
void channel_settle(struct channel *c);
/* Call the handlers; the last thing that a function called by the loop does: streams and channel may be gone after. */
void channel_dispatch(struct channel *c);
bool channel_has_room(const struct channel *c);

/* A frame for streams.  Returns 0, or -1: the channel is broken. */
int stream_take_frame(struct channel *c, const struct frame *f, const unsigned char *data);
/* Watch what can move now: after credit or room has come. */
void stream_arm(struct stream *s);
void streams_arm(struct channel *c);
void streams_shut(struct channel *c); /* the channel broke: close all descriptors */
void streams_free(struct channel *c);

#endif
