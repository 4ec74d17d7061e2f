/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/record.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/db.h"
#include "base/json.h"
#include "base/own.h"

struct container *record_new(const char *id)
{
	struct container *c = xcalloc(1, sizeof(*c));
	pthread_condattr_t attr;

	atomic_init(&c->refs, 1);
	snprintf(c->id, sizeof(c->id), "%s", id);
	c->isolation = "process";
	c->parked.watch = c->parked.pidfd = -1;
	pthread_mutex_init(&c->op, NULL);
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->changed, &attr);
	pthread_condattr_destroy(&attr);
	return c;
}

struct container *record_get(struct container *c)
{
	atomic_fetch_add(&c->refs, 1);
	return c;
}

void exec_put(struct exec *x)
{
	if (!x || atomic_fetch_sub(&x->refs, 1) != 1)
		return;
	json_decref(x->body);
	json_decref(x->process);
	free(x);
}

void waiting_client_free(struct waiting_client *w)
{
	close_fd(&w->fd);
	free(w->detach_keys);
	free(w);
}

void record_put(struct container *c)
{
	struct waiting_client *w;
	struct exec *x;

	if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	while ((w = c->waiting)) {
		c->waiting = w->next;
		waiting_client_free(w);
	}
	while ((x = c->execs)) {
		c->execs = x->next;
		exec_put(x);
	}
	close_fd(&c->parked.watch); /* its last connection: that monitor ends */
	close_fd(&c->parked.pidfd);
	json_decref(c->config);
	json_decref(c->host);
	json_decref(c->health);
	free(c->name);
	free(c->error);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->op);
	free(c);
}

json_t *record_config(struct container *c)
{
	json_t *j;

	pthread_mutex_lock(&c->lock);
	j = json_incref(c->config);
	pthread_mutex_unlock(&c->lock);
	return j;
}

bool record_is_running(struct container *c)
{
	bool running;

	pthread_mutex_lock(&c->lock);
	running = c->state == LIFE_RUNNING || c->state == LIFE_PAUSED;
	pthread_mutex_unlock(&c->lock);
	return running;
}

pid_t record_running_pid(struct container *c)
{
	pid_t pid = 0;

	pthread_mutex_lock(&c->lock);
	if (c->state == LIFE_RUNNING || c->state == LIFE_PAUSED)
		pid = c->pid;
	pthread_mutex_unlock(&c->lock);
	return pid;
}

int record_may(struct container *c, const char *ref, enum life_event event, enum life *to, struct err *e)
{
	int rc;

	pthread_mutex_lock(&c->lock);
	rc = lifecycle_next(c->state, event, ref, c->id, c->name, to, e);
	pthread_mutex_unlock(&c->lock);
	return rc;
}

int record_may_soon(struct container *c, const char *ref, enum life_event event, enum life *to, struct err *e)
{
	struct err early = { 0 };

	if (record_may(c, ref, event, to, &early) == 0)
		return 0;
	pthread_mutex_lock(&c->op);
	pthread_mutex_unlock(&c->op);
	return record_may(c, ref, event, to, e);
}

json_t *record_host(struct container *c)
{
	json_t *j;

	pthread_mutex_lock(&c->lock);
	j = json_incref(c->host);
	pthread_mutex_unlock(&c->lock);
	return j;
}

char *record_name(struct container *c)
{
	char *name;

	pthread_mutex_lock(&c->lock);
	name = xstrdup(c->name);
	pthread_mutex_unlock(&c->lock);
	return name;
}

void record_changed(struct container *c)
{
	pthread_cond_broadcast(&c->changed);
	for (struct waker *w = c->wakers; w; w = w->next)
		eventfd_write(w->fd, 1);
}

/* --- database ------------------------------------------------------------------------------------------------- */

int record_schema(struct db *db, struct err *e)
{
	return db_exec(
		db, e,
		"CREATE TABLE IF NOT EXISTS containers ("
		" id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, image_id TEXT NOT NULL, isolation TEXT NOT NULL,"
		" vm_uid INTEGER NOT NULL, created TEXT NOT NULL, config TEXT NOT NULL, host TEXT NOT NULL,"
		" state TEXT NOT NULL) WITHOUT ROWID",
		"");
}

static char *state_text(struct container *c)
{
	autojson *j = json_pack("{s:s, s:i, s:i, s:i, s:i, s:b, s:b, s:s, s:s, s:s}", "status",
				lifecycle_name(c->state), "pid", (int)c->pid, "sandbox_pid", (int)c->sandbox_pid,
				"exit_code", c->exit_code, "restart_count", c->restart_count, "oom_killed",
				c->oom_killed, "stop_wanted", c->stop_wanted, "error", c->error ? c->error : "",
				"started_at", c->started_at, "finished_at", c->finished_at);

	if (c->health)
		json_object_set(j, "health", c->health);

	return json_text(j);
}

int record_insert(struct db *db, struct container *c, struct err *e)
{
	autofree char *config = json_text(c->config);
	autofree char *host = json_text(c->host);
	autofree char *state = state_text(c);
	int rc;

	if (db_begin(db, true, e) < 0)
		return -1;
	rc = db_exec(db, e,
		     "INSERT INTO containers (id, name, image_id, isolation, vm_uid, created, config, host, state)"
		     " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		     "ssssissss", c->id, c->name, c->image_id, c->isolation, (int64_t)c->vm_uid, c->created, config,
		     host, state);
	if (rc < 0) {
		db_end(db, false, NULL);
		return -1;
	}
	return db_end(db, true, e);
}

int record_save_state(struct db *db, struct container *c, struct err *e)
{
	autofree char *state = state_text(c);

	return db_exec(db, e, "UPDATE containers SET state = ? WHERE id = ?", "ss", state, c->id);
}

int record_save_host(struct db *db, struct container *c, struct err *e)
{
	autofree char *host = json_text(c->host);

	return db_exec(db, e, "UPDATE containers SET host = ? WHERE id = ?", "ss", host, c->id);
}

int record_rename(struct db *db, const char *id, const char *name, struct err *e)
{
	return db_exec(db, e, "UPDATE containers SET name = ? WHERE id = ?", "ss", name, id);
}

int record_mark_removed(struct db *db, const char *id, struct err *e)
{
	if (db_begin(db, true, e) < 0)
		return -1;
	if (db_exec(db, e, "DELETE FROM containers WHERE id = ?", "s", id) < 0) {
		db_end(db, false, NULL);
		return -1;
	}
	return db_end(db, true, e);
}

json_t *record_rows(struct db *db, struct err *e)
{
	return db_rows(db, e, "SELECT * FROM containers ORDER BY created", "");
}

static json_t *column_json(const json_t *row, const char *column, struct err *e)
{
	const char *text = json_str(row, column, "");

	return json_parse(text, strlen(text), column, e);
}

static void parse_state(struct container *c, const json_t *state)
{
	c->state = lifecycle_parse(json_str(state, "status", "exited"));
	c->pid = (pid_t)json_int(state, "pid", 0);
	c->sandbox_pid = (pid_t)json_int(state, "sandbox_pid", 0);
	c->exit_code = (int)json_int(state, "exit_code", 0);
	c->restart_count = (int)json_int(state, "restart_count", 0);
	c->oom_killed = json_bool(state, "oom_killed", false);
	c->stop_wanted = json_bool(state, "stop_wanted", false);
	c->error = xstrdup(json_str(state, "error", ""));
	c->health = json_is_object(json_object_get(state, "health")) ? json_deep_copy(json_object_get(state, "health"))
								     : NULL;
	snprintf(c->started_at, sizeof(c->started_at), "%s", json_str(state, "started_at", ""));
	snprintf(c->finished_at, sizeof(c->finished_at), "%s", json_str(state, "finished_at", ""));
}

struct container *record_parse(const json_t *row, struct err *e)
{
	struct container *c = record_new(json_str(row, "id", ""));
	autojson *state = NULL;
	struct timespec t;

	c->name = xstrdup(json_str(row, "name", ""));
	c->isolation = strcmp(json_str(row, "isolation", ""), "hyperv") == 0 ? "hyperv" : "process";
	c->vm_uid = (uid_t)json_int(row, "vm_uid", 0);
	snprintf(c->image_id, sizeof(c->image_id), "%s", json_str(row, "image_id", ""));
	snprintf(c->created, sizeof(c->created), "%s", json_str(row, "created", ""));
	if (time_parse(c->created, &t) == 0)
		c->created_ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
	c->config = column_json(row, "config", e);
	c->host = c->config ? column_json(row, "host", e) : NULL;
	state = c->host ? column_json(row, "state", e) : NULL;
	if (!state) {
		err_prefix(e, "state of container %s", c->id);
		record_put(c);
		return NULL;
	}
	parse_state(c, state);
	return c;
}
