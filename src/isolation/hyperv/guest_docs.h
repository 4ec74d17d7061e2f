/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bundle's documents as the guest gets them: nothing of the host in them but what the container is meant to see. */
#ifndef SILO_HYPERV_GUEST_DOCS_H
#define SILO_HYPERV_GUEST_DOCS_H

#include <jansson.h>

#include "base/err.h"
#include "oci/bundle.h"

/* What the VM's disks are called inside. */
#define GUEST_IMAGE_DEVICE "/dev/vda"
#define GUEST_DISK_DEVICE "/dev/vdb"
/* A disk that came later, by its target number on the one SCSI bus. */
#define GUEST_LATE_DISK "scsi:"
#define GUEST_LATE_DISKS 254
#define GUEST_SLOT_DISKS 6 /* of one container: image, disk, devices of the host */
#define GUEST_SLOTS (GUEST_LATE_DISKS / GUEST_SLOT_DISKS)
#define GUEST_DEVICE_MAX 16 /* bytes of a device's name */
#define GUEST_INIT_PATH "/silo-init" /* of the initramfs */

/* Network cards of every VM: a container can be in so many networks. */
#define GUEST_CARDS 8

/* Number of the card of an interface (of silo.json's "network"), or -1 with ERR_INVALID. */
int guest_card(const json_t *interface, struct err *e) must_check;

/* Directories and files of the host: the tag of the 9p device, and where the agent mounts it. In it are 0, 1, ...: a
 * container has the next free numbers for the bind mounts of its config.json, in their order. A number is used once. */
#define GUEST_SHARES_TAG "share"
#define GUEST_SHARES_DIR "/run/silo/shares"

/* Where the agent listens for the sockets of the host: 0, 1, ... (sockets.h). */
#define GUEST_SOCKETS_DIR "/run/silo/sockets"
#define GUEST_SOCKETS_MAX 64
#define GUEST_CONNECTIONS_MAX 256 /* of one VM at a time; further clients wait in the guest */

/* What of the machine is a container's. */
struct guest_places {
	char image[GUEST_DEVICE_MAX], disk[GUEST_DEVICE_MAX]; /* of its root file system */
	unsigned share; /* its first one; the others follow */
	int device;     /* target of its first device of the host; -1: they are the machine's own disks */
};

/**
 * guest_config - config.json for the guest. Pure.
 *
 * @cpus  how many the guest has.
 * Without the network namespace (the container has the VM's) and what only makes sense on the host (hooks, labels of
 * security modules); the sources of bind mounts are those of GUEST_SHARES_DIR. ERR_UNSUPPORTED: namespaces of the host. A
 * namespace or mount with a member "container" is that of a container in the same machine: its agent finds it.
 */
json_t *guest_config(const json_t *config, const char *id, int64_t cpus, const struct guest_places *at,
		     struct err *e) must_check;

/* linux.resources for a guest with so many CPUs: numbers of CPUs, memory nodes and devices are the host's. Pure. */
json_t *guest_resources(const json_t *resources, int64_t cpus);

/* Is this element of config.json's mounts a bind: something of the host that the guest gets as a share? One that
 * sockets_add() has marked is none, and neither is one of another container in the guest ("container"). */
bool guest_is_bind(const json_t *mount);

/* silo.json for the guest; reads the small files that are bound into the container. */
json_t *guest_silo(const struct bundle *b, const struct guest_places *at, struct err *e) must_check;

/* [{"destination", "data"}]: its small files as they are now. */
json_t *guest_files(const struct bundle *b, struct err *e) must_check;

/* RFC 4648 with padding; heap string. */
char *base64_encode(const unsigned char *data, size_t n);

#endif
