/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/container.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/step.h"

struct guest_container *guest_container_find(struct agent *a, const json_t *request, struct err *e)
{
	const char *id = json_str(request, "container", "");

	for (struct guest_container *g = a->containers; g; g = g->next)
		if (!strcmp(g->bundle->id, id))
			return g;
	err_set(e, ERR_NOT_FOUND, 0, "no container %s in this virtual machine", id);
	return NULL;
}

/* ---- events of isolation/process ---- */

static void on_process_exited(void *arg, struct process *p, int exit_code)
{
	struct guest_container *g = arg;

	for (struct guest_process *gp = g->processes; gp; gp = gp->next)
		if (gp->p == p) {
			guest_process_exited(gp, exit_code);
			return;
		}
}

static void on_oom(void *arg, struct container *c)
{
	struct guest_container *g = arg;
	autojson *body = json_pack("{s:s}", "container", g->bundle->id);

	channel_event(g->agent->channel, "oom", body);
}

/* ---- create ---- */

struct create {
	const json_t *request;
	json_t *config, *silo; /* copies that may be changed */
	struct guest_container *g;
	struct guest_streams streams;
	struct err plain; /* isolation/process's own words, which are the user's: no step's name in front */
};

static int create_disks(void *arg, struct err *e)
{
	struct create *c = arg;

	return disks_mount(c->g, c->silo, e);
}

static void undo_disks(void *arg)
{
	disks_unmount(((struct create *)arg)->g);
}

/* Whether the image has an /etc/machine-id. Looked up inside the image, whatever its symlinks say. */
static bool image_has_machine_id(const struct guest_container *g)
{
	autofree char *image = xasprintf("%s/image", g->dir);
	autoclose int root = open(image, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct open_how how = { .flags = O_PATH | O_CLOEXEC | O_NOFOLLOW, .resolve = RESOLVE_IN_ROOT };
	autoclose int fd = root < 0 ? -1 : (int)syscall(SYS_openat2, root, "etc/machine-id", &how, sizeof how);
	struct stat st;

	return fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode);
}

/* An image that brings a machine-id would have it in all its containers: each VM is a machine of its own. */
static int create_machine_id(void *arg, struct err *e)
{
	struct create *c = arg;
	json_t *files = json_object_get(c->silo, "files");
	autofree char *text = xasprintf("%s\n", c->g->agent->machine_id);

	if (!image_has_machine_id(c->g))
		return 0;
	if (!files) {
		files = json_array();
		json_object_set_new(c->silo, "files", files);
	}
	json_array_append_new(files, json_pack("{s:s, s:s}", "destination", "/etc/machine-id", "data", text));
	return 0;
}

static int create_devices(void *arg, struct err *e)
{
	struct create *c = arg;

	return devices_resolve(c->g, c->config, e);
}

static bool wants_shares(void *arg)
{
	return json_bool(((struct create *)arg)->request, "shares", false);
}

static int create_shares(void *arg, struct err *e)
{
	return agent_mount_shares(((struct create *)arg)->g->agent, e);
}

static int create_sockets(void *arg, struct err *e)
{
	struct create *c = arg;

	if (!agent_open_sockets(c->g->agent, c->g, json_object_get(c->request, "sockets"), e))
		return 0;
	agent_close_sockets(c->g->agent, c->g);
	return -1;
}

static void undo_sockets(void *arg)
{
	struct create *c = arg;

	agent_close_sockets(c->g->agent, c->g);
}

static int create_neighbours(void *arg, struct err *e)
{
	struct create *c = arg;

	return neighbours_resolve(c->g->agent, c->config, e);
}

static int create_bundle(void *arg, struct err *e)
{
	struct create *c = arg;

	c->g->bundle = bundle_new(c->config, c->silo, e);
	if (!c->g->bundle)
		return -1;
	c->config = c->silo = NULL; /* the bundle's now */
	return 0;
}

static void undo_bundle(void *arg)
{
	struct create *c = arg;

	bundle_free(take_ptr(&c->g->bundle));
}

static int create_sandbox(void *arg, struct err *e)
{
	struct guest_container *g = ((struct create *)arg)->g;
	const struct isolation_events events = { .arg = g, .process_exited = on_process_exited, .oom = on_oom };

	g->sandbox = isolation_process.sandbox_open(g->bundle, g->agent->loop, &events, e);
	return g->sandbox ? 0 : -1;
}

static void undo_sandbox(void *arg)
{
	isolation_process.sandbox_close(((struct create *)arg)->g->sandbox);
}

static int create_streams(void *arg, struct err *e)
{
	struct create *c = arg;

	return streams_prepare(c->request, &c->streams, e);
}

static void undo_streams(void *arg)
{
	streams_close(&((struct create *)arg)->streams);
}

static int create_container(void *arg, struct err *e)
{
	struct create *c = arg;
	struct guest_container *g = c->g;

	g->container = isolation_process.container_create(g->sandbox, g->bundle, &c->streams.io, e);
	c->streams.io.in = c->streams.io.out = c->streams.io.err = -1; /* taken in any case */
	if (g->container)
		return 0;
	c->plain = *e;
	return -1;
}

static void undo_container(void *arg)
{
	isolation_process.container_delete(((struct create *)arg)->g->container);
}

static int create_connect(void *arg, struct err *e)
{
	struct create *c = arg;
	struct guest_process *init =
		guest_process_new(c->g, c->request, isolation_process.container_init(c->g->container));

	init->is_init = true;
	if (!streams_connect(init, &c->streams, e))
		return 0;
	guest_process_free(init);
	return -1;
}

static const struct step create_steps[] = {
	/* name         wanted        run                undo */
	{ "shares",     wants_shares, create_shares,     NULL },
	{ "disks",      NULL,         create_disks,      undo_disks },
	{ "machine-id", NULL,         create_machine_id, NULL },
	{ "devices",    NULL,         create_devices,    NULL }, /* their disks go with the others */
	{ "sockets",    NULL,         create_sockets,    undo_sockets },
	{ "neighbours", NULL,         create_neighbours, NULL },
	{ "bundle",     NULL,         create_bundle,     undo_bundle },
	{ "sandbox",    NULL,         create_sandbox,    undo_sandbox },
	{ "streams",    NULL,         create_streams,    undo_streams },
	{ "container",  NULL,         create_container,  undo_container },
	{ "connect",    NULL,         create_connect,    NULL },
};

int op_create(struct agent *a, const json_t *request, json_t **answer, struct err *e)
{
	const char *id = json_str(json_object_get(request, "silo"), "id", "");
	struct create c = {
		.request = request,
		.config = json_deep_copy(json_object_get(request, "config")),
		.silo = json_deep_copy(json_object_get(request, "silo")),
		.g = xcalloc(1, sizeof *c.g),
	};
	struct err ignored;
	autojson *name = json_pack("{s:s}", "container", id);
	int rc;

	c.g->agent = a;
	c.g->dir = xasprintf(AGENT_RUN_DIR "/%s", id);
	if (!*id || strchr(id, '/') || *id == '.')
		rc = err_set(e, ERR_INVALID, 0, "container id \"%s\"", id);
	else if (guest_container_find(a, name, &ignored))
		rc = err_set(e, ERR_CONFLICT, 0, "container %s exists", id);
	else
		rc = steps_run(create_steps, array_len(create_steps), &c, NULL, e);
	json_decref(c.config);
	json_decref(c.silo);
	if (rc && c.plain.kind)
		*e = c.plain;
	if (rc) {
		free(c.g->dir);
		free(c.g);
		return -1;
	}
	c.g->next = a->containers;
	a->containers = c.g;
	*answer = json_pack("{s:i}", "pid", (int)isolation_process.process_pid(c.g->processes->p));
	return 0;
}

int op_delete(struct agent *a, const json_t *request, json_t **answer, struct err *e)
{
	struct guest_container *g = guest_container_find(a, request, e);

	if (!g)
		return -1;
	for (struct guest_container **p = &a->containers; *p; p = &(*p)->next)
		if (*p == g) {
			*p = g->next;
			break;
		}
	while (g->processes) {
		g->processes->p = NULL; /* execs go with the container */
		guest_process_free(g->processes);
	}
	isolation_process.container_delete(g->container);
	isolation_process.sandbox_close(g->sandbox);
	bundle_free(g->bundle);
	agent_close_sockets(a, g);
	disks_unmount(g);
	free(g->dir);
	free(g);
	return 0;
}

/* ---- what is handed through ---- */

int op_start(struct agent *a, const json_t *request, json_t **answer, struct err *e)
{
	struct guest_container *g = guest_container_find(a, request, e);

	return g ? isolation_process.container_start(g->container, e) : -1;
}

int op_freeze(struct agent *a, const json_t *request, json_t **answer, struct err *e)
{
	struct guest_container *g = guest_container_find(a, request, e);

	return g ? isolation_process.container_freeze(g->container, json_bool(request, "frozen", true), e) : -1;
}

int op_top(struct agent *a, const json_t *request, json_t **answer, struct err *e)
{
	struct guest_container *g = guest_container_find(a, request, e);
	autojson *none = json_array();
	const json_t *args = json_object_get(request, "args");

	if (!g)
		return -1;
	*answer = isolation_process.container_top(g->container, json_is_array(args) ? args : none, e);
	return *answer ? 0 : -1;
}

int op_stats(struct agent *a, const json_t *request, json_t **answer, struct err *e)
{
	struct guest_container *g = guest_container_find(a, request, e);
	struct sysinfo system_now;

	if (!g)
		return -1;
	*answer = isolation_process.container_stats(g->container, e);
	if (!*answer)
		return -1;
	/* Without a limit of its own a container is limited by the VM, not by the host. */
	if (!json_object_get(*answer, "memory_limit_bytes") && !sysinfo(&system_now))
		json_object_set_new(*answer, "memory_limit_bytes",
				    json_integer((json_int_t)system_now.totalram * system_now.mem_unit));
	return 0;
}

int op_update(struct agent *a, const json_t *request, json_t **answer, struct err *e)
{
	struct guest_container *g = guest_container_find(a, request, e);

	return g ? isolation_process.container_update(g->container, json_object_get(request, "resources"), e) : -1;
}

static int rewrite_file(int root, const char *path, const char *data)
{
	struct open_how how = { .flags = O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	autoclose int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return -1;
	if (!S_ISREG(st.st_mode)) {
		errno = EINVAL;
		return -1;
	}
	return ftruncate(fd, 0) || io_write_all(fd, data, strlen(data)) ? -1 : 0;
}

void container_rewrite_files(const struct guest_container *g, const json_t *files)
{
	pid_t pid = isolation_process.process_pid(isolation_process.container_init(g->container));
	autofree char *path = xasprintf("/proc/%d/root", (int)pid);
	autoclose int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const json_t *file;
	size_t i;

	json_array_foreach(files, i, file) {
		const char *destination = json_str(file, "destination", "");

		if (root < 0 || rewrite_file(root, destination, json_str(file, "data", "")))
			log_warn("%s: %s", destination, strerror(errno));
	}
}

/* ---- between requests ---- */

static bool is_known_pid(const struct agent *a, pid_t pid)
{
	for (const struct guest_container *g = a->containers; g; g = g->next)
		for (const struct guest_process *p = g->processes; p; p = p->next)
			if (p->p && isolation_process.process_pid(p->p) == pid)
				return true;
	return false;
}

/*
 * Reap orphans. Processes that isolation/process waits for must be left to it: the queue is looked at without taking.
 * One of those in front hides what is behind it until it has been reaped; the next sweep comes with its exit.
 */
static void reap_orphans(const struct agent *a)
{
	siginfo_t info = { 0 };

	while (!waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid && !is_known_pid(a, info.si_pid))
		waitid(P_PID, (id_t)info.si_pid, &info, WEXITED | WNOHANG);
}

static bool is_over(const struct guest_process *p)
{
	if (p->is_init || !p->told)
		return false;
	for (int i = 0; i < STREAM_COUNT; i++)
		if (p->streams[i] && !stream_ended(p->streams[i]))
			return false;
	return true;
}

void containers_sweep(struct agent *a)
{
	for (struct guest_container *g = a->containers; g; g = g->next)
		for (struct guest_process *p = g->processes, *next; p; p = next) {
			next = p->next;
			if (is_over(p))
				guest_process_free(p);
		}
	reap_orphans(a);
}
