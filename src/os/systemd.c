/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/systemd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "os/dbus.h"

#define TIMEOUT_MS 30000
#define BITMAP_BYTES 128 /* 1024 CPUs */
#define QUOTA_STEP_US 10000 /* systemd counts in them */

/* Named in every call, and not looked at where there is no bus. */
#define SYSTEMD "org.freedesktop.systemd1"

static const struct dbus_call calls[] = {
#define MANAGER(member, signature) { SYSTEMD, "/org/freedesktop/systemd1", SYSTEMD ".Manager", member, signature }
	MANAGER("StartTransientUnit", "ssa(sv)a(sa(sv))"), MANAGER("StopUnit", "ss"), MANAGER("GetUnit", "s"),
	MANAGER("SetUnitProperties", "sba(sv)"),
#undef MANAGER
};
enum call { START_TRANSIENT_UNIT, STOP_UNIT, GET_UNIT, SET_UNIT_PROPERTIES };

struct session {
	int sock;
	struct dbus_message answer;
	struct str body;
};

static void session_close(struct session *s)
{
	close_fd(&s->sock);
	dbus_message_fini(&s->answer);
	str_fini(&s->body);
}
#define autosession __attribute__((cleanup(session_close))) struct session

static int session_open(struct session *s, struct err *e)
{
	const char *runtime_dir = getenv("XDG_RUNTIME_DIR");
	autofree char *path = geteuid() ? xasprintf("%s/systemd/private", runtime_dir ? runtime_dir : "/nowhere")
					: xstrdup("/run/systemd/private");

	s->sock = -1;
	dbus_message_init(&s->answer);
	str_init(&s->body, DBUS_BODY_MAX);
	s->sock = dbus_open(path, e);
	return s->sock < 0 ? err_prefix(e, "systemd") : 0;
}

static int session_call(struct session *s, const struct dbus_call *c, struct err *e)
{
	int rc = dbus_call(s->sock, c, &s->body, &s->answer, time_monotonic_ms() + TIMEOUT_MS, e);

	str_drop(&s->body, s->body.len);
	if (rc && str_ends(s->answer.error, ".NoSuchUnit"))
		e->kind = ERR_NOT_FOUND;
	if (rc && str_ends(s->answer.error, ".UnitExists"))
		e->kind = ERR_CONFLICT;
	return rc ? err_prefix(e, "systemd") : 0;
}

/* ---- properties ---- */

static void put_text(struct str *b, const char *name, const char *value)
{
	dbus_put_property(b, name, "s");
	dbus_put_string(b, value);
}

static void put_bool(struct str *b, const char *name, bool value)
{
	dbus_put_property(b, name, "b");
	dbus_put_u32(b, value);
}

/* -1 is no limit. */
static void put_number(struct str *b, const char *name, int64_t value)
{
	if (value == CGROUP_UNSET)
		return;
	dbus_put_property(b, name, "t");
	dbus_put_u64(b, value < 0 ? UINT64_MAX : (uint64_t)value);
}

/* "0-2,5" as a bitmap. */
static void put_list(struct str *b, const char *name, const char *list)
{
	unsigned char map[BITMAP_BYTES] = { 0 };
	size_t used = 0;

	for (const char *p = list; p && *p;) {
		char *end;
		unsigned long first = strtoul(p, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (unsigned long i = first; i <= last && i < BITMAP_BYTES * 8ul; i++) {
			map[i / 8] |= (unsigned char)(1u << i % 8);
			used = i / 8 + 1 > used ? i / 8 + 1 : used;
		}
		p = *end == ',' ? end + 1 : "";
	}
	if (!used)
		return;
	dbus_put_property(b, name, "ay");
	dbus_put_bytes(b, map, used);
}

static int64_t quota_per_second(const struct cgroup_limits *l)
{
	int64_t period = l->cpu_period_us > 0 ? l->cpu_period_us : 100000;

	if (l->cpu_quota_us <= 0)
		return l->cpu_quota_us == 0 ? CGROUP_UNSET : l->cpu_quota_us;
	return (l->cpu_quota_us * 1000000 / period + QUOTA_STEP_US - 1) / QUOTA_STEP_US * QUOTA_STEP_US;
}

static void put_limits(struct str *b, const struct cgroup_limits *l)
{
	put_number(b, "MemoryMax", l->memory_bytes);
	put_number(b, "MemorySwapMax", cgroup_v2_swap(l));
	put_number(b, "MemoryLow", l->memory_reservation_bytes);
	put_number(b, "CPUWeight", cgroup_v2_weight(l->cpu_shares));
	put_number(b, "CPUQuotaPerSecUSec", quota_per_second(l));
	put_number(b, "TasksMax", l->pids ? l->pids : CGROUP_UNSET);
	put_list(b, "AllowedCPUs", l->cpus);
	put_list(b, "AllowedMemoryNodes", l->mems);
}

static void put_scope(struct str *b, const struct systemd_scope *s)
{
	struct dbus_array properties = dbus_begin_array(b, 8), pids;

	put_text(b, "Description", s->description);
	put_text(b, "Slice", s->slice);
	put_text(b, "CollectMode", "inactive-or-failed");
	put_bool(b, "Delegate", true);
	put_bool(b, "DefaultDependencies", false);
	dbus_put_property(b, "PIDs", "au");
	pids = dbus_begin_array(b, 4);
	dbus_put_u32(b, (uint32_t)s->pid);
	dbus_end_array(b, pids);
	put_limits(b, s->limits);
	dbus_end_array(b, properties);
}

/* ---- calls ---- */

static int wait_job(struct session *s, const char *unit, struct err *e)
{
	autofree char *job = xstrdup(dbus_get_string(&s->answer));
	int64_t deadline = time_monotonic_ms() + TIMEOUT_MS;

	for (;;) {
		const char *result;

		if (dbus_receive(s->sock, &s->answer, deadline, e))
			return err_prefix(e, "systemd: start %s", unit);
		if (s->answer.type != DBUS_SIGNAL || strcmp(s->answer.member, "JobRemoved") != 0)
			continue;
		dbus_get_u32(&s->answer);
		if (strcmp(dbus_get_string(&s->answer), job) != 0)
			continue;
		dbus_get_string(&s->answer); /* the unit */
		result = dbus_get_string(&s->answer);
		if (!strcmp(result, "done"))
			return 0;
		return err_set(e, ERR_SYSTEM, 0, "systemd: the job to start %s ended as \"%s\"", unit, result);
	}
}

/* Where its cgroup is, asked rather than made out of the names: a user's manager isn't at the top. */
static char *control_group(struct session *s, const char *unit, struct err *e)
{
	struct dbus_call get = { SYSTEMD, "", "org.freedesktop.DBus.Properties", "Get", "ss" };
	autofree char *path = NULL;
	const char *group;

	dbus_put_string(&s->body, unit);
	if (session_call(s, &calls[GET_UNIT], e))
		return NULL;
	path = xstrdup(dbus_get_string(&s->answer));
	get.path = path;
	dbus_put_string(&s->body, SYSTEMD ".Scope");
	dbus_put_string(&s->body, "ControlGroup");
	if (session_call(s, &get, e))
		return NULL;
	group = dbus_get_string_variant(&s->answer);
	if (*group == '/')
		return xstrdup(group);
	err_set(e, ERR_SYSTEM, 0, "systemd: %s has no cgroup", unit);
	return NULL;
}

char *systemd_start_scope(const struct systemd_scope *scope, struct err *e)
{
	autosession s;

	if (session_open(&s, e))
		return NULL;
	dbus_put_string(&s.body, scope->unit);
	dbus_put_string(&s.body, "replace");
	put_scope(&s.body, scope);
	dbus_end_array(&s.body, dbus_begin_array(&s.body, 8));
	if (session_call(&s, &calls[START_TRANSIENT_UNIT], e) || wait_job(&s, scope->unit, e))
		return NULL;
	return control_group(&s, scope->unit, e);
}

int systemd_stop(const char *unit, struct err *e)
{
	autosession s;

	if (session_open(&s, e))
		return -1;
	dbus_put_string(&s.body, unit);
	dbus_put_string(&s.body, "replace");
	return session_call(&s, &calls[STOP_UNIT], e);
}

int systemd_update(const char *unit, const struct cgroup_limits *l, struct err *e)
{
	struct dbus_array properties;
	autosession s;

	if (session_open(&s, e))
		return -1;
	dbus_put_string(&s.body, unit);
	dbus_put_u32(&s.body, true); /* until its end, not for ever */
	properties = dbus_begin_array(&s.body, 8);
	put_limits(&s.body, l);
	dbus_end_array(&s.body, properties);
	return session_call(&s, &calls[SET_UNIT_PROPERTIES], e);
}
