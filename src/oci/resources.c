/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* "linux.resources" of the runtime-spec. */
#include <string.h>

#include "base/json.h"
#include "oci/reader.h"
#include "oci/spec.h"

/* One number: where it stands and where it goes. */
struct number {
	const char *group, *key;
	size_t offset;
	int64_t min;
};

#define AT(member) offsetof(struct cgroup_limits, member)

static const struct number numbers[] = {
	{ "memory",  "limit",       AT(memory_bytes),             -1 },
	{ "memory",  "reservation", AT(memory_reservation_bytes), -1 },
	{ "memory",  "swap",        AT(memory_swap_bytes),        -1 },
	{ "memory",  "swappiness",  AT(swappiness),               -1 },
	{ "cpu",     "shares",      AT(cpu_shares),               0  },
	{ "cpu",     "quota",       AT(cpu_quota_us),             -1 },
	{ "cpu",     "period",      AT(cpu_period_us),            0  },
	{ "cpu",     "burst",       AT(cpu_burst_us),             0  },
	{ "cpu",     "idle",        AT(cpu_idle),                 0  },
	{ "cpu",     "realtimeRuntime", AT(cpu_rt_runtime_us),    0  },
	{ "cpu",     "realtimePeriod", AT(cpu_rt_period_us),      0  },
	{ "pids",    "limit",       AT(pids),                     -1 },
	{ "blockIO", "weight",      AT(blkio_weight),             0  },
};

static int parse_number(const json_t *resources, const struct number *x, struct cgroup_limits *l, struct err *e)
{
	int64_t *out = (int64_t *)((char *)l + x->offset);
	json_t *group;

	if (json_get_object(resources, x->group, &group, e))
		return -1;
	if (read_int(group, x->key, CGROUP_UNSET, x->min, INT64_MAX, out, e))
		return err_prefix(e, "%s", x->group);
	return 0;
}

static int parse_device(const json_t *j, void *arg, struct err *e)
{
	struct cgroup_limits *l = arg;
	struct cgroup_device d;
	const char *type, *access;

	if (l->n_devices == CGROUP_DEVICES_MAX)
		return err_set(e, ERR_LIMIT, 0, "more than %d rules", CGROUP_DEVICES_MAX);
	if (json_get_bool(j, "allow", false, &d.allow, e) || json_get_str(j, "type", "a", &type, e) ||
	    json_get_str(j, "access", "rwm", &access, e) || read_int(j, "major", -1, -1, INT32_MAX, &d.major, e) ||
	    read_int(j, "minor", -1, -1, INT32_MAX, &d.minor, e))
		return -1;
	if (strlen(type) != 1 || !strchr("acbu", *type) || strspn(access, "rwm") != strlen(access))
		return err_set(e, ERR_INVALID, 0, "type \"%s\" or access \"%s\"", type, access);
	d.type = *type == 'u' ? 'c' : *type;
	d.read = strchr(access, 'r');
	d.write = strchr(access, 'w');
	d.mknod = strchr(access, 'm');
	l->devices[l->n_devices++] = d;
	return 0;
}

/* read_each has no room for the kind: it is left in the slot to be filled. */
static int parse_throttle(const json_t *j, void *arg, struct err *e)
{
	struct cgroup_limits *l = arg;
	struct cgroup_throttle *t = &l->throttles[l->n_throttles];
	int64_t major, minor, rate;

	if (l->n_throttles + 1 >= CGROUP_THROTTLES_MAX)
		return err_set(e, ERR_LIMIT, 0, "more than %d throttles", CGROUP_THROTTLES_MAX - 1);
	if (read_int(j, "major", 0, 0, INT32_MAX, &major, e) || read_int(j, "minor", 0, 0, INT32_MAX, &minor, e) ||
	    read_int(j, t->kind == THROTTLE_WEIGHT ? "weight" : "rate", 0, 0, INT64_MAX, &rate, e))
		return -1;
	t->major = (unsigned)major;
	t->minor = (unsigned)minor;
	t->rate = (uint64_t)rate;
	l->n_throttles++;
	t[1].kind = t->kind;
	return 0;
}

static int parse_throttles(const json_t *resources, struct cgroup_limits *l, struct err *e)
{
	static const char *const keys[] = {
		[THROTTLE_READ_BPS] = "throttleReadBpsDevice",
		[THROTTLE_WRITE_BPS] = "throttleWriteBpsDevice",
		[THROTTLE_READ_IOPS] = "throttleReadIOPSDevice",
		[THROTTLE_WRITE_IOPS] = "throttleWriteIOPSDevice",
		[THROTTLE_WEIGHT] = "weightDevice",
	};
	json_t *group;

	if (json_get_object(resources, "blockIO", &group, e))
		return -1;
	for (size_t i = 0; i < array_len(keys); i++) {
		l->throttles[l->n_throttles].kind = (enum throttle_kind)i;
		if (read_each(group, keys[i], parse_throttle, l, e))
			return err_prefix(e, "blockIO");
	}
	return 0;
}

/* "0-3,7" and nothing else goes into a kernel file. */
static int parse_list(const json_t *cpu, const char *key, const char **out, struct err *e)
{
	if (json_get_str(cpu, key, NULL, out, e))
		return -1;
	if (*out && (strspn(*out, "0123456789,-") != strlen(*out) || strlen(*out) > 90))
		return err_set(e, ERR_INVALID, 0, "cpu.%s: \"%s\" is not a list of numbers", key, *out);
	return 0;
}

static int parse_all(const json_t *j, struct cgroup_limits *l, struct err *e)
{
	json_t *cpu, *memory;

	for (size_t i = 0; i < array_len(numbers); i++) {
		if (parse_number(j, &numbers[i], l, e))
			return -1;
	}
	if (json_get_object(j, "cpu", &cpu, e) || parse_list(cpu, "cpus", &l->cpus, e) ||
	    parse_list(cpu, "mems", &l->mems, e) || json_get_object(j, "memory", &memory, e) ||
	    json_get_bool(memory, "disableOOMKiller", false, &l->oom_kill_disable, e))
		return -1;
	return read_each(j, "devices", parse_device, l, e) || parse_throttles(j, l, e) || oci_resources_check(j, e) ||
			       oci_unified_parse(j, l, e)
		       ? -1
		       : 0;
}

int oci_resources_parse(const json_t *j, struct cgroup_limits *l, struct err *e)
{
	cgroup_limits_init(l);
	return parse_all(j, l, e) ? err_prefix(e, "resources") : 0;
}
