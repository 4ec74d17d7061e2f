/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inside of the monitor: one struct monitor a process; monitor.c (life), launch.c (bundle to container), request.c. */
#ifndef SILO_MONITOR_CORE_H
#define SILO_MONITOR_CORE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/io.h"
#include "base/loop.h"
#include "isolation/isolation.h"
#include "monitor/jsonlog.h"
#include "monitor/life.h"
#include "monitor/monitor.h"
#include "monitor/peer.h"
#include "monitor/pipes.h"
#include "monitor/session.h"

#define EXECS_ENDED_MAX 256  /* ended execs that are remembered */
#define EXECS_MAX       1024 /* at once */

#define EXIT_LOST         137 /* sandbox lost, or a container that had to be given up */
#define EXIT_START_FAILED 128

/* What is kept of an exec whose process and clients are gone. */
struct exec_ended {
	struct exec_ended *next;
	int exit_code;
	char id[];
};

struct monitor {
	struct monitor_options o;
	struct loop *loop;
	struct peers peers;
	struct loop_io *stop_io;
	struct loop_io *orphan_timer; /* nobody has connected yet */
	struct loop_io *kill_timer;   /* shutdown: how long the kill may take */
	struct loop_io *flush_timer;  /* how long watchers may take to read the end */
	struct loop_io *trim_timer;   /* memory is given back when it has become quiet ... */
	bool trim;                    /* ... as the last thing before waiting */

	/* the container */
	struct bundle *bundle;
	const struct isolation *isolation;
	struct sandbox *sandbox;
	struct container *container;
	struct pipes *pipes;    /* that the container serves; NULL = none */
	struct monitor *owner;  /* of the sandbox that this one's container has joined; NULL = it has its own */
	struct monitor *joined; /* who shares ours */
	struct monitor *next_joined;
	bool launched;
	struct jsonlog *log;
	struct session *init;
	struct session *execs;
	struct exec_ended *execs_ended; /* the newest first, at most EXECS_ENDED_MAX */
	char id[CONTAINER_ID_MAX + 1]; /* "" when even the bundle couldn't be read */
	char *exit_path;               /* NULL = none known */
	char *detach_keys;             /* the bundle's default */

	/* its life */
	enum life_state state;
	struct err failure; /* kind != ERR_NONE: it can't be started */
	bool oom_killed;
	bool orphaned; /* given up before start: leaves no exit record */
	bool over;     /* nothing will happen to it any more: clean up and end */
	bool cleaned;
	bool flushed; /* flush_timer has expired */
	int exit_code;
	char started_at[TIME_TEXT_MAX], finished_at[TIME_TEXT_MAX]; /* "" = not yet */
	char error[sizeof(((struct err *)0)->msg)];
};

/* --- joined.c --------------------------------------------------------------------------------------------------- */
/* Be the monitor of one more container, in our sandbox, from the next round on. fds[0]: its listening socket, taken. */
int monitor_join(struct monitor *m, const json_t *request, int *fds, size_t n_fds, struct err *e) must_check;
/* Between rounds: launch who has come, forget who is over. True while there are any. */
bool joined_round(struct monitor *m);
/* The sandbox's owner has ended: so have they. */
void joined_lost(struct monitor *m, const struct err *why);
void joined_clean(struct monitor *m);
void joined_free_all(struct monitor *m);

/* --- launch.c --------------------------------------------------------------------------------------------------- */
/* Bundle, log, sandbox, container. On failure what was made stays for monitor_clean(). */
int monitor_launch(struct monitor *m, struct err *e) must_check;
/* Let init go. ERR_NO_COMMAND, ERR_NOT_EXECUTABLE, ... */
int monitor_release(struct monitor *m, struct err *e) must_check;
/* Delete container and sandbox. */
void monitor_clean(struct monitor *m);

/* --- exec.c ----------------------------------------------------------------------------------------------------- */
struct session *exec_find(struct monitor *m, const char *id);
/* A request `exec`; fds[0] is the client if n_fds > 0 (taken then). */
int exec_start(struct monitor *m, const json_t *request, int *fds, size_t n_fds, json_t **answer,
	       struct err *e) must_check;
void exec_ended(struct monitor *m, struct session *s);
/* The container is gone: so are its execs. */
void execs_lost(struct monitor *m);
/* Between rounds: free processes and clients that are gone; ended execs become records. True while clients are left. */
bool execs_sweep(struct monitor *m);
void execs_free(struct monitor *m);
json_t *execs_json(const struct monitor *m);

/* --- monitor.c -------------------------------------------------------------------------------------------------- */
void monitor_events_init(struct monitor *m, struct isolation_events *ev);
void monitor_session_owner(struct monitor *m, struct session_owner *owner);
/* It can't be started: remember why, write the exit record. */
void monitor_failed(struct monitor *m, const struct err *why);
/* The container has ended, or is given up (error != NULL). */
void monitor_ended(struct monitor *m, int exit_code, const char *error);
/* Kill everything; the end comes as an event. */
void monitor_shutdown(struct monitor *m);
/* Give init up: its end won't come by itself. */
void monitor_lost(struct monitor *m, const struct err *why);
/* Loop and socket of a monitor; what is made stays for monitor_close() also on failure. */
int monitor_open(struct monitor *m, const struct monitor_options *o, struct err *e) must_check;
/* One round's end: free, clean up, decide. Returns false when all is over. */
bool monitor_round(struct monitor *m);
void monitor_clean_once(struct monitor *m);
void monitor_close(struct monitor *m);
json_t *monitor_exit_event(const struct monitor *m);

/* --- request.c -------------------------------------------------------------------------------------------------- */
void monitor_request(void *arg, struct peer *p, const json_t *request, int *fds, size_t n_fds);

#endif
