/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a container has of another one in the same machine, as those of a pod: namespaces, and the shared memory. */
#include <string.h>

#include "agent/container.h"
#include "base/json.h"

/* Files of /proc/PID/ns by the names of the runtime-spec; others are each container's own. */
static const struct {
	const char *type, *file;
} shared[] = { { "pid", "pid" }, { "ipc", "ipc" }, { "uts", "uts" } };

static pid_t init_of(struct agent *a, const json_t *element, struct err *e)
{
	const struct guest_container *g = guest_container_find(a, element, e);

	return g ? isolation_process.process_pid(isolation_process.container_init(g->container)) : -1;
}

static int resolve_namespace(struct agent *a, json_t *ns, struct err *e)
{
	const char *type = json_str(ns, "type", "");
	pid_t pid = init_of(a, ns, e);

	if (pid < 0)
		return -1;
	json_object_del(ns, "container");
	for (size_t i = 0; i < array_len(shared); i++)
		if (!strcmp(shared[i].type, type))
			return json_object_set_new(ns, "path", json_sprintf("/proc/%d/ns/%s", pid, shared[i].file));
	return err_set(e, ERR_UNSUPPORTED, 0, "the %s namespace of another container can't be shared", type);
}

/* Its source is a path there. */
static int resolve_mount(struct agent *a, json_t *mount, struct err *e)
{
	pid_t pid = init_of(a, mount, e);

	if (pid < 0)
		return -1;
	json_object_del(mount, "container");
	return json_object_set_new(mount, "namespace", json_sprintf("/proc/%d/ns/mnt", pid));
}

int neighbours_resolve(struct agent *a, json_t *config, struct err *e)
{
	json_t *list = json_object_get(json_object_get(config, "linux"), "namespaces"), *element;
	size_t i;

	json_array_foreach(list, i, element)
		if (json_object_get(element, "container") && resolve_namespace(a, element, e))
			return -1;
	json_array_foreach(json_object_get(config, "mounts"), i, element)
		if (json_object_get(element, "container") && resolve_mount(a, element, e))
			return -1;
	return 0;
}
