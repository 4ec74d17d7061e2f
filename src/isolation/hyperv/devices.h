/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Block devices and disk images of the host that a hyperv container gets as disks of its VM. */
#ifndef SILO_HYPERV_DEVICES_H
#define SILO_HYPERV_DEVICES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "isolation/hyperv/vm.h"

struct devices {
	struct vm_disk list[VM_SPARE_DISKS];
	size_t n;
};

/**
 * devices_open - open the members of linux.devices that have a "source" (spec_devices.c of the engine), in their order.
 *
 * Without 'w' in "access" one is read-only, for QEMU as well. Given to devices_close() in both cases.
 */
int devices_open(const json_t *config, struct devices *d, struct err *e) must_check;
void devices_close(struct devices *d);
/* How many are there? Pure. */
size_t devices_wanted(const json_t *config);

#endif
