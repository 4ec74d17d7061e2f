/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The monitor's life: prepare, serve, report the end, clean up. */
#include "monitor/monitor.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "monitor/core.h"
#include "monitor/memory.h"

#define ORPHAN_MS (60 * 1000) /* silod connects at once after the spawn, or is dead */
#define KILL_MS (10 * 1000)   /* SIGKILL must have worked by then */
#define FLUSH_MS (2 * 1000)   /* for watchers to read the last events */
#define TRIM_MS 200

/* --- the end ---------------------------------------------------------------------------------------------------- */

/* Any bytes as a JSON string; what isn't UTF-8 becomes U+FFFD. */
static json_t *text_json(const char *s)
{
	autostr text;

	str_init(&text, 16 * KIB);
	str_add_json(&text, s, strlen(s));
	return json_parse(text.s, text.len, "text", NULL);
}

json_t *monitor_exit_event(const struct monitor *m)
{
	return json_pack("{s:s, s:i, s:b, s:s, s:o}", "event", "exit", "exit_code", m->exit_code, "oom_killed",
			 m->oom_killed, "finished_at", m->finished_at, "error", text_json(m->error));
}

static void write_exit_record(const struct monitor *m)
{
	struct err err;
	autojson *record =
		json_pack("{s:i, s:b, s:s, s:s, s:o}", "exit_code", m->exit_code, "oom_killed", m->oom_killed,
			  "started_at", m->started_at, "finished_at", m->finished_at, "error", text_json(m->error));
	autofree char *text = json_text(record);

	if (!m->exit_path)
		return;
	if (io_write_file(AT_FDCWD, m->exit_path, text, strlen(text), 0600, false, &err))
		log_error("exit record: %s", err.msg);
}

static void stop_logging(struct monitor *m)
{
	if (m->init)
		m->init->log = NULL;
	jsonlog_close(take_ptr(&m->log));
}

static void record_end(struct monitor *m, int exit_code, const char *error)
{
	struct timespec now = time_now();

	time_format(&now, m->finished_at);
	m->exit_code = exit_code;
	snprintf(m->error, sizeof(m->error), "%s", error ? error : "");
	stop_logging(m);
	write_exit_record(m);
}

void monitor_failed(struct monitor *m, const struct err *why)
{
	int code = EXIT_START_FAILED;

	if (why->kind == ERR_NO_COMMAND)
		code = 127;
	else if (why->kind == ERR_NOT_EXECUTABLE)
		code = 126;
	m->state = LIFE_STOPPED;
	m->failure = *why;
	record_end(m, code, why->msg);
	execs_lost(m); /* work on its files */
	if (m->init)
		session_finish(m->init);
}

void monitor_ended(struct monitor *m, int exit_code, const char *error)
{
	if (life_next(m->state, LIFE_END, m->id, &m->state, NULL))
		return;
	loop_remove(&m->kill_timer);
	pipes_end(m->pipes); /* another container may serve them from now on */
	record_end(m, exit_code, error);
	execs_lost(m);
	autojson *event = monitor_exit_event(m);

	peers_push(&m->peers, event);
	session_finish(m->init);
	m->over = true;
	if (m->joined) {
		struct err why;

		err_set(&why, ERR_SYSTEM, 0, "container %s has ended, whose virtual machine this one had joined",
			m->id);
		joined_lost(m, &why);
	}
}

void monitor_lost(struct monitor *m, const struct err *why)
{
	if (m->state == LIFE_CREATED)
		monitor_failed(m, why);
	if (m->state == LIFE_STOPPED)
		return;
	snprintf(m->error, sizeof(m->error), "%s", why->msg);
	session_lost(m->init, EXIT_LOST);
}

static void kill_expired(void *arg, uint32_t events unused_arg)
{
	struct monitor *m = arg;
	struct err why;

	m->kill_timer = NULL;
	err_set(&why, ERR_TIMEOUT, 0, "the container could not be killed");
	monitor_lost(m, &why);
}

void monitor_shutdown(struct monitor *m)
{
	struct err err;

	if (m->state == LIFE_CREATED) {
		m->state = LIFE_STOPPED;
		m->orphaned = m->over = true;
		stop_logging(m);
		execs_lost(m); /* work on its files */
		session_finish(m->init);
	}
	if (m->state == LIFE_STOPPED) {
		m->over = true;
		return;
	}
	if (m->kill_timer)
		return;
	if (m->isolation->process_signal(m->init->process, SIGKILL, true, &err) && err.kind != ERR_NOT_FOUND)
		log_warn("kill: %s", err.msg);
	if (m->state == LIFE_PAUSED && m->isolation->container_freeze(m->container, false, &err))
		log_warn("thaw: %s", err.msg);
	m->kill_timer = loop_timer(m->loop, KILL_MS, kill_expired, m, &err);
	if (!m->kill_timer)
		monitor_lost(m, &err);
}

/* --- what the isolation and the sessions tell ------------------------------------------------------------------- */

static bool process_exited(struct monitor *m, struct process *p, int exit_code)
{
	struct err why;

	if (m->init && m->init->process == p) {
		if (m->state == LIFE_CREATED) {
			err_set(&why, ERR_SYSTEM, 0, "init ended before it was started (code %d)", exit_code);
			monitor_failed(m, &why);
		} else {
			session_exited(m->init, exit_code);
		}
		return true;
	}
	for (struct session *s = m->execs; s; s = s->next)
		if (s->process == p) {
			session_exited(s, exit_code);
			return true;
		}
	return false;
}

/* The sandbox tells its owner of all that are in it. */
static void on_process_exited(void *arg, struct process *p, int exit_code)
{
	struct monitor *m = arg, *j = m->joined;

	if (process_exited(m, p, exit_code))
		return;
	while (j && !process_exited(j, p, exit_code))
		j = j->next_joined;
}

static void on_oom(void *arg, struct container *c)
{
	struct monitor *m = arg;
	autojson *event = json_pack("{s:s}", "event", "oom");

	for (struct monitor *j = m->joined; j; j = j->next_joined)
		if (j->container == c)
			m = j;
	if (m->state == LIFE_STOPPED)
		return;
	m->oom_killed = true;
	peers_push(&m->peers, event);
}

static void on_sandbox_lost(void *arg, const struct err *why)
{
	struct monitor *m = arg;

	joined_lost(m, why);
	monitor_lost(m, why);
}

void monitor_events_init(struct monitor *m, struct isolation_events *ev)
{
	*ev = (struct isolation_events){
		.arg = m, .process_exited = on_process_exited, .oom = on_oom, .sandbox_lost = on_sandbox_lost
	};
}

static void on_attach_closed(void *arg, struct session *s, bool detached)
{
	struct monitor *m = arg;

	struct err err;

	/* Nobody is left who would take the files, or send them. */
	if (s->is_files && s->process && !s->exited && m->isolation->process_signal(s->process, SIGKILL, false, &err) &&
	    err.kind != ERR_NOT_FOUND)
		log_warn("%s: %s", s->id, err.msg);
	if (m->state == LIFE_STOPPED || s->is_files || (s->id && !detached))
		return;
	autojson *event = s->id ? json_pack("{s:s, s:s}", "event", "exec_detached", "id", s->id)
				: json_pack("{s:s, s:b}", "event", "attach_closed", "detached", detached);

	peers_push(&m->peers, event);
}

static void on_session_ended(void *arg, struct session *s)
{
	struct monitor *m = arg;
	autofree char *error = xstrdup(m->error);

	if (s == m->init)
		monitor_ended(m, s->exit_code, error);
	else
		exec_ended(m, s);
}

void monitor_session_owner(struct monitor *m, struct session_owner *owner)
{
	*owner = (struct session_owner){ .arg = m, .attach_closed = on_attach_closed, .ended = on_session_ended };
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static void on_stop(void *arg, uint32_t events unused_arg)
{
	struct monitor *m = arg;

	/* Once is enough: the signal stays pending for whoever reads the descriptor. */
	loop_remove(&m->stop_io);
	monitor_shutdown(m);
}

static void on_nobody_came(void *arg, uint32_t events unused_arg)
{
	struct monitor *m = arg;

	m->orphan_timer = NULL;
	if (!m->peers.seen && (m->state == LIFE_CREATED || m->failure.kind))
		monitor_shutdown(m);
}

static void on_trim(void *arg, uint32_t events unused_arg)
{
	struct monitor *m = arg;

	m->trim_timer = NULL;
	m->trim = true;
}

/* Before waiting: give memory back when it has been quiet for a while, else look again in a while. */
static void trim_when_quiet(struct monitor *m)
{
	if (m->trim)
		memory_trim();
	else if (!m->trim_timer)
		m->trim_timer = loop_timer(m->loop, TRIM_MS, on_trim, m, NULL);
	m->trim = false;
}

static void on_flush_expired(void *arg, uint32_t events unused_arg)
{
	struct monitor *m = arg;

	m->flush_timer = NULL;
	m->flushed = true;
}

int monitor_open(struct monitor *m, const struct monitor_options *o, struct err *e)
{
	int listener = o->listener;

	m->o = *o;
	m->peers = (struct peers){ .listener = -1, .arg = m, .request = monitor_request };
	m->loop = o->loop ? o->loop : loop_new(e);
	if (!m->loop) {
		close_fd(&listener);
		return -1;
	}
	if (peers_init(&m->peers, m->loop, listener, e))
		return -1;
	if (o->stop_fd >= 0) {
		m->stop_io = loop_add(m->loop, o->stop_fd, EPOLLIN, on_stop, m, e);
		if (!m->stop_io)
			return -1;
	}
	if (o->stand_in)
		return 0;
	m->orphan_timer = loop_timer(m->loop, ORPHAN_MS, on_nobody_came, m, e);
	return m->orphan_timer ? 0 : -1;
}

void monitor_close(struct monitor *m)
{
	/* The name first: nobody should find a monitor that doesn't answer. */
	if (m->o.socket_path)
		unlink(m->o.socket_path);
	for (size_t i = 0; m->o.stand_in && i < array_len(m->o.streams); i++)
		close_fd(&m->o.streams[i]);
	monitor_clean(m);
	stop_logging(m);
	session_free(m->init);
	execs_free(m);
	pipes_free(m->pipes);
	loop_remove(&m->stop_io);
	loop_remove(&m->orphan_timer);
	loop_remove(&m->kill_timer);
	loop_remove(&m->flush_timer);
	loop_remove(&m->trim_timer);
	peers_fini(&m->peers);
	if (m->bundle)
		bundle_free(m->bundle);
	if (!m->owner)
		loop_free(m->loop);
	free(m->exit_path);
	free(m->detach_keys);
	free(m);
}

void monitor_clean_once(struct monitor *m)
{
	struct err err;

	if (m->cleaned)
		return;
	m->cleaned = true;
	joined_clean(m);
	monitor_clean(m);
	m->flush_timer = loop_timer(m->loop, FLUSH_MS, on_flush_expired, m, &err);
	m->flushed = !m->flush_timer;
}

/* Between rounds of the loop nothing is inside a callback. */
bool monitor_round(struct monitor *m)
{
	bool clients = m->init && session_sweep(m->init);
	size_t n_peers = peers_sweep(&m->peers);

	clients |= execs_sweep(m);
	if (m->peers.let_go)
		monitor_shutdown(m);
	if (!m->o.stand_in && m->peers.seen && n_peers == 0 && (m->state == LIFE_CREATED || m->failure.kind))
		monitor_shutdown(m);
	if (m->over)
		monitor_clean_once(m);
	clients |= joined_round(m);
	return !(m->cleaned && !clients && (m->flushed || (peers_are_flushed(&m->peers) && !pipes_are_busy(m->pipes))));
}

int monitor_run(const struct monitor_options *o, struct err *e)
{
	struct monitor *m = xcalloc(1, sizeof(*m));
	struct err why;
	int rc = monitor_open(m, o, e);

	if (rc == 0 && monitor_launch(m, &why))
		monitor_failed(m, &why);
	while (rc == 0 && monitor_round(m)) {
		trim_when_quiet(m);
		rc = loop_once(m->loop, -1, e) < 0 ? -1 : 0;
	}
	if (o->exit_code)
		*o->exit_code = m->exit_code;
	joined_free_all(m);
	monitor_close(m);
	return rc;
}
