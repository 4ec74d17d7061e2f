/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One client attached to a session: a stream socket (the connection that silod took over from HTTP). */
#ifndef SILO_MONITOR_ATTACH_H
#define SILO_MONITOR_ATTACH_H

#include "monitor/keys.h"
#include "monitor/session.h"

#define ATTACH_QUEUE_SOFT (64 * KIB) /* above it the stream isn't read */
#define ATTACH_QUEUE_MAX  (1 * MIB)  /* above it (only at the end, when the rest is read regardless) the client is dropped */
#define ATTACH_FINISH_MS  10000      /* how long a client may take to read the end */

struct attach {
	struct attach *next;
	struct session *session;
	int sock; /* -1: gone, freed by the next sweep */
	struct loop_io *io;
	bool in;                /* its input is wanted */
	bool out[STREAM_COUNT]; /* these streams are wanted */
	bool hung_up;           /* only its last input is of interest */
	bool finishing;         /* hang up when the queue is empty */
	struct loop_io *deadline;
	struct keys keys;
	struct str queue;
	size_t sent; /* bytes of queue that are through */
};

/* sock is taken. */
struct attach *attach_new(struct session *s, int sock, const struct attach_wants *w, const struct keys *k,
			  struct err *e) must_check;
void attach_free(struct attach *a);

/* Send or queue what a stream gave. */
void attach_output(struct attach *a, int stream, const char *data, size_t n);
/* Must this stream wait for the client? */
bool attach_is_full(const struct attach *a, int stream);
/* stdin's readiness has changed: read the socket, or stop. */
void attach_rearm(struct attach *a);
/* Hang up once everything is delivered; after ATTACH_FINISH_MS in any case. */
void attach_finish(struct attach *a);
/* Hang up now. */
void attach_drop(struct attach *a, bool detached);

#endif
