/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Three or more ordered steps with side effects are a table; the runner names, times and undoes them. */
#ifndef SILO_BASE_STEP_H
#define SILO_BASE_STEP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct step {
	const char *name;                       /* goes in front of an error: "rootfs: ..." */
	bool (*wanted)(void *arg);              /* NULL = always */
	int (*run)(void *arg, struct err *e);
	void (*undo)(void *arg);                /* NULL = nothing to undo */
};

/**
 * steps_run - run the wanted steps in order. At the first failure those done are undone, newest first.
 *
 * @done  receives how many leading entries of the table were passed; hand it to steps_undo() later. May be NULL.
 * Environment SILO_FAIL_STEP=N (debug builds and tests) makes the Nth step that runs in this process fail.
 */
int steps_run(const struct step *steps, size_t n, void *arg, size_t *done, struct err *e) must_check;
/* Undo the first `done` wanted entries, newest first. */
void steps_undo(const struct step *steps, size_t done, void *arg);

#endif
