/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What of the host a container's machine gets for it while it runs, and gives back with it. */
#include <fcntl.h>
#include <stdio.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "isolation/hyperv/backend.h"
#include "isolation/hyperv/devices.h"
#include "isolation/hyperv/shares.h"

/* ---- shares ---- */

static int plug_shares(struct container *c, struct err *e)
{
	struct sandbox *s = c->sandbox;
	const struct bundle *b = c->bundle;
	struct shares shares = { 0 };
	int rc = shares_open(b->config, &shares, e);

	if (!rc && b->rootfs.path)
		rc = shares_add_root(&shares, b->rootfs.path, e);
	c->first_share = s->next_share;
	if (!rc)
		rc = vm_share(s->vm, shares.fds, shares.n, c->first_share, e);
	if (!rc)
		c->n_shares = shares.n;
	s->next_share += (unsigned)c->n_shares;
	shares_close(&shares);
	return rc;
}

/* ---- disks: a container that has joined has none of the machine's own ---- */

static int free_slot(const struct sandbox *s, const struct container *mine, struct err *e)
{
	for (int slot = 0; slot < GUEST_SLOTS; slot++) {
		const struct container *c;

		for (c = s->containers; c && (c == mine || c->slot != slot); c = c->next)
			;
		if (!c)
			return slot;
	}
	return err_set(e, ERR_LIMIT, 0, "the virtual machine has no room for one more container");
}

static int plug_disk(struct container *c, const struct vm_disk *disk, struct err *e)
{
	if (vm_plug_disk(c->sandbox->vm, c->slot * GUEST_SLOT_DISKS + (int)c->n_disks, disk, e))
		return err_prefix(e, "disks of the container");
	c->n_disks++;
	return 0;
}

static int plug_root(struct container *c, struct err *e)
{
	autoclose int image = -1;
	autoclose int disk = -1;

	if (vm_open_disk(c->bundle->rootfs.image, O_RDONLY, &image, e) ||
	    vm_open_disk(c->bundle->rootfs.disk, O_RDWR, &disk, e))
		return err_prefix(e, "disks of the container");

	const struct vm_disk disks[] = { { .fd = image, .read_only = true }, { .fd = disk } };

	return plug_disk(c, &disks[0], e) || plug_disk(c, &disks[1], e) ? -1 : 0;
}

static int plug_devices(struct container *c, struct err *e)
{
	struct devices devices = { 0 };
	int rc = devices_open(c->bundle->config, &devices, e);

	for (size_t i = 0; i < devices.n && !rc; i++)
		rc = plug_disk(c, &devices.list[i], e);
	devices_close(&devices);
	return rc;
}

static int plug_disks(struct container *c, struct guest_places *at, struct err *e)
{
	int first;

	if (sandbox_check(c->bundle, e))
		return -1;
	c->slot = free_slot(c->sandbox, c, e);
	if (c->slot < 0)
		return -1;
	first = c->slot * GUEST_SLOT_DISKS;
	if (!c->bundle->rootfs.path && plug_root(c, e))
		return -1;
	if (c->n_disks) {
		snprintf(at->image, sizeof at->image, GUEST_LATE_DISK "%d", first);
		snprintf(at->disk, sizeof at->disk, GUEST_LATE_DISK "%d", first + 1);
	}
	at->device = first + (int)c->n_disks;
	return plug_devices(c, e);
}

/* ---- both ---- */

int container_plug(struct container *c, struct guest_places *at, struct err *e)
{
	*at = (struct guest_places){ .image = GUEST_IMAGE_DEVICE, .disk = GUEST_DISK_DEVICE, .device = -1 };
	if (sockets_add(c->sandbox->sockets, c, c->bundle->config, e) || plug_shares(c, e))
		return -1;
	at->share = c->first_share;
	return c->bundle == c->sandbox->bundle ? 0 : plug_disks(c, at, e);
}

void container_unplug(struct container *c)
{
	struct sandbox *s = c->sandbox;
	struct err e;

	sockets_drop(s->sockets, c);
	while (c->n_disks) {
		int target = c->slot * GUEST_SLOT_DISKS + (int)--c->n_disks;

		if (!s->lost && vm_unplug_disk(s->vm, target, &e))
			log_warn("%s: disks of the container: %s", c->id, e.msg);
	}
	c->slot = -1;
	/* With the machine's own container the machine ends. */
	if (c->bundle != s->bundle && !s->lost && vm_unshare(s->vm, c->n_shares, c->first_share, &e))
		log_warn("%s: shares of the container: %s", c->id, e.msg);
	c->n_shares = 0;
}
