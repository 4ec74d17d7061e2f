/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The Windows base on this machine: archives in a directory (VM_DIR/windows), made by silo-windows-base. */
#ifndef SILO_WINDOWS_BASE_H
#define SILO_WINDOWS_BASE_H

#include <stdbool.h>

#include "base/err.h"

#define WINDOWS_BASE_STAMP "stamp"

/* What the base of these programs would be called: a digest over Silo's own programs in it. Heap string, or NULL. */
char *windows_base_stamp(const char *lib_dir, struct err *e) must_check;
/* Whether the directory has that base. */
bool windows_base_ready(const char *path, const char *lib_dir);

/**
 * windows_base_build - make it where it isn't there. Several callers wait for one.
 *
 * @again     make it in any case
 * @progress  is told what is done next
 * Changes the working directory. For a single-threaded process with all rights.
 */
int windows_base_build(const char *path, const char *lib_dir, bool again, void (*progress)(const char *text),
		       struct err *e) must_check;

#endif
