/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What silod asks for: one table from `op` to the event of life that it is and to its handler. */
#include <signal.h>
#include <string.h>

#include "base/json.h"
#include "base/msg.h"
#include "base/own.h"
#include "monitor/core.h"

struct call {
	struct monitor *m;
	struct peer *peer;
	const json_t *body;
	int *fds; /* the handler may take them: -1 then */
	size_t n_fds;
	json_t *answer; /* NULL = {} */
	bool new_watch;
};

static json_t *state_json(const struct monitor *m)
{
	bool alive = m->state == LIFE_RUNNING || m->state == LIFE_PAUSED || m->state == LIFE_CREATED;
	int pid = alive && m->init && m->init->process ? (int)m->isolation->process_pid(m->init->process) : 0;
	int sandbox_pid = alive && m->sandbox ? (int)m->isolation->sandbox_pid(m->sandbox) : 0;
	/* A failed preparation is told by `start`: until then the container has been created, as far as silod knows. */
	const char *status = life_name(m->failure.kind ? LIFE_CREATED : m->state);

	return json_pack("{s:s, s:i, s:i, s:s, s:o}", "status", status, "pid", pid, "sandbox_pid", sandbox_pid,
			 "started_at", m->started_at, "execs", execs_json(m));
}

static int op_state(struct call *c, struct err *e)
{
	/* a runtime asks once, after preparation, and gives it up */
	if (c->m->o.stand_in && c->m->failure.kind) {
		*e = c->m->failure;
		return -1;
	}
	c->answer = state_json(c->m);
	return 0;
}

static int op_watch(struct call *c, struct err *e unused_arg)
{
	c->answer = state_json(c->m);
	c->peer->watches = c->new_watch = true;
	c->peer->holds = json_bool(c->body, "hold", false);
	return 0;
}

static int op_start(struct call *c, struct err *e)
{
	struct monitor *m = c->m;

	if (monitor_release(m, e)) {
		monitor_failed(m, e);
		m->over = true;
		return -1;
	}
	c->answer = json_pack("{s:i, s:i, s:s}", "pid", (int)m->isolation->process_pid(m->init->process), "sandbox_pid",
			      (int)m->isolation->sandbox_pid(m->sandbox), "started_at", m->started_at);
	return 0;
}

static int op_attach(struct call *c, struct err *e)
{
	struct attach_wants w = { 0 };

	if (c->n_fds < 1)
		return err_set(e, ERR_INVALID, 0, "attach: no descriptor came with the request");
	if (json_get_bool(c->body, "stdin", false, &w.in, e) || json_get_bool(c->body, "stdout", false, &w.out, e) ||
	    json_get_bool(c->body, "stderr", false, &w.err, e) ||
	    json_get_str(c->body, "detach_keys", NULL, &w.detach_keys, e))
		return -1;
	if (!w.detach_keys || !*w.detach_keys)
		w.detach_keys = c->m->detach_keys;
	return session_attach(c->m->init, take_fd(&c->fds[0]), &w, e);
}

static int op_exec(struct call *c, struct err *e)
{
	return exec_start(c->m, c->body, c->fds, c->n_fds, &c->answer, e);
}

/* The process that a request is about: an exec, or init. NULL with *e if there is none (any more). */
static struct process *call_process(struct call *c, struct err *e)
{
	const struct session *s = c->m->init;
	const char *exec;

	if (json_get_str(c->body, "exec", NULL, &exec, e))
		return NULL;
	if (exec)
		s = exec_find(c->m, exec);
	if (s && s->process && !s->exited)
		return s->process;
	if (exec)
		err_set(e, ERR_NOT_FOUND, 0, "exec %s is not running", exec);
	else
		err_set(e, ERR_CONFLICT, 0, "container %s is not running", c->m->id);
	return NULL;
}

static int op_signal(struct call *c, struct err *e)
{
	struct monitor *m = c->m;
	struct process *p;
	int64_t signo;
	bool all;

	if (json_get_int(c->body, "signal", 0, &signo, e) || json_get_bool(c->body, "all", false, &all, e))
		return -1;
	p = call_process(c, e);
	if (!p)
		return -1;
	if (signo < 0 || signo > SIGRTMAX)
		return err_set(e, ERR_INVALID, 0, "signal %lld is out of range", (long long)signo);
	if (m->isolation->process_signal(p, (int)signo, all, e))
		return -1;
	/* A frozen process dies when it is thawed. */
	if (signo != SIGKILL || m->state != LIFE_PAUSED || p != m->init->process)
		return 0;
	if (m->isolation->container_freeze(m->container, false, e))
		return -1;
	m->state = LIFE_RUNNING;
	return 0;
}

static int op_resize(struct call *c, struct err *e)
{
	struct process *p;
	int64_t rows, cols;

	if (json_get_int(c->body, "rows", 0, &rows, e) || json_get_int(c->body, "cols", 0, &cols, e))
		return -1;
	p = call_process(c, e);
	if (!p)
		return -1;
	if (rows < 0 || rows > UINT16_MAX || cols < 0 || cols > UINT16_MAX)
		return err_set(e, ERR_INVALID, 0, "invalid size %lldx%lld", (long long)cols, (long long)rows);
	return c->m->isolation->process_resize(p, (uint16_t)rows, (uint16_t)cols, e);
}

static int op_pause(struct call *c, struct err *e)
{
	return c->m->isolation->container_freeze(c->m->container, true, e);
}

static int op_resume(struct call *c, struct err *e)
{
	return c->m->isolation->container_freeze(c->m->container, false, e);
}

static int op_top(struct call *c, struct err *e)
{
	json_t *args;

	if (json_get_strings(c->body, "args", &args, e))
		return -1;
	c->answer = c->m->isolation->container_top(c->m->container, args, e);
	return c->answer ? 0 : -1;
}

static int op_stats(struct call *c, struct err *e)
{
	c->answer = c->m->isolation->container_stats(c->m->container, e);
	return c->answer ? 0 : -1;
}

static int op_update(struct call *c, struct err *e)
{
	json_t *resources;

	if (json_get_object(c->body, "resources", &resources, e))
		return -1;
	if (!resources)
		return err_set(e, ERR_INVALID, 0, "update: resources are missing");
	return c->m->isolation->container_update(c->m->container, resources, e);
}

static int op_network(struct call *c, struct err *e)
{
	struct monitor *m = c->m;
	json_t *network;

	if (json_get_object(c->body, "network", &network, e))
		return -1;
	if (!network)
		return err_set(e, ERR_INVALID, 0, "network: the description is missing");
	if (!m->isolation->sandbox_network)
		return err_set(e, ERR_UNSUPPORTED, 0, "the network of container %s isn't the monitor's to change",
			       m->id);
	return m->isolation->sandbox_network(m->sandbox, network, c->fds, c->n_fds, e);
}

static int op_join(struct call *c, struct err *e)
{
	return monitor_join(c->m, c->body, c->fds, c->n_fds, e);
}

static int op_shutdown(struct call *c, struct err *e unused_arg)
{
	monitor_shutdown(c->m);
	return 0;
}

static const struct op {
	const char *name;
	enum life_event event;
	bool even_failed; /* also of a container that couldn't be prepared */
	int (*run)(struct call *c, struct err *e);
} ops[] = {
	/* name        event         failed  handler */
	{ "start",     LIFE_START,   false,  op_start },
	{ "state",     LIFE_ASK,     true,   op_state },
	{ "watch",     LIFE_ASK,     true,   op_watch },
	{ "attach",    LIFE_ATTACH,  false,  op_attach },
	{ "exec",      LIFE_EXEC,    false,  op_exec },
	{ "files",     LIFE_UPDATE,  false,  op_exec },
	{ "signal",    LIFE_SIGNAL,  false,  op_signal },
	{ "resize",    LIFE_RESIZE,  false,  op_resize },
	{ "pause",     LIFE_PAUSE,   false,  op_pause },
	{ "resume",    LIFE_RESUME,  false,  op_resume },
	{ "top",       LIFE_MEASURE, false,  op_top },
	{ "stats",     LIFE_MEASURE, false,  op_stats },
	{ "update",    LIFE_UPDATE,  false,  op_update },
	{ "network",   LIFE_UPDATE,  false,  op_network },
	{ "join",      LIFE_EXEC,    false,  op_join },
	{ "shutdown",  LIFE_ASK,     true,   op_shutdown },
};

static const struct op *op_find(const char *name)
{
	for (size_t i = 0; i < array_len(ops); i++)
		if (strcmp(ops[i].name, name) == 0)
			return &ops[i];
	return NULL;
}

static int op_run(struct call *c, struct err *e)
{
	struct monitor *m = c->m;
	const char *name = json_str(c->body, "op", "");
	const struct op *op = op_find(name);
	enum life_state before = m->state, next;

	if (!op)
		return err_set(e, ERR_INVALID, 0, "unknown request %s", name);
	if (m->failure.kind && !op->even_failed) {
		*e = m->failure;
		m->over |= op->event == LIFE_START; /* told: that was all */
		return -1;
	}
	if (life_next(m->state, op->event, m->id, &next, e) || op->run(c, e))
		return -1;
	/* Unless the handler itself has moved on (shutdown, a kill that thaws). */
	if (m->state == before)
		m->state = next;
	return 0;
}

void monitor_request(void *arg, struct peer *p, const json_t *request, int *fds, size_t n_fds)
{
	struct call c = { .m = arg, .peer = p, .body = request, .fds = fds, .n_fds = n_fds };
	struct err err = { 0 };

	if (op_run(&c, &err) == 0 && !c.answer)
		c.answer = json_object();
	autojson *answer = c.answer ? c.answer : msg_error(&err);

	peer_send(p, answer);
	/* A watcher that comes after the end has missed the event. */
	if (c.new_watch && c.m->state == LIFE_STOPPED && *c.m->finished_at && !c.m->failure.kind) {
		autojson *event = monitor_exit_event(c.m);

		peer_send(p, event);
	}
}
