/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A hive's keys and values over a registry of Wine's. */
#ifndef SILO_WINDOWS_HIVE_APPLY_H
#define SILO_WINDOWS_HIVE_APPLY_H

#include "windows/hive.h"
#include "windows/registry.h"

/* Which keys: those below one of `only`, and not below one of `but`; both end with NULL. */
struct hive_choice {
	const char *const *only, *const *but;
};

/**
 * hive_apply - lay a delta over the registry, below the key prefix.
 *
 * @choice  NULL: all keys
 * What says which version of Windows this is stays the base's. Symbolic links of the registry are left out, and counted.
 * ERR_INVALID, ERR_LIMIT; the registry is half changed then.
 */
int hive_apply(struct registry *r, const char *prefix, const struct hive_choice *choice, const uint8_t *data, size_t n,
	       size_t *links, struct err *e) must_check;

#endif
