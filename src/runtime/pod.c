/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/pod.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"

#define SHM "/dev/shm"
#define SHM_BYTES (64 * MIB) /* where the caller's has no size */

/* containerd's words, and those of CRI-O and podman. */
static const struct {
	const char *role, *sandbox;
} words[] = {
	{ "io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id" },
	{ "io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID" },
};

/* The entry of the words that say so, or -1. */
static int find_role(const json_t *config, const char *role)
{
	const json_t *annotations = json_object_get(config, "annotations");

	for (size_t i = 0; i < array_len(words); i++)
		if (!strcmp(json_str(annotations, words[i].role, ""), role))
			return (int)i;
	return -1;
}

const char *pod_sandbox_id(const json_t *config)
{
	int i = find_role(config, "container");

	return i < 0 ? NULL : json_str(json_object_get(config, "annotations"), words[i].sandbox, "");
}

bool pod_has_machine(const struct runtime *rt, const json_t *config)
{
	const char *id = pod_sandbox_id(config);
	struct record *s = id ? record_open(rt, id, false, NULL) : NULL;
	bool hyperv = s && s->hyperv;

	record_close(s);
	return hyperv;
}

struct record *pod_open_sandbox(const struct runtime *rt, const char *id, struct err *e)
{
	struct record *s = record_open(rt, id, false, NULL);

	if (s && s->hyperv && record_status(s) == STATUS_RUNNING)
		return s;
	record_close(s);
	err_set(e, ERR_CONFLICT, 0, "the pod's sandbox %s is no running container with hyperv isolation", id);
	return NULL;
}

/* ---- namespaces ---- */

/* Is it the container, in the same machine, whose process among the host's is this one? */
static bool is_neighbour(const struct runtime *rt, const char *id, const char *sandbox, int pid)
{
	struct record *r = record_open(rt, id, false, NULL);
	bool is = r && r->hyperv && r->pid == pid &&
		  (!strcmp(id, sandbox) || !strcmp(json_str(r->doc, "sandbox", ""), sandbox));

	record_close(r);
	return is;
}

/* Whose namespace a path means: /proc/PID/ns/x that of a container of the pod, anything else the pod's own. Heap string. */
static char *owner_of(const struct runtime *rt, const char *path, const char *sandbox, struct err *e)
{
	autojson *ids = NULL;
	const json_t *id;
	size_t i;
	int pid;

	if (sscanf(path, "/proc/%d/ns/", &pid) != 1)
		return xstrdup(sandbox);
	ids = record_list(rt);
	json_array_foreach(ids, i, id)
		if (is_neighbour(rt, json_string_value(id), sandbox, pid))
			return xstrdup(json_string_value(id));
	err_set(e, ERR_UNSUPPORTED, 0, "linux.namespaces: %s is not of a container in this pod", path);
	return NULL;
}

/* Those that the machine has for all: its network. User and time namespaces can't be shared. */
static int share_namespaces(const struct runtime *rt, json_t *config, const char *sandbox, struct err *e)
{
	json_t *ns;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(config, "linux"), "namespaces"), i, ns) {
		const char *path = json_str(ns, "path", ""), *type = json_str(ns, "type", "");
		autofree char *owner = NULL;

		if (!*path || !strcmp(type, "network"))
			continue;
		if (strcmp(type, "pid") != 0 && strcmp(type, "ipc") != 0 && strcmp(type, "uts") != 0)
			return err_set(e, ERR_UNSUPPORTED, 0,
				       "linux.namespaces: a %s namespace can't be shared in a virtual machine", type);
		owner = owner_of(rt, path, sandbox, e);
		if (!owner)
			return -1;
		json_object_set_new(ns, "container", json_string(owner));
		json_object_del(ns, "path");
	}
	return 0;
}

/* Without an entry a container would have the host's, which is a machine's own here: not what was asked for. */
static int check_namespaces(const json_t *config, struct err *e)
{
	static const char *const needed[] = { "network", "pid", "ipc", "uts" };
	const json_t *ns;
	size_t i;

	for (size_t k = 0; k < array_len(needed); k++) {
		bool found = false;

		json_array_foreach(json_object_get(json_object_get(config, "linux"), "namespaces"), i, ns)
			found |= !strcmp(json_str(ns, "type", ""), needed[k]);
		if (!found)
			return err_set(
				e, ERR_UNSUPPORTED, 0,
				"linux.namespaces: a pod in a virtual machine can't have the host's %s namespace",
				needed[k]);
	}
	return 0;
}

/* ---- shared memory ---- */

static json_t *find_shm(const json_t *config)
{
	json_t *mount;
	size_t i;

	json_array_foreach(json_object_get(config, "mounts"), i, mount)
		if (!strcmp(json_str(mount, "destination", ""), SHM) &&
		    strcmp(json_str(mount, "type", ""), "tmpfs") != 0)
			return mount;
	return NULL;
}

/* Memory of the host can't be the guest's: one of the same size. */
static void make_shm(json_t *mount)
{
	struct statvfs fs;
	unsigned long long bytes = SHM_BYTES;

	if (!statvfs(json_str(mount, "source", ""), &fs) && fs.f_blocks)
		bytes = (unsigned long long)fs.f_blocks * fs.f_frsize;
	json_object_set_new(mount, "type", json_string("tmpfs"));
	json_object_set_new(mount, "source", json_string("shm"));
	json_object_set_new(mount, "options",
			    json_pack("[s, s, s, s, o]", "nosuid", "noexec", "nodev", "mode=1777",
				      json_sprintf("size=%llu", bytes)));
}

static void share_shm(json_t *mount, const char *sandbox)
{
	json_object_set_new(mount, "type", json_string("bind"));
	json_object_set_new(mount, "source", json_string(SHM));
	json_object_set_new(mount, "options", json_pack("[s, s, s, s]", "rbind", "nosuid", "noexec", "nodev"));
	json_object_set_new(mount, "container", json_string(sandbox));
}

int pod_prepare(const struct runtime *rt, json_t *config, struct err *e)
{
	const char *sandbox = pod_sandbox_id(config);
	json_t *shm = find_shm(config);

	if (!sandbox && find_role(config, "sandbox") < 0)
		return 0;
	if (check_namespaces(config, e) || (sandbox && share_namespaces(rt, config, sandbox, e)))
		return -1;
	if (shm && sandbox)
		share_shm(shm, sandbox);
	else if (shm)
		make_shm(shm);
	return 0;
}
