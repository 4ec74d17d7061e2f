/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SILO_ENGINE_INSPECT_H
#define SILO_ENGINE_INSPECT_H

#include "engine/state.h"

/* Mounts as inspect and list show them. New. */
json_t *inspect_mounts(const json_t *host);
/* Bytes of an image, 0 when it is gone. */
int64_t image_size(struct engine *g, const char *image_id);

/* "Up 3 minutes", "Exited (0) 2 seconds ago", "Created": Docker's column STATUS. Pure. started, finished: unix seconds. */
void status_text(enum life state, int exit_code, int64_t started, int64_t finished, int64_t now, char out[static 80]);
/* "Less than a second", "5 seconds", "About an hour", "3 days", ... as Docker's go-units. Pure. */
void duration_text(int64_t seconds, char out[static 48]);

#endif
