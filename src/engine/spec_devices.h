/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a container gets of its host's devices: --device, --device-cgroup-rule, --privileged, rates per device. */
#ifndef SILO_ENGINE_SPEC_DEVICES_H
#define SILO_ENGINE_SPEC_DEVICES_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/**
 * devices_add - put them into the "linux" object of a runtime spec. Looks at the host's device nodes.
 *
 * ERR_INVALID with Docker's text for a path that is no device; with hyperv, ERR_UNSUPPORTED for any device of the host.
 */
int devices_add(json_t *linux_obj, const json_t *host, bool hyperv, struct err *e) must_check;

/* "c 1:3 rwm" of --device-cgroup-rule as an OCI rule; NULL with ERR_INVALID. Pure. */
json_t *devices_parse_rule(const char *text, struct err *e) must_check;

#endif
