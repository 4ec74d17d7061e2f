/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Maps of user namespaces, and mounts with mapped ids. Source: user_namespaces(7), mount_setattr(2). */
#ifndef SILO_OS_USERNS_H
#define SILO_OS_USERNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* A range of user or group ids: inside the namespace, and who that is outside. */
struct id_map {
	uint32_t inside, outside, size;
};

struct id_maps {
	struct id_map *uids, *gids;
	size_t n_uids, n_gids;
};

/* Are we in the user namespace that the system was started with? */
bool userns_is_initial(void);
/* Write both maps of a process in a new user namespace. Without privilege newuidmap(1) and newgidmap(1) do it. */
int userns_write_maps(pid_t pid, const struct id_maps *m, struct err *e) must_check;
/* Map the ids of a detached mount. Forks for a moment. */
int mount_idmap(int mount, const struct id_maps *m, bool recursive, struct err *e) must_check;

#endif
