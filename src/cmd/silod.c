/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* silod - the engine: Docker Engine API on unix sockets. Containers outlive it. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/config.h"
#include "api/daemon.h"
#include "api/route.h"
#include "api/server.h"
#include "base/log.h"
#include "base/own.h"
#include "base/step.h"
#include "engine/engine.h"
#include "os/cgroup.h"

#define EXIT_USAGE 125
#define STOP_SECONDS 10

struct daemon {
	struct config config;
	int root_lock, exec_lock;
	char *lib_dir;
	int host_mounts; /* the host's mount namespace */
	struct listeners listeners;
	struct engine *engine;
	struct server *server;
};

static int lock_state(void *arg, struct err *e)
{
	struct daemon *d = arg;

	if (geteuid())
		return err_set(e, ERR_FORBIDDEN, 0, "silod must be run by root");
	if ((d->root_lock = daemon_lock(d->config.root, e)) < 0)
		return -1;
	/* One directory may serve as both: a second lock of the same file would be refused. */
	if (strcmp(d->config.root, d->config.exec_root) == 0)
		return 0;
	return (d->exec_lock = daemon_lock(d->config.exec_root, e)) < 0 ? -1 : 0;
}

static int enter_namespace(void *arg, struct err *e)
{
	struct daemon *d = arg;

	return (d->lib_dir = private_ns_enter(d->config.exec_root, &d->host_mounts, e)) ? 0 : -1;
}

/* No reason to give up: only limits of containers depend on it. */
static int make_room(void *arg, struct err *e)
{
	if (cgroup_make_room(e) < 0)
		log_warn("containers can't have limits here: %s", e->msg);
	*e = (struct err){ 0 };
	return 0;
}

static int open_sockets(void *arg, struct err *e)
{
	struct daemon *d = arg;
	autofree char *fallback = xasprintf("%s/silo.sock", d->config.exec_root);

	return listeners_open(&d->listeners, d->config.hosts, d->config.n_hosts, fallback, e);
}

static int open_engine(void *arg, struct err *e)
{
	struct daemon *d = arg;
	const struct engine_options o = {
		.root = d->config.root,
		.exec_root = d->config.exec_root,
		.vm_dir = d->config.vm_dir,
		.lib_dir = d->lib_dir,
		.host_mounts = d->host_mounts,
		.isolation = d->config.isolation,
		.config = d->config.file,
	};

	return (d->engine = engine_open(&o, e)) ? 0 : -1;
}

static int start_server(void *arg, struct err *e)
{
	struct daemon *d = arg;

	return (d->server = server_start(d->engine, d->listeners.fd, d->listeners.n, e)) ? 0 : -1;
}

static const struct step start_steps[] = {
	/* name            wanted run              undo */
	{ "lock state",    NULL,  lock_state,      NULL },
	{ "namespace",     NULL,  enter_namespace, NULL },
	{ "cgroups",       NULL,  make_room,       NULL },
	{ "listen",        NULL,  open_sockets,    NULL },
	{ "engine",        NULL,  open_engine,     NULL },
	{ "server",        NULL,  start_server,    NULL },
};

static void give_up(int signo)
{
	_exit(0); /* what is on disk is whole at any moment */
}

static void stop(struct daemon *d)
{
	notify_manager("STOPPING=1");
	signal(SIGALRM, give_up);
	alarm(STOP_SECONDS);
	listeners_remove(&d->listeners);
	server_stop(d->server);
	engine_close(d->engine);
}

/* Returns the exit code. */
static int serve(struct daemon *d)
{
	struct err e = { 0 };
	sigset_t signals;
	int signo = 0;

	daemon_prepare(&signals);
	if (steps_run(start_steps, array_len(start_steps), d, NULL, &e) < 0) {
		log_error("%s", e.msg);
		return EXIT_FAILURE;
	}
	log_info("serving API " API_VERSION_MAX " with state in %s", d->config.root);
	notify_manager("READY=1");
	while (sigwait(&signals, &signo) == 0 && signo == SIGHUP)
		log_warn("reloading the configuration is not supported: restart silod, containers go on running");
	log_info("stopping on SIG%s", sigabbrev_np(signo));
	stop(d);
	return 0;
}

int main(int argc, char **argv)
{
	autofree struct daemon *d = xcalloc(1, sizeof(*d));
	struct err e = { 0 };
	int rc = 0;

	/* A thread per connection: an arena for each of them would keep what it has once used. */
	mallopt(M_ARENA_MAX, 2);
	log_init("silod", LOG_LEVEL_INFO);
	if (config_load(&d->config, argc, argv, &e) < 0) {
		fprintf(stderr, "silod: %s\nSee 'silod --help'.\n", e.msg);
		rc = EXIT_USAGE;
	} else if (d->config.help) {
		config_print_help(stdout);
	} else if (d->config.version) {
		printf("silod " SILO_VERSION ", Engine API " API_VERSION_MIN " to " API_VERSION_MAX "\n");
	} else {
		log_init("silod", config_log_level(&d->config));
		rc = serve(d);
	}
	free(d->lib_dir);
	config_fini(&d->config);
	return rc;
}
