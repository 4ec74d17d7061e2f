/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "oci/devices.h"

#include "base/attr.h"

/* mem: null, zero, full, random, urandom, kmsg; tty; net/tun, fuse. Source: kernel devices.txt. */
static const struct {
	int major, minor;
} services[] = { { 1, 3 }, { 1, 5 }, { 1, 7 }, { 1, 8 }, { 1, 9 }, { 1, 11 }, { 5, 0 }, { 10, 200 }, { 10, 229 } };

bool oci_device_is_kernels(char type, int64_t major, int64_t minor)
{
	for (unsigned i = 0; type == 'c' && i < array_len(services); i++) {
		if (services[i].major == major && services[i].minor == minor)
			return true;
	}
	return false;
}
