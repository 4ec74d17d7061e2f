/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the cgroup_*.c files only. */
#ifndef SILO_OS_CGROUP_PRIV_H
#define SILO_OS_CGROUP_PRIV_H

#include "os/cgroup.h"

#define CGROUP_HIERARCHIES_MAX 16

/* One mounted hierarchy. dir is -1 while the container has no directory in it. */
struct hierarchy {
	char *mount;        /* "/sys/fs/cgroup/cpu,cpuacct" */
	char *controllers;  /* "cpu,cpuacct"; "" on v2 */
	int dir;            /* of the container */
	int tasks;          /* v1: for cgroup_attach_self */
	bool made;          /* the container's directory is of our making: it was not there before */
};

struct cgroup {
	int version; /* 1 or 2 */
	char *path;
	struct hierarchy h[CGROUP_HIERARCHIES_MAX];
	size_t n;
	bool frozen;
	int oom, oom_control; /* oom: eventfd (v1) or inotify (v2) */
	int64_t oom_kills;    /* seen so far (v2) */
};

/* Fill version and hierarchies from /proc/self/mountinfo. */
int cgroup_find_hierarchies(struct cgroup *cg, struct err *e) must_check;
/* Parse the text of mountinfo; exposed for the unit test. Pure. */
void cgroup_parse_mounts(struct cgroup *cg, char *text);
/* Make the container's directory in h (and its parents). */
int hierarchy_make(struct cgroup *cg, struct hierarchy *h, struct err *e) must_check;
/* Directory of the controller, -1 = none. v2: always the one directory. */
int cgroup_dir(const struct cgroup *cg, const char *controller);
struct hierarchy *cgroup_hierarchy(struct cgroup *cg, const char *controller);
/* Whether "cpu" is an element of "cpu,cpuacct". Pure. */
bool controllers_have(const char *list, const char *name);

/* A small kernel file into buf, NUL-terminated. 0 or -1. */
int cgroup_read(int dir, const char *file, char *buf, size_t size);
int cgroup_write(int dir, const char *file, const char *text);
int cgroup_apply(struct cgroup *cg, const struct cgroup_limits *l, struct err *e) must_check;
int cgroup_apply_devices(struct cgroup *cg, const struct cgroup_limits *l, struct err *e) must_check;

#endif
