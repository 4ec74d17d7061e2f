/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/devices.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/own.h"

static const json_t *all_devices(const json_t *config)
{
	return json_object_get(json_object_get(config, "linux"), "devices");
}

size_t devices_wanted(const json_t *config)
{
	const json_t *device;
	size_t i, n = 0;

	json_array_foreach(all_devices(config), i, device)
		n += json_object_get(device, "source") != NULL;
	return n;
}

/* Looked at before it is opened: opening a character device may already do something. */
static int open_device(const json_t *device, struct vm_disk *disk, struct err *e)
{
	const char *source = json_str(device, "source", "");
	autoclose int place = open(source, O_PATH | O_CLOEXEC);
	struct stat st;
	char path[32];

	if (place < 0 || fstat(place, &st))
		return err_set(e, ERR_INVALID, errno, "%s", source);
	if (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode))
		return err_set(e, ERR_UNSUPPORTED, 0, "%s: neither a block device nor a disk image", source);
	snprintf(path, sizeof path, "/proc/self/fd/%d", place);
	disk->block = S_ISBLK(st.st_mode);
	disk->read_only = !strchr(json_str(device, "access", "rwm"), 'w');
	disk->fd = open(path, (disk->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	return disk->fd < 0 ? err_set(e, ERR_SYSTEM, errno, "open %s", source) : 0;
}

int devices_open(const json_t *config, struct devices *d, struct err *e)
{
	const json_t *device;
	size_t i;

	d->n = 0;
	json_array_foreach(all_devices(config), i, device) {
		if (!json_object_get(device, "source"))
			continue;
		if (d->n == VM_SPARE_DISKS)
			return err_set(e, ERR_LIMIT, 0, "a hyperv container has at most %d devices of the host",
				       VM_SPARE_DISKS);
		if (open_device(device, &d->list[d->n], e))
			return -1;
		d->n++;
	}
	return 0;
}

void devices_close(struct devices *d)
{
	while (d->n)
		close_fd(&d->list[--d->n].fd);
}
