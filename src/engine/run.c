/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Start of a container: bundle, monitor, waiting clients, go. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/step.h"
#include "base/str.h"
#include "engine/health.h"
#include "engine/limits.h"
#include "engine/mount_points.h"
#include "engine/namespaces.h"
#include "engine/pipes.h"
#include "engine/state.h"
#include "engine/template_use.h"
#include "monitor/client.h"

#define ENDING_TIMEOUT_MS 30000 /* until the monitor of the previous run has gone */

struct run {
	struct engine *g;
	struct container *c;
	char *dir;       /* the bundle */
	bool files_only; /* prepared for work on its files */
	struct net_setup net;
	struct joined joined;
	bool parking; /* only prepared */
	int pidfd, watch;
	json_t *started;
	struct err told; /* what the container's user did wrong, in words of their own */
};

/* What is wrong with the network is told in Docker's own words. */
static bool wants_network(void *arg)
{
	return !((struct run *)arg)->files_only;
}

static int run_network(void *arg, struct err *e)
{
	struct run *r = arg;

	/* One that may never be started takes no port from others. */
	if (net_start(r->g, r->c, &r->net, e) == 0) {
		if (r->parking || net_publish(r->g, r->c, e) == 0)
			return 0;
		net_release(r->g, r->c);
	}
	r->told = *e;
	return -1;
}

static void undo_network(void *arg)
{
	struct run *r = arg;

	net_release(r->g, r->c);
}

static int run_bundle(void *arg, struct err *e)
{
	struct run *r = arg;
	autofree char *old_exit = path_data(r->g, r->c->id, "exit.json");

	if (!r->files_only && unlink(old_exit) < 0 && errno != ENOENT)
		return err_set(e, ERR_SYSTEM, errno, "remove %s", old_exit);
	if (mounts_activate(r->g, r->c, e) < 0 || files_bundle(r->g, r->c, &r->net, r->files_only, e) < 0)
		return -1;
	if (namespaces_join(r->g, r->c, &r->joined, e) == 0)
		return 0;
	r->told = *e;
	return -1;
}

/* A hyperv container takes the machine that waits, if there is one. */
static bool take_standby(struct run *r)
{
	/* A machine that waits has been started without any device of the host, and for disks of the usual size. */
	bool fits = r->g->standby && strcmp(r->c->isolation, "hyperv") == 0 && !getenv("SILO_VM_COLD");
	autojson *host = record_host(r->c);
	int64_t disk_bytes;

	fits = fits && json_array_size(json_object_get(host, "Devices")) == 0;
	fits = fits && limits_disk_bytes(host, true, &disk_bytes, NULL) == 0 && disk_bytes <= (int64_t)VM_DISK_BYTES;
	autofree char *template = fits ? vm_template(r->g, host, NULL) : NULL;

	return template && standby_take(r->g->standby, template, r->dir, r->net.fd, &r->pidfd);
}

static int spawn_monitor(struct run *r, struct err *e)
{
	autofree char *program = xasprintf("%s/silo-monitor", r->g->lib_dir);
	struct monitor_process p;

	if (monitor_spawn(program, r->dir, r->net.fd, &p, e) < 0)
		return -1;
	r->pidfd = p.pidfd;
	return 0;
}

/* Its monitor is that of the machine. */
static int join_machine(struct run *r, struct err *e)
{
	autofree char *machine = path_run(r->g, r->net.machine, NULL);

	return monitor_spawn_joined(machine, r->dir, e);
}

static int run_spawn(void *arg, struct err *e)
{
	struct run *r = arg;

	if (*r->net.machine ? join_machine(r, e) : !take_standby(r) && spawn_monitor(r, e))
		return -1;
	pthread_mutex_lock(&r->c->lock);
	r->c->monitor_alive = true;
	pthread_mutex_unlock(&r->c->lock);
	return 0;
}

static int run_watch(void *arg, struct err *e)
{
	struct run *r = arg;

	r->watch = monitor_watch(r->dir, NULL, e);
	return r->watch < 0 ? -1 : 0;
}

/* The networks of a machine after its first one. */
static int run_networks(void *arg, struct err *e)
{
	struct run *r = arg;

	if (r->net.n_more == 0 || monitor_network(r->dir, r->net.guest, r->net.more, r->net.n_more, e) == 0)
		return 0;
	r->told = *e;
	if (monitor_end(r->dir, NULL) < 0)
		log_debug("container %.12s: has ended", r->c->id);
	return -1;
}

/* Clients that attached before: they must not miss the first byte. One that has left is no reason to fail. */
static int run_attach(void *arg, struct err *e unused_arg)
{
	struct run *r = arg;
	struct waiting_client *w, *next;

	pthread_mutex_lock(&r->c->lock);
	w = r->c->waiting;
	r->c->waiting = NULL;
	pthread_mutex_unlock(&r->c->lock);
	for (; w; w = next) {
		struct monitor_streams s = { w->in, w->out, w->err, w->detach_keys, w->fd };
		struct err ignored = { 0 };

		if (monitor_attach(r->dir, &s, &ignored) < 0)
			log_debug("container %.12s: attach: %s", r->c->id, ignored.msg);
		next = w->next;
		waiting_client_free(w);
	}
	return 0;
}

static int run_go(void *arg, struct err *e)
{
	struct run *r = arg;

	r->started = monitor_start(r->dir, e);
	r->told = *e;
	return r->started ? 0 : -1;
}

/* Until init is parked just before exec, and from there on. */
static const struct step prepare_steps[] = {
	/* name              wanted  run         undo: the monitor is told to end, below */
	{ "network",         wants_network, run_network, undo_network },
	{ "bundle",          NULL,   run_bundle, NULL },
	{ "start monitor",   NULL,   run_spawn,  NULL },
	{ "prepare",         NULL,   run_watch,  NULL },
	{ "networks",        NULL,   run_networks, NULL },
};

static const struct step go_steps[] = {
	{ "attach",          NULL,   run_attach, NULL },
	{ "start",           NULL,   run_go,     NULL },
};

static void set_running(struct run *r)
{
	struct container *c = r->c;

	pthread_mutex_lock(&c->lock);
	c->state = LIFE_RUNNING;
	c->pid = (pid_t)json_int(r->started, "pid", 0);
	c->sandbox_pid = (pid_t)json_int(r->started, "sandbox_pid", 0);
	snprintf(c->started_at, sizeof(c->started_at), "%s", json_str(r->started, "started_at", ""));
	c->exit_code = 0;
	c->oom_killed = false;
	c->stop_wanted = false;
	free(c->error);
	c->error = NULL;
	record_save_state(r->g->db, c, NULL);
	record_changed(c);
	pthread_mutex_unlock(&c->lock);
}

/* Docker's exit code and text for a start that failed. */
static void set_failed(struct run *r, struct err *e)
{
	struct container *c = r->c;
	bool users_fault = r->told.kind == ERR_NO_COMMAND || r->told.kind == ERR_NOT_EXECUTABLE;

	if (r->told.kind)
		*e = r->told;
	if (e->kind == ERR_NOT_FOUND || e->kind == ERR_CONFLICT) /* of the monitor, not of the container */
		e->kind = ERR_SYSTEM;
	if (users_fault)
		err_prefix(e, "failed to create task for container: failed to create shim task: OCI runtime create "
			      "failed: runc "
			      "create failed: unable to start container process");
	if (users_fault && strlen(e->msg) + sizeof(": unknown") < sizeof(e->msg))
		strcat(e->msg, ": unknown");
	pthread_mutex_lock(&c->lock);
	c->exit_code = e->kind == ERR_NO_COMMAND ? 127 : e->kind == ERR_NOT_EXECUTABLE ? 126 : 128;
	free(c->error);
	c->error = xstrdup(e->msg);
	record_save_state(r->g->db, c, NULL);
	record_changed(c);
	pthread_mutex_unlock(&c->lock);
}

/* Make a monitor of a failed start go, whatever it is doing. */
static void give_up(struct run *r)
{
	bool joined = *r->net.machine; /* no process of its own */

	if ((r->pidfd < 0 && !joined) || r->told.kind) /* one that has told its error ends by itself */
		return;
	if (((r->watch < 0 && !joined) || monitor_end(r->dir, NULL) < 0) && r->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, r->pidfd, SIGKILL, NULL, 0);
}

/* From here on the watcher owns the connection and the process. */
static void hand_over(struct run *r)
{
	struct err e = { 0 };

	if (r->pidfd < 0 && r->watch < 0) {
		/* One that has joined a machine, and couldn't be reached. */
		pthread_mutex_lock(&r->c->lock);
		if (*r->net.machine)
			r->c->monitor_alive = false;
		pthread_mutex_unlock(&r->c->lock);
		return;
	}
	if (watcher_add(r->g->watcher, r->c, take_fd(&r->watch), take_fd(&r->pidfd), &e) < 0)
		log_error("container %.12s: %s", r->c->id, e.msg);
}

static int wait_old_monitor(struct engine *g, struct container *c, struct err *e)
{
	bool gone;

	pthread_mutex_lock(&c->lock);
	gone = container_wait_for(g, c, container_no_monitor, NULL, ENDING_TIMEOUT_MS);
	pthread_mutex_unlock(&c->lock);
	return gone ? 0
		    : err_set(e, ERR_TIMEOUT, 0, "container %s: its previous run hasn't been cleaned up in time",
			      c->id);
}

static void run_init(struct run *r, struct engine *g, struct container *c)
{
	*r = (struct run){ .g = g, .c = c, .dir = path_run(g, c->id, NULL), .net.fd = -1, .pidfd = -1, .watch = -1 };
}

static void run_fini(struct run *r)
{
	hand_over(r);
	json_decref(r->started);
	net_setup_close(&r->net);
	namespaces_close(&r->joined);
	free(r->dir);
}

static int prepare(struct run *r, struct err *e)
{
	if (wait_old_monitor(r->g, r->c, e) < 0)
		return -1;
	return steps_run(prepare_steps, array_len(prepare_steps), r, NULL, e);
}

/* Go with the container that was prepared at create. False when there is none, or its monitor has died since. */
static bool start_parked(struct run *r, int *rc, struct err *e)
{
	struct container *c = r->c;

	if (c->parked.files_only)
		run_unpark(r->g, c);
	if (c->parked.pidfd < 0)
		return false;
	if (net_publish(r->g, c, e) < 0) {
		run_unpark(r->g, c);
		r->told = *e;
		*rc = -1;
		return true;
	}
	r->watch = take_fd(&c->parked.watch);
	r->pidfd = take_fd(&c->parked.pidfd);
	*rc = steps_run(go_steps, array_len(go_steps), r, NULL, e);
	if (*rc == 0 || r->told.kind != ERR_NOT_FOUND)
		return true;
	give_up(r);
	hand_over(r);
	r->told = (struct err){ 0 };
	return false;
}

static void want_standby(struct engine *g, struct container *c)
{
	autojson *host = record_host(c);

	standby_want(g->standby, host);
}

int run_start(struct engine *g, struct container *c, struct err *e)
{
	struct run r;
	int rc = -1;

	run_init(&r, g, c);
	if (!start_parked(&r, &rc, e)) {
		rc = prepare(&r, e);
		if (rc == 0)
			rc = steps_run(go_steps, array_len(go_steps), &r, NULL, e);
	}
	if (rc == 0) {
		net_started(g, c);
		mounts_event(g, c, "mount");
		set_running(&r);
		container_event(g, c, "start", NULL);
		if (g->standby && strcmp(c->isolation, "hyperv") == 0 && !*r.net.machine && !getenv("SILO_VM_COLD"))
			want_standby(g, c);
		health_watch(g, c, true);
	} else {
		give_up(&r);
		set_failed(&r, e);
	}
	run_fini(&r);
	return rc;
}

void run_park(struct engine *g, struct container *c)
{
	struct err e = { 0 };
	struct run r;
	autojson *host = record_host(c);
	bool wanted;

	/* Who it shares with, or is linked to, may be another run of that container by then; who serves a pipe, too. */
	if (namespaces_wanted(host) || pipes_wanted(host) || json_array_size(json_object_get(host, "Links")) > 0 ||
	    str_starts(json_str(host, "NetworkMode", ""), "container:"))
		return;
	pthread_mutex_lock(&c->lock);
	wanted = c->state == LIFE_CREATED && !c->removing && !c->removed && !c->monitor_alive && !g->closing;
	pthread_mutex_unlock(&c->lock);
	if (!wanted)
		return;
	run_init(&r, g, c);
	r.parking = true;
	if (prepare(&r, &e) == 0) {
		c->parked.watch = take_fd(&r.watch);
		c->parked.pidfd = take_fd(&r.pidfd);
	} else { /* start will try again, and say why */
		log_debug("container %.12s: prepare: %s", c->id, e.msg);
		give_up(&r);
	}
	run_fini(&r);
}

void run_unpark(struct engine *g, struct container *c)
{
	struct run r;

	if (c->parked.pidfd < 0)
		return;
	run_init(&r, g, c);
	r.watch = take_fd(&c->parked.watch);
	r.pidfd = take_fd(&c->parked.pidfd);
	c->parked.files_only = false;
	give_up(&r);
	net_release(g, c);
	run_fini(&r);
}

/* A monitor that was parked may have died since. */
static bool is_parked(const struct container *c)
{
	struct pollfd p = { .fd = c->parked.pidfd, .events = POLLIN };

	return c->parked.pidfd >= 0 && poll(&p, 1, 0) == 0;
}

int run_park_files(struct engine *g, struct container *c, struct err *e)
{
	struct run r;
	int rc;

	if (is_parked(c))
		return 0;
	run_unpark(g, c);
	run_init(&r, g, c);
	r.files_only = true;
	rc = prepare(&r, e);
	if (rc == 0) {
		c->parked.watch = take_fd(&r.watch);
		c->parked.pidfd = take_fd(&r.pidfd);
		c->parked.files_only = true;
	} else {
		give_up(&r);
	}
	run_fini(&r);
	return rc;
}

void run_linger(struct engine *g, struct container *c)
{
	if (c->parked.pidfd >= 0 && !preparer_linger(g->preparer, c))
		run_unpark(g, c);
}
