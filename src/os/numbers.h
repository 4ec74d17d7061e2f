/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Columns of numbers, as the kernel prints them in procfs and cgroupfs. */
#ifndef SILO_OS_NUMBERS_H
#define SILO_OS_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

/* Read up to max decimal numbers separated by blanks. Stops at anything else. Returns how many. Pure. */
size_t numbers_read(const char *text, int64_t *out, size_t max);
/* "8:16" at the start of text; *rest is what follows. 0 or -1. Pure. */
int numbers_read_device(const char *text, unsigned *major, unsigned *minor, const char **rest);

#endif
