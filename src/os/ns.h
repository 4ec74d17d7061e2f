/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of namespaces. Source: namespaces(7), runtime-spec config-linux.md "Namespaces". */
#ifndef SILO_OS_NS_H
#define SILO_OS_NS_H

#include <stdint.h>

#include "base/err.h"

/* CLONE_NEW* flag of "pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"; 0 = unknown. Pure. */
uint64_t ns_flag(const char *name);
/* Enter the namespace at a host path (bind or /proc/PID/ns/x), checking that it is of this type. */
int ns_enter_path(const char *path, uint64_t flag, struct err *e) must_check;

#endif
