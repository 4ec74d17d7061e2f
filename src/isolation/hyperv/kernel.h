/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's kernel: where a distribution's kernel package lies, its vmlinux, its modules. */
#ifndef SILO_HYPERV_KERNEL_H
#define SILO_HYPERV_KERNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct kernel {
	char *image_path;  /* .../boot/vmlinuz-<release> */
	char *modules_dir; /* .../lib/modules/<release> */
	char *release;     /* 6.1.0-56-amd64 */
};

/**
 * kernel_find - the newest kernel of the first directory that has one with its modules (order: see template.h).
 *
 * @dir     search only here, or NULL.
 * @vm_dir  Silo's directory for VM files: <vm_dir>/kernel is one of the places. May be NULL.
 * Returns 0 (kernel_fini() frees), or -1: ERR_UNAVAILABLE that names where it has looked.
 */
int kernel_find(const char *dir, const char *vm_dir, struct kernel *k, struct err *e) must_check;
void kernel_fini(struct kernel *k);

/**
 * kernel_payload - where the compressed kernel lies in a bzImage. Pure.
 *
 * Returns 0, or -1: ERR_INVALID when the image is no bzImage of boot protocol 2.08 or later.
 * Source: kernel, Documentation/arch/x86/boot.rst, payload_offset and payload_length.
 */
int kernel_payload(const unsigned char *image, size_t n, size_t *offset, size_t *length, struct err *e) must_check;

/* The uncompressed vmlinux (ELF) of a bzImage, written to the new file fd. An ELF file is copied as it is. */
int kernel_extract(const char *image_path, int fd, struct err *e) must_check;

/* Decompress a file (gzip, xz, zstd, lz4, or none of them) into out. */
int kernel_inflate_file(const char *path, struct str *out, struct err *e) must_check;

/**
 * modules_closure - the modules that `name` needs, itself last, in the order in which they have to be loaded. Pure.
 *
 * @dep      text of modules.dep: "kernel/a.ko: kernel/b.ko kernel/c.ko".
 * @builtin  text of modules.builtin (one path a line): nothing is to be loaded for those.
 * @name     module name; '-' and '_' are the same.
 * @add      called for each file, path as in modules.dep; -1 ends the walk.
 * Returns 0; 1 when the kernel has no such module; -1 as add did.
 */
int modules_closure(const char *dep, const char *builtin, const char *name, int (*add)(void *arg, const char *path),
		    void *arg) must_check;

#endif
