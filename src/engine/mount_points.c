/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a container mounts, over its life: found out at create, made, activated by a start, released. */
#include "engine/mount_points.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/pipes.h"
#include "engine/state.h"
#include "os/mount.h"
#include "os/root.h"
#include "volume/volume.h"
#include "windows/process.h"

#define MOUNTINFO_BYTES_MAX (16 * MIB)

static json_t *points_of(const json_t *host)
{
	return json_object_get(host, MOUNT_POINTS);
}

static bool is_type(const json_t *point, const char *type)
{
	return strcmp(json_str(point, "Type", ""), type) == 0;
}

/* --- the request -------------------------------------------------------------------------------------------------------- */

static ssize_t find_destination(const json_t *points, const char *destination)
{
	json_t *p;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)points, i, p) {
		if (strcmp(json_str(p, "Destination", ""), destination) == 0)
			return (ssize_t)i;
	}
	return -1;
}

/* Does --tmpfs lie there? */
static bool has_tmpfs(const json_t *host, const char *destination)
{
	const char *key;
	json_t *value;

	json_object_foreach(json_object_get(host, "Tmpfs"), key, value) {
		autofree char *clean = path_clean(key);

		if (strcmp(clean, destination) == 0)
			return true;
	}
	return false;
}

/* A point (taken, NULL = its parser has failed) of -v or --mount: instead of one from another container, never twice. */
static int add(struct container *c, json_t *points, json_t *seen, json_t *point, struct err *e)
{
	const char *destination = json_str(point, "Destination", "");
	ssize_t at;

	if (!point)
		return -1;
	if (json_object_get(seen, destination) || has_tmpfs(c->host, destination)) {
		err_set(e, ERR_INVALID, 0, "Duplicate mount point: %s", destination);
		json_decref(point);
		return -1;
	}
	json_object_set_new(seen, destination, json_true());
	at = find_destination(points, destination);
	if (at >= 0)
		json_array_remove(points, (size_t)at);
	json_array_append_new(points, point);
	return 0;
}

static int add_from_one(struct engine *g, const char *text, json_t *points, struct err *e)
{
	const char *colon = strchr(text, ':');
	autofree char *name = colon ? xstrndup(text, (size_t)(colon - text)) : xstrdup(text);
	const char *mode = colon ? colon + 1 : "";
	bool readonly = strcmp(mode, "ro") == 0;
	autorecord *other = NULL;
	json_t *p;
	size_t i;

	if (*mode && !readonly && strcmp(mode, "rw") != 0 && strcmp(mode, "z") != 0 && strcmp(mode, "Z") != 0)
		return err_set(e, ERR_INVALID, 0, "invalid mode: %s", mode);
	other = table_find(g, name, e);
	if (!other) {
		e->kind = ERR_INVALID; /* not a 404: clients would take that for a missing image, and pull */
		return -1;
	}
	autojson *host = record_host(other);

	json_array_foreach(points_of(host), i, p) {
		json_t *copy = json_deep_copy(p);
		ssize_t at = find_destination(points, json_str(p, "Destination", ""));

		/* Its image's files are in there by now, and it isn't this container's to remove. */
		json_object_set_new(copy, "nocopy", json_true());
		json_object_del(copy, "anonymous");
		if (readonly)
			json_object_set_new(copy, "RW", json_false());
		if (*mode)
			json_object_set_new(copy, "Mode", json_string(mode));
		if (at >= 0)
			json_array_remove(points, (size_t)at);
		json_array_append_new(points, copy);
	}
	return 0;
}

/* Destinations in a Windows container are paths of Windows. */
static json_t *parse_bind(const struct container *c, const char *text, const char *driver, struct err *e)
{
	autofree char *source = NULL, *target = NULL, *mode = NULL;

	if (windows_is(c->config) && windows_pipe_split(text, &source, &target, &mode))
		return pipe_bind(text, source, target, mode, e);
	autofree char *linux_text = windows_is(c->config) ? windows_bind(text, e) : xstrdup(text);

	return linux_text ? mount_parse_bind(linux_text, driver, e) : NULL;
}

static json_t *parse_mount(const struct container *c, const json_t *mount, struct err *e)
{
	autojson *copy = json_copy((json_t *)(uintptr_t)mount);
	const char *key = json_member(copy, "Target") && !json_object_get(copy, "Target") ? "target" : "Target";
	autofree char *target = NULL;

	if (windows_is(c->config) && strcmp(json_str(copy, "Type", ""), "npipe") == 0)
		return pipe_mount(copy, e);
	if (windows_is(c->config)) {
		target = windows_path(json_str(copy, key, ""), e);
		if (!target)
			return NULL;
		json_object_set_new(copy, key, json_string(target));
	}
	return mount_parse_spec(copy, e);
}

static int add_all(struct engine *g, struct container *c, json_t *points, struct err *e)
{
	const char *driver = json_str(c->host, "VolumeDriver", ""), *destination;
	autojson *seen = json_object();
	json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(c->host, "VolumesFrom"), i, entry) {
		if (add_from_one(g, json_string_value(entry), points, e) < 0)
			return -1;
	}
	json_array_foreach(json_object_get(c->host, "Binds"), i, entry) {
		if (add(c, points, seen, parse_bind(c, json_string_value(entry), driver, e), e) < 0)
			return -1;
	}
	json_array_foreach(json_object_get(c->host, "Mounts"), i, entry) {
		if (add(c, points, seen, parse_mount(c, entry, e), e) < 0)
			return -1;
	}
	json_object_foreach(json_object_get(c->config, "Volumes"), destination, entry) {
		autofree char *path = windows_is(c->config) ? windows_path(destination, e) : xstrdup(destination);

		if (!path)
			return -1;
		autofree char *clean = path_clean(path);

		if (strcmp(clean, "/") == 0)
			return err_set(e, ERR_INVALID, 0, "invalid volume specification: '%s'", destination);
		if (find_destination(points, clean) < 0 && !has_tmpfs(c->host, clean))
			json_array_append_new(points, mount_anonymous(clean, driver));
	}
	return 0;
}

int mounts_resolve(struct engine *g, struct container *c, struct err *e)
{
	bool hyperv = strcmp(c->isolation, "hyperv") == 0;
	autojson *points = json_array();
	json_t *p;
	size_t i;

	if (add_all(g, c, points, e) < 0)
		return -1;
	json_array_foreach(points, i, p) {
		const char *propagation = json_str(p, "Propagation", "");

		if (is_type(p, "volume") && strcmp(json_str(p, "Driver", ""), "local") != 0)
			return err_set(e, ERR_INVALID, 0,
				       "error looking up volume plugin %.100s: plugin \"%.100s\" not found",
				       json_str(p, "Driver", ""), json_str(p, "Driver", ""));
		if (hyperv && *propagation && !str_ends(propagation, "private"))
			return err_set(
				e, ERR_UNSUPPORTED, 0,
				"bind propagation \"%s\" can't reach into a virtual machine (--isolation=hyperv)",
				propagation);
		if (is_type(p, "volume")) {
			autofree char *path = volume_path(g->volumes, json_str(p, "Name", ""));

			json_object_set_new(p, "Source", json_string(path));
		}
	}
	json_object_set(c->host, MOUNT_POINTS, points);
	return 0;
}

/* --- propagation ---------------------------------------------------------------------------------------------------------- */

/* The mount that path lies on: its line of mountinfo in *line (borrowed from info) and its mount point. */
static const char *mount_line(struct str *info, const char *path, char **point)
{
	char *line, *save = NULL;
	const char *best = "";

	*point = NULL;
	for (line = info->s ? strtok_r(info->s, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		char at[4096];

		if (sscanf(line, "%*s %*s %*s %*s %4095s", at) != 1 || !path_is_below(path, at) ||
		    (*point && strlen(at) < strlen(*point)))
			continue;
		free(*point);
		*point = xstrdup(at);
		best = line;
	}
	return best;
}

/* A slave or shared bind only makes sense, and is only as asked for, when its source is in a peer group. */
static int check_propagation(const struct engine *g, const char *source, const char *propagation, struct err *e)
{
	bool shared = str_ends(propagation, "shared"), slave = str_ends(propagation, "slave");
	autofree char *real = realpath(source, NULL), *point = NULL;
	const char *line;
	autostr info;

	str_init(&info, MOUNTINFO_BYTES_MAX);
	if (!shared && !slave)
		return 0;
	if (!real)
		return err_set(e, ERR_SYSTEM, errno, "%s", source);
	if (mount_info_in(g->host_mounts, &info, e) < 0)
		return -1;
	line = mount_line(&info, real, &point);
	if (strstr(line, " shared:") || (slave && strstr(line, " master:")))
		return 0;
	return err_set(e, ERR_INVALID, 0, "path %s is mounted on %s but it is not a shared%s mount", source,
		       point ? point : "/", slave ? " or slave" : "");
}

/* --- make ----------------------------------------------------------------------------------------------------------------- */

static int prepare_bind(const struct engine *g, const json_t *point, struct err *e)
{
	const char *source = json_str(point, "Source", "");
	struct stat st;

	if (stat(source, &st) < 0 && json_bool(point, "make", false) && io_mkdir_all(source, 0755, e) < 0)
		return err_prefix(e, "error while creating mount source path '%s'", source);
	return check_propagation(g, source, json_str(point, "Propagation", ""), e);
}

/* The image's files as one tree, an fd that isn't attached anywhere. */
static int open_image(struct engine *g, struct container *c, struct err *e)
{
	autojson *layers = image_layer_dirs(g->images, c->image_id, e);
	size_t n = json_array_size(layers), i;
	autofree char **texts = xcalloc(n + 1, sizeof(*texts));
	int mount;

	if (!layers)
		return -1;
	if (n == 1) {
		mount = open(json_string_value(json_array_get(layers, 0)), O_PATH | O_DIRECTORY | O_CLOEXEC);
		return mount < 0 ? err_set(e, ERR_SYSTEM, errno, "open the image's layer") : mount;
	}
	for (i = 0; i < n; i++)
		texts[i] = xasprintf("lowerdir+=%s", json_string_value(json_array_get(layers, i)));
	mount = n ? fs_mount("overlay", "overlay", (const char *const *)texts, n, 0, e)
		  : err_set(e, ERR_NOT_FOUND, 0, "the image has no layers");
	for (i = 0; i < n; i++)
		free(texts[i]);
	return mount;
}

/* What the image has at the destination: symlinks in it are resolved inside it. -1 without an error: nothing. */
static int copy_up(struct engine *g, struct container *c, const json_t *point, struct err *e)
{
	autoclose int image = open_image(g, c, e), from = -1;

	if (image < 0)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	from = root_try_open(image, json_str(point, "Destination", ""), O_RDONLY | O_DIRECTORY, 0, 0);
	if (from < 0)
		return 0;
	return volume_copy_up(g->volumes, json_str(point, "Name", ""), from, e);
}

static int prepare_volume(struct engine *g, struct container *c, const json_t *point, struct err *e)
{
	autojson *labels = json_bool(point, "anonymous", false) ? json_pack("{s:s}", VOLUME_ANONYMOUS_LABEL, "")
								: json_incref(json_object_get(point, "labels"));
	const struct volume_new v = { .name = json_str(point, "Name", ""),
				      .options = json_object_get(point, "volume_options"),
				      .labels = labels };
	bool made;
	autojson *volume = volume_create(g->volumes, &v, &made, e);

	if (!volume)
		return -1;
	if (made) {
		autojson *attributes = json_pack("{s:s}", "driver", "local");

		engine_event(g, "volume", "create", v.name, attributes);
	}
	if (json_bool(point, "nocopy", false) || json_object_get(point, "subpath"))
		return 0;
	return volume_mount(g->volumes, v.name, e) < 0 ? -1 : copy_up(g, c, point, e);
}

int mounts_prepare(struct engine *g, struct container *c, struct err *e)
{
	json_t *p;
	size_t i;
	int rc = 0;

	/* Without the lock: a volume's removal looks for its users, and this container is among them already. */
	json_array_foreach(points_of(c->host), i, p) {
		if (is_type(p, "bind"))
			rc = prepare_bind(g, p, e);
		else if (is_type(p, "volume"))
			rc = prepare_volume(g, c, p, e);
		if (rc < 0)
			return -1;
	}
	return 0;
}

int mounts_activate(struct engine *g, struct container *c, struct err *e)
{
	autojson *host = record_host(c);
	json_t *p;
	size_t i;

	json_array_foreach(points_of(host), i, p) {
		if (is_type(p, "volume") && volume_mount(g->volumes, json_str(p, "Name", ""), e) < 0)
			return -1;
	}
	return 0;
}

/* The mount namespace of a process's parent. */
static int open_ns_of_parent(pid_t pid, struct err *e)
{
	autofree char *status = xasprintf("/proc/%d/status", (int)pid);
	autostr text;

	str_init(&text, 64 * KIB);
	if (io_read_file(AT_FDCWD, status, &text, e) < 0)
		return -1;
	const char *line = strstr(text.s, "\nPPid:");
	autofree char *path = xasprintf("/proc/%d/ns/mnt", line ? atoi(line + strlen("\nPPid:")) : 0);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? err_set(e, ERR_SYSTEM, errno, "%s", path) : fd;
}

void mounts_adopt(struct engine *g, struct container *c, pid_t parent_of)
{
	autojson *host = record_host(c);
	struct err e = { 0 };
	json_t *p;
	size_t i;

	json_array_foreach(points_of(host), i, p) {
		const char *name = json_str(p, "Name", "");

		if (!is_type(p, "volume"))
			continue;
		autoclose int ns = open_ns_of_parent(parent_of, &e);

		if ((ns < 0 || volume_adopt(g->volumes, name, ns, &e) < 0) && e.kind != ERR_NOT_FOUND)
			log_warn("volume %s of container %.12s: %s", name, c->id, e.msg);
	}
}

void mounts_event(struct engine *g, struct container *c, const char *action)
{
	autojson *host = record_host(c);
	json_t *p;
	size_t i;

	json_array_foreach(points_of(host), i, p) {
		if (!is_type(p, "volume"))
			continue;
		autojson *attributes =
			json_pack("{s:s, s:s}", "container", c->id, "driver", json_str(p, "Driver", "local"));

		if (strcmp(action, "mount") == 0) {
			bool rw = json_bool(p, "RW", true);

			json_object_set_new(attributes, "destination", json_string(json_str(p, "Destination", "")));
			json_object_set_new(attributes, "read/write", json_string(rw ? "true" : "false"));
			json_object_set_new(attributes, "propagation", json_string(json_str(p, "Propagation", "")));
		}
		engine_event(g, "volume", action, json_str(p, "Name", ""), attributes);
	}
}

/* --- users ------------------------------------------------------------------------------------------------------------------ */

static bool uses(const json_t *host, const char *volume)
{
	json_t *p;
	size_t i;

	json_array_foreach(points_of(host), i, p) {
		if (is_type(p, "volume") && strcmp(json_str(p, "Name", ""), volume) == 0)
			return true;
	}
	return false;
}

json_t *mounts_users(struct engine *g, const char *volume)
{
	struct container **all = table_all(g);
	json_t *ids = json_array();

	for (size_t i = 0; all[i]; i++) {
		autojson *host = record_host(all[i]);

		if (uses(host, volume))
			json_array_append_new(ids, json_string(all[i]->id));
	}
	table_free_list(all);
	return ids;
}

/* Another container that runs, or is prepared to, holds the mount. */
static bool is_held(struct engine *g, struct container *c, const char *volume)
{
	struct container **all = table_all(g);
	bool held = false;

	for (size_t i = 0; all[i] && !held; i++) {
		autojson *host = record_host(all[i]);

		pthread_mutex_lock(&all[i]->lock);
		held = all[i] != c && all[i]->state != LIFE_EXITED && all[i]->state != LIFE_DEAD && uses(host, volume);
		pthread_mutex_unlock(&all[i]->lock);
	}
	table_free_list(all);
	return held;
}

void mounts_release(struct engine *g, struct container *c)
{
	autojson *host = record_host(c);
	json_t *p;
	size_t i;

	json_array_foreach(points_of(host), i, p) {
		const char *name = json_str(p, "Name", "");

		if (!is_type(p, "volume"))
			continue;
		volume_lock(g->volumes);
		if (!is_held(g, c, name))
			volume_unmount(g->volumes, name);
		volume_unlock(g->volumes);
	}
}

void mounts_remove_anonymous(struct engine *g, struct container *c)
{
	autojson *host = record_host(c);
	json_t *p;
	size_t i;

	json_array_foreach(points_of(host), i, p) {
		struct err e = { 0 };

		/* One that another container has by --volumes-from stays. */
		if (json_bool(p, "anonymous", false) &&
		    engine_volume_remove(g, json_str(p, "Name", ""), false, &e) < 0 && e.kind != ERR_CONFLICT &&
		    e.kind != ERR_NOT_FOUND)
			log_warn("volume %s: %s", json_str(p, "Name", ""), e.msg);
	}
}

json_t *mounts_shown(const json_t *host)
{
	static const char *const keys[] = { "Type",   "Name", "Source", "Destination",
					    "Driver", "Mode", "RW",     "Propagation" };
	json_t *out = json_array(), *p;
	size_t i;

	json_array_foreach(points_of(host), i, p) {
		json_t *shown = json_object();

		for (size_t k = 0; k < array_len(keys); k++) {
			if (json_object_get(p, keys[k]))
				json_object_set(shown, keys[k], json_object_get(p, keys[k]));
		}
		autofree char *destination = json_object_get(p, PIPE_NAME)
						     ? xasprintf("\\\\.\\pipe\\%s", json_str(p, PIPE_NAME, ""))
						     : windows_path_shown(json_str(p, "Destination", ""));

		json_object_set_new(shown, "Destination", json_string(destination));
		json_array_append_new(out, shown);
	}
	return out;
}
