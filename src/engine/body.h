/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Request bodies in canonical form: Docker's own spelling of every key, every known key present as inspect shows it,
 * types checked. Unknown keys are dropped, as Docker does. Pure.
 */
#ifndef SILO_ENGINE_BODY_H
#define SILO_ENGINE_BODY_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/* ContainerConfig / HostConfig / ExecConfig from obj (NULL = all defaults). New, or NULL with ERR_INVALID. */
json_t *body_config(const json_t *obj, struct err *e) must_check;
json_t *body_host(const json_t *obj, struct err *e) must_check;
json_t *body_exec(const json_t *obj, struct err *e) must_check;

/**
 * body_merge_image - what the image's config gives where the request has nothing (Docker's merge rules).
 *
 * @config  canonical; changed in place. @image: the "config" object of the OCI image config, or NULL.
 */
void body_merge_image(json_t *config, const json_t *image);

/* Refuse what is wrong or what isn't there yet (never ignore it). warnings: array of strings, appended to. */
int body_check_config(const json_t *config, struct err *e) must_check;
int body_check_host(const json_t *host, bool hyperv, json_t *warnings, struct err *e) must_check;

/* A Docker port key "80", "80/tcp", "5000-5003/udp" is well-formed. */
bool body_is_port(const char *text);

#endif
