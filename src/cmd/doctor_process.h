/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SILO_CMD_DOCTOR_PROCESS_H
#define SILO_CMD_DOCTOR_PROCESS_H

#include <jansson.h>
#include <stdbool.h>

enum check_status { CHECK_OK, CHECK_WARNING, CHECK_MISSING };

/* Append {"name", "status", "detail", "fix"}; fix may be NULL. */
void check_add(json_t *checks, enum check_status status, const char *name, const char *detail, const char *fix);

/* What process isolation needs of this host: array of checks. New reference. */
json_t *doctor_process_checks(void);
bool doctor_privileges_missing(void);

#endif
