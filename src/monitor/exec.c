/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Further processes in the container. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "monitor/core.h"
#include "monitor/keys.h"

struct session *exec_find(struct monitor *m, const char *id)
{
	for (struct session *s = m->execs; s; s = s->next)
		if (strcmp(s->id, id) == 0)
			return s;
	return NULL;
}

static const struct exec_ended *exec_find_ended(const struct monitor *m, const char *id)
{
	for (const struct exec_ended *x = m->execs_ended; x; x = x->next)
		if (strcmp(x->id, id) == 0)
			return x;
	return NULL;
}

struct exec_request {
	const json_t *process;
	struct session_options options;
	struct attach_wants wants;
	bool has_client;
	bool direct; /* the descriptors are the process's own streams */
};

static int parse_size(const json_t *request, const char *key, uint16_t *out, struct err *e)
{
	int64_t v;

	if (json_get_int(request, key, 0, &v, e))
		return -1;
	if (v < 0 || v > UINT16_MAX)
		return err_set(e, ERR_INVALID, 0, "%s is out of range", key);
	*out = (uint16_t)v;
	return 0;
}

static int exec_parse(const struct monitor *m, const json_t *request, struct exec_request *r, struct err *e)
{
	struct session_options *o = &r->options;
	struct attach_wants *w = &r->wants;
	json_t *process;
	struct keys unused;

	if (json_get_str(request, "id", NULL, &o->id, e) || json_get_object(request, "process", &process, e) ||
	    json_get_bool(request, "tty", false, &o->tty, e) || parse_size(request, "rows", &o->rows, e) ||
	    parse_size(request, "cols", &o->cols, e) || json_get_bool(request, "stdin", false, &w->in, e) ||
	    json_get_bool(request, "stdout", false, &w->out, e) ||
	    json_get_bool(request, "stderr", false, &w->err, e) ||
	    json_get_str(request, "detach_keys", m->detach_keys, &w->detach_keys, e))
		return -1;
	if (!o->id || !*o->id || !process)
		return err_set(e, ERR_INVALID, 0, "exec: id and process are needed");
	/* Said before anything runs. */
	if (o->tty && w->detach_keys && *w->detach_keys && keys_parse(w->detach_keys, &unused, e))
		return -1;
	r->process = process;
	if (json_get_bool(request, "direct", false, &r->direct, e) ||
	    json_get_bool(request, "no_keys", false, &w->no_keys, e))
		return -1;
	if (r->direct)
		r->has_client = false;
	o->in = w->in && r->has_client;
	o->out = w->out && r->has_client;
	o->err = w->err && r->has_client;
	o->stdin_once = true; /* nobody can attach to an exec later */
	return 0;
}

static int exec_admit(struct monitor *m, const char *id, struct err *e)
{
	size_t n = 0;

	for (const struct session *s = m->execs; s; s = s->next)
		n++;
	if (n >= EXECS_MAX)
		return err_set(e, ERR_LIMIT, 0, "container %s has %zu execs already", m->id, n);
	if (exec_find(m, id) || exec_find_ended(m, id))
		return err_set(e, ERR_CONFLICT, 0, "exec %s exists already", id);
	return 0;
}

static int exec_spawn(struct monitor *m, const struct exec_request *r, struct session *s, struct process_io *io,
		      struct err *e)
{
	struct process *p = m->isolation->container_exec(m->container, r->process, io, e);

	if (!p)
		return -1;
	s->is_files = json_object_get(r->process, "files");
	s->next = m->execs;
	m->execs = s;
	return session_bind(s, p, io, e);
}

/* Those that are wanted, in their order. */
static int take_streams(const struct attach_wants *w, int *fds, size_t n_fds, struct process_io *io, struct err *e)
{
	const bool wanted[] = { w->in, w->out, w->err };
	int *const ends[] = { &io->in, &io->out, &io->err };
	size_t n = 0;

	for (size_t i = 0; i < array_len(wanted); i++) {
		if (wanted[i] && n == n_fds)
			return err_set(e, ERR_INVALID, 0, "exec: descriptors of its streams are missing");
		if (wanted[i])
			*ends[i] = take_fd(&fds[n++]);
	}
	return 0;
}

int exec_start(struct monitor *m, const json_t *request, int *fds, size_t n_fds, json_t **answer, struct err *e)
{
	struct exec_request r = { .has_client = n_fds > 0 };
	struct session_owner owner;
	struct process_io io;
	struct err late;

	if (exec_parse(m, request, &r, e) || exec_admit(m, r.options.id, e))
		return -1;
	monitor_session_owner(m, &owner);
	struct session *s = session_new(m->loop, &r.options, &owner, &io, e);

	if (!s)
		return -1;
	if (r.direct && take_streams(&r.wants, fds, n_fds, &io, e)) {
		session_free(s);
		return -1;
	}
	if (exec_spawn(m, &r, s, &io, e)) {
		if (!s->process)
			session_free(s);
		return -1;
	}
	/* Only now: after a failure the client is still silod's, which tells it why. */
	if (r.has_client && session_attach(s, take_fd(&fds[0]), &r.wants, &late))
		log_warn("exec %s: %s", s->id, late.msg);
	session_watch(s);
	*answer = json_pack("{s:i}", "pid", (int)m->isolation->process_pid(s->process));
	return 0;
}

void exec_ended(struct monitor *m, struct session *s)
{
	autojson *event = json_pack("{s:s, s:s, s:i}", "event", "exec_exit", "id", s->id, "exit_code", s->exit_code);

	/* First the exit code, then the end of the stream: whoever sees that asks for the code next. */
	peers_push(&m->peers, event);
	session_finish(s);
}

void execs_lost(struct monitor *m)
{
	for (struct session *s = m->execs; s; s = s->next)
		if (!s->over)
			session_lost(s, EXIT_LOST);
}

/* Many containers are probed by an exec every few seconds: keep little of each, and of a bounded number. */
static void exec_remember(struct monitor *m, const struct session *s)
{
	size_t n = strlen(s->id) + 1, kept = 0;
	struct exec_ended *x = xmalloc(sizeof(*x) + n);
	struct exec_ended **at;

	x->exit_code = s->exit_code;
	memcpy(x->id, s->id, n);
	x->next = m->execs_ended;
	m->execs_ended = x;
	for (at = &m->execs_ended; *at && kept < EXECS_ENDED_MAX; at = &(*at)->next)
		kept++;
	if (*at) {
		free(*at); /* only ever one too many: the last */
		*at = NULL;
	}
}

bool execs_sweep(struct monitor *m)
{
	bool clients = false;

	for (struct session **at = &m->execs; *at;) {
		struct session *s = *at;
		bool used = session_sweep(s);

		clients |= used;
		if (s->over && s->process) {
			m->isolation->process_free(s->process);
			s->process = NULL;
		}
		if (!s->over || used) {
			at = &s->next;
			continue;
		}
		*at = s->next;
		exec_remember(m, s);
		session_free(s);
		peers_retry(&m->peers);
	}
	return clients;
}

void execs_free(struct monitor *m)
{
	while (m->execs) {
		struct session *s = m->execs;

		m->execs = s->next;
		session_free(s);
	}
	while (m->execs_ended) {
		struct exec_ended *x = m->execs_ended;

		m->execs_ended = x->next;
		free(x);
	}
}

static json_t *exec_json(const char *id, int pid, bool running, int exit_code)
{
	return json_pack("{s:s, s:i, s:b, s:i}", "id", id, "pid", pid, "running", running, "exit_code", exit_code);
}

json_t *execs_json(const struct monitor *m)
{
	json_t *list = json_array();

	for (const struct session *s = m->execs; s; s = s->next) {
		int pid = !s->over && s->process ? (int)m->isolation->process_pid(s->process) : 0;

		json_array_append_new(list, exec_json(s->id, pid, !s->over, s->over ? s->exit_code : 0));
	}
	for (const struct exec_ended *x = m->execs_ended; x; x = x->next)
		json_array_append_new(list, exec_json(x->id, 0, false, x->exit_code));
	return list;
}
