/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SILO_ENGINE_TOP_H
#define SILO_ENGINE_TOP_H

#include <jansson.h>

#include "base/err.h"

/* Words of ps_args ("" = -ef). New array. Pure. */
json_t *top_split_args(const char *text, struct err *e) must_check;
/* {"Titles", "Processes"} of the rows of ps whose PID is listed. Pure. */
json_t *top_table(const char *output, const json_t *pids, struct err *e) must_check;

#endif
