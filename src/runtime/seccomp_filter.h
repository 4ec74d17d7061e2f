/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * linux.seccomp compiled with libseccomp. That takes some milliseconds, so the result is kept beside the text that it was
 * made of. Source: runtime-spec config-linux.md "Seccomp".
 */
#ifndef SILO_RUNTIME_SECCOMP_FILTER_H
#define SILO_RUNTIME_SECCOMP_FILTER_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/**
 * seccomp_filter_file - path of the compiled filter (array of struct sock_filter).
 *
 * @dir      where filters are kept; made where it isn't there.
 * @seccomp  linux.seccomp of a runtime-spec.
 * @path     receives a heap string.
 * @flags    SECCOMP_FILTER_FLAG_*, added to what is there.
 *
 * ERR_INVALID names the member that is wrong.
 */
int seccomp_filter_file(const char *dir, const json_t *seccomp, char **path, unsigned *flags, struct err *e) must_check;

/* Does it have SCMP_ACT_NOTIFY, which needs a listener? */
bool seccomp_filter_asks(const json_t *seccomp);

#endif
