/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/own.h"
#include "os/cgroup_priv.h"

void cgroup_limits_init(struct cgroup_limits *l)
{
	*l = (struct cgroup_limits){
		.memory_bytes = CGROUP_UNSET, .memory_reservation_bytes = CGROUP_UNSET,
		.memory_swap_bytes = CGROUP_UNSET, .swappiness = CGROUP_UNSET,
		.cpu_shares = CGROUP_UNSET, .cpu_quota_us = CGROUP_UNSET, .cpu_period_us = CGROUP_UNSET,
		.cpu_burst_us = CGROUP_UNSET, .cpu_idle = CGROUP_UNSET,
		.cpu_rt_runtime_us = CGROUP_UNSET, .cpu_rt_period_us = CGROUP_UNSET,
		.pids = CGROUP_UNSET, .blkio_weight = CGROUP_UNSET,
	};
}

/* A growing list of settings. */
struct settings {
	struct cgroup_setting *out;
	size_t n;
};

static struct cgroup_setting *add(struct settings *s, const char *controller, const char *file, bool optional)
{
	struct cgroup_setting *x = &s->out[s->n++];

	*x = (struct cgroup_setting){ .controller = controller, .file = file, .optional = optional };
	return x;
}

static void add_number(struct settings *s, const char *controller, const char *file, bool optional, int64_t value,
		       const char *unlimited)
{
	if (value == CGROUP_UNSET)
		return;
	if (value < 0 && unlimited)
		snprintf(add(s, controller, file, optional)->value, 96, "%s", unlimited);
	else
		snprintf(add(s, controller, file, optional)->value, 96, "%lld", (long long)value);
}

static void add_text(struct settings *s, const char *controller, const char *file, const char *value)
{
	if (value && *value)
		snprintf(add(s, controller, file, false)->value, 96, "%s", value);
}

static void v1_settings(const struct cgroup_limits *l, struct settings *s)
{
	static const char *const throttle_files[] = {
		[THROTTLE_READ_BPS] = "blkio.throttle.read_bps_device",
		[THROTTLE_WRITE_BPS] = "blkio.throttle.write_bps_device",
		[THROTTLE_READ_IOPS] = "blkio.throttle.read_iops_device",
		[THROTTLE_WRITE_IOPS] = "blkio.throttle.write_iops_device",
		[THROTTLE_WEIGHT] = "blkio.bfq.weight_device",
	};

	add_number(s, "memory", "memory.limit_in_bytes", false, l->memory_bytes, "-1");
	/* without a limit of memory there can't be one of memory and swap together */
	add_number(s, "memory", "memory.memsw.limit_in_bytes", true,
		   l->memory_bytes == -1 && l->memory_swap_bytes == CGROUP_UNSET ? -1 : l->memory_swap_bytes, "-1");
	add_number(s, "memory", "memory.soft_limit_in_bytes", false, l->memory_reservation_bytes, "-1");
	add_number(s, "memory", "memory.swappiness", true, l->swappiness < 0 ? CGROUP_UNSET : l->swappiness, NULL);
	if (l->oom_kill_disable)
		add_number(s, "memory", "memory.oom_control", false, 1, NULL);
	add_number(s, "cpu", "cpu.shares", false, l->cpu_shares > 0 ? l->cpu_shares : CGROUP_UNSET, NULL);
	add_number(s, "cpu", "cpu.cfs_period_us", false, l->cpu_period_us > 0 ? l->cpu_period_us : CGROUP_UNSET, NULL);
	add_number(s, "cpu", "cpu.cfs_quota_us", false, l->cpu_quota_us ? l->cpu_quota_us : CGROUP_UNSET, "-1");
	add_number(s, "cpu", "cpu.cfs_burst_us", false, l->cpu_burst_us, NULL);
	add_number(s, "cpu", "cpu.idle", false, l->cpu_idle, NULL);
	add_number(s, "pids", "pids.max", false, l->pids ? l->pids : CGROUP_UNSET, "max");
	add_number(s, "blkio", "blkio.weight", true, l->blkio_weight > 0 ? l->blkio_weight : CGROUP_UNSET, NULL);
	add_number(s, "blkio", "blkio.bfq.weight", true, l->blkio_weight > 0 ? l->blkio_weight : CGROUP_UNSET, NULL);
	add_number(s, "cpu", "cpu.rt_period_us", false, l->cpu_rt_period_us > 0 ? l->cpu_rt_period_us : CGROUP_UNSET,
		   NULL);
	add_number(s, "cpu", "cpu.rt_runtime_us", false, l->cpu_rt_runtime_us > 0 ? l->cpu_rt_runtime_us : CGROUP_UNSET,
		   NULL);
	add_text(s, "cpuset", "cpuset.cpus", l->cpus);
	add_text(s, "cpuset", "cpuset.mems", l->mems);
	for (size_t i = 0; i < l->n_throttles; i++) {
		const struct cgroup_throttle *t = &l->throttles[i];

		snprintf(add(s, "blkio", throttle_files[t->kind], t->kind == THROTTLE_WEIGHT)->value, 96, "%u:%u %llu",
			 t->major, t->minor, (unsigned long long)t->rate);
	}
}

/* v1 shares 2..262144 onto v2 weight 1..10000, as the kernel's users agreed on. */
int64_t cgroup_v2_weight(int64_t shares)
{
	if (shares <= 0)
		return CGROUP_UNSET;
	shares = shares < 2 ? 2 : shares > 262144 ? 262144 : shares;
	return 1 + (shares - 2) * 9999 / 262142;
}

/* v1: memory and swap together; v2: swap alone. */
int64_t cgroup_v2_swap(const struct cgroup_limits *l)
{
	if (l->memory_swap_bytes == CGROUP_UNSET || l->memory_swap_bytes < 0)
		return l->memory_swap_bytes;
	if (l->memory_bytes == CGROUP_UNSET || l->memory_bytes < 0)
		return l->memory_swap_bytes;
	return l->memory_swap_bytes > l->memory_bytes ? l->memory_swap_bytes - l->memory_bytes : 0;
}

static void v2_cpu_max(const struct cgroup_limits *l, struct settings *s)
{
	int64_t period = l->cpu_period_us > 0 ? l->cpu_period_us : 100000;
	char *value;

	if ((l->cpu_quota_us == CGROUP_UNSET || l->cpu_quota_us == 0) && l->cpu_period_us <= 0)
		return;
	value = add(s, "cpu", "cpu.max", false)->value;
	if (l->cpu_quota_us > 0)
		snprintf(value, 96, "%lld %lld", (long long)l->cpu_quota_us, (long long)period);
	else
		snprintf(value, 96, "max %lld", (long long)period);
}

static void v2_settings(const struct cgroup_limits *l, struct settings *s)
{
	static const char *const throttle_keys[] = {
		[THROTTLE_READ_BPS] = "rbps", [THROTTLE_WRITE_BPS] = "wbps",
		[THROTTLE_READ_IOPS] = "riops", [THROTTLE_WRITE_IOPS] = "wiops",
	};

	add_number(s, "memory", "memory.max", false, l->memory_bytes, "max");
	add_number(s, "memory", "memory.swap.max", true, cgroup_v2_swap(l), "max");
	add_number(s, "memory", "memory.low", false, l->memory_reservation_bytes, "max");
	add_number(s, "cpu", "cpu.weight", false, cgroup_v2_weight(l->cpu_shares), NULL);
	v2_cpu_max(l, s);
	add_number(s, "cpu", "cpu.max.burst", false, l->cpu_burst_us, NULL);
	add_number(s, "cpu", "cpu.idle", false, l->cpu_idle, NULL);
	add_number(s, "pids", "pids.max", false, l->pids ? l->pids : CGROUP_UNSET, "max");
	if (l->blkio_weight > 0) {
		int64_t weight = 1 + (l->blkio_weight - 10) * 9999 / 990; /* 10..1000 onto 1..10000 */

		snprintf(add(s, "io", "io.bfq.weight", true)->value, 96, "%lld", (long long)l->blkio_weight);
		snprintf(add(s, "io", "io.weight", true)->value, 96, "%lld", (long long)weight);
	}
	add_text(s, "cpuset", "cpuset.cpus", l->cpus);
	add_text(s, "cpuset", "cpuset.mems", l->mems);
	for (size_t i = 0; i < l->n_throttles; i++) {
		const struct cgroup_throttle *t = &l->throttles[i];

		if (t->kind == THROTTLE_WEIGHT)
			snprintf(add(s, "io", "io.bfq.weight", true)->value, 96, "%u:%u %llu", t->major, t->minor,
				 (unsigned long long)t->rate);
		else
			snprintf(add(s, "io", "io.max", false)->value, 96, "%u:%u %s=%llu", t->major, t->minor,
				 throttle_keys[t->kind], (unsigned long long)t->rate);
	}
}

size_t cgroup_settings(const struct cgroup_limits *l, int version,
		       struct cgroup_setting out[static CGROUP_SETTINGS_MAX])
{
	struct settings s = { out, 0 };

	if (version == 1)
		v1_settings(l, &s);
	else
		v2_settings(l, &s);
	return s.n;
}

bool cgroup_limits_any(const struct cgroup_limits *l)
{
	struct cgroup_setting settings[CGROUP_SETTINGS_MAX];

	return l->n_unified || cgroup_settings(l, 1, settings);
}

/* A hierarchy that the container isn't in yet (cpuset): make it and move everything that runs. */
static int enter_late(struct cgroup *cg, struct hierarchy *h, struct err *e)
{
	autojson *pids = cgroup_pids(cg, e);
	json_t *pid;
	size_t i;

	if (!pids || hierarchy_make(cg, h, e))
		return -1;
	json_array_foreach(pids, i, pid) {
		char text[24];

		snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(pid));
		if (cgroup_write(h->dir, "cgroup.procs", text) && errno != ESRCH)
			return err_set(e, ERR_SYSTEM, errno, "move into cgroup %s%s", h->mount, cg->path);
	}
	return 0;
}

/* A parent hands down no more real-time than it has, and at first it has none: let it have all that there is. */
static void parent_realtime(const struct hierarchy *h)
{
	char all[32];
	autoclose int root = open(h->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root >= 0 && !cgroup_read(root, "cpu.rt_runtime_us", all, sizeof(all)))
		(void)cgroup_write(h->dir, "../cpu.rt_runtime_us", all); /* what follows says whether it was enough */
}

static int apply_one(struct cgroup *cg, const struct cgroup_setting *x, struct err *e)
{
	struct hierarchy *h = cgroup_hierarchy(cg, x->controller);

	if (!h)
		return x->optional ? 0
				   : err_set(e, ERR_UNSUPPORTED, 0, "this kernel has no cgroup controller \"%s\"",
					     x->controller);
	if (h->dir < 0 && enter_late(cg, h, e))
		return -1;
	if (!strcmp(x->file, "cpu.rt_runtime_us"))
		parent_realtime(h);
	if (!cgroup_write(h->dir, x->file, x->value))
		return 0;
	if (errno == ENOENT && x->optional)
		return 0;
	return err_set(e, errno == EINVAL || errno == ERANGE ? ERR_INVALID : ERR_SYSTEM, errno,
		       "failed to write \"%s\" to %s", x->value, x->file);
}

static int apply_unified(struct cgroup *cg, const struct cgroup_limits *l, struct err *e)
{
	if (l->n_unified && cg->version == 1)
		return err_set(e, ERR_UNSUPPORTED, 0,
			       "invalid configuration: linux.resources.unified: \"%s\": this host has cgroup v1",
			       l->unified[0].file);
	for (size_t i = 0; i < l->n_unified; i++) {
		if (cgroup_write(cg->h[0].dir, l->unified[i].file, l->unified[i].value))
			return err_set(e, ERR_INVALID, errno, "linux.resources.unified: \"%s\" to %s",
				       l->unified[i].value, l->unified[i].file);
	}
	return 0;
}

/* v1 refuses a memory limit above the present memory+swap limit, and a period with which the present quota is more than
 * the parent's: that one has to be changed first then. */
static bool is_bounded_by(const char *file, const char *next)
{
	return !strcmp(next, "memory.memsw.limit_in_bytes") ||
	       (!strcmp(file, "cpu.cfs_period_us") && !strcmp(next, "cpu.cfs_quota_us"));
}

int cgroup_apply(struct cgroup *cg, const struct cgroup_limits *l, struct err *e)
{
	struct cgroup_setting settings[CGROUP_SETTINGS_MAX];
	size_t n = cgroup_settings(l, cg->version, settings);

	for (size_t i = 0; i < n; i++) {
		bool may_be_second = i + 1 < n && is_bounded_by(settings[i].file, settings[i + 1].file);

		if (may_be_second &&
		    !cgroup_write(cgroup_dir(cg, settings[i].controller), settings[i].file, settings[i].value))
			continue;
		if (may_be_second && apply_one(cg, &settings[i + 1], e))
			return -1;
		if (apply_one(cg, &settings[i], e))
			return -1;
	}
	return apply_unified(cg, l, e);
}

int cgroup_update(struct cgroup *cg, const struct cgroup_limits *l, struct err *e)
{
	if (cgroup_apply(cg, l, e))
		return -1;
	return l->n_devices ? cgroup_apply_devices(cg, l, e) : 0;
}
