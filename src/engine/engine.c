/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening and closing the engine. */
#include "engine/engine.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "build/build.h"
#include "engine/build.h"
#include "engine/create.h"
#include "engine/health.h"
#include "engine/limits.h"
#include "engine/log_config.h"
#include "engine/pipes.h"
#include "engine/restart.h"
#include "engine/state.h"
#include "engine/windows.h"
#include "registry/registry.h"
#include "volume/volume.h"

/* An image is in use by every container made from it, running or not. */
static json_t *image_users(void *arg, const char *image_id)
{
	struct container **all = table_all(arg);
	json_t *users = json_array();

	for (size_t i = 0; all[i]; i++) {
		if (strcmp(all[i]->image_id, image_id) == 0)
			json_array_append_new(users,
					      json_pack("{s:s, s:b}", "id", all[i]->id, "running",
							all[i]->state == LIFE_RUNNING || all[i]->state == LIFE_PAUSED));
	}
	table_free_list(all);
	return users;
}

static void image_event(void *arg, const char *action, const char *id, const char *name)
{
	struct engine *g = arg;
	autojson *attributes = json_pack("{s:s}", "name", name ? name : id);

	engine_event(g, "image", action, id, attributes);
}

static int make_dirs(struct engine *g, struct err *e)
{
	static const struct {
		const char *name;
		mode_t mode;
	} dirs[] = { { "", 0711 }, { "containers", 0711 }, { "tmp", 0700 }, { "cache", 0700 } };
	autofree char *run = xasprintf("%s/containers", g->exec_root);

	for (size_t i = 0; i < array_len(dirs); i++) {
		autofree char *path = xasprintf("%s/%s", g->root, dirs[i].name);

		if (io_mkdir_all(path, dirs[i].mode, e) < 0)
			return -1;
	}
	if (io_mkdir_all(g->vm_dir, 0711, e) < 0)
		return -1;
	return io_mkdir_all(run, 0700, e) < 0 ? -1 : pipes_make_places(g, e);
}

/* The engine's own id, made once: GET /info, and what clients tell engines apart by. */
static int load_id(struct engine *g, struct err *e)
{
	autofree char *path = xasprintf("%s/engine-id", g->root);
	char hex[33];
	autostr text;

	str_init(&text, 256);
	if (io_read_file(AT_FDCWD, path, &text, e) == 0 && text.len >= 36) {
		snprintf(g->id, sizeof(g->id), "%.36s", text.s);
		return 0;
	}
	random_hex(hex, 16);
	snprintf(g->id, sizeof(g->id), "%.8s-%.4s-4%.3s-8%.3s-%.12s", hex, hex + 8, hex + 13, hex + 17, hex + 20);
	return io_write_file(AT_FDCWD, path, g->id, strlen(g->id), 0644, true, e);
}

static int open_registry(struct engine *g, struct err *e)
{
	autofree char *helper = xasprintf("%s/silo-registry", g->lib_dir);
	const struct registry_options o = {
		.helper_path = helper, .config = g->config, .images = g->images, .event = image_event, .event_arg = g,
		.windows_host = json_str(g->config, "windows-host-version", NULL)
	};

	g->registry = registry_open(&o, e);
	return g->registry ? 0 : -1;
}

static void open_builder(struct engine *g)
{
	const struct builder_options o = { .root = g->root,
					   .exec_root = g->exec_root,
					   .lib_dir = g->lib_dir,
					   .vm_dir = g->vm_dir,
					   .images = g->images,
					   .registry = g->registry };

	g->builder = builder_open(&o);
}

static int open_state(struct engine *g, struct err *e)
{
	autofree char *path = xasprintf("%s/state.db", g->root);
	autofree char *unpack = xasprintf("%s/silo-unpack", g->lib_dir);
	struct image_store_options images = { .root = g->root,
					      .unpack_path = unpack,
					      .event = image_event,
					      .event_arg = g,
					      .users = image_users,
					      .users_arg = g,
					      .windows_base = windows_base_for,
					      .windows_arg = g };

	g->db = db_open(path, e);
	if (!g->db || record_schema(g->db, e) < 0)
		return -1;
	g->images = image_store_open(&images, g->db, e);
	if (!g->images || open_registry(g, e) < 0)
		return -1;
	open_builder(g);
	g->volumes = volume_store_open(g->root, g->db, e);
	return g->volumes ? 0 : -1;
}

static int open_threads(struct engine *g, struct err *e)
{
	g->reaper = reaper_new(g, e);
	if (!g->reaper)
		return -1;
	g->restarter = restarter_new(g, e);
	if (!g->restarter)
		return -1;
	g->health = health_new(g, e);
	if (!g->health)
		return -1;
	g->watcher = watcher_new(g, e);
	if (!g->watcher)
		return -1;
	if (json_bool(g->config, "vm-standby", true)) {
		g->standby = standby_new(g, e);
		if (!g->standby)
			return -1;
	}
	g->preparer = preparer_new(g, e);
	return g->preparer ? 0 : -1;
}

static struct engine *engine_new(const struct engine_options *o, struct err *e)
{
	struct engine *g = xcalloc(1, sizeof(*g));
	const char *kernel = json_str(o->config, "guest-kernel", NULL);

	pthread_mutex_init(&g->lock, NULL);
	g->root = xstrdup(o->root);
	g->exec_root = xstrdup(o->exec_root);
	g->vm_dir = o->vm_dir ? xstrdup(o->vm_dir) : xasprintf("%s/vm", o->root);
	g->lib_dir = xstrdup(o->lib_dir);
	g->host_mounts = o->host_mounts;
	g->kernel_dir = kernel ? xstrdup(kernel) : NULL;
	g->config = json_incref((json_t *)(uintptr_t)o->config);
	g->events = events_new();
	g->client_machine = host_is_client_here();
	if (limits_check_config(g->config, e) < 0 || log_config_check_daemon(g->config, e) < 0) {
		engine_close(g);
		return NULL;
	}
	if (!o->isolation || !*o->isolation || strcmp(o->isolation, "default") == 0)
		return g;
	g->prefer_process = strcmp(o->isolation, "prefer-process") == 0;
	g->isolation = isolation_choose(g->prefer_process ? "process" : o->isolation, NULL, false, e);
	if (g->isolation)
		return g;
	engine_close(g);
	return NULL;
}

/* A host without a static busybox has no base image; everything else works. */
static void make_base(struct engine *g)
{
	static const char *const paths[] = { "/bin/busybox", "/usr/bin/busybox", "/usr/lib/silo/busybox" };
	struct err e = { 0 };
	size_t i;

	for (i = 0; i < array_len(paths) && access(paths[i], X_OK) < 0; i++)
		;
	if (i == array_len(paths))
		log_warn("silo/base isn't made: no busybox on this host (install the package busybox-static)");
	else if (image_make_base(g->images, paths[i], &e) < 0)
		log_warn("silo/base: %s", e.msg);
}

struct engine *engine_open(const struct engine_options *o, struct err *e)
{
	struct engine *g = engine_new(o, e);

	if (!g)
		return NULL;
	if (make_dirs(g, e) < 0 || load_id(g, e) < 0 || open_state(g, e) < 0 || networking_open(g, e) < 0 ||
	    open_threads(g, e) < 0 || recover_all(g, e) < 0) {
		engine_close(g);
		return NULL;
	}
	networking_recover(g);
	make_base(g);
	engine_build_sweep(g);
	return g;
}

void engine_close(struct engine *g)
{
	if (!g)
		return;
	g->closing = true;
	registry_stop(g->registry);
	builder_stop(g->builder);
	events_close(g->events);
	preparer_free(g->preparer);
	standby_free(g->standby);
	restarter_stop(g->restarter);
	health_free(g->health);
	watcher_free(g->watcher);
	restarter_free(g->restarter);
	reaper_free(g->reaper);
	networking_close(g);
	for (size_t i = 0; i < g->n_containers; i++)
		record_put(g->containers[i]);
	free(g->containers);
	volume_store_close(g->volumes);
	builder_close(g->builder);
	registry_close(g->registry);
	image_store_close(g->images);
	db_close(g->db);
	events_free(g->events);
	json_decref(g->config);
	pthread_mutex_destroy(&g->lock);
	free(g->root);
	free(g->exec_root);
	free(g->vm_dir);
	free(g->lib_dir);
	free(g->kernel_dir);
	free(g);
}

struct image_store *engine_images(struct engine *g)
{
	return g->images;
}

struct registry *engine_registry(struct engine *g)
{
	return g->registry;
}

void engine_event(struct engine *g, const char *type, const char *action, const char *id, const json_t *attributes)
{
	events_publish(g->events, type, action, id, attributes);
}

static bool later(struct timespec a, struct timespec b)
{
	return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

static struct timespec event_time(const json_t *event)
{
	int64_t nano = json_int(event, "timeNano", 0);

	return (struct timespec){ .tv_sec = nano / 1000000000, .tv_nsec = nano % 1000000000 };
}

int engine_events(struct engine *g, struct timespec since, struct timespec until, const json_t *filters, int client_fd,
		  int (*emit)(void *arg, const json_t *event), void *arg, struct err *e)
{
	uint64_t seq = since.tv_sec || since.tv_nsec ? events_since(g->events, since) : events_head(g->events);
	bool bounded = until.tv_sec || until.tv_nsec;

	if (events_check_filters(filters, e) < 0)
		return -1;
	while (!g->closing && !client_has_left(client_fd)) {
		bool past = bounded && later(time_now(), until);
		autojson *event = events_next(g->events, &seq, past ? 0 : 500);

		if (!event && past)
			break;
		if (!event)
			continue;
		if (bounded && later(event_time(event), until))
			break;
		if (events_match(event, filters) && emit(arg, event) != 0)
			break;
	}
	return 0;
}
