/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * --systemd-cgroup: the container's cgroup is a scope of systemd's. A scope needs a process from the beginning, and init
 * is born in its cgroup: so a process that does nothing holds it until init is there.
 */
#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "os/pidfd.h"
#include "os/systemd.h"
#include "runtime/runtime.h"

#define UNIT_NAME_MAX 255

int scope_check(const char *path, struct err *e)
{
	const char *first = strchr(path, ':'), *second = first ? strchr(first + 1, ':') : NULL;

	if (geteuid())
		return err_set(e, ERR_UNSUPPORTED, 0, "--systemd-cgroup needs root");
	if (!cgroup_is_v2())
		return err_set(e, ERR_UNSUPPORTED, 0,
			       "--systemd-cgroup needs cgroup v2, and this host has v1: choose the cgroupfs driver in "
			       "containerd, kubelet or podman");
	if (*path && (!second || strchr(second + 1, ':') || !second[1]))
		return err_set(e, ERR_INVALID, 0,
			       "linux.cgroupsPath: \"%s\" is not \"slice:prefix:name\", as --systemd-cgroup wants it",
			       path);
	return 0;
}

/* Letters that systemd has in names of units; "@" would be a template, "\" begins an escape. */
static bool is_name(const char *s)
{
	for (; *s; s++) {
		if (!isalnum((unsigned char)*s) && !strchr(":-_.", *s))
			return false;
	}
	return true;
}

int scope_name(struct record *r, const char *path, struct err *e)
{
	const char *first = strchr(path, ':'), *second = first ? strchr(first + 1, ':') : NULL;
	autofree char *slice = NULL, *prefix = NULL, *unit = NULL;

	slice = first > path ? xstrndup(path, (size_t)(first - path)) : xstrdup("system.slice");
	prefix = second ? xstrndup(first + 1, (size_t)(second - first - 1)) : xstrdup("silo");
	unit = xasprintf("%s%s%s.scope", prefix, *prefix ? "-" : "", second ? second + 1 : r->id);
	if (!is_name(slice) || !str_ends(slice, ".slice"))
		return err_set(e, ERR_INVALID, 0, "linux.cgroupsPath: \"%s\" is no name of a slice", slice);
	if (!is_name(unit) || strlen(unit) > UNIT_NAME_MAX)
		return err_set(e, ERR_INVALID, 0, "linux.cgroupsPath: \"%s\" is no name of a scope", unit);
	return json_object_set_new(r->doc, "scope", json_pack("{s:s, s:s}", "slice", slice, "unit", unit));
}

static const char *unit_of(const struct record *r)
{
	return json_str(json_object_get(r->doc, "scope"), "unit", NULL);
}

static bool is_started(const struct record *r)
{
	return json_bool(json_object_get(r->doc, "scope"), "started", false);
}

static char *start(struct record *r, pid_t holder, struct err *e)
{
	autofree struct cgroup_limits *l = xcalloc(1, sizeof(*l));
	const json_t *scope = json_object_get(r->doc, "scope");
	autofree char *description = xasprintf("container %s", r->id);
	const struct systemd_scope s = { .unit = unit_of(r),
					 .slice = json_str(scope, "slice", ""),
					 .description = description,
					 .pid = holder,
					 .limits = l };

	if (oci_resources_parse(json_object_get(json_object_get(r->config, "linux"), "resources"), l, e)) {
		err_prefix(e, "linux");
		return NULL;
	}
	return systemd_start_scope(&s, e);
}

static _Noreturn void hold(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close_range(0, ~0u, 0);
	for (;;)
		pause();
}

int scope_start(struct record *r, int *holder, struct err *e)
{
	autofree char *path = NULL;
	pid_t pid;

	*holder = -1;
	if (!unit_of(r))
		return 0;
	pid = pidfd_clone(0, -1, holder, e);
	if (pid < 0)
		return -1;
	if (pid == 0)
		hold();
	path = start(r, pid, e);
	/* one that was there before is somebody else's */
	json_object_set_new(json_object_get(r->doc, "scope"), "started",
			    json_boolean(path || (e->kind != ERR_CONFLICT && e->kind != ERR_UNAVAILABLE)));
	if (!path) {
		scope_release(holder);
		return -1;
	}
	json_object_set_new(r->doc, "cgroup", json_string(path));
	json_object_set_new(json_object_get(r->doc, "silo"), "cgroup_given", json_true());
	json_object_set_new(json_object_get(r->config, "linux"), "cgroupsPath", json_string(path));
	return record_write(r, "config.json", r->config, e);
}

void scope_release(int *holder)
{
	int code;

	if (*holder < 0)
		return;
	(void)!pidfd_signal(*holder, SIGKILL, NULL);
	(void)!pidfd_wait(*holder, true, &code, NULL);
	close_fd(holder);
}

int scope_update(const struct record *r, const json_t *resources, struct err *e)
{
	autofree struct cgroup_limits *l = xcalloc(1, sizeof(*l));

	if (!is_started(r))
		return 0;
	return oci_resources_parse(resources, l, e) ? -1 : systemd_update(unit_of(r), l, e);
}

void scope_forget(const struct record *r)
{
	struct err e;

	if (is_started(r) && systemd_stop(unit_of(r), &e) && e.kind != ERR_NOT_FOUND)
		log_warn("%s", e.msg);
}
