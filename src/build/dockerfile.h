/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What Silo has to know of a Dockerfile before a builder runs it: the images that it begins with or copies from. Pure.
 * Source: the Dockerfile reference, "Format", "ARG and FROM interaction", "COPY --from".
 */
#ifndef SILO_BUILD_DOCKERFILE_H
#define SILO_BUILD_DOCKERFILE_H

#include <jansson.h>

#include "base/err.h"

#define DOCKERFILE_BYTES_MAX (1 * MIB)

/**
 * dockerfile_images - the images that a Dockerfile names, in their order, each once; no stages, not "scratch".
 *
 * @text    NUL-terminated
 * @args    the build's arguments {name: string or null}, which win over the defaults of ARG; or NULL
 * @target  the stage after which the build ends, or NULL
 * Returns a new array of strings, or NULL with ERR_INVALID and Docker's text ("dockerfile parse error on line 2: ...").
 */
json_t *dockerfile_images(const char *text, const json_t *args, const char *target, struct err *e) must_check;

#endif
