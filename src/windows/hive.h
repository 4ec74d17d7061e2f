/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Registry hives (regf), read: whole ones, and the deltas in the layers of Windows images, whose keys and values say how
 * they lie over those below. The bytes are taken for hostile: every offset is checked, no key is seen twice, and what is
 * handed out in all is never more than the hive has. Pure.
 * Source: github.com/msuhanov/regf, "Windows registry file format specification".
 */
#ifndef SILO_WINDOWS_HIVE_H
#define SILO_WINDOWS_HIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define HIVE_BYTES_MAX (64 * MIB)

/* What a key of a delta does to the one below. */
enum hive_layering {
	HIVE_MERGE = 0,
	HIVE_TOMBSTONE = 1,       /* deletes it and all below it */
	HIVE_SUPERSEDE_LOCAL = 2, /* takes the place of its values; subkeys are merged */
	HIVE_SUPERSEDE_TREE = 3,  /* takes the place of all of it */
};

struct hive_value {
	char *name; /* UTF-8; "" is the default value */
	uint32_t type;
	const uint8_t *data;
	size_t n;
	bool deleted;   /* a tombstone */
	uint8_t *owned; /* data that lay in pieces */
};

struct hive_key {
	const char *path; /* UTF-8, single backslashes; "" is the root */
	enum hive_layering layering;
	bool link; /* a symbolic link: its value names the target */
	const struct hive_value *values;
	size_t n_values;
};

/* Borrowed until it returns. Non-zero with *e ends the walk. */
typedef int hive_key_fn(void *arg, const struct hive_key *key, struct err *e);

/* Every key, parents first. ERR_INVALID "broken registry hive: ...", or the function's error. */
int hive_walk(const uint8_t *data, size_t n, hive_key_fn *each, void *arg, struct err *e) must_check;

#endif
