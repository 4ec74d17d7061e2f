/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SILO_ENGINE_SECCOMP_PROFILE_H
#define SILO_ENGINE_SECCOMP_PROFILE_H

#include <jansson.h>

#include "base/err.h"

/**
 * seccomp_profile_parse - a profile of Docker's form (--security-opt seccomp=FILE) as linux.seccomp of the runtime-spec.
 *
 * @text  the profile's JSON, as clients send it.
 * @caps  array of "CAP_X": the container's bounding set, which decides about rules with "includes" and "excludes".
 *
 * New, or NULL with ERR_INVALID. Names and actions aren't looked at: the compiler refuses wrong ones.
 * Source: moby profiles/seccomp, as Docker's documentation of seccomp profiles describes it.
 */
json_t *seccomp_profile_parse(const char *text, const json_t *caps, struct err *e) must_check;

#endif
