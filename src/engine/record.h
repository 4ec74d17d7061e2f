/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A container's record: what the engine knows about it in memory and keeps in the state database.
 *
 * Locks, in the order in which they may be taken: container.op (one start or pause at a time; may be held while a
 * monitor is called), engine.lock (table of containers; never held while a monitor is called), container.lock (state;
 * held for moments only). Documents (config, host, image_config) are never changed in place: a change replaces the
 * pointer under container.lock, so that whoever holds a reference may read without a lock.
 */
#ifndef SILO_ENGINE_RECORD_H
#define SILO_ENGINE_RECORD_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/io.h"
#include "engine/lifecycle.h"
#include "image/image.h"

#define ENGINE_ID_MAX 65    /* 64 hex digits and NUL */
#define EXECS_ENDED_MAX 256 /* ended execs that are remembered per container */
#define WAITING_CLIENTS_MAX 64

/* A client that attached before the container was started: handed to the monitor by start. */
struct waiting_client {
	struct waiting_client *next;
	bool in, out, err;
	char *detach_keys; /* or NULL */
	int fd;
};

/* Somebody who polls, and wants to be told by an eventfd when the container's state changes. */
struct waker {
	struct waker *next;
	int fd;
};

struct exec {
	struct exec *next;
	atomic_int refs; /* one is the container's list */
	char id[ENGINE_ID_MAX];
	json_t *body;    /* ExecConfig in canonical form */
	json_t *process; /* ProcessConfig as inspect shows it */
	bool started, running;
	int exit_code; /* of a Windows program 32 bits, shown without a sign; -1 = not ended */
	pid_t pid;
};

struct container {
	atomic_int refs;
	char id[ENGINE_ID_MAX];
	char created[TIME_TEXT_MAX];
	int64_t created_ns;
	char image_id[IMAGE_ID_MAX];
	const char *isolation; /* "process" or "hyperv" */
	uid_t vm_uid;          /* hyperv: the user that the VM runs as */

	pthread_mutex_t op;
	struct {
		int watch, pidfd;
		bool files_only; /* it can't be started */
	} parked;                /* monitor of a container that was prepared at create; -1 = none. Under op. */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* broadcast after every change below */

	char *name; /* without slash */
	json_t *config, *host;
	enum life state;
	bool removing, removed;
	bool stop_wanted; /* stop or kill by the user: no policy may start it again */
	bool oom_killed;
	bool monitor_alive;
	pid_t pid, sandbox_pid;
	int exit_code;
	int restart_count;
	int backoff_ms; /* before the last restart by the policy; 0 = none yet */
	uint64_t exits; /* how often it has ended, for wait next-exit */
	char *error;
	json_t *health; /* State.Health, or NULL = no checks; changed in place, under lock */
	char started_at[TIME_TEXT_MAX], finished_at[TIME_TEXT_MAX]; /* "" = never */
	struct waiting_client *waiting;
	struct waker *wakers;
	struct exec *execs; /* newest first */
};

/* New with one reference and the given id. */
struct container *record_new(const char *id);
struct container *record_get(struct container *c); /* one more reference */
void record_put(struct container *c);              /* NULL allowed */
void waiting_client_free(struct waiting_client *w);
void exec_put(struct exec *x); /* NULL allowed */
static inline void exec_own_put(struct exec **x)
{
	exec_put(*x);
}
#define autoexec __attribute__((cleanup(exec_own_put))) struct exec
static inline void record_own_put(struct container **c)
{
	record_put(*c);
}
#define autorecord __attribute__((cleanup(record_own_put))) struct container

/* Documents with a reference of the caller's. */
json_t *record_config(struct container *c);
json_t *record_host(struct container *c);
/* It runs, paused or not. */
bool record_is_running(struct container *c);
/* Its pid as long as it runs, else 0. */
pid_t record_running_pid(struct container *c);
char *record_name(struct container *c); /* heap copy */

/* Whether an event is possible in the state that c is in; *to is the state after it. Takes c->lock. */
int record_may(struct container *c, const char *ref, enum life_event event, enum life *to, struct err *e);
/* The same, but a start that is under way is waited for: what a container says is seen before it counts as running.
 * Not with c->op held. */
int record_may_soon(struct container *c, const char *ref, enum life_event event, enum life *to, struct err *e);

/* Wake everybody who waits for c. With c->lock held. */
void record_changed(struct container *c);

/* To and from the database. record_save_state: c->lock held. */
struct db;
int record_schema(struct db *db, struct err *e) must_check;
int record_insert(struct db *db, struct container *c, struct err *e) must_check;
int record_save_state(struct db *db, struct container *c, struct err *e);
int record_save_host(struct db *db, struct container *c, struct err *e) must_check;
int record_rename(struct db *db, const char *id, const char *name, struct err *e) must_check;
int record_mark_removed(struct db *db, const char *id, struct err *e) must_check;
struct container *record_parse(const json_t *row, struct err *e) must_check;
json_t *record_rows(struct db *db, struct err *e) must_check;

#endif
