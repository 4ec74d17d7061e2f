/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The template that VMs are cloned from, and what it is made of. Linked into silod and silo.
 *
 * <vm_dir>/template-<key>/ holds memory, device state, QEMU's arguments and the verdict on KVM. The key is made of
 * kernel, QEMU, initramfs (agent and modules), CPU model and accelerator, so a change of one makes a new template.
 */
#ifndef SILO_HYPERV_TEMPLATE_H
#define SILO_HYPERV_TEMPLATE_H

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"

#define TEMPLATE_MEMORY_MIB 1024
#define TEMPLATE_CPUS 1

struct template_options {
	const char *vm_dir;     /* Silo's own directory for VM files */
	const char *lib_dir;    /* silo-agent, silo-init */
	const char *kernel_dir; /* NULL = search: $SILO_GUEST_KERNEL, <vm_dir>/kernel, /usr/local/lib/silo/kernel,
	                         * /usr/lib/silo/kernel, then the host's own /boot and /lib/modules */
	int64_t memory_mib, cpus; /* size of the machine; 0 = TEMPLATE_MEMORY_MIB, TEMPLATE_CPUS */
};

/**
 * template_ensure - path of a template that fits this host; makes it where it is missing (1 to 30 s).
 *
 * Two engines at once: one builds, the other waits (flock). kill -9 at any moment leaves no half template behind.
 * Heap string, or NULL: ERR_UNAVAILABLE says what is missing and which package or setting mends it.
 */
char *template_ensure(const struct template_options *o, struct err *e) must_check;
/* Path of an existing template, or NULL without *e being set where it would have to be made first; cheap. */
char *template_find(const struct template_options *o);

/* What `silo doctor` and GET /info tell: {"available": bool, "accelerator": "kvm"/"tcg"/null, "kernel": "6.1.0-..",
 * "kernel_path", "qemu": "7.2.x", "template": path or null, "problems": [{"what", "fix"}], "warnings": [".."]}.
 * Boots nothing. New reference. */
json_t *template_report(const struct template_options *o);

#define DISK_MODEL_BYTES (64 * GIB)

/**
 * disk_create - an empty sparse ext4 disk without journal, by copying the one that is kept formatted in vm_dir.
 *
 * @size_bytes  virtual size; another one than DISK_MODEL_BYTES is formatted, which takes longer; the file takes a few hundred KB. Owner: uid. Existing path: ERR_CONFLICT.
 */
int disk_create(const char *vm_dir, const char *path, uint64_t size_bytes, uid_t uid, struct err *e) must_check;

#endif
