/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Loading of a filter that was compiled elsewhere. Source: seccomp(2). */
#ifndef SILO_OS_SECCOMP_H
#define SILO_OS_SECCOMP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Whether these bytes can be a filter: whole instructions, at least one, at most BPF_MAXINSNS. Pure. */
bool seccomp_is_filter(size_t bytes);
/* Install for this thread and its children. Needs no_new_privs or CAP_SYS_ADMIN. */
/* flags: SECCOMP_FILTER_FLAG_*. listener: receives the descriptor on which SECCOMP_RET_USER_NOTIF asks (close-on-exec);
 * NULL = the filter doesn't ask. */
int seccomp_install(const void *filter, size_t bytes, unsigned flags, int *listener, struct err *e) must_check;

#endif
