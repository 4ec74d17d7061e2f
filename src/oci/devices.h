/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SILO_OCI_DEVICES_H
#define SILO_OCI_DEVICES_H

#include <stdbool.h>
#include <stdint.h>

/* Is this not a thing of the host but a service of the kernel? A VM's own kernel has it, under the same numbers. type:
 * 'c' or 'b'. Pure. */
bool oci_device_is_kernels(char type, int64_t major, int64_t minor);

#endif
