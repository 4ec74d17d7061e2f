/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Boot a VM once and keep it: its memory and the state of its devices. */
#ifndef SILO_HYPERV_TEMPLATE_BOOT_H
#define SILO_HYPERV_TEMPLATE_BOOT_H

#include <jansson.h>

#include "base/err.h"
#include "isolation/hyperv/host.h"

/**
 * template_boot - boot the tree in dir/root, wait until the agent is ready, save memory and state into dir, write
 * template.json. Tries KVM where /dev/kvm opens, and emulation when nothing boots there in time.
 *
 * @vm_dir  remembers that KVM failed, as long as CPU, KVM, QEMU and kernel are the same.
 * @facts  object that becomes template.json, with memory_mib and cpus; what the VM needs is added.
 * Returns 0, or -1 with the error of the last attempt.
 */
int template_boot(const char *dir, const char *vm_dir, const struct vm_host *h, json_t *facts,
		  struct err *e) must_check;

#endif
