/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a bundle as somebody else wrote it to what Silo acts on; what can't be done is refused by the member's name. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "runtime/pod.h"
#include "runtime/runtime.h"

#define CONFIG_BYTES_MAX (4 * MIB)

/* Members that change what a container may do or use and that nothing below acts on. */
static const struct {
	const char *path[3]; /* members, outermost first */
	const char *why;
} refused[] = {
	{ { "vm" }, "is not supported: name the isolation with --isolation or the annotation io.silo.isolation" },
	{ { "windows" }, "is not supported" },
	{ { "solaris" }, "is not supported" },
	{ { "zos" }, "is not supported" },
	{ { "linux", "mountLabel" }, "this kernel has no SELinux" },
};

static bool is_empty(const json_t *j)
{
	return !j || (json_is_string(j) && !*json_string_value(j)) || (json_is_object(j) && !json_object_size(j)) ||
	       (json_is_array(j) && !json_array_size(j));
}

static int check_refused(const json_t *config, struct err *e)
{
	for (size_t i = 0; i < array_len(refused); i++) {
		const json_t *j = config;
		autostr name;

		str_init(&name, 256);
		for (size_t k = 0; k < array_len(refused[i].path) && refused[i].path[k]; k++) {
			j = json_member(j, refused[i].path[k]);
			str_printf(&name, "%s%s", k ? "." : "", refused[i].path[k]);
		}
		if (!is_empty(j))
			return err_set(e, ERR_UNSUPPORTED, 0, "%s: %s", name.s, refused[i].why);
	}
	return 0;
}

/* root.path relative to the bundle; it must be a directory. */
static int resolve_root(json_t *config, const char *dir, struct err *e)
{
	json_t *root;
	const char *path;
	autofree char *joined = NULL;
	char real[PATH_MAX];
	struct stat st;

	if (json_get_object(config, "root", &root, e) || json_get_str(root, "path", "", &path, e))
		return err_prefix(e, "root");
	if (!*path)
		return err_set(e, ERR_INVALID, 0, "root.path: is needed");
	joined = *path == '/' ? xstrdup(path) : xasprintf("%s/%s", dir, path);
	if (!realpath(joined, real) || stat(real, &st))
		return err_set(e, ERR_INVALID, errno, "root.path: %s", joined);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ERR_INVALID, 0, "root.path: %s is not a directory", joined);
	if (!strcmp(real, "/"))
		return err_set(e, ERR_INVALID, 0, "root.path: / can't be a container's root");
	return json_object_set_new(root, "path", json_string(real));
}

/* Sources of binds are relative to the bundle. */
static int resolve_mounts(json_t *config, const char *dir, struct err *e)
{
	json_t *mounts, *m;
	size_t i;

	if (json_get_array(config, "mounts", &mounts, e))
		return -1;
	json_array_foreach(mounts, i, m) {
		const char *type = json_str(m, "type", "bind"), *source = json_str(m, "source", NULL);
		const char *destination = json_str(m, "destination", NULL);
		json_t *option;
		bool bind = !strcmp(type, "bind") || !strcmp(type, "none");
		size_t k;

		json_array_foreach(json_object_get(m, "options"), k, option)
			bind |= json_is_string(option) && (!strcmp(json_string_value(option), "bind") ||
							   !strcmp(json_string_value(option), "rbind"));
		/* relative destinations are deprecated, but allowed: from the root */
		if (destination && *destination && *destination != '/')
			json_object_set_new(m, "destination", json_sprintf("/%s", destination));
		if (bind && source && *source && *source != '/')
			json_object_set_new(m, "source", json_sprintf("%s/%s", dir, source));
	}
	return 0;
}

/* A child of linux that is made when it isn't there. */
static json_t *part(json_t *obj, const char *key)
{
	json_t *j = json_object_get(obj, key);

	if (!json_is_object(j)) {
		j = json_object();
		json_object_set_new(obj, key, j);
	}
	return j;
}

/* What every container may use, whatever its rules say: making any node, and using those that it is given. */
static const struct {
	const char *type, *access;
	int major, minor; /* -1 = any */
} allowed_devices[] = {
	{ "c", "m", -1, -1 }, { "b", "m", -1, -1 },   { "c", "rwm", 1, 3 }, { "c", "rwm", 1, 5 },    { "c", "rwm", 1, 7 },
	{ "c", "rwm", 1, 8 }, { "c", "rwm", 1, 9 },   { "c", "rwm", 5, 0 }, { "c", "rwm", 136, -1 }, { "c", "rwm", 5, 2 },
};

static int complete_devices(json_t *config, struct err *e)
{
	json_t *resources = part(part(config, "linux"), "resources");
	json_t *rules = json_object_get(resources, "devices");
	size_t i;

	if (rules && !json_is_array(rules))
		return err_set(e, ERR_INVALID, 0, "linux.resources.devices: an array is expected");
	if (!rules) {
		rules = json_array();
		json_object_set_new(resources, "devices", rules);
	}
	json_array_insert_new(rules, 0, json_pack("{s:b, s:s}", "allow", 0, "access", "rwm"));
	for (i = 0; i < array_len(allowed_devices); i++) {
		json_t *rule = json_pack("{s:b, s:s, s:s}", "allow", 1, "type", allowed_devices[i].type, "access",
					 allowed_devices[i].access);

		if (allowed_devices[i].major >= 0)
			json_object_set_new(rule, "major", json_integer(allowed_devices[i].major));
		if (allowed_devices[i].minor >= 0)
			json_object_set_new(rule, "minor", json_integer(allowed_devices[i].minor));
		json_array_append_new(rules, rule);
	}
	return 0;
}

/* One path for all hierarchies. */
static int resolve_cgroup(const struct runtime *rt, json_t *config, struct err *e)
{
	json_t *linux_part = part(config, "linux");
	const char *path;

	if (json_get_str(linux_part, "cgroupsPath", "", &path, e))
		return err_prefix(e, "linux");
	if (rt->systemd_cgroup)
		return scope_check(path, e);
	if (strstr(path, "..") || strchr(path, ':'))
		return err_set(e, ERR_INVALID, 0, "linux.cgroupsPath: \"%s\" is not a path of cgroupfs", path);
	if (*path && *path != '/')
		json_object_set_new(linux_part, "cgroupsPath", json_sprintf("/%s", path));
	return 0;
}

json_t *prepare_config(const struct runtime *rt, const char *bundle_dir, struct err *e)
{
	autoclose int dir = open(bundle_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autojson *config = NULL;

	if (dir < 0) {
		err_set(e, ERR_INVALID, errno, "bundle %s", bundle_dir);
		return NULL;
	}
	config = json_parse_file(dir, "config.json", CONFIG_BYTES_MAX, e);
	if (!config) {
		if (e && e->kind == ERR_NOT_FOUND)
			err_set(e, ERR_INVALID, 0, "JSON specification file config.json not found");
		return NULL;
	}
	if (!json_is_object(config)) {
		err_set(e, ERR_INVALID, 0, "config.json: an object is expected");
		return NULL;
	}
	if (check_refused(config, e) || check_config(config, e) || resolve_root(config, bundle_dir, e) ||
	    resolve_mounts(config, bundle_dir, e) || resolve_cgroup(rt, config, e) || complete_devices(config, e)) {
		err_prefix(e, "config.json");
		return NULL;
	}
	return take_ptr(&config);
}

/* The name by which an administrator chose is never overruled by an annotation, which may be a user's. */
const char *prepare_isolation(const struct runtime *rt, const json_t *config, struct err *e)
{
	const char *asked = json_str(json_object_get(config, "annotations"), "io.silo.isolation", rt->isolation);
	const char *const names[] = { "process", "hyperv" };
	bool pod_hyperv = pod_has_machine(rt, config);

	if (!asked || !*asked)
		asked = rt->isolation ? rt->isolation : pod_hyperv ? "hyperv" : "process";
	if (rt->isolation && strcmp(asked, rt->isolation) != 0) {
		err_set(e, ERR_INVALID, 0, "annotations: io.silo.isolation \"%s\" contradicts the runtime's \"%s\"",
			asked, rt->isolation);
		return NULL;
	}
	if (!strcmp(asked, "hyperv") && geteuid()) {
		err_set(e, ERR_UNSUPPORTED, 0, "hyperv isolation needs root");
		return NULL;
	}
	/* a sandbox in a machine has no namespaces on the host that a process could join */
	if (pod_sandbox_id(config) && pod_hyperv == !strcmp(asked, "process")) {
		err_set(e, ERR_INVALID, 0, "isolation %s: the pod's sandbox %s %s", asked, pod_sandbox_id(config),
			pod_hyperv ? "has hyperv isolation" : "is no container with hyperv isolation");
		return NULL;
	}
	for (size_t i = 0; i < array_len(names); i++) {
		if (!strcmp(names[i], asked))
			return names[i];
	}
	err_set(e, ERR_INVALID, 0, "isolation \"%s\" is neither process nor hyperv", asked);
	return NULL;
}

static const char *owner_name(void)
{
	const char *user = getenv("USER");

	return !geteuid() ? "root" : user ? user : "";
}

static json_t *silo_part(const struct runtime *rt, const struct record *r, const char *isolation, const char *root,
			 struct err *e)
{
	json_t *silo = json_pack("{s:s, s:s, s:{s:s}}", "id", r->id, "isolation", isolation, "rootfs", "path", root);
	autofree char *filter = NULL;
	unsigned flags = 0;
	bool asks = false;

	if (seccomp_of_config(rt, r->config, &filter, &flags, &asks, e)) {
		json_decref(silo);
		return NULL;
	}
	if (filter)
		json_object_set_new(silo, "seccomp", json_string(filter));
	if (flags)
		json_object_set_new(silo, "seccomp_flags", json_integer(flags));
	if (asks)
		json_object_set_new(silo, "seccomp_asks", json_true());
	return silo;
}

int prepare_record(const struct runtime *rt, struct record *r, const char *bundle_dir, const char *isolation,
		   json_t *config, struct err *e)
{
	const char *root = json_str(json_object_get(config, "root"), "path", "");
	json_t *linux_part = json_object_get(config, "linux"), *annotations = json_object_get(config, "annotations");
	struct timespec now = time_now();
	char created[TIME_TEXT_MAX];
	json_t *silo;

	r->config = config;
	r->hyperv = !strcmp(isolation, "hyperv");
	if (r->hyperv && pod_prepare(rt, config, e))
		return err_prefix(e, "config.json");
	if (!rt->systemd_cgroup && !*json_str(linux_part, "cgroupsPath", ""))
		json_object_set_new(linux_part, "cgroupsPath", json_sprintf("/silo/%s", r->id));
	if (r->hyperv && guest_devices_prepare(config, e))
		return err_prefix(e, "config.json");
	silo = silo_part(rt, r, isolation, root, e);
	if (!silo)
		return -1;
	json_object_set_new(silo, "bundle", json_string(bundle_dir));
	time_format(&now, created);
	r->doc = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "bundle", bundle_dir, "rootfs", root, "created",
			   created, "owner", owner_name(), "isolation", isolation, "cgroup",
			   json_str(linux_part, "cgroupsPath", ""), "silo", silo);
	if (!r->doc)
		return err_set(e, ERR_INVALID, 0, "config.json: a path is not UTF-8");
	if (rt->systemd_cgroup && scope_name(r, json_str(linux_part, "cgroupsPath", ""), e))
		return err_prefix(e, "config.json");
	if (json_is_object(annotations))
		json_object_set(r->doc, "annotations", annotations);
	if (r->hyperv && pod_sandbox_id(config))
		json_object_set_new(r->doc, "sandbox", json_string(pod_sandbox_id(config)));
	return record_write(r, "config.json", config, e);
}
