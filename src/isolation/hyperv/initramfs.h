/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's first file system: silo-agent as /init, the modules, ps(1). */
#ifndef SILO_HYPERV_INITRAMFS_H
#define SILO_HYPERV_INITRAMFS_H

#include "base/err.h"
#include "isolation/hyperv/kernel.h"

/**
 * initramfs_write - build the archive and write it to the new file fd.
 *
 * In it: /init (silo-agent), /silo-init, /modules and /modules.late (lists "path[ parameters]", one a line, in the
 * order of loading: the first is loaded at boot, the second by the agent after the clone), the modules themselves
 * decompressed, /usr/bin/ps of the host with its libraries, /etc/passwd and /etc/group with root, empty directories
 * to mount on.
 *
 * @lib_dir  has silo-agent and silo-init.
 * Returns 0, or -1: ERR_UNAVAILABLE when a program or a module that guests can't do without is missing.
 */
int initramfs_write(const struct kernel *k, const char *lib_dir, int fd, struct err *e) must_check;

#endif
