/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Resource limits of a process. Source: getrlimit(2). */
#ifndef SILO_OS_RLIMIT_H
#define SILO_OS_RLIMIT_H

#include <stdint.h>

#include "base/err.h"

/* RLIMIT_* of "RLIMIT_NOFILE"; -1 = unknown. Pure. */
int rlimit_parse(const char *name);
const char *rlimit_name(int resource);
/* Set for the calling process; UINT64_MAX = unlimited. Raising a hard limit needs CAP_SYS_RESOURCE. */
int rlimit_set(int resource, uint64_t soft, uint64_t hard, struct err *e) must_check;

#endif
