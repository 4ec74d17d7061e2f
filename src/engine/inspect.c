/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GET /containers/{id}/json, and what lists share with it. */
#include "engine/inspect.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/create.h"
#include "engine/health.h"
#include "engine/links.h"
#include "engine/mount_points.h"
#include "engine/spec.h"
#include "windows/process.h"

#define NO_TIME "0001-01-01T00:00:00Z"

static const char *time_or_zero(const char *t)
{
	return *t ? t : NO_TIME;
}

/* c->lock held. */
static json_t *inspect_state(const struct container *c)
{
	bool restarting = c->state == LIFE_RESTARTING;
	bool running = c->state == LIFE_RUNNING || c->state == LIFE_PAUSED || restarting;

	return json_pack("{s:s, s:b, s:b, s:b, s:b, s:b, s:i, s:I, s:s, s:s, s:s}", "Status", lifecycle_name(c->state),
			 "Running", running, "Paused", c->state == LIFE_PAUSED, "Restarting", restarting, "OOMKilled",
			 c->oom_killed, "Dead", c->state == LIFE_DEAD, "Pid",
			 c->sandbox_pid ? (int)c->sandbox_pid : (int)c->pid, "ExitCode",
			 (json_int_t)(unsigned)c->exit_code, "Error", c->error ? c->error : "", "StartedAt",
			 time_or_zero(c->started_at), "FinishedAt", time_or_zero(c->finished_at));
}

json_t *inspect_mounts(const json_t *host)
{
	return mounts_shown(host);
}

static json_t *graph_driver(struct engine *g, struct container *c)
{
	autofree char *upper = path_data(g, c->id, "upper");
	autofree char *work = path_data(g, c->id, "work");
	autofree char *disk = path_data(g, c->id, "disk.ext4");

	if (strcmp(c->isolation, "hyperv") == 0)
		return json_pack("{s:{s:s}, s:s}", "Data", "Disk", disk, "Name", "overlay2");
	return json_pack("{s:{s:s, s:s}, s:s}", "Data", "UpperDir", upper, "WorkDir", work, "Name", "overlay2");
}

/* Path and Args as Docker splits them. */
static void set_command(json_t *out, const json_t *config)
{
	json_t *args = spec_args(config, NULL);
	json_t *first = json_incref(json_array_get(args, 0));

	json_array_remove(args, 0);
	json_object_set_new(out, "Path", first ? first : json_string(""));
	json_object_set_new(out, "Args", args ? args : json_array());
}

static void set_paths(struct engine *g, struct container *c, json_t *out, const json_t *host)
{
	static const struct {
		const char *key, *name;
	} paths[] = { { "ResolvConfPath", "resolv.conf" }, { "HostnamePath", "hostname" }, { "HostsPath", "hosts" } };
	bool in_json = strcmp(json_str(json_object_get(host, "LogConfig"), "Type", ""), "json-file") == 0;
	autofree char *log = in_json ? path_log(g, c->id) : xstrdup(""); /* the others' are nobody's business */

	for (size_t i = 0; i < array_len(paths); i++) {
		autofree char *path = path_data(g, c->id, paths[i].name);

		json_object_set_new(out, paths[i].key, json_string(path));
	}
	json_object_set_new(out, "LogPath", json_string(log));
}

/* Running execs; null when there are none. c->lock held. */
static json_t *exec_ids(const struct container *c)
{
	json_t *ids = json_array();

	for (const struct exec *x = c->execs; x; x = x->next) {
		if (x->running)
			json_array_append_new(ids, json_string(x->id));
	}
	if (json_array_size(ids) > 0)
		return ids;
	json_decref(ids);
	return json_null();
}

/* HostConfig as Docker shows it: with the lists that the container really got. */
static json_t *shown_host(const json_t *host)
{
	static const char *const lists[] = { "MaskedPaths", "ReadonlyPaths" };
	json_t *out = json_copy((json_t *)(uintptr_t)host);
	struct spec_input in = { .id = "", .hostname = "", .host = host };
	autojson *config = json_pack("{s:[s]}", "Cmd", "x");

	in.config = config;
	autojson *spec = spec_make(&in, NULL);
	json_t *linux_ = json_object_get(spec, "linux");

	json_object_del(out, MOUNT_POINTS);
	json_object_set(out, lists[0], json_object_get(linux_, "maskedPaths"));
	json_object_set(out, lists[1], json_object_get(linux_, "readonlyPaths"));
	return out;
}

json_t *engine_container_inspect(struct engine *g, const char *ref, bool size, struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	json_t *out;

	if (!c)
		return NULL;
	autojson *config = record_config(c);
	autojson *host = record_host(c);

	out = json_pack("{s:s, s:s}", "Id", c->id, "Created", c->created);
	set_command(out, config);
	pthread_mutex_lock(&c->lock);
	json_object_set_new(out, "State", inspect_state(c));
	if (c->health)
		json_object_set_new(json_object_get(out, "State"), "Health", json_deep_copy(c->health));
	json_object_set_new(out, "Name", json_sprintf("/%s", c->name));
	json_object_set_new(out, "RestartCount", json_integer(c->restart_count));
	json_object_set_new(out, "ExecIDs", exec_ids(c));
	pthread_mutex_unlock(&c->lock);
	json_object_set_new(out, "Image", json_string(c->image_id));
	set_paths(g, c, out, host);
	json_object_set_new(out, "Driver", json_string("overlay2"));
	json_object_set_new(out, "Platform", json_string(windows_is(config) ? "windows" : "linux"));
	json_object_set_new(out, "MountLabel", json_string(""));
	json_object_set_new(out, "ProcessLabel", json_string(""));
	json_object_set_new(out, "AppArmorProfile", json_string(""));
	json_object_set_new(out, "HostConfig", shown_host(host));
	autojson *links = links_shown(g, c);

	if (links)
		json_object_set(json_object_get(out, "HostConfig"), "Links", links);
	json_object_set_new(out, "GraphDriver", graph_driver(g, c));
	json_object_set_new(out, "Mounts", inspect_mounts(host));
	json_object_set_new(out, "Config", json_copy(config));
	json_object_del(json_object_get(out, "Config"), WINDOWS_KEY);
	json_object_set_new(out, "NetworkSettings", net_settings(g, c, config, host));
	if (size) {
		int64_t rw = container_size_rw(g, c);

		json_object_set_new(out, "SizeRw", json_integer(rw));
		json_object_set_new(out, "SizeRootFs", json_integer(rw + image_size(g, c->image_id)));
	}
	return out;
}

/* --- sizes ---------------------------------------------------------------------------------------------------------------- */

#define SIZE_DEPTH_MAX 200 /* levels of a writable layer that are counted */

int64_t container_size_rw(struct engine *g, struct container *c)
{
	autofree char *upper = path_data(g, c->id, "upper");
	autofree char *disk = path_data(g, c->id, "disk.ext4");
	struct stat st;

	if (strcmp(c->isolation, "hyperv") == 0) /* what the sparse disk takes; nobody looks inside */
		return stat(disk, &st) == 0 ? (int64_t)st.st_blocks * 512 : 0;
	return io_tree_bytes(open(upper, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), SIZE_DEPTH_MAX);
}

int64_t image_size(struct engine *g, const char *image_id)
{
	autojson *image = image_inspect(g->images, image_id, NULL);

	return json_int(image, "Size", 0);
}
