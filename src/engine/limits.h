/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What daemon.json says about the resources of containers, and sizes that aren't cgroup limits. */
#ifndef SILO_ENGINE_LIMITS_H
#define SILO_ENGINE_LIMITS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* "default-ulimits", "vm-memory" and "vm-cpus" of daemon.json (NULL = none). ERR_INVALID names the key. */
int limits_check_config(const json_t *config, struct err *e) must_check;

/* The daemon's ulimits that a canonical HostConfig doesn't set itself. Call after limits_check_config(). */
void limits_add_ulimits(const json_t *config, json_t *host);

/**
 * limits_vm_memory_mib - how far a virtual machine may grow whose container has no memory limit. Pure.
 *
 * "vm-memory" of daemon.json, or a quarter of the host's memory up to 16 GiB; at least 1 GiB, at most what the host has,
 * rounded down to a power of two.
 */
int64_t limits_vm_memory_mib(const json_t *config, int64_t host_mib);

/**
 * limits_disk_bytes - size of the writable layer: --storage-opt size=, or 0 where it isn't given.
 *
 * @hyperv  else Docker's refusal: only few file systems can limit a directory.
 */
int limits_disk_bytes(const json_t *host, bool hyperv, int64_t *bytes, struct err *e) must_check;

#endif
