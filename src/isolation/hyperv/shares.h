/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a hyperv container shares with its host: the bind mounts of its config.json, as detached mounts. */
#ifndef SILO_HYPERV_SHARES_H
#define SILO_HYPERV_SHARES_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"
#include "isolation/hyperv/jail.h"

struct shares {
	int fds[JAIL_SHARES_MAX];
	size_t n;
};

/**
 * shares_open - open the sources, once: what happens to their names afterwards doesn't matter.
 *
 * Read-only ones are read-only mounts: the host enforces it, whatever the guest does. Given to shares_close() in both
 * cases.
 */
int shares_open(const json_t *config, struct shares *s, struct err *e) must_check;
/* The root file system of a container that has no disks: the share after those of its mounts. */
int shares_add_root(struct shares *s, const char *path, struct err *e) must_check;
void shares_close(struct shares *s);

#endif
