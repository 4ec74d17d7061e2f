/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SILO_ENGINE_SPEC_PARTS_H
#define SILO_ENGINE_SPEC_PARTS_H

#include "engine/spec.h"

/* The mounts that the user asked for (Tmpfs, Binds, Mounts), in OCI form. New array, or NULL with *e. */
json_t *spec_user_mounts(const struct spec_input *in, struct err *e) must_check;

#endif
