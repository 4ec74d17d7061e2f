/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * After a restart of the daemon (or of the machine): the records are read back, living monitors are found by their
 * sockets, containers whose monitor died are settled, and what has no record is deleted.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/health.h"
#include "engine/mount_points.h"
#include "engine/restart.h"
#include "engine/state.h"
#include "monitor/client.h"

/* Execs that still run: their bodies were the old daemon's and are gone with it. */
static void recover_execs(struct container *c, const json_t *list)
{
	json_t *entry;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, entry) {
		struct exec *x = xcalloc(1, sizeof(*x));

		atomic_init(&x->refs, 1);
		snprintf(x->id, sizeof(x->id), "%s", json_str(entry, "id", ""));
		x->pid = (pid_t)json_int(entry, "pid", 0);
		x->started = true;
		x->running = json_bool(entry, "running", false);
		x->exit_code = (int)json_int(entry, "exit_code", -1);
		x->body = json_object();
		x->process =
			json_pack("{s:b, s:s, s:[], s:b}", "tty", 0, "entrypoint", "", "arguments", "privileged", 0);
		x->next = c->execs;
		c->execs = x;
	}
}

/* What the monitor says wins over what the database remembers. */
static void take_state(struct engine *g, struct container *c, const json_t *state)
{
	enum life now = lifecycle_parse(json_str(state, "status", ""));

	if (now != LIFE_RUNNING && now != LIFE_PAUSED)
		now = LIFE_RUNNING; /* it has ended: its exit event is on the way */
	pthread_mutex_lock(&c->lock);
	c->state = now;
	c->monitor_alive = true;
	c->pid = (pid_t)json_int(state, "pid", 0);
	c->sandbox_pid = (pid_t)json_int(state, "sandbox_pid", 0);
	snprintf(c->started_at, sizeof(c->started_at), "%s", json_str(state, "started_at", ""));
	recover_execs(c, json_object_get(state, "execs"));
	record_save_state(g->db, c, NULL);
	pthread_mutex_unlock(&c->lock);
}

/* It was prepared only, to be started or for its files, and perhaps ends already: it has never run. */
static bool was_parked(const struct container *c, const json_t *state)
{
	bool ran = c->state == LIFE_RUNNING || c->state == LIFE_PAUSED;
	const char *status = json_str(state, "status", "");

	return !strcmp(status, "created") ||
	       (!ran && !strcmp(status, "stopped") && !*json_str(state, "started_at", ""));
}

static void recover_one(struct engine *g, struct container *c)
{
	autofree char *dir = path_run(g, c->id, NULL);
	autojson *state = NULL;
	int sock = monitor_watch(dir, &state, NULL);
	bool ran = c->state == LIFE_RUNNING || c->state == LIFE_PAUSED;
	struct err e = { 0 };

	if (sock >= 0 && was_parked(c, state)) {
		/* The old daemon died before the start: not started, and its monitor ends with this connection. */
		pthread_mutex_lock(&c->lock);
		c->monitor_alive = true;
		pthread_mutex_unlock(&c->lock);
		if (monitor_end(dir, &e) < 0)
			log_warn("container %.12s: %s", c->id, e.msg);
	} else if (sock >= 0) {
		take_state(g, c, state);
		mounts_adopt(g, c, c->sandbox_pid ? c->sandbox_pid : c->pid);
		health_watch(g, c, false);
	}
	if (sock >= 0 && watcher_add(g->watcher, c, sock, -1, &e) < 0)
		log_error("container %.12s: %s", c->id, e.msg);
	if (sock < 0 && ran)
		settle_monitor_gone(g, c);
	else if (sock < 0 && json_bool(c->host, "AutoRemove", false) && c->state == LIFE_EXITED &&
		 settle_remove(g, c, &e) < 0)
		log_error("container %.12s: %s", c->id, e.msg);
}

/* --- what has no record ------------------------------------------------------------------------------------------------ */

static bool is_id(const char *name)
{
	return strlen(name) == ENGINE_ID_MAX - 1 && str_is_hex(name, ENGINE_ID_MAX - 1);
}

static bool has_record(struct engine *g, const char *id)
{
	autorecord *c = table_find(g, id, NULL);

	return c != NULL;
}

static void drop_data(struct engine *g, const char *id)
{
	autofree char *dir = path_data(g, id, NULL);
	autofree char *aside = xasprintf("%s/tmp/removed-%s", g->root, id);

	if (rename(dir, aside) < 0)
		log_warn("rename %s: %s", dir, strerror(errno));
	reaper_add(g->reaper, id);
}

static void drop_bundle(struct engine *g, const char *id)
{
	autofree char *dir = path_run(g, id, NULL);

	if (monitor_end(dir, NULL) < 0) /* none alive: then nobody else cleans up */
		clean_leftovers(g, id);
	reaper_add(g->reaper, id);
}

static void drop_removed(struct engine *g, const char *name)
{
	if (str_starts(name, "removed-") && is_id(name + strlen("removed-")))
		reaper_add(g->reaper, name + strlen("removed-"));
}

static void drop_data_unknown(struct engine *g, const char *name)
{
	if (is_id(name) && !has_record(g, name))
		drop_data(g, name);
}

static void drop_bundle_unknown(struct engine *g, const char *name)
{
	if (is_id(name) && !has_record(g, name))
		drop_bundle(g, name);
}

static void each_entry(struct engine *g, const char *root, const char *sub,
		       void (*fn)(struct engine *g, const char *name))
{
	autofree char *path = xasprintf("%s/%s", root, sub);
	DIR *d = opendir(path);
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		fn(g, entry->d_name);
	if (d)
		closedir(d);
}

static int load_records(struct engine *g, struct err *e)
{
	autojson *rows = record_rows(g->db, e);
	json_t *row;
	size_t i;

	if (!rows)
		return -1;
	json_array_foreach(rows, i, row) {
		autorecord *c = record_parse(row, e);

		if (!c || table_add(g, c, e) < 0)
			return -1;
	}
	return 0;
}

int recover_all(struct engine *g, struct err *e)
{
	struct container **all;

	if (load_records(g, e) < 0)
		return -1;
	each_entry(g, g->root, "tmp", drop_removed);
	each_entry(g, g->root, "containers", drop_data_unknown);
	each_entry(g, g->exec_root, "containers", drop_bundle_unknown);
	all = table_all(g);
	for (size_t i = 0; all[i]; i++)
		recover_one(g, all[i]);
	for (size_t i = 0; all[i]; i++)
		restart_at_open(g, all[i]);
	table_free_list(all);
	return 0;
}
