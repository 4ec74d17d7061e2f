/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The operations of the runtime-spec, and what runc's users expect beside them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "oci/hooks.h"
#include "os/pidfd.h"
#include "runtime/runtime.h"

static const struct mode *mode_of(const struct record *r)
{
	return r->hyperv ? &hyperv_mode : &process_mode;
}

/* poststop: after the end, whatever comes; what fails is told, not acted on. */
static void run_poststop(struct record *r)
{
	autojson *state = record_state(r, STATUS_STOPPED);
	struct err e;

	if (!record_config(r, &e) && hooks_run(r->config, "poststop", state, -1, &e))
		log_warn("%s", e.msg);
}

static void run_poststart(struct record *r)
{
	autojson *state = record_state(r, STATUS_RUNNING);
	struct err e;

	if (!record_config(r, &e) && hooks_run(r->config, "poststart", state, -1, &e))
		log_warn("%s", e.msg);
}

/* Sockets that were handed to us are the container's; its first process is 1. */
static void add_listen_env(json_t *config, int n)
{
	json_t *process = json_object_get(config, "process"), *env = json_object_get(process, "env");

	if (!n)
		return;
	if (!env) {
		env = json_array();
		json_object_set_new(process, "env", env);
	}
	json_array_append_new(env, json_sprintf("LISTEN_FDS=%d", n));
	json_array_append_new(env, json_string("LISTEN_PID=1"));
}

/* A record for this bundle; the directory is there. */
static struct record *prepare(const struct runtime *rt, const char *id, const struct launch_options *o, bool detach,
			      struct err *e)
{
	autofree char *dir = realpath(o->bundle ? o->bundle : ".", NULL);
	autojson *config = NULL;
	const char *isolation;
	struct record *r;

	if (!dir) {
		err_set(e, ERR_INVALID, errno, "bundle %s", o->bundle);
		return NULL;
	}
	if (record_check_id(id, e))
		return NULL;
	config = prepare_config(rt, dir, e);
	if (config)
		add_listen_env(config, o->listen_fds);
	isolation = config ? prepare_isolation(rt, config, e) : NULL;
	if (!isolation || console_check(o, json_bool(json_object_get(config, "process"), "terminal", false), detach, e))
		return NULL;
	r = record_new(rt, id, e);
	if (!r)
		return NULL;
	if (!prepare_record(rt, r, dir, isolation, json_incref(config), e))
		return r;
	record_remove(r);
	record_close(r);
	return NULL;
}

static int create(struct record *r, const struct launch_options *o, bool started, struct launched *l, struct err *e)
{
	const struct mode *m = mode_of(r);
	int holder = -1;
	int rc = scope_start(r, &holder, e) || m->create(r, o, started, l, e) ? -1 : 0;

	scope_release(&holder);
	if (rc) {
		run_poststop(r);
		record_remove(r);
		return -1;
	}
	if (!write_pid_file(o->pid_file, l->pid, e))
		return 0;
	m->destroy(r, l);
	run_poststop(r);
	record_remove(r);
	return -1;
}

int runtime_create(const struct runtime *rt, const char *id, const struct launch_options *o, struct err *e)
{
	struct record *r = prepare(rt, id, o, true, e);
	struct launched l;
	int rc;

	if (!r)
		return -1;
	rc = create(r, o, false, &l, e);
	if (!rc)
		mode_of(r)->leave(&l);
	record_close(r);
	return rc;
}

static int signal_container(void *arg, int signo)
{
	return pidfd_signal(*(const int *)arg, signo, NULL);
}

static void end(struct record *r, struct launched *l)
{
	mode_of(r)->destroy(r, l);
	run_poststop(r);
	record_remove(r);
}

static int run(struct record *r, const struct launch_options *o, int signals, struct err *e)
{
	struct launched l;
	int code;

	if (create(r, o, true, &l, e))
		return -1;
	if (mode_of(r)->start_created(r, &l, e)) {
		end(r, &l);
		return -1;
	}
	run_poststart(r);
	if (o->detach) {
		mode_of(r)->leave(&l);
		return 0;
	}
	const struct foreground f = { .pidfd = l.pidfd, .tty = l.tty, .signal = signal_container, .arg = &l.pidfd };

	close_fd(&r->dir_fd); /* the lock */
	foreground_run(&f, signals);
	code = mode_of(r)->wait(&l, e);
	if (o->keep)
		mode_of(r)->leave(&l);
	else
		end(r, &l);
	return code;
}

int runtime_run(const struct runtime *rt, const char *id, const struct launch_options *o, struct err *e)
{
	autoclose int signals = -1;
	struct record *r;
	int rc;

	if (!o->detach) {
		signals = foreground_begin(e);
		if (signals < 0)
			return -1;
	}
	r = prepare(rt, id, o, o->detach, e);
	rc = r ? run(r, o, signals, e) : -1;
	record_close(r);
	return rc;
}

int runtime_start(const struct runtime *rt, const char *id, struct err *e)
{
	struct record *r = record_open(rt, id, true, e);
	int rc = -1;

	if (!r)
		return -1;
	switch (record_status(r)) {
	case STATUS_CREATED:
		rc = mode_of(r)->start(r, e);
		if (!rc)
			run_poststart(r);
		break;
	case STATUS_RUNNING:
	case STATUS_PAUSED:
		err_set(e, ERR_CONFLICT, 0, "cannot start an already running container");
		break;
	case STATUS_STOPPED:
		err_set(e, ERR_CONFLICT, 0, "cannot start a container that has stopped");
		break;
	}
	record_close(r);
	return rc;
}

int runtime_exec(const struct runtime *rt, const char *id, const json_t *process, const struct launch_options *o,
		 struct err *e)
{
	struct record *r = record_open(rt, id, false, e);
	enum container_status s;
	int rc = -1;

	if (!r)
		return -1;
	s = record_status(r);
	if (s == STATUS_STOPPED)
		err_set(e, ERR_CONFLICT, 0, "cannot exec in a stopped container");
	else if (s == STATUS_PAUSED && o->ignore_paused && r->hyperv)
		err_set(e, ERR_UNSUPPORTED, 0, "--ignore-paused is not supported with hyperv isolation");
	else if (s == STATUS_PAUSED && !o->ignore_paused)
		err_set(e, ERR_CONFLICT, 0, "cannot exec in a paused container (use --ignore-paused to override)");
	else if (!console_check(o, json_bool(process, "terminal", false), o->detach, e))
		rc = mode_of(r)->exec(r, process, o, e);
	record_close(r);
	return rc;
}

int runtime_kill(const struct runtime *rt, const char *id, int signo, bool all, struct err *e)
{
	struct record *r = record_open(rt, id, false, e);
	int rc = -1;

	if (!r)
		return -1;
	/* what init has left behind in a shared pid namespace is reached with --all */
	if (record_status(r) == STATUS_STOPPED && !all)
		err_set(e, ERR_CONFLICT, 0, "container not running");
	else
		rc = mode_of(r)->kill(r, signo, all, e);
	record_close(r);
	return rc;
}

/* A directory without a state is what a killed create has left. */
static int remove_stump(const struct runtime *rt, const char *id, struct err *e)
{
	autofree char *dir = xasprintf("%s/%s", rt->root, id);

	return record_check_id(id, e) || io_remove_tree(AT_FDCWD, dir, e) ? -1 : 0;
}

int runtime_delete(const struct runtime *rt, const char *id, bool force, struct err *e)
{
	struct record *r = record_open(rt, id, true, e);
	enum container_status s;
	int rc;

	if (!r)
		return force && e->kind == ERR_NOT_FOUND ? remove_stump(rt, id, e) : -1;
	s = record_status(r);
	if (!force && s != STATUS_STOPPED && s != STATUS_CREATED) {
		record_close(r);
		return err_set(e, ERR_CONFLICT, 0, "cannot delete container %s that is not stopped: %s", id,
			       status_name(s));
	}
	rc = mode_of(r)->clean(r, e);
	if (!rc) {
		run_poststop(r);
		record_remove(r);
	}
	record_close(r);
	return rc;
}

int runtime_pause(const struct runtime *rt, const char *id, bool paused, struct err *e)
{
	struct record *r = record_open(rt, id, true, e);
	enum container_status s;
	int rc = -1;

	if (!r)
		return -1;
	s = record_status(r);
	if (paused ? s == STATUS_RUNNING || s == STATUS_CREATED : s == STATUS_PAUSED)
		rc = mode_of(r)->pause(r, paused, e);
	else
		err_set(e, ERR_CONFLICT, 0, paused ? "container not running" : "container not paused");
	record_close(r);
	return rc;
}

/* Records that are alive, for the commands below. */
static struct record *open_alive(const struct runtime *rt, const char *id, struct err *e)
{
	struct record *r = record_open(rt, id, false, e);

	if (!r || record_status(r) != STATUS_STOPPED)
		return r;
	record_close(r);
	err_set(e, ERR_CONFLICT, 0, "container not running");
	return NULL;
}

int runtime_update(const struct runtime *rt, const char *id, const json_t *resources, struct err *e)
{
	struct record *r = open_alive(rt, id, e);
	int rc = r && !scope_update(r, resources, e) ? mode_of(r)->update(r, resources, e) : -1;

	record_close(r);
	return rc;
}

json_t *runtime_pids(const struct runtime *rt, const char *id, struct err *e)
{
	struct record *r = record_open(rt, id, false, e);
	json_t *pids = NULL;

	if (r)
		pids = record_status(r) == STATUS_STOPPED ? json_array() : mode_of(r)->pids(r, e);

	record_close(r);
	return pids;
}

json_t *runtime_stats(const struct runtime *rt, const char *id, struct err *e)
{
	struct record *r = open_alive(rt, id, e);
	json_t *stats = r ? mode_of(r)->stats(r, e) : NULL;

	record_close(r);
	return stats;
}
