/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/step.h"

#include <stdlib.h>

#include "base/attr.h"

/* Which step is made to fail: set by tests that check that nothing is left behind. 0 = none. */
static long fail_step(void)
{
	const char *text = getenv("SILO_FAIL_STEP");

	return text ? strtol(text, NULL, 10) : 0;
}

int steps_run(const struct step *steps, size_t n, void *arg, size_t *done, struct err *e)
{
	static long steps_seen; /* of this process; only read where SILO_FAIL_STEP is set */
	long fail = fail_step();

	for (size_t i = 0; i < n; i++) {
		if (steps[i].wanted && !steps[i].wanted(arg))
			continue;
		int failed = fail && ++steps_seen == fail ? err_set(e, ERR_SYSTEM, 0, "made to fail by SILO_FAIL_STEP")
							  : steps[i].run(arg, e);

		if (failed) {
			err_prefix(e, "%s", steps[i].name);
			steps_undo(steps, i, arg);
			if (done)
				*done = 0;
			return -1;
		}
	}
	if (done)
		*done = n;
	return 0;
}

void steps_undo(const struct step *steps, size_t done, void *arg)
{
	while (done--)
		if (steps[done].undo && (!steps[done].wanted || steps[done].wanted(arg)))
			steps[done].undo(arg);
}
