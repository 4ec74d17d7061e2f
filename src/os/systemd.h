/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Scopes of systemd: cgroups of its making that belong to somebody else (Delegate=yes). Spoken to directly, without a
 * message bus. Source: D-Bus specification, "Message Protocol"; org.freedesktop.systemd1(5).
 */
#ifndef SILO_OS_SYSTEMD_H
#define SILO_OS_SYSTEMD_H

#include <sys/types.h>

#include "base/err.h"
#include "os/cgroup.h"

struct systemd_scope {
	const char *unit;        /* "silo-ID.scope" */
	const char *slice;       /* "system.slice" */
	const char *description;
	pid_t pid;               /* its first process: a scope isn't without one */
	const struct cgroup_limits *limits; /* as far as systemd has words for them */
};

/**
 * systemd_start_scope - make a scope; returns when it is there.
 *
 * Returns the path of its cgroup from the root of the hierarchy (to be freed), or NULL: ERR_UNAVAILABLE where no systemd
 * runs (the system's for root, the user's own for others), ERR_CONFLICT when there is a unit of this name.
 */
char *systemd_start_scope(const struct systemd_scope *s, struct err *e) must_check;
/* Forget it; what is in it is killed. ERR_NOT_FOUND when there is none. */
int systemd_stop(const char *unit, struct err *e) must_check;
/* Other limits, so that systemd doesn't bring back the old ones. */
int systemd_update(const char *unit, const struct cgroup_limits *l, struct err *e) must_check;

#endif
