/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Run a helper program and collect what it prints. */
#ifndef SILO_OS_RUN_H
#define SILO_OS_RUN_H

#include "base/err.h"
#include "base/str.h"

/**
 * run_capture - run argv[0] (looked for in the system directories) with stdin /dev/null.
 *
 * @out         receives stdout and stderr together; its maximum bounds them.
 * @timeout_ms  the program is killed then: ERR_TIMEOUT.
 * ERR_SYSTEM with the output when it exits with anything but 0. For a single-threaded process.
 */
int run_capture(const char *const *argv, int timeout_ms, struct str *out, struct err *e) must_check;

#endif
