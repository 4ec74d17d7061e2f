/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding a program in PATH, with the texts that Docker's users know (Go's os/exec, as runc uses it). */
#ifndef SILO_OS_LOOKUP_H
#define SILO_OS_LOOKUP_H

#include <stddef.h>

#include "base/err.h"

/**
 * lookup_command - path of the program that `name` means, seen by the calling process.
 *
 * @env  NULL-terminated; PATH is taken from it (none: Docker's default).
 * Errors: ERR_NO_COMMAND `exec: "x": executable file not found in $PATH`, `exec: "/x": stat /x: no such file or
 * directory`; ERR_NOT_EXECUTABLE `exec: "/x": is a directory`, `exec: "/x": permission denied`.
 */
int lookup_command(const char *name, const char *const *env, char *path, size_t size, struct err *e) must_check;
/* Error of a failed execve(path): kind and "exec path: exec format error". Returns -1. */
int lookup_exec_error(const char *path, int sys, struct err *e);
/* Value of NAME in a NULL-terminated environment; the last one wins, as in Go. NULL = none. Pure. */
const char *lookup_env(const char *const *env, const char *name);
/* errno as Go spells it: strerror in lower case at the start ("no such file or directory"). */
void lookup_go_error(int sys, char out[static 128]);

#endif
