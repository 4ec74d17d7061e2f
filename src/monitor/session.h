/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A session is one process of the container (init or an exec) with its streams, and the clients attached to them.
 *
 * Output goes to the log and to every client; a client that doesn't read stops the stream it wants, as with Docker,
 * until it reads or leaves. Nothing is kept for clients that come later.
 */
#ifndef SILO_MONITOR_SESSION_H
#define SILO_MONITOR_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/str.h"
#include "isolation/isolation.h"
#include "monitor/jsonlog.h"

#define SESSION_CHUNK (32 * KIB) /* read from a stream at once */

struct attach; /* one client: attach.h */
struct session;

struct session_owner {
	void *arg;
	/* A client has left. detached: with the detach keys. */
	void (*attach_closed)(void *arg, struct session *s, bool detached);
	/* The process has ended and its output has been handed to the log and to the clients' queues. Once. The clients
	 * are still there: the owner tells its watchers first and calls session_finish() then. */
	void (*ended)(void *arg, struct session *s);
};

struct stream {
	struct session *session;
	int which;          /* STREAM_STDOUT (also tty) or STREAM_STDERR */
	int fd;             /* -1 = at its end, or never there */
	struct loop_io *io; /* NULL while nothing is wanted of it */
};

struct session {
	struct session *next;
	char *id; /* of the exec; NULL = init */
	struct loop *loop;
	struct session_owner owner;
	struct process *process; /* the isolation's; NULL before and after */
	bool tty, stdin_once;
	bool is_files;       /* work on the container's files: ends when its client leaves */
	struct jsonlog *log; /* borrowed; NULL = not logged */

	struct stream out[STREAM_COUNT];
	int in; /* write end of stdin or a copy of the tty; -1 = none or closed */
	struct loop_io *in_io;
	struct str in_rest; /* typed, not yet taken by the process; nothing more is read from clients meanwhile */
	bool in_closing;    /* close stdin once in_rest is through */

	struct attach *clients;
	bool watched;   /* output is being read */
	bool exited;    /* the process has ended; what is left is read without regard to slow clients */
	bool over;      /* owner.ended has been called */
	int exit_code;
	struct loop_io *drain; /* limit for streams that others hold open */
};

struct session_options {
	const char *id; /* copied; NULL = init */
	bool tty;
	uint16_t rows, cols;
	bool in, out, err; /* which streams are wanted at all; the others are /dev/null */
	bool stdin_once;   /* the end of the first client's input is the end of stdin (never with a tty) */
	struct jsonlog *log;
};

/**
 * session_new - make the streams.
 *
 * @io  is filled for container_create / container_exec, which takes the ends in it. If that call isn't reached,
 *      session_abandon_io().
 */
struct session *session_new(struct loop *l, const struct session_options *o, const struct session_owner *owner,
			    struct process_io *io, struct err *e) must_check;
void session_abandon_io(struct process_io *io);

/* The isolation has made the process: take the tty from io. */
int session_bind(struct session *s, struct process *p, const struct process_io *io, struct err *e) must_check;
/* Begin to read output. Before that nothing can come. */
void session_watch(struct session *s);

/**
 * session_attach - add a client.
 *
 * @sock         connected stream socket; taken, also on failure.
 * @detach_keys  NULL or "" = default. Only looked for with a tty, as Docker: else they would be data.
 */
struct attach_wants {
	bool in, out, err;
	const char *detach_keys;
	bool no_keys; /* none means anything */
};
int session_attach(struct session *s, int sock, const struct attach_wants *w, struct err *e) must_check;

/* The process has ended: read what is left (at most 2 s if others hold the streams open), then owner.ended. */
void session_exited(struct session *s, int exit_code);
/* As session_exited, but nothing more is to be expected of the streams. */
void session_lost(struct session *s, int exit_code);
/* Let the clients take what is queued for them (10 s at most), then hang up. */
void session_finish(struct session *s);
/* Free clients that are gone; true while there are others. To be called between rounds of the loop. */
bool session_sweep(struct session *s);
void session_free(struct session *s); /* closes everything; not from inside a callback; NULL is allowed */

/* --- for attach.c ----------------------------------------------------------------------------------------------- */
/* May a client read its socket now? */
bool session_wants_input(const struct session *s);
void session_input(struct session *s, const void *data, size_t n);
/* A client's input has ended, with StdinOnce: so has stdin. */
void session_input_end(struct session *s);
/* A client has room again or is gone: look which streams may be read. */
void session_rearm(struct session *s);

#endif
