/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One virtual machine: QEMU, jailed, unprivileged, named vmwp on the host. Linked into the monitor (static): no
 * library beyond jansson.
 */
#ifndef SILO_HYPERV_VM_H
#define SILO_HYPERV_VM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "os/cgroup.h"

struct vm;

/* Disks that a VM may have beyond image and disk. */
#define VM_SPARE_DISKS 4

struct vm_disk {
	int fd;
	bool read_only;
	bool block; /* a block device, not a regular file */
};

struct vm_options {
	const char *id;           /* container id: the VM's name; checked to be [a-z0-9-] */
	const char *template_dir; /* made by template_ensure() */
	uid_t uid;                /* unprivileged user that QEMU runs as (also the gid); one per VM */
	const char *image_path;   /* read-only disk 0 (EROFS), or NULL */
	const char *disk_path;    /* writable disk 1 (ext4), or NULL */
	const struct vm_disk *more; /* disks 2, 3, ..., borrowed */
	size_t n_more;            /* at most VM_SPARE_DISKS */
	int64_t translation_mib;  /* QEMU's buffer of translated code where it emulates; 0 = the usual, for small programs */
	bool cold;                /* boot the kernel instead of cloning (benchmarks, tests) */
	const struct cgroup *cgroup; /* that QEMU starts in, borrowed; or NULL */
	int oom_score_adj;        /* of QEMU on the host */
	uint64_t later_bytes;     /* not 0: the disks come later, by vm_attach_disks(), and have at most this size */
};

/**
 * vm_clone - start QEMU from the template and let the guest run. Blocks for some 50 ms (cold: seconds).
 *
 * The guest's agent has not been spoken to: the caller sends it "setup" over vm_channel().
 * On failure nothing is left; ERR_SYSTEM with QEMU's last words.
 */
struct vm *vm_clone(const struct vm_options *o, struct err *e) must_check;
/* Plug in the disks of a VM that was started without (later_bytes), before its guest binds them. Those that were plugged
 * in before are taken out; the guest has unbound them. */
int vm_attach_disks(struct vm *v, const char *image_path, const char *disk_path, struct err *e) must_check;
/* Another disk, for a container that joins: a target of the SCSI bus; and take it away, which the guest has let go. The
 * descriptor is borrowed: QEMU gets its own. */
int vm_plug_disk(struct vm *v, int target, const struct vm_disk *disk, struct err *e) must_check;
int vm_unplug_disk(struct vm *v, int target, struct err *e) must_check;
/* Open the file of a disk: NULL leaves *fd as it is. */
int vm_open_disk(const char *path, int flags, int *fd, struct err *e) must_check;
/**
 * vm_share - let the guest use detached mounts (directories, files; borrowed), as GUEST_SHARES_DIR/first and so on.
 *
 * ERR_UNAVAILABLE where the host has no user namespaces.
 */
int vm_share(struct vm *v, const int *mounts, size_t n, unsigned first, struct err *e) must_check;
int vm_unshare(struct vm *v, size_t n, unsigned first, struct err *e) must_check;
/* Give network card number `card` its wire, a tap device (borrowed: QEMU has its own descriptor); and take it away. */
int vm_plug_card(struct vm *v, int card, int tap, struct err *e) must_check;
int vm_unplug_card(struct vm *v, int card, struct err *e) must_check;
/* Give back what starting a container took of memory: QEMU's translated code, which comes again where it is needed.
 * ERR_SYSTEM where this QEMU has none, or keeps it. */
int vm_trim(struct vm *v, struct err *e) must_check;
/* QEMU's own connection: to be watched, and vm_drain() called when it is readable, so that what QEMU tells by itself
 * doesn't pile up there. False: watch it no more. */
int vm_qmp_fd(const struct vm *v);
bool vm_drain(struct vm *v);
int vm_channel(const struct vm *v); /* non-blocking stream socket to the agent; borrowed */
pid_t vm_pid(const struct vm *v);   /* of vmwp, as the host sees it */
int vm_pidfd(const struct vm *v);   /* readable when vmwp has ended; borrowed */
/* Last lines that QEMU wrote to stderr, for an error text; never NULL. */
const char *vm_last_words(struct vm *v);
/* SIGKILL, wait, free. NULL allowed. */
void vm_free(struct vm *v);

#endif
