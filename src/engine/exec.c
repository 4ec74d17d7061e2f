/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* docker exec. The bodies live in memory only, as in Docker: execs don't outlive their container. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/body.h"
#include "engine/links.h"
#include "engine/spec.h"
#include "engine/state.h"
#include "monitor/client.h"

static int check_running(struct container *c, const char *ref, struct err *e)
{
	enum life to;

	return record_may_soon(c, ref, DO_EXEC, &to, e);
}

/* "sh -c ls" for the events exec_create and exec_start. */
static char *command_text(const json_t *cmd)
{
	json_t *entry;
	autostr text;
	size_t i;

	str_init(&text, 64 * KIB);
	json_array_foreach((json_t *)(uintptr_t)cmd, i, entry)
		str_printf(&text, "%s%s", i ? " " : "", json_string_value(entry));
	return str_take(&text);
}

static void exec_event(struct engine *g, struct container *c, const char *verb, struct exec *x)
{
	autofree char *command = command_text(json_object_get(x->body, "Cmd"));
	autofree char *action = xasprintf("%s: %.200s", verb, command);

	container_event(g, c, action, "execID", x->id, NULL);
}

/* ProcessConfig of GET /exec/{id}/json. */
static json_t *process_config(const json_t *body)
{
	json_t *cmd = json_object_get(body, "Cmd"), *arguments = json_copy(cmd), *out;

	json_array_remove(arguments, 0);
	out = json_pack("{s:b, s:O, s:o, s:b}", "tty", json_bool(body, "Tty", false), "entrypoint",
			json_array_get(cmd, 0), "arguments", arguments, "privileged",
			json_bool(body, "Privileged", false));
	if (*json_str(body, "User", ""))
		json_object_set(out, "user", json_object_get(body, "User"));
	return out;
}

/* The oldest ended ones are forgotten beyond a bound. c->lock held. An exec that runs, or was just made, stays. */
static void forget_old(struct container *c)
{
	struct exec **p = &c->execs;
	size_t ended = 0;

	while (*p) {
		struct exec *x = *p;

		ended += x->started && !x->running;
		if (x->started && !x->running && ended > EXECS_ENDED_MAX) {
			*p = x->next;
			exec_put(x);
		} else {
			p = &x->next;
		}
	}
}

json_t *engine_exec_create(struct engine *g, const char *ref, const json_t *body, struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	autojson *exec = c ? body_exec(body, e) : NULL;
	json_t *cmd = json_object_get(exec, "Cmd");
	struct exec *x;

	if (!exec || check_running(c, ref, e) < 0 || attach_check_keys(json_str(exec, "DetachKeys", ""), e) < 0)
		return NULL;
	if (json_array_size(cmd) == 0 || json_string_length(json_array_get(cmd, 0)) == 0) {
		err_set(e, ERR_INVALID, 0, "No exec command specified");
		return NULL;
	}
	x = xcalloc(1, sizeof(*x));
	atomic_init(&x->refs, 1);
	random_hex(x->id, 32);
	x->exit_code = -1;
	x->process = process_config(exec);
	x->body = take_ptr(&exec);
	exec_event(g, c, "exec_create", x);
	pthread_mutex_lock(&c->lock);
	forget_old(c);
	x->next = c->execs;
	c->execs = x;
	pthread_mutex_unlock(&c->lock);
	return json_pack("{s:s}", "Id", x->id);
}

int engine_exec_check(struct engine *g, const char *exec_id, bool *tty, struct err *e)
{
	autorecord *c = NULL;
	autoexec *x = table_find_exec(g, exec_id, &c, e);
	int rc = 0;

	if (!x || check_running(c, c->id, e) < 0)
		return -1;
	pthread_mutex_lock(&c->lock);
	*tty = json_bool(x->body, "Tty", false);
	if (x->started)
		rc = err_set(e, ERR_CONFLICT, 0,
			     x->running ? "exec command %s is already running" : "exec command %s has already run",
			     exec_id);
	pthread_mutex_unlock(&c->lock);
	return rc;
}

/* Only one caller gets to start it. */
static int claim(struct container *c, struct exec *x, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&c->lock);
	if (x->started)
		rc = err_set(e, ERR_CONFLICT, 0, "exec command %s is already running", x->id);
	x->started = x->running = true;
	pthread_mutex_unlock(&c->lock);
	return rc;
}

/* Docker's text and exit code of an exec that couldn't start. */
static void exec_failed(struct container *c, struct exec *x, struct err *e)
{
	bool users_fault = e->kind == ERR_NO_COMMAND || e->kind == ERR_NOT_EXECUTABLE;

	pthread_mutex_lock(&c->lock);
	x->running = false;
	x->exit_code = e->kind == ERR_NO_COMMAND ? 127 : 126;
	pthread_mutex_unlock(&c->lock);
	if (!users_fault)
		return;
	err_prefix(e, "OCI runtime exec failed: exec failed: unable to start container process");
	if (strlen(e->msg) + sizeof(": unknown") < sizeof(e->msg))
		strcat(e->msg, ": unknown");
}

static json_t *exec_process(struct engine *g, struct container *c, struct exec *x, struct err *e)
{
	autojson *config = record_config(c);
	autojson *host = record_host(c);
	char name[65];
	struct spec_input in = { .id = c->id,
				 .hostname = name,
				 .config = config,
				 .host = host,
				 .hyperv = strcmp(c->isolation, "hyperv") == 0 };

	autojson *links = links_env(g, c);

	in.links = links;
	container_hostname(c, config, name);
	return spec_exec_process(&in, x->body, e);
}

/* [height, width] of the start request, or else of the create request. */
static void console_size(const json_t *start, const json_t *create, struct monitor_exec *out)
{
	json_t *size = json_member(start, "ConsoleSize");

	if (json_array_size(size) != 2)
		size = json_object_get(create, "ConsoleSize");
	if (json_array_size(size) == 2) {
		out->rows = (int)json_integer_value(json_array_get(size, 0));
		out->cols = (int)json_integer_value(json_array_get(size, 1));
	}
}

int engine_exec_start(struct engine *g, const char *exec_id, const json_t *body, int client_fd, struct err *e)
{
	autoclose int client = client_fd;
	autorecord *c = NULL;
	autoexec *x = table_find_exec(g, exec_id, &c, e);

	if (!x || check_running(c, c->id, e) < 0 || claim(c, x, e) < 0)
		return -1;
	autofree char *dir = path_run(g, c->id, NULL);
	autojson *process = exec_process(g, c, x, e);
	struct monitor_streams s = { .in = json_bool(x->body, "AttachStdin", false),
				     .out = json_bool(x->body, "AttachStdout", false),
				     .err = json_bool(x->body, "AttachStderr", false),
				     .detach_keys = json_str(x->body, "DetachKeys", NULL),
				     .client = client };
	struct monitor_exec m = { .id = x->id,
				  .process = process,
				  .tty = json_bool(x->body, "Tty", false),
				  .streams = client >= 0 ? &s : NULL };
	pid_t pid;

	console_size(body, x->body, &m);
	exec_event(g, c, "exec_start", x);
	pid = process ? monitor_exec(dir, &m, e) : -1;
	if (pid < 0) {
		exec_failed(c, x, e);
		return -1;
	}
	pthread_mutex_lock(&c->lock);
	x->pid = pid;
	pthread_mutex_unlock(&c->lock);
	return 0;
}

int engine_exec_resize(struct engine *g, const char *exec_id, int rows, int cols, struct err *e)
{
	autorecord *c = NULL;
	autoexec *x = table_find_exec(g, exec_id, &c, e);
	autofree char *dir = x ? path_run(g, c->id, NULL) : NULL;
	bool running;

	if (!x)
		return -1;
	pthread_mutex_lock(&c->lock);
	running = x->running;
	pthread_mutex_unlock(&c->lock);
	if (!running)
		return err_set(e, ERR_CONFLICT, 0, "exec %s is not running", exec_id);
	return monitor_resize(dir, exec_id, rows, cols, e);
}

/*
 * The client's stream may end a moment before the exec's exit event is handled here, and the CLI asks at once: then the
 * monitor knows.
 */
static void refresh(struct engine *g, struct container *c, struct exec *x)
{
	autofree char *dir = path_run(g, c->id, NULL);
	autojson *state = monitor_state(dir, NULL);
	json_t *entry;
	size_t i;

	if (!state) { /* the monitor is gone, and so is the exec; its own event, if one comes still, knows better */
		pthread_mutex_lock(&c->lock);
		if (x->running) {
			x->running = false;
			x->exit_code = 128 + SIGKILL;
		}
		pthread_mutex_unlock(&c->lock);
		return;
	}
	json_array_foreach(json_object_get(state, "execs"), i, entry) {
		if (strcmp(json_str(entry, "id", ""), x->id) != 0 || json_bool(entry, "running", true))
			continue;
		pthread_mutex_lock(&c->lock);
		x->running = false;
		x->exit_code = (int)json_int(entry, "exit_code", 0);
		pthread_mutex_unlock(&c->lock);
	}
}

json_t *engine_exec_inspect(struct engine *g, const char *exec_id, struct err *e)
{
	autorecord *c = NULL;
	autoexec *x = table_find_exec(g, exec_id, &c, e);
	json_t *out;
	bool ask;

	if (!x)
		return NULL;
	pthread_mutex_lock(&c->lock);
	ask = x->running && x->pid;
	pthread_mutex_unlock(&c->lock);
	if (ask)
		refresh(g, c, x);
	pthread_mutex_lock(&c->lock);
	out = json_pack("{s:s, s:b, s:o, s:O, s:b, s:b, s:b, s:b, s:s, s:s, s:i}", "ID", x->id, "Running", x->running,
			"ExitCode", x->started && !x->running ? json_integer((unsigned)x->exit_code) : json_null(),
			"ProcessConfig", x->process, "OpenStdin", json_bool(x->body, "AttachStdin", false),
			"OpenStderr", json_bool(x->body, "AttachStderr", false), "OpenStdout",
			json_bool(x->body, "AttachStdout", false), "CanRemove", x->started && !x->running,
			"ContainerID", c->id, "DetachKeys", json_str(x->body, "DetachKeys", ""), "Pid",
			x->running ? (int)x->pid : 0);
	pthread_mutex_unlock(&c->lock);
	return out;
}
