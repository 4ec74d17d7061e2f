/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Executing our own programs so that nobody who gets hold of /proc/PID/exe can write to them (CVE-2019-5736). */
#ifndef SILO_OS_EXEC_H
#define SILO_OS_EXEC_H

#include "base/err.h"

/**
 * exec_open_readonly - a program on a read-only mount that only this fd refers to.
 *
 * To be executed with execveat(fd, "", argv, envp, AT_EMPTY_PATH): the process's /proc/PID/exe then lies on that mount,
 * and opening it for writing is EROFS, whatever the capabilities of the opener. Needs CAP_SYS_ADMIN. Close-on-exec; one
 * fd may be executed many times.
 */
int exec_open_readonly(const char *path, struct err *e) must_check;

#endif
