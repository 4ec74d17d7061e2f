/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SILO_ENGINE_BODY_LIMITS_H
#define SILO_ENGINE_BODY_LIMITS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Memory, CPU, I/O limits of a canonical HostConfig: ERR_INVALID with Docker's text. warnings gets what is only advice. */
int body_check_limits(const json_t *host, bool hyperv, json_t *warnings, struct err *e) must_check;

/* "0-2,7": set[i] = 1 for each. 0, or -1 for another form or a number >= n. Pure. */
int list_parse(const char *text, unsigned char *set, size_t n);

#endif
