/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Run a program of the host and read what it prints. */
#ifndef SILO_HYPERV_CAPTURE_H
#define SILO_HYPERV_CAPTURE_H

#include "base/err.h"
#include "base/str.h"

/**
 * capture_output - run argv[0] (a path, or a name looked up in /usr/bin, /bin, /usr/sbin, /sbin) to its end.
 *
 * @envp   its whole environment.
 * @input  /dev/null. Standard error goes into out, too.
 * Returns 0 when it exits with 0; or -1: ERR_UNAVAILABLE when it isn't there, ERR_SYSTEM with its last line else.
 * What exceeds out->max is dropped.
 */
int capture_output(const char *const *argv, const char *const *envp, struct str *out, struct err *e) must_check;

/* Absolute path of a program in the directories above; heap string, or NULL. */
char *capture_find_program(const char *name);

#endif
