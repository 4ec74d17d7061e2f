/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Capabilities as bit masks. Source: capabilities(7). */
#ifndef SILO_OS_CAPS_H
#define SILO_OS_CAPS_H

#include <stdint.h>

#include "base/err.h"

/* The five sets of a process; bit n = capability number n. */
struct caps {
	uint64_t bounding, effective, inheritable, permitted, ambient;
};

/* Number of "CAP_CHOWN" (case and prefix as in the runtime-spec), or -1. Pure. */
int caps_parse(const char *name);

/* "CAP_CHOWN" of a number, or NULL beyond the last. Pure. */
const char *caps_name(int number);

/* Sets of the calling thread: what it may hand on. */
int caps_get(struct caps *out, struct err *e) must_check;
/* Drop everything outside mask from the bounding set. Needs CAP_SETPCAP while something is to be dropped. */
int caps_limit_bounding(uint64_t mask, struct err *e) must_check;
/* Set effective, permitted and inheritable; then ambient to exactly c->ambient. */
int caps_set(const struct caps *c, struct err *e) must_check;

#endif
