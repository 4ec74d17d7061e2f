/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the engine does for Windows containers; what they are is src/windows/. */
#ifndef SILO_ENGINE_WINDOWS_H
#define SILO_ENGINE_WINDOWS_H

#include <jansson.h>

#include "base/err.h"
#include "image/image.h"

struct engine;

/**
 * windows_config_settle - make a container's Config that of a Windows container if its image is one.
 *
 * @config  canonical, merged with the image's; changed in place.
 * @image   the image's config document.
 * ERR_INVALID: an image that can't run here.
 */
int windows_config_settle(json_t *config, const json_t *image, struct err *e) must_check;
/**
 * windows_isolation_check - with "windows-host-version" in the configuration: would a Windows host of that version run the
 * container in this mode? With "isolation": "prefer-process" one that wouldn't runs in hyperv instead, unless a mode was
 * asked for.
 *
 * @isolation  in and out: "process" or "hyperv"
 */
int windows_isolation_check(const struct engine *g, const json_t *config, bool asked, const char **isolation,
			    struct err *e) must_check;
/* Refuse what a Windows container can't have. host: canonical HostConfig. */
int windows_host_check(const json_t *host, struct err *e) must_check;

/* What every Windows image needs to run: an architecture and a version that are known. *build: of the version. */
int windows_platform_check(const char *arch, const char *version, unsigned *build, struct err *e) must_check;

/* A struct engine as image_store_options.windows_base wants it. */
json_t *windows_base_for(void *engine, const json_t *config, const char *hint, struct err *e);

#endif
