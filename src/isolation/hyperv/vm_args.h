/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QEMU's command line. One place decides the machine, so that template, clone and cold boot have the same devices. */
#ifndef SILO_HYPERV_VM_ARGS_H
#define SILO_HYPERV_VM_ARGS_H

#include <stdbool.h>

#include "base/err.h"
#include "isolation/hyperv/facts.h"
#include "isolation/hyperv/guest_docs.h"
#include "isolation/hyperv/jail.h"
#include "isolation/hyperv/vm.h"

/* Descriptors of vmwp. */
enum vm_fd {
	VM_FD_IN,  /* /dev/null */
	VM_FD_OUT, /* the pipe of last words */
	VM_FD_ERR, /* the same */
	VM_FD_QMP,
	VM_FD_AGENT,
	VM_FD_MEMORY,  /* template: read and write, clone: read-only, cold: none */
	VM_FD_KVM,     /* /dev/kvm, or none */
	VM_FD_IMAGE,   /* disk 0, or none */
	VM_FD_DISK,    /* disk 1, or none */
	VM_FD_CONSOLE, /* the pipe of last words once more: QEMU refuses to name 0 to 2 */
	VM_FD_NO_WIRE, /* what leads nowhere: nothing comes from it, what is sent is lost */
	VM_FD_MORE,    /* disks 2, 3, ... */
	VM_FD_CARDS = VM_FD_MORE + VM_SPARE_DISKS, /* wires of the network cards, see shim_wires.c */
	VM_FD_COUNT = VM_FD_CARDS + GUEST_CARDS
};

enum vm_mode {
	VM_MODE_CLONE,    /* private copy-on-write memory of a template, waits for its device state */
	VM_MODE_TEMPLATE, /* boots in the template's memory file */
	VM_MODE_COLD,     /* boots in memory of its own */
};

/* Where the tree of vmwp has its files (see jail_tree.c), and the name under which the shim gives out the memory. */
#define VMWP_PROGRAM "/usr/bin/vmwp"
#define VMWP_SHIM "/usr/lib/vmwp/silo-vmwp.so"
#define VMWP_MODULES "/usr/lib/vmwp"
#define VMWP_FIRMWARE "/usr/share/vmwp"
#define VMWP_KERNEL "/boot/vmlinux"
#define VMWP_INITRAMFS "/boot/initramfs"
#define VMWP_MEMORY "/memory"
#define VMWP_WIRES "/wire/" /* no files, but orders to QEMU: see shim_wires.c, shim_trim.c */
#define VMWP_TRIM "/trim"
#define VMWP_SHARES JAIL_SHARES /* what the container shares with its host: 0, 1, ... */

#define VM_ID_MAX 128

/* May an id be put into an argument of QEMU? 1 to VM_ID_MAX characters of [a-z0-9-], the first no '-'. */
bool vm_id_is_valid(const char *id);

/* Which disks have something in them. */
struct vm_disks {
	bool image, disk;           /* VM_FD_IMAGE, VM_FD_DISK */
	const struct vm_disk *more; /* VM_FD_MORE ... */
	size_t n_more;
};

/**
 * vm_args - the argument vector. Pure.
 *
 * Returns a heap array of heap strings, NULL at the end (vm_args_free()); or NULL: ERR_INVALID for a bad id.
 */
char **vm_args(const struct vm_facts *f, enum vm_mode mode, const char *id, const struct vm_disks *disks,
	       struct err *e) must_check;
void vm_args_free(char **args);

#endif
