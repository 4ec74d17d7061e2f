/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writer of a cpio archive in the "newc" format, which the kernel unpacks as its initramfs. */
#ifndef SILO_HYPERV_CPIO_H
#define SILO_HYPERV_CPIO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

struct cpio {
	struct str out; /* the archive so far; its max bounds the whole */
	uint32_t ino;
};

void cpio_init(struct cpio *c, size_t max_bytes);
void cpio_fini(struct cpio *c);

/**
 * cpio_add - append one entry, owned by root, with modification time 0 (the archive depends on its content only).
 *
 * @name  path in the archive without a leading '/'. Parents must have been added before: see cpio_add_dirs().
 * @mode  type and permissions (S_IFREG | 0755, S_IFDIR, S_IFLNK with the target as data).
 * Returns 0, or -1: ERR_LIMIT beyond max_bytes.
 * Source: kernel, Documentation/driver-api/early-userspace/buffer-format.rst.
 */
int cpio_add(struct cpio *c, const char *name, mode_t mode, const void *data, size_t n, struct err *e) must_check;

/* A device node. */
int cpio_add_device(struct cpio *c, const char *name, mode_t mode, unsigned dev_major, unsigned dev_minor,
		    struct err *e) must_check;

/* Every directory above name ("usr/lib/x" adds usr and usr/lib) that this archive doesn't have yet. */
int cpio_add_dirs(struct cpio *c, const char *name, struct err *e) must_check;

/* The entry that ends the archive. */
int cpio_end(struct cpio *c, struct err *e) must_check;

#endif
