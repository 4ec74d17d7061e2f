/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Containers that run in another container's machine: their disks come and go while it runs. */
#include <stdio.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "isolation/hyperv/backend.h"
#include "isolation/hyperv/devices.h"
#include "isolation/hyperv/shares.h"

static int free_slot(const struct sandbox *s, const struct container *mine, struct err *e)
{
	for (int slot = 0; slot < GUEST_LATE_DISKS / 2; slot++) {
		const struct container *c;

		for (c = s->containers; c && (c == mine || c->slot != slot); c = c->next)
			;
		if (!c)
			return slot;
	}
	return err_set(e, ERR_LIMIT, 0, "the virtual machine has no room for one more container");
}

/* What the host shares is mounted in the jail, before QEMU starts. */
static int check(const struct bundle *b, struct err *e)
{
	if (shares_wanted(b->config) || b->rootfs.path)
		return err_set(e, ERR_UNSUPPORTED, 0,
			       "a container that joins a virtual machine can't have bind mounts and volumes: what a "
			       "machine shares with its host is fixed when it starts");
	if (devices_wanted(b->config))
		return err_set(e, ERR_UNSUPPORTED, 0,
			       "a container that joins a virtual machine can't have devices of the host: those of a "
			       "machine are fixed when it starts");
	return sandbox_check(b, e);
}

int container_plug_disks(struct container *c, char image[static GUEST_DEVICE_MAX], char disk[static GUEST_DEVICE_MAX],
			 struct err *e)
{
	struct sandbox *s = c->sandbox;
	int slot;

	c->slot = -1;
	snprintf(image, GUEST_DEVICE_MAX, "%s", GUEST_IMAGE_DEVICE);
	snprintf(disk, GUEST_DEVICE_MAX, "%s", GUEST_DISK_DEVICE);
	if (c->bundle == s->bundle)
		return 0;
	if (check(c->bundle, e))
		return -1;
	slot = free_slot(s, c, e);
	if (slot < 0 || vm_plug_disks(s->vm, slot, c->bundle->rootfs.image, c->bundle->rootfs.disk, e))
		return -1;
	c->slot = slot;
	snprintf(image, GUEST_DEVICE_MAX, GUEST_LATE_DISK "%d", 2 * slot);
	snprintf(disk, GUEST_DEVICE_MAX, GUEST_LATE_DISK "%d", 2 * slot + 1);
	return 0;
}

void container_unplug_disks(struct container *c)
{
	struct err e;

	if (c->slot >= 0 && !c->sandbox->lost && vm_unplug_disks(c->sandbox->vm, c->slot, &e))
		log_warn("%s: %s", c->id, e.msg);
	c->slot = -1;
}
