/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GET /volumes and its kin. */
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "engine/create.h"
#include "engine/filter.h"
#include "engine/mount_points.h"
#include "engine/state.h"
#include "volume/volume.h"

static void volume_event(struct engine *g, const char *action, const char *name)
{
	autojson *attributes = json_pack("{s:s}", "driver", "local");

	engine_event(g, "volume", action, name, attributes);
}

static int check_strings(const json_t *map, const char *what, struct err *e)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)map, key, value) {
		if (!json_is_string(value))
			return err_set(e, ERR_INVALID, 0, "invalid value for %s.%.100s: expected string", what, key);
	}
	return 0;
}

json_t *engine_volume_create(struct engine *g, const json_t *body, struct err *e)
{
	struct volume_new v = { 0 };
	json_t *options, *labels, *volume;
	autojson *own_labels = NULL;
	char random[65];
	bool made;

	if (json_member(body, "ClusterVolumeSpec")) {
		err_set(e, ERR_UNAVAILABLE, 0,
			"This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to "
			"connect this "
			"node to swarm and try again.");
		return NULL;
	}
	if (json_get_str(body, "Name", "", &v.name, e) < 0 || json_get_str(body, "Driver", "", &v.driver, e) < 0 ||
	    json_get_object(body, "DriverOpts", &options, e) < 0 || json_get_object(body, "Labels", &labels, e) < 0 ||
	    check_strings(options, "DriverOpts", e) < 0 || check_strings(labels, "Labels", e) < 0)
		return NULL;
	v.options = options;
	own_labels = labels ? json_deep_copy(labels) : json_object();
	v.labels = own_labels;
	if (!*v.name) {
		random_hex(random, 32);
		v.name = random;
		json_object_set_new(own_labels, VOLUME_ANONYMOUS_LABEL, json_string(""));
	}
	volume = volume_create(g->volumes, &v, &made, e);
	if (volume && made)
		volume_event(g, "create", v.name);
	return volume;
}

json_t *engine_volume_inspect(struct engine *g, const char *name, struct err *e)
{
	return volume_get(g->volumes, name, e);
}

/* "dangling": nobody has it. Its values are the words of a bool. */
static bool dangling_fits(struct engine *g, const json_t *f, const char *name)
{
	autojson *users = mounts_users(g, name);
	bool free_ = json_array_size(users) == 0;
	bool wants_free = filters_exact(f, "dangling", "true") || filters_exact(f, "dangling", "1");

	return !filters_has(f, "dangling") || free_ == wants_free;
}

static bool fits(struct engine *g, const json_t *f, const json_t *v)
{
	return filters_match(f, "name", json_str(v, "Name", "")) &&
	       filters_exact(f, "driver", json_str(v, "Driver", "")) &&
	       filters_labels(f, "label", json_object_get(v, "Labels")) && dangling_fits(g, f, json_str(v, "Name", ""));
}

json_t *engine_volume_list(struct engine *g, const json_t *filters, struct err *e)
{
	static const char *const known[] = { "dangling", "driver", "label", "name", NULL };
	autojson *f = filters_parse(filters, known, e);
	autojson *all = f ? volume_list(g->volumes, e) : NULL;
	json_t *list = all ? json_array() : NULL, *v;
	size_t i;

	if (!list)
		return NULL;
	json_array_foreach(all, i, v) {
		if (fits(g, f, v))
			json_array_append(list, v);
	}
	return json_pack("{s:o, s:n}", "Volumes", list, "Warnings");
}

int engine_volume_remove(struct engine *g, const char *name, bool force, struct err *e)
{
	autojson *volume = NULL, *users = NULL;
	int rc = -1;

	volume_lock(g->volumes);
	volume = volume_get(g->volumes, name, e);
	users = mounts_users(g, name);
	if (!volume && force && e->kind == ERR_NOT_FOUND) {
		rc = 0;
	} else if (volume && json_array_size(users)) {
		autostr ids;
		json_t *id;
		size_t i;

		str_init(&ids, 400);
		json_array_foreach(users, i, id)
			str_printf(&ids, "%s%s", i ? ", " : "", json_string_value(id));
		rc = err_set(e, ERR_CONFLICT, 0, "remove %s: volume is in use - [%s]", name, ids.s);
	} else if (volume) {
		rc = volume_remove(g->volumes, name, e);
	}
	volume_unlock(g->volumes);
	if (rc == 0 && volume)
		volume_event(g, "destroy", name);
	return rc;
}

/* Anonymous ones only, unless the filter says all. */
json_t *engine_volume_prune(struct engine *g, const json_t *filters, struct err *e)
{
	static const char *const known[] = { "all", "label", "label!", NULL };
	autojson *f = filters_parse(filters, known, e);
	autojson *all = f ? volume_list(g->volumes, e) : NULL;
	json_t *deleted = json_array(), *v;
	bool every = f && filters_has(f, "all") && (filters_exact(f, "all", "true") || filters_exact(f, "all", "1"));
	int64_t space = 0;
	size_t i;

	if (!all) {
		json_decref(deleted);
		return NULL;
	}
	json_array_foreach(all, i, v) {
		const char *name = json_str(v, "Name", "");
		json_t *labels = json_object_get(v, "Labels");
		int64_t bytes = volume_size(g->volumes, name);

		if ((!every && !json_object_get(labels, VOLUME_ANONYMOUS_LABEL)) ||
		    !filters_labels(f, "label", labels) ||
		    (filters_has(f, "label!") && filters_labels(f, "label!", labels)) ||
		    engine_volume_remove(g, name, false, NULL) < 0)
			continue;
		json_array_append_new(deleted, json_string(name));
		space += bytes;
	}
	return json_pack("{s:o, s:I}", "VolumesDeleted", deleted, "SpaceReclaimed", (json_int_t)space);
}

json_t *engine_volume_usage(struct engine *g, struct err *e)
{
	json_t *all = volume_list(g->volumes, e), *v;
	size_t i;

	json_array_foreach(all, i, v) {
		const char *name = json_str(v, "Name", "");
		autojson *users = mounts_users(g, name);

		json_object_set_new(v, "UsageData",
				    json_pack("{s:I, s:I}", "Size", (json_int_t)volume_size(g->volumes, name),
					      "RefCount", (json_int_t)json_array_size(users)));
	}
	return all;
}
