/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads a container's json-file log: rotated files oldest first, from the start or from the last n lines. */
#ifndef SILO_ENGINE_LOGFILE_H
#define SILO_ENGINE_LOGFILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct logfile;

/**
 * logfile_open - open for reading.
 *
 * @path  ".../<id>-json.log"; older files are path.1 (newest of them), path.2, ... None at all is an empty log.
 * @tail  lines to begin with, counted from the end; -1 = all.
 */
struct logfile *logfile_open(const char *path, int64_t tail, struct err *e) must_check;
void logfile_close(struct logfile *l);

/* The next line as {"log", "stream", "time"}: new reference, or NULL when there is none (yet). Lines that aren't valid
 * are skipped. A file that was rotated away meanwhile is read to its end first. */
json_t *logfile_next(struct logfile *l);

#endif
