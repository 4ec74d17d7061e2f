/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests that drive the life cycle of an existing container. */
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/body.h"
#include "engine/create.h"
#include "engine/mount_points.h"
#include "engine/restart.h"
#include "engine/signals.h"
#include "engine/spec.h"
#include "engine/state.h"
#include "engine/template_use.h"
#include "monitor/client.h"

#define STOP_DEFAULT_S 10

static int start_locked(struct engine *g, struct container *c, const char *ref, struct err *e)
{
	enum life to;
	int rc = -1;

	pthread_mutex_lock(&c->op);
	if (c->removing)
		err_set(e, ERR_CONFLICT, 0, "container is marked for removal and cannot be started");
	else if (record_may(c, ref, DO_START, &to, e) == 0) {
		pthread_mutex_lock(&c->lock);
		c->restart_count = c->backoff_ms = 0;
		pthread_mutex_unlock(&c->lock);
		rc = run_start(g, c, e);
	}
	pthread_mutex_unlock(&c->op);
	return rc;
}

int engine_container_start(struct engine *g, const char *ref, struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	bool gone;

	if (!c)
		return -1;
	if (start_locked(g, c, ref, e) == 0)
		return 0;
	/* --rm holds for a start that failed, too: nobody else would remove it. */
	pthread_mutex_lock(&c->lock);
	gone = e->kind != ERR_NOT_MODIFIED && e->kind != ERR_CONFLICT && json_bool(c->host, "AutoRemove", false) &&
	       container_has_ended(c, NULL) && !c->removing;
	c->removing |= gone;
	pthread_mutex_unlock(&c->lock);
	if (gone && settle_remove(g, c, NULL) < 0)
		return -1;
	return -1;
}

/* --- stop, kill, restart --------------------------------------------------------------------------------------------- */

static int stop_signal(struct container *c, const char *signal, struct err *e)
{
	autojson *config = record_config(c);

	if (signal && *signal)
		return signal_parse(signal, SIGTERM, e);
	return signal_parse(json_str(config, "StopSignal", ""), SIGTERM, e);
}

static int stop_timeout(struct container *c, int timeout_s)
{
	autojson *config = record_config(c);

	return timeout_s == INT_MIN ? (int)json_int(config, "StopTimeout", STOP_DEFAULT_S) : timeout_s;
}

static int stop(struct engine *g, struct container *c, const char *ref, const char *signal, int timeout_s,
		struct err *e)
{
	int signo = stop_signal(c, signal, e);
	enum life to;

	if (signo < 0 || record_may_soon(c, ref, DO_STOP, &to, e) < 0)
		return -1;
	if (to == LIFE_EXITED && restart_cancel(g, c)) {
		container_event(g, c, "stop", NULL);
		return 0;
	}
	if (container_halt(g, c, signo, stop_timeout(c, timeout_s), e) < 0)
		return err_prefix(e, "cannot stop container: %s", ref);
	container_event(g, c, "stop", NULL);
	return 0;
}

int engine_container_stop(struct engine *g, const char *ref, const char *signal, int timeout_s, struct err *e)
{
	autorecord *c = table_find(g, ref, e);

	return c ? stop(g, c, ref, signal, timeout_s, e) : -1;
}

int engine_container_restart(struct engine *g, const char *ref, const char *signal, int timeout_s, struct err *e)
{
	autorecord *c = table_find(g, ref, e);

	if (!c)
		return -1;
	if (stop(g, c, ref, signal, timeout_s, e) < 0 && e->kind != ERR_NOT_MODIFIED)
		return -1;
	if (start_locked(g, c, ref, e) < 0)
		return e->kind == ERR_NOT_MODIFIED ? 0 : err_prefix(e, "Cannot restart container %s", ref);
	container_event(g, c, "restart", NULL);
	return 0;
}

/* A signal by which the user wants it to end: as Docker, any when the container has none of its own. */
static bool is_stop_signal(struct container *c, int signo)
{
	autojson *config = record_config(c);
	const char *own = json_str(config, "StopSignal", "");

	return !*own || signal_parse(own, SIGTERM, NULL) == signo;
}

int engine_container_kill(struct engine *g, const char *ref, const char *signal, struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	autofree char *dir = NULL;
	int signo;
	enum life to;
	char text[8];

	if (!c)
		return -1;
	signo = signal_parse(signal, SIGKILL, e);
	if (signo < 0 || record_may_soon(c, ref, DO_KILL, &to, e) < 0)
		return -1;
	if (to == LIFE_EXITED && restart_cancel(g, c))
		return 0;
	if (signo == SIGKILL)
		return container_halt(g, c, SIGKILL, 0, e) < 0 ? err_prefix(e, "cannot kill container: %s", ref) : 0;
	dir = path_run(g, c->id, NULL);
	if (is_stop_signal(c, signo)) {
		pthread_mutex_lock(&c->lock);
		c->stop_wanted = true;
		pthread_mutex_unlock(&c->lock);
	}
	snprintf(text, sizeof(text), "%d", signo);
	container_event(g, c, "kill", "signal", text, NULL);
	if (monitor_signal(dir, NULL, signo, false, e) < 0) {
		if (e->kind == ERR_NOT_FOUND || e->kind == ERR_CONFLICT)
			return err_set(e, ERR_CONFLICT, 0, "cannot kill container: %s: container %s is not running",
				       ref, c->id);
		return err_prefix(e, "cannot kill container: %s", ref);
	}
	return 0;
}

/* --- pause, rename, resize, update ------------------------------------------------------------------------------------ */

static int pause_locked(struct engine *g, struct container *c, const char *ref, bool paused, struct err *e)
{
	autofree char *dir = path_run(g, c->id, NULL);
	enum life to;

	if (record_may(c, ref, paused ? DO_PAUSE : DO_UNPAUSE, &to, e) < 0)
		return -1;
	if (monitor_pause(dir, paused, e) < 0)
		return err_prefix(e, "cannot %s container %s", paused ? "pause" : "unpause", c->id);
	pthread_mutex_lock(&c->lock);
	if (!container_has_ended(c, NULL)) {
		c->state = to;
		record_save_state(g->db, c, NULL);
		record_changed(c);
	}
	pthread_mutex_unlock(&c->lock);
	container_event(g, c, paused ? "pause" : "unpause", NULL);
	return 0;
}

int engine_container_pause(struct engine *g, const char *ref, bool paused, struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	int rc;

	if (!c)
		return -1;
	pthread_mutex_lock(&c->op);
	rc = pause_locked(g, c, ref, paused, e);
	pthread_mutex_unlock(&c->op);
	return rc;
}

int engine_container_rename(struct engine *g, const char *ref, const char *name, struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	autofree char *old = c ? record_name(c) : NULL;
	autofree char *shown = NULL;

	if (!c)
		return -1;
	if (!name || !*name)
		return err_set(e, ERR_INVALID, 0, "Neither old nor new names may be empty");
	if (*name == '/')
		name++;
	if (create_check_name(name, e) < 0)
		return -1;
	if (strcmp(old, name) == 0)
		return err_set(e, ERR_INVALID, 0, "Renaming a container with the same name as its current name");
	if (table_rename(g, c, name, e) < 0)
		return -1;
	shown = xasprintf("/%s", old);
	container_event(g, c, "rename", "oldName", shown, NULL);
	return 0;
}

int engine_container_resize(struct engine *g, const char *ref, int rows, int cols, struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	autofree char *dir = c ? path_run(g, c->id, NULL) : NULL;
	autofree char *height = xasprintf("%d", rows);
	autofree char *width = xasprintf("%d", cols);
	enum life to;

	if (!c || record_may_soon(c, ref, DO_RESIZE, &to, e) < 0 || monitor_resize(dir, NULL, rows, cols, e) < 0)
		return -1;
	container_event(g, c, "resize", "height", height, "width", width, NULL);
	return 0;
}

/* Limits that only a start can set. Docker leaves them as they were, and says nothing. */
static void warn_of_fixed(const json_t *body, const json_t *old, json_t *warnings)
{
	static const char *const fixed[] = { "CgroupParent",
					     "BlkioWeightDevice",
					     "BlkioDeviceReadBps",
					     "BlkioDeviceWriteBps",
					     "BlkioDeviceReadIOps",
					     "BlkioDeviceWriteIOps",
					     "Devices",
					     "DeviceCgroupRules",
					     "DeviceRequests",
					     "Ulimits",
					     "OomKillDisable",
					     "MemorySwappiness",
					     "KernelMemory",
					     "KernelMemoryTCP",
					     "Init" };

	for (size_t i = 0; i < array_len(fixed); i++) {
		json_t *value = json_member(body, fixed[i]);
		bool given = json_is_true(value) || json_array_size(value) > 0 || json_string_length(value) > 0 ||
			     json_integer_value(value) != 0;

		if (given && !json_equal(value, json_object_get(old, fixed[i])))
			json_array_append_new(warnings,
					      json_sprintf("%s can't be updated, it stays as it was.", fixed[i]));
	}
}

/* The members of the request replace those of HostConfig; the result must be as valid as at create. */
static json_t *updated_host(struct container *c, const json_t *body, json_t *warnings, struct err *e)
{
	static const char *const keys[] = { "CpuShares", "Memory",	   "NanoCpus",	  "CpuPeriod",	       "CpuQuota",
					    "CpusetCpus", "CpusetMems",	   "MemorySwap",  "MemoryReservation", "PidsLimit",
					    "BlkioWeight", "RestartPolicy", "CpuRealtimePeriod", "CpuRealtimeRuntime" };
	const char *policy = json_str(json_member(body, "RestartPolicy"), "Name", "");
	autojson *old = record_host(c);
	autojson *merged = json_copy(old);

	if (json_bool(old, "AutoRemove", false) && *policy && strcmp(policy, "no") != 0) {
		err_set(e, ERR_CONFLICT, 0,
			"Cannot update container %s: Restart policy cannot be updated because AutoRemove is enabled "
			"for the container",
			c->id);
		return NULL;
	}
	warn_of_fixed(body, old, warnings);

	for (size_t i = 0; i < array_len(keys); i++) {
		json_t *value = json_member(body, keys[i]);
		bool zero = !value || (json_is_integer(value) && json_integer_value(value) == 0) ||
			    (json_is_string(value) && !*json_string_value(value)) ||
			    (json_is_object(value) && !*json_str(value, "Name", ""));

		if (!zero)
			json_object_set(merged, keys[i], value);
	}
	autojson *host = body_host(merged, e);

	if (!host || body_check_host(host, strcmp(c->isolation, "hyperv") == 0, warnings, e) < 0)
		return NULL;
	json_object_set(host, "Isolation", json_object_get(old, "Isolation"));
	return take_ptr(&host);
}

/* A VM keeps the memory and the CPUs that it has been started with. */
static void warn_of_size(struct engine *g, struct container *c, const json_t *host, json_t *warnings)
{
	autojson *old = record_host(c);
	struct vm_size now = vm_size_here(g, old), next = vm_size_here(g, host);

	if (now.memory_mib != next.memory_mib || now.cpus != next.cpus)
		json_array_append_new(warnings,
				      json_sprintf("The virtual machine has %lld MiB and %lld CPUs until the container "
						   "is started again.",
						   (long long)now.memory_mib, (long long)now.cpus));
}

json_t *engine_container_update(struct engine *g, const char *ref, const json_t *body, struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	autojson *warnings = json_array();
	json_t *host = c ? updated_host(c, body, warnings, e) : NULL;
	bool running;

	if (!host)
		return NULL;
	pthread_mutex_lock(&c->lock);
	running = !container_has_ended(c, NULL);
	pthread_mutex_unlock(&c->lock);
	if (running) {
		autofree char *dir = path_run(g, c->id, NULL);
		autojson *resources = spec_resources(host);

		if (monitor_update(dir, resources, e) < 0) {
			json_decref(host);
			err_prefix(e, "Cannot update container %s", ref);
			return NULL;
		}
	}
	if (running && strcmp(c->isolation, "hyperv") == 0)
		warn_of_size(g, c, host, warnings);
	pthread_mutex_lock(&c->op);
	run_unpark(g, c); /* what was prepared has the old limits */
	pthread_mutex_unlock(&c->op);
	pthread_mutex_lock(&c->lock);
	json_decref(c->host);
	c->host = host;
	if (record_save_host(g->db, c, e) < 0)
		json_array_append_new(warnings, json_string(e->msg));
	pthread_mutex_unlock(&c->lock);
	container_event(g, c, "update", NULL);
	return json_pack("{s:O}", "Warnings", warnings);
}

/* --- remove, prune ----------------------------------------------------------------------------------------------------- */

int engine_container_remove(struct engine *g, const char *ref, bool force, bool volumes, struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	bool running;
	enum life to;
	int rc = 0;

	if (!c)
		return -1;
	pthread_mutex_lock(&c->lock);
	running = !container_has_ended(c, NULL);
	if (c->removing)
		rc = err_set(e, ERR_CONFLICT, 0, "removal of container %s is already in progress", ref);
	else if ((!running && c->state != LIFE_RESTARTING) || !force)
		rc = lifecycle_next(c->state, DO_REMOVE, ref, c->id, c->name, &to, e);
	if (rc == 0)
		c->removing = true;
	pthread_mutex_unlock(&c->lock);
	if (rc < 0)
		return -1;
	/* A start that is under way ends first; no other one begins, now that `removing` is set. */
	pthread_mutex_lock(&c->op);
	pthread_mutex_lock(&c->lock);
	running = !container_has_ended(c, NULL);
	pthread_mutex_unlock(&c->lock);
	if (running)
		rc = container_halt(g, c, SIGKILL, 0, e);
	else
		run_unpark(g, c);
	pthread_mutex_unlock(&c->op);
	if (rc == 0 && settle_remove(g, c, e) < 0)
		return -1;
	if (rc == 0) {
		mounts_release(g, c);
		if (volumes)
			mounts_remove_anonymous(g, c);
		return 0;
	}
	pthread_mutex_lock(&c->lock);
	c->removing = false;
	pthread_mutex_unlock(&c->lock);
	return err_prefix(e, "cannot remove container \"/%s\": could not kill container", c->name);
}

json_t *engine_container_prune(struct engine *g, const json_t *filters, struct err *e)
{
	static const char *const known[] = { "label", "label!", "until", NULL };
	autojson *f = filters_parse(filters, known, e);
	struct container **all = f ? table_all(g) : NULL;
	json_t *deleted = json_array();
	struct timespec until = { 0 };
	int64_t space = 0;

	if (!f || filters_until(f, &until, e) < 0) {
		table_free_list(all);
		json_decref(deleted);
		return NULL;
	}
	for (size_t i = 0; all[i]; i++) {
		autojson *config = record_config(all[i]);
		json_t *labels = json_object_get(config, "Labels");
		int64_t bytes = container_size_rw(g, all[i]);

		if (!filters_labels(f, "label", labels) ||
		    (filters_has(f, "label!") && filters_labels(f, "label!", labels)) ||
		    (until.tv_sec && all[i]->created_ns / 1000000000 >= until.tv_sec))
			continue;
		if (engine_container_remove(g, all[i]->id, false, false, NULL) == 0) {
			json_array_append_new(deleted, json_string(all[i]->id));
			space += bytes;
		}
	}
	table_free_list(all);
	return json_pack("{s:o, s:I}", "ContainersDeleted", deleted, "SpaceReclaimed", (json_int_t)space);
}

/* --- wait --------------------------------------------------------------------------------------------------------------- */

enum wait_for { NOT_RUNNING, NEXT_EXIT, REMOVED };

struct waiting {
	enum wait_for what;
	uint64_t exits; /* when the wait began */
};

static bool wait_over(const struct container *c, const void *arg)
{
	const struct waiting *w = arg;

	switch (w->what) {
	case NEXT_EXIT:
		return c->exits != w->exits || c->removed;
	case REMOVED:
		return c->removed;
	default:
		return container_has_ended(c, NULL) && c->state != LIFE_RESTARTING;
	}
}

static int parse_condition(const char *text, enum wait_for *what, struct err *e)
{
	static const char *const names[] = { "not-running", "next-exit", "removed" };

	*what = NOT_RUNNING;
	if (!text || !*text)
		return 0;
	for (size_t i = 0; i < array_len(names); i++) {
		if (strcmp(names[i], text) == 0) {
			*what = (enum wait_for)i;
			return 0;
		}
	}
	return err_set(e, ERR_INVALID, 0, "invalid condition: \"%s\"", text);
}

bool client_has_left(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return fd >= 0 && poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR | POLLRDHUP | POLLNVAL));
}

json_t *engine_container_wait(struct engine *g, const char *ref, const char *condition, int client_fd,
			      void (*ready)(void *arg), void *arg, struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	struct waiting w = { 0 };
	bool over = false;
	json_t *answer;

	if (!c || parse_condition(condition, &w.what, e) < 0)
		return NULL;
	pthread_mutex_lock(&c->lock);
	w.exits = c->exits;
	pthread_mutex_unlock(&c->lock);
	if (ready)
		ready(arg);
	pthread_mutex_lock(&c->lock);
	while (!over && !g->closing && !client_has_left(client_fd))
		over = container_wait_for(g, c, wait_over, &w, 1000);
	answer = over ? json_pack("{s:I}", "StatusCode", (json_int_t)(unsigned)c->exit_code) : NULL;
	pthread_mutex_unlock(&c->lock);
	if (!answer)
		err_set(e, ERR_TIMEOUT, 0, "the client has left");
	return answer;
}
