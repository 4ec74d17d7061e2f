/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Options of the local driver: what mount(8) would be told. */
#ifndef SILO_VOLUME_LOCAL_H
#define SILO_VOLUME_LOCAL_H

#include <jansson.h>

#include "base/err.h"

/* Mount {"type", "o", "device"} at path. On failure nothing is mounted. */
int local_mount(const json_t *options, const char *path, struct err *e) must_check;

#endif
