/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What follows when a container ends, by itself or because it was told to, and its removal. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/mount_points.h"
#include "engine/restart.h"
#include "engine/state.h"
#include "monitor/client.h"

#define KILL_TIMEOUT_MS 10000
#define EXIT_FILE_MAX (64 * KIB)

void container_event(struct engine *g, struct container *c, const char *action, ...)
{
	autojson *config = record_config(c);
	autofree char *name = record_name(c);
	json_t *labels = json_object_get(config, "Labels");
	autojson *attributes = json_is_object(labels) ? json_copy(labels) : json_object();
	const char *key;
	va_list ap;

	json_object_set_new(attributes, "image", json_string(json_str(config, "Image", "")));
	json_object_set_new(attributes, "name", json_string(name));
	va_start(ap, action);
	while ((key = va_arg(ap, const char *)))
		json_object_set_new(attributes, key, json_string(va_arg(ap, const char *)));
	va_end(ap);
	events_publish(g->events, "container", action, c->id, attributes);
}

/* --- waiting ------------------------------------------------------------------------------------------------------- */

bool container_has_ended(const struct container *c, const void *arg unused_arg)
{
	return c->removed || (c->state != LIFE_RUNNING && c->state != LIFE_PAUSED);
}

bool container_no_monitor(const struct container *c, const void *arg unused_arg)
{
	return !c->monitor_alive;
}

bool container_wait_for(struct engine *g, struct container *c, bool (*fn)(const struct container *c, const void *arg),
			const void *arg, int timeout_ms)
{
	int64_t until = timeout_ms < 0 ? INT64_MAX : time_monotonic_ms() + timeout_ms;

	while (!fn(c, arg)) {
		int64_t slice = until - time_monotonic_ms();
		struct timespec t;

		if (slice <= 0 || g->closing)
			return false;
		if (slice > 1000) /* looks at g->closing now and then */
			slice = 1000;
		clock_gettime(CLOCK_MONOTONIC, &t);
		t.tv_nsec += (long)slice * 1000000;
		t.tv_sec += t.tv_nsec / 1000000000;
		t.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&c->changed, &c->lock, &t);
	}
	return true;
}

/* --- the end of a run ------------------------------------------------------------------------------------------------ */

/* Execs die with their container. c->lock held. */
static void end_execs(struct container *c)
{
	for (struct exec *x = c->execs; x; x = x->next) {
		if (x->running) {
			x->running = false;
			x->exit_code = 128 + SIGKILL;
		}
	}
}

static void remove_automatically(struct engine *g, struct container *c)
{
	struct err e = { 0 };
	bool mine;

	pthread_mutex_lock(&c->lock);
	mine = json_bool(c->host, "AutoRemove", false) && !c->removing && !c->removed;
	if (mine)
		c->removing = true;
	pthread_mutex_unlock(&c->lock);
	if (mine && settle_remove(g, c, &e) < 0)
		log_error("remove container %.12s: %s", c->id, e.msg);
	else if (mine)
		mounts_remove_anonymous(g, c);
}

static long run_seconds(const struct container *c)
{
	struct timespec from, to;

	if (time_parse(c->started_at, &from) < 0 || time_parse(c->finished_at, &to) < 0)
		return 0;
	return to.tv_sec - from.tv_sec - (to.tv_nsec < from.tv_nsec);
}

void settle_exit(struct engine *g, struct container *c, const json_t *record)
{
	char code[16], seconds[24], now[TIME_TEXT_MAX];
	struct timespec t = time_now();
	bool was_running;

	time_format(&t, now);
	pthread_mutex_lock(&c->lock);
	was_running = c->state == LIFE_RUNNING || c->state == LIFE_PAUSED;
	pthread_mutex_unlock(&c->lock);
	if (was_running) /* before anybody learns of the end: addresses and ports are free then */
		net_release(g, c);
	pthread_mutex_lock(&c->lock);
	if (was_running) {
		c->state = LIFE_EXITED;
		c->exit_code = (int)json_int(record, "exit_code", 128 + SIGKILL);
		c->oom_killed |= json_bool(record, "oom_killed", false);
		snprintf(c->finished_at, sizeof(c->finished_at), "%s", json_str(record, "finished_at", now));
		free(c->error);
		c->error = xstrdup(json_str(record, "error", ""));
		c->pid = c->sandbox_pid = 0;
		c->exits++;
		end_execs(c);
		restart_after_exit(g, c, run_seconds(c));
		record_save_state(g->db, c, NULL);
		snprintf(code, sizeof(code), "%u", (unsigned)c->exit_code);
		snprintf(seconds, sizeof(seconds), "%ld", run_seconds(c));
		/* The event goes out before anybody who waits is woken: those who look at events then find it. */
		pthread_mutex_unlock(&c->lock);
		container_event(g, c, "die", "execDuration", seconds, "exitCode", code, NULL);
		pthread_mutex_lock(&c->lock);
		record_changed(c);
	}
	pthread_mutex_unlock(&c->lock);
	if (!was_running)
		return;
	mounts_event(g, c, "unmount");
	mounts_release(g, c);
	remove_automatically(g, c);
}

/* The monitor writes exit.json before it tells anybody; without one it was killed, and its container with it. */
static json_t *exit_record(struct engine *g, struct container *c)
{
	autofree char *path = path_data(g, c->id, "exit.json");
	json_t *record = json_parse_file(AT_FDCWD, path, EXIT_FILE_MAX, NULL);

	if (record)
		return record;
	return json_pack("{s:i, s:s}", "exit_code", 128 + SIGKILL, "error",
			 "the monitor of this container ended unexpectedly");
}

void settle_monitor_gone(struct engine *g, struct container *c)
{
	bool unsettled, removed;

	pthread_mutex_lock(&c->lock);
	unsettled = !container_has_ended(c, NULL);
	pthread_mutex_unlock(&c->lock);
	clean_leftovers(g, c->id);
	if (unsettled) {
		autojson *record = exit_record(g, c);

		settle_exit(g, c, record);
	}
	net_release(g, c);
	pthread_mutex_lock(&c->lock);
	c->monitor_alive = false;
	removed = c->removed;
	record_changed(c);
	pthread_mutex_unlock(&c->lock);
	if (removed)
		reaper_add(g->reaper, c->id);
}

/* --- events of the monitor --------------------------------------------------------------------------------------------- */

static void on_exit_event(struct engine *g, struct container *c, const json_t *event)
{
	settle_exit(g, c, event);
}

static void on_oom(struct engine *g, struct container *c, const json_t *event unused_arg)
{
	pthread_mutex_lock(&c->lock);
	c->oom_killed = true;
	pthread_mutex_unlock(&c->lock);
	container_event(g, c, "oom", NULL);
}

static void on_exec_exit(struct engine *g, struct container *c, const json_t *event)
{
	const char *id = json_str(event, "id", "");
	int exit_code = (int)json_int(event, "exit_code", 0);
	char code[16];
	bool found = false;

	snprintf(code, sizeof(code), "%u", (unsigned)exit_code);
	pthread_mutex_lock(&c->lock);
	for (struct exec *x = c->execs; x; x = x->next) {
		if (strcmp(x->id, id) == 0) {
			x->running = false;
			x->exit_code = exit_code;
			found = true;
		}
	}
	record_changed(c);
	pthread_mutex_unlock(&c->lock);
	if (found)
		container_event(g, c, "exec_die", "execID", id, "exitCode", code, NULL);
}

static void on_attach_closed(struct engine *g, struct container *c, const json_t *event)
{
	if (json_bool(event, "detached", false))
		container_event(g, c, "detach", NULL);
}

static void on_exec_detached(struct engine *g, struct container *c, const json_t *event)
{
	container_event(g, c, "exec_detach", "execID", json_str(event, "id", ""), NULL);
}

static const struct {
	const char *name;
	void (*fn)(struct engine *g, struct container *c, const json_t *event);
} monitor_events[] = {
	{ "exit", on_exit_event },	     { "oom", on_oom },
	{ "exec_exit", on_exec_exit },	     { "attach_closed", on_attach_closed },
	{ "exec_detached", on_exec_detached },
};

void settle_event(struct engine *g, struct container *c, const json_t *event)
{
	const char *name = json_str(event, "event", "");

	for (size_t i = 0; i < array_len(monitor_events); i++) {
		if (strcmp(monitor_events[i].name, name) == 0)
			monitor_events[i].fn(g, c, event);
	}
}

/* --- removal ------------------------------------------------------------------------------------------------------------ */

int settle_remove(struct engine *g, struct container *c, struct err *e)
{
	autofree char *dir = path_data(g, c->id, NULL);
	autofree char *aside = xasprintf("%s/tmp/removed-%s", g->root, c->id);
	bool files_free;

	if (record_mark_removed(g->db, c->id, e) < 0) {
		pthread_mutex_lock(&c->lock);
		c->removing = false;
		pthread_mutex_unlock(&c->lock);
		return -1;
	}
	/* From here on it is gone, whatever happens: a directory without a record is deleted at the next start. */
	table_remove(g, c);
	net_forget(g, c->id);
	if (rename(dir, aside) < 0 && errno != ENOENT)
		log_warn("rename %s: %s", dir, strerror(errno));
	container_event(g, c, "destroy", NULL);
	pthread_mutex_lock(&c->lock);
	c->removed = true;
	c->state = LIFE_DEAD;
	files_free = !c->monitor_alive;
	record_changed(c);
	pthread_mutex_unlock(&c->lock);
	if (files_free)
		reaper_add(g->reaper, c->id);
	return 0;
}

/* --- stop -------------------------------------------------------------------------------------------------------------- */

/* A frozen process gets no signal: thaw it after it has been sent. */
static void thaw(struct engine *g, struct container *c)
{
	autofree char *dir = path_run(g, c->id, NULL);
	bool paused, thawed;

	pthread_mutex_lock(&c->lock);
	paused = c->state == LIFE_PAUSED;
	pthread_mutex_unlock(&c->lock);
	if (!paused)
		return;
	thawed = monitor_pause(dir, false, NULL) == 0;
	pthread_mutex_lock(&c->lock);
	if (thawed && c->state == LIFE_PAUSED)
		c->state = LIFE_RUNNING;
	pthread_mutex_unlock(&c->lock);
	container_event(g, c, "unpause", NULL);
}

/* Send a signal with its event, which comes first so that it precedes "die". A container that has ended meanwhile is no
 * error. The monitor itself thaws a paused container for SIGKILL. */
static int signal_init(struct engine *g, struct container *c, int signo, struct err *e)
{
	autofree char *dir = path_run(g, c->id, NULL);
	char text[8];

	snprintf(text, sizeof(text), "%d", signo);
	container_event(g, c, "kill", "signal", text, NULL);
	if (monitor_signal(dir, NULL, signo, false, e) < 0 && e->kind != ERR_NOT_FOUND && e->kind != ERR_CONFLICT)
		return -1;
	if (signo != SIGKILL)
		thaw(g, c);
	return 0;
}

static bool wait_end(struct engine *g, struct container *c, int timeout_ms)
{
	bool ended;

	pthread_mutex_lock(&c->lock);
	ended = container_wait_for(g, c, container_has_ended, NULL, timeout_ms);
	pthread_mutex_unlock(&c->lock);
	return ended;
}

int container_halt(struct engine *g, struct container *c, int signo, int timeout_s, struct err *e)
{
	autofree char *dir = path_run(g, c->id, NULL);

	pthread_mutex_lock(&c->lock);
	c->stop_wanted = true;
	pthread_mutex_unlock(&c->lock);
	if (signo != SIGKILL) {
		/* A monitor that doesn't take the signal is ended below. */
		if (signal_init(g, c, signo, e) < 0)
			log_warn("container %.12s: signal %d: %s", c->id, signo, e->msg);
		if (wait_end(g, c, timeout_s < 0 ? -1 : timeout_s > 2000000 ? -1 : timeout_s * 1000))
			return 0;
	}
	if (signal_init(g, c, SIGKILL, e) == 0 && wait_end(g, c, KILL_TIMEOUT_MS))
		return 0;
	if (monitor_end(dir, e) < 0)
		log_warn("container %.12s: %s", c->id, e->msg);
	if (wait_end(g, c, KILL_TIMEOUT_MS))
		return 0;
	return err_set(e, ERR_TIMEOUT, 0, "tried to kill container, but did not receive an exit event");
}
