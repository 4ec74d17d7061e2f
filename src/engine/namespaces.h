/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Containers that share namespaces of another one: --ipc=container:X, --pid=container:X. Process isolation only. */
#ifndef SILO_ENGINE_NAMESPACES_H
#define SILO_ENGINE_NAMESPACES_H

#include <jansson.h>
#include <stdbool.h>

#include "engine/state.h"

#define JOINED_MAX 3

/* Namespaces of other containers, held open while a monitor takes them over from /proc/PID/fd of silod. */
struct joined {
	int fds[JOINED_MAX];
	size_t n;
};

/* Does a container with this HostConfig share another one's namespaces? */
bool namespaces_wanted(const json_t *host);
/* At create: the other container must be there. ERR_NOT_FOUND, ERR_UNSUPPORTED. */
int namespaces_check(struct engine *g, const json_t *host, struct err *e) must_check;
/* Before a start, with the bundle written: put them into its config.json. */
int namespaces_join(struct engine *g, struct container *c, struct joined *j, struct err *e) must_check;
void namespaces_close(struct joined *j);

#endif
