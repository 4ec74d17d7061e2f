/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cgroup of one container, v1 (one directory per hierarchy) or v2 (one directory). A start never writes
 * cgroup.procs, which costs an RCU grace period: on v1 the single-threaded child writes 0 into `tasks`, on v2 it is
 * born inside. Source: kernel cgroup-v1/, cgroup-v2.rst.
 */
#ifndef SILO_OS_CGROUP_H
#define SILO_OS_CGROUP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

#define CGROUP_UNSET INT64_MIN
#define CGROUP_DEVICES_MAX 256
#define CGROUP_UNIFIED_MAX 32
#define CGROUP_THROTTLES_MAX 32

struct cgroup_device {
	bool allow;
	char type;             /* 'a' all, 'c', 'b' */
	int64_t major, minor;  /* -1 = any */
	bool read, write, mknod;
};

/* THROTTLE_WEIGHT: the rate is a weight, 10..1000. */
enum throttle_kind { THROTTLE_READ_BPS, THROTTLE_WRITE_BPS, THROTTLE_READ_IOPS, THROTTLE_WRITE_IOPS, THROTTLE_WEIGHT };

struct cgroup_throttle {
	enum throttle_kind kind;
	unsigned major, minor;
	uint64_t rate;
};

/* linux.resources of the runtime-spec. CGROUP_UNSET / NULL = not given; -1 = unlimited where that has a meaning. */
struct cgroup_limits {
	int64_t memory_bytes, memory_reservation_bytes, memory_swap_bytes; /* swap: memory + swap together */
	int64_t swappiness;
	bool oom_kill_disable;
	int64_t cpu_shares, cpu_quota_us, cpu_period_us, cpu_burst_us;
	int64_t cpu_idle;                            /* 1: only what nobody else wants */
	int64_t cpu_rt_runtime_us, cpu_rt_period_us; /* v1 only */
	int64_t pids;
	int64_t blkio_weight;       /* 10..1000 */
	const char *cpus, *mems;    /* lists as "0-1,3" */
	struct cgroup_device devices[CGROUP_DEVICES_MAX];
	size_t n_devices;
	struct cgroup_throttle throttles[CGROUP_THROTTLES_MAX];
	size_t n_throttles;
	struct {
		const char *file, *value;
	} unified[CGROUP_UNIFIED_MAX]; /* written as they are; v2 only */
	size_t n_unified;
};

/* A limits with everything unset. */
void cgroup_limits_init(struct cgroup_limits *l);

/* One kernel file to write. */
struct cgroup_setting {
	const char *controller;
	const char *file;
	bool optional; /* missing file (kernel built without it): skip */
	char value[96];
};

#define CGROUP_SETTINGS_MAX (20 + CGROUP_THROTTLES_MAX)

/* Translate limits for cgroup version 1 or 2, in the order of writing. Pure. Returns the number of settings. */
size_t cgroup_settings(const struct cgroup_limits *l, int version,
		       struct cgroup_setting out[static CGROUP_SETTINGS_MAX]);
/* Shares and swap as cgroup v2 counts them; CGROUP_UNSET where they aren't given. Pure. */
int64_t cgroup_v2_weight(int64_t shares);
int64_t cgroup_v2_swap(const struct cgroup_limits *l);
/* Does this host have cgroup v2, and its controllers there? */
bool cgroup_is_v2(void);
/* cgroup v1 devices.allow/deny text of a rule: "c 1:3 rwm". Pure. */
void cgroup_device_line(const struct cgroup_device *d, char out[static 64]);

/* Does this host have one of these files (NULL = none) for cgroups below the root? */
bool cgroup_supports(const char *controller, const char *const *files, size_t n);

/**
 * cgroup_make_room - let an engine that is a container's process itself have limits for its own containers.
 *
 * cgroup v2 has none below a cgroup with processes, but for the host's root: those in the one that we see as the top move
 * one level down, into "init". Does nothing elsewhere.
 */
int cgroup_make_room(struct err *e) must_check;

struct cgroup;

/**
 * cgroup_new - create the directories at path ("/silo/ID" from the root of each hierarchy) and set the limits.
 *
 * ERR_CONFLICT when there is one of this name with processes in it; an empty left-over is taken over.
 * On failure nothing is left.
 */
struct cgroup *cgroup_new(const char *path, const struct cgroup_limits *l, struct err *e) must_check;
/* Remove the directories (all processes must have been killed; waits for the kernel at most a second) and free. */
void cgroup_remove(struct cgroup *cg);

/* As cgroup_new() in a directory that a manager of cgroups has made for it: who is in there already is his. */
struct cgroup *cgroup_adopt(const char *path, const struct cgroup_limits *l, struct err *e) must_check;
/* No cgroup at all, for who may not make one: nobody is in it, and nothing can be done to it. */
struct cgroup *cgroup_none(void);
bool cgroup_is_none(const struct cgroup *cg);
/* Is anything limited? Rules of devices don't count. Pure. */
bool cgroup_limits_any(const struct cgroup_limits *l);

/* The cgroup of a running container, made by another process. ERR_NOT_FOUND when there is none. */
struct cgroup *cgroup_open(const char *path, struct err *e) must_check;
/* Forget it: it stays. NULL is allowed. */
void cgroup_close(struct cgroup *cg);

/* fd to be born in (v2), or -1 (v1: the child calls cgroup_attach_self). */
int cgroup_clone_fd(const struct cgroup *cg);
/* v2: the cgroup of one of its processes, which may be further below: an fd. ERR_NOT_FOUND: it isn't in there. */
int cgroup_open_of(const struct cgroup *cg, pid_t pid, struct err *e) must_check;
/* Called by a single-threaded child: enter all v1 hierarchies. Nothing to do on v2. */
int cgroup_attach_self(const struct cgroup *cg, struct err *e) must_check;
/* Move another process with all its threads: on v1 and v2 a grace period of some 15 ms, so not on a start's way. */
int cgroup_attach(const struct cgroup *cg, pid_t pid, struct err *e) must_check;
int cgroup_update(struct cgroup *cg, const struct cgroup_limits *l, struct err *e) must_check;

/* Stop or continue all processes; returns when it is so (at most 2 s: ERR_TIMEOUT, and undone). */
int cgroup_freeze(struct cgroup *cg, bool frozen, struct err *e) must_check;
bool cgroup_is_frozen(const struct cgroup *cg);
/* All pids, nested cgroups included; a new JSON array. NULL with *e. */
json_t *cgroup_pids(const struct cgroup *cg, struct err *e) must_check;
/* Send signo to every process; SIGKILL reaches those too that fork meanwhile. */
int cgroup_signal(struct cgroup *cg, int signo, struct err *e) must_check;

/* fd that gets readable when the OOM killer was at work; owned by cg. -1 with *e when there is no memory controller. */
int cgroup_oom_fd(struct cgroup *cg, struct err *e) must_check;
/* Consume the readiness. True when a process was or is about to be killed: v2 reports other memory events as well. */
bool cgroup_oom_drain(struct cgroup *cg);
/* Processes killed so far. */
int64_t cgroup_oom_kills(const struct cgroup *cg);

/* Counters as container_stats of isolation.h describes them (without networks). New object. */
json_t *cgroup_stats(const struct cgroup *cg);

/**
 * cgroup_mount_view - what the container sees at /sys/fs/cgroup: its own subtree, from inside its cgroup namespace.
 *
 * @target  directory fd inside the container's root.
 * @attr    MOUNT_ATTR_* of the mounts.
 */
int cgroup_mount_view(const struct cgroup *cg, int target, uint64_t attr, bool own_namespace, struct err *e) must_check;

/* Load and attach the v2 device filter; cgroup.c calls it. Source: bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE. */
int cgroup_devices_attach(int dir, const struct cgroup_device *rules, size_t n, struct err *e) must_check;

#endif
