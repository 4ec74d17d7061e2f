/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The directory tree that becomes vmwp's root: copies of QEMU, its libraries and firmware, the guest kernel. Copies
 * and not mounts: one bind mount makes the jail, and an upgrade of the host's QEMU doesn't change a template's.
 */
#ifndef SILO_HYPERV_TREE_H
#define SILO_HYPERV_TREE_H

#include <jansson.h>

#include "base/err.h"
#include "isolation/hyperv/host.h"

/**
 * tree_build - fill the new directory root_path.
 *
 * @sources  array: what was copied from the host beyond host_sources() is appended (see host_stat_source()).
 * @lib_dir  for the initramfs.
 * Returns 0, or -1; the caller removes the tree then.
 */
int tree_build(const char *root_path, const struct vm_host *h, const char *lib_dir, json_t *sources,
	       struct err *e) must_check;

#endif
