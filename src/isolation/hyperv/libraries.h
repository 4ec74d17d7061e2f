/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared libraries that a dynamically linked program of the host needs. */
#ifndef SILO_HYPERV_LIBRARIES_H
#define SILO_HYPERV_LIBRARIES_H

#include <jansson.h>

#include "base/err.h"

/**
 * libraries_of - absolute paths of the libraries and of the dynamic linker, as the dynamic linker itself finds them.
 *
 * @program  path of a trusted program of the host (the dynamic linker is run on it).
 * Returns a new array of strings, empty for a static program; or NULL with *e.
 * Source: ld.so(8), LD_TRACE_LOADED_OBJECTS.
 */
json_t *libraries_of(const char *program, struct err *e) must_check;

#endif
