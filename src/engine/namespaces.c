/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "monitor/client.h"

#define JOIN "container:"
#define CONFIG_MAX (8 * MIB)

static const struct kind {
	const char *key, *what;  /* in HostConfig; in texts */
	const char *type, *file; /* in the spec; below /proc/PID/ns */
} kinds[] = {
	{ "IpcMode", "IPC", "ipc", "ipc" },
	{ "PidMode", "PID", "pid", "pid" },
};

static const char *other_of(const json_t *host, const struct kind *k)
{
	const char *mode = json_str(host, k->key, "");

	return str_starts(mode, JOIN) ? mode + strlen(JOIN) : NULL;
}

bool namespaces_wanted(const json_t *host)
{
	for (size_t i = 0; i < array_len(kinds); i++) {
		if (other_of(host, &kinds[i]))
			return true;
	}
	return false;
}

/* A container's IPC is its own unless it was made to be shared. */
static int check_donor(struct container *other, const struct kind *k, struct err *e)
{
	autojson *host = record_host(other);
	const char *ipc = json_str(host, "IpcMode", "");

	if (strcmp(other->isolation, "process") != 0)
		return err_set(
			e, ERR_INVALID, 0,
			"container %s: its %s namespace is inside a virtual machine (hyperv isolation) and can't "
			"be shared",
			other->id, k->what);
	if (strcmp(k->type, "ipc") == 0 && (strcmp(ipc, "private") == 0 || strcmp(ipc, "none") == 0))
		return err_set(e, ERR_INVALID, 0,
			       "container %s: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
			       other->id);
	return 0;
}

int namespaces_check(struct engine *g, const json_t *host, struct err *e)
{
	for (size_t i = 0; i < array_len(kinds); i++) {
		const char *ref = other_of(host, &kinds[i]);
		autorecord *other = ref ? table_find(g, ref, e) : NULL;

		if (ref && !other)
			e->kind = ERR_INVALID; /* not found is the image, to clients */
		if (ref && (!other || check_donor(other, &kinds[i], e) < 0))
			return -1;
	}
	return 0;
}

/* Open a namespace of a container's init. The pid may have become somebody else's by then, unless its monitor, who
 * reaps it, still says that it runs. */
static int open_namespace(struct engine *g, struct container *c, const char *file, struct err *e)
{
	pid_t pid = record_running_pid(c);
	autofree char *path = xasprintf("/proc/%d/ns/%s", pid, file);
	autofree char *dir = path_run(g, c->id, NULL);
	autoclose int fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	autojson *state = fd >= 0 ? monitor_state(dir, NULL) : NULL;
	const char *status = json_str(state, "status", "");

	if (json_int(state, "pid", 0) != pid || (strcmp(status, "running") != 0 && strcmp(status, "paused") != 0))
		return err_set(e, ERR_CONFLICT, 0, "container %s is not running", c->id);
	return take_fd(&fd);
}

/* Keeps it open; the name by which a monitor gets at it. */
static char *hold(struct joined *j, int fd)
{
	j->fds[j->n++] = fd;
	return xasprintf("/proc/%d/fd/%d", getpid(), fd);
}

static void set_path(json_t *spec, const char *type, const char *path)
{
	json_t *ns;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(spec, "linux"), "namespaces"), i, ns) {
		if (strcmp(json_str(ns, "type", ""), type) == 0)
			json_object_set_new(ns, "path", json_string(path));
	}
}

/* POSIX shared memory is files: the other one's /dev/shm instead of one of its own. */
static void share_memory(json_t *spec, const char *mount_namespace)
{
	json_t *mounts = json_object_get(spec, "mounts"), *mount;
	size_t i;

	json_array_foreach(mounts, i, mount) {
		if (strcmp(json_str(mount, "destination", ""), "/dev/shm") != 0 ||
		    strcmp(json_str(mount, "type", ""), "tmpfs") != 0)
			continue;
		json_array_set_new(mounts, i,
				   json_pack("{s:s, s:s, s:s, s:s, s:[s, s, s, s]}", "destination", "/dev/shm", "type",
					     "bind", "source", "/dev/shm", "namespace", mount_namespace, "options",
					     "bind", "nosuid", "noexec", "nodev"));
		return;
	}
}

static int join_one(struct engine *g, const struct kind *k, struct container *other, json_t *spec, struct joined *j,
		    struct err *e)
{
	bool ipc = strcmp(k->type, "ipc") == 0;
	int ns = open_namespace(g, other, k->file, e);
	autofree char *path = ns >= 0 ? hold(j, ns) : NULL;
	int mnt = path && ipc ? open_namespace(g, other, "mnt", e) : -1;
	autofree char *mount_path = mnt >= 0 ? hold(j, mnt) : NULL;

	if (!path || (ipc && !mount_path))
		return -1;
	set_path(spec, k->type, path);
	if (ipc)
		share_memory(spec, mount_path);
	return 0;
}

static int join_all(struct engine *g, const json_t *host, json_t *spec, struct joined *j, struct err *e)
{
	for (size_t i = 0; i < array_len(kinds); i++) {
		const char *ref = other_of(host, &kinds[i]);
		autorecord *other = ref ? table_find(g, ref, e) : NULL;

		if (ref &&
		    (!other || check_donor(other, &kinds[i], e) < 0 || join_one(g, &kinds[i], other, spec, j, e) < 0))
			return err_prefix(e, "failed to join %s namespace", kinds[i].what);
	}
	return 0;
}

int namespaces_join(struct engine *g, struct container *c, struct joined *j, struct err *e)
{
	autojson *host = record_host(c);
	autofree char *path = path_run(g, c->id, "config.json"), *text = NULL;
	autojson *spec = NULL;

	if (!namespaces_wanted(host))
		return 0;
	spec = json_parse_file(AT_FDCWD, path, CONFIG_MAX, e);
	if (!spec || join_all(g, host, spec, j, e) < 0)
		return -1;
	text = json_text(spec);
	return io_write_file(AT_FDCWD, path, text, strlen(text), 0600, false, e);
}

void namespaces_close(struct joined *j)
{
	while (j->n)
		close_fd(&j->fds[--j->n]);
}
