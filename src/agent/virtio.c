/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Devices of the VM by their kind: numbered in the order of the bus, which is that of the host's device table. */
#include "agent/virtio.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/own.h"
#include "base/str.h"

#define DEVICES "/sys/bus/virtio/devices"
#define DEVICES_MAX 64

static const struct {
	const char *id, *driver;
} kinds[] = {
	[VIRTIO_CARD] = { "0x0001\n", "virtio_net" },
	[VIRTIO_DISK] = { "0x0002\n", "virtio_blk" },
};

static bool is_kind(int number, enum virtio_kind kind)
{
	autofree char *path = xasprintf(DEVICES "/virtio%d/device", number);
	struct err ignored;
	autostr id;

	str_init(&id, 64);
	return !io_read_file(AT_FDCWD, path, &id, &ignored) && id.s && !strcmp(id.s, kinds[kind].id);
}

/* Its number on the bus. */
static int find(enum virtio_kind kind, int nth, struct err *e)
{
	for (int i = 0; i < DEVICES_MAX; i++)
		if (is_kind(i, kind) && nth-- == 0)
			return i;
	return err_set(e, ERR_SYSTEM, 0, "the virtual machine has not enough devices for %s", kinds[kind].driver);
}

int virtio_bind(enum virtio_kind kind, int nth, bool bind, struct err *e)
{
	int number = find(kind, nth, e);
	autofree char *path = xasprintf("/sys/bus/virtio/drivers/%s/%s", kinds[kind].driver, bind ? "bind" : "unbind");
	char name[16];

	if (number < 0)
		return -1;
	snprintf(name, sizeof name, "virtio%d", number);
	return io_write_kernel(AT_FDCWD, path, name, e);
}

int virtio_card_name(int nth, char name[static LINK_NAME_MAX], struct err *e)
{
	int number = find(VIRTIO_CARD, nth, e);
	autofree char *path = xasprintf(DEVICES "/virtio%d/net", number);
	DIR *dir = number < 0 ? NULL : opendir(path);

	name[0] = '\0';
	for (const struct dirent *d; dir && !name[0] && (d = readdir(dir));)
		if (d->d_name[0] != '.')
			snprintf(name, LINK_NAME_MAX, "%s", d->d_name);
	if (dir)
		closedir(dir);
	if (number < 0)
		return -1;
	return name[0] ? 0 : err_set(e, ERR_SYSTEM, 0, "network card %d has no driver", nth);
}
