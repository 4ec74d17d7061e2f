/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pods under hyperv isolation: the sandbox's machine is that of the pod's containers, too. docs/runtime.md. */
#ifndef SILO_RUNTIME_POD_H
#define SILO_RUNTIME_POD_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "runtime/runtime.h"

/* Id of the sandbox that a container's annotations name; NULL: it isn't in a pod, or is a sandbox itself. */
const char *pod_sandbox_id(const json_t *config);
/* Is that one a hyperv container of this root? */
bool pod_has_machine(const struct runtime *rt, const json_t *config);
/* The record of a sandbox with a machine that runs. ERR_CONFLICT. */
struct record *pod_open_sandbox(const struct runtime *rt, const char *id, struct err *e) must_check;

/**
 * pod_prepare - what the containers of a pod share, in the words of isolation/hyperv/guest_docs.h.
 *
 * A container's namespaces by path become those of containers of the pod; /dev/shm is a tmpfs of the sandbox. Nothing happens
 * to a config that isn't of a pod. ERR_UNSUPPORTED: namespaces of the host.
 */
int pod_prepare(const struct runtime *rt, json_t *config, struct err *e) must_check;

#endif
