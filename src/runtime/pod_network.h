/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The network namespace that a hyperv container was given by its caller, connected to its virtual machine. */
#ifndef SILO_RUNTIME_POD_NETWORK_H
#define SILO_RUNTIME_POD_NETWORK_H

#include <jansson.h>

#include "base/err.h"

struct pod_network;

/**
 * pod_network_connect - put a bridge between the namespace's device and a tap device for the machine.
 *
 * @config  linux.namespaces names the namespace; without a path there is no network but the machine's own loopback.
 * @doc     state.json: its silo part receives what the guest is told, "pod_network" what pod_network_undo() needs.
 */
struct pod_network *pod_network_connect(const json_t *config, json_t *doc, struct err *e) must_check;
/* Descriptor of the tap device, or -1. */
int pod_network_tap(const struct pod_network *n);
void pod_network_free(struct pod_network *n);
/* Give the namespace's device back as it was. */
void pod_network_undo(const json_t *doc);

#endif
