/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a container's record to its OCI runtime-spec document. Pure: no system call, no clock. */
#ifndef SILO_ENGINE_SPEC_H
#define SILO_ENGINE_SPEC_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct spec_input {
	const char *id;
	const char *hostname;
	const json_t *config, *host; /* canonical (body.h) */
	const json_t *links;         /* variables of linked containers, or NULL */
	const char *host_mounts;     /* path of the host's mount namespace, for binds that share mounts with it; or NULL */
	bool hyperv;
};

/* The runtime-spec 1.2 document, without linux.seccomp (the bundle names a compiled filter). New, or NULL. */
json_t *spec_make(const struct spec_input *in, struct err *e) must_check;

/* OCI "process" object of an exec with this body (canonical ExecConfig) in such a container. New, or NULL. */
json_t *spec_exec_process(const struct spec_input *in, const json_t *exec, struct err *e) must_check;

/* Entrypoint and Cmd in one list: new array; ERR_INVALID "no command specified" when empty. */
json_t *spec_args(const json_t *config, struct err *e) must_check;

/* The container's capabilities: array of "CAP_X" from the default set, CapAdd, CapDrop, Privileged. */
json_t *spec_caps(const json_t *host);

/* OCI linux.resources of the limits in a HostConfig (also of an update request, canonical). */
json_t *spec_resources(const json_t *host);

/* "chown", "CAP_CHOWN", "ALL" in canonical form: 0, or -1 for an unknown one. */
int spec_cap_name(const char *text, char out[static 32]);

/* "10m", "1.5g", "4096", "64kb" in bytes (powers of 1024): 0, or -1. */
int spec_parse_size(const char *text, int64_t *bytes);

#endif
