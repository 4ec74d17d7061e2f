/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The root file system of a container in the guest: the image as a read-only EROFS disk, the writable layer on an ext4
 * disk; isolation/process makes the overlay of both.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/container.h"
#include "agent/virtio.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "os/run.h"

#define RELEASE_WAIT_MS 3000
#define REPAIR_WAIT_MS 50000
#define EXT4_STATE_OFFSET (1024 + 0x3a)
#define EXT4_STATE_VALID 1

int agent_bind_disks(bool bind, int n, struct err *e)
{
	for (int i = 0; i < n; i++)
		if (virtio_bind(VIRTIO_DISK, i, bind, e))
			return -1;
	return 0;
}

static int mount_disk(struct guest_container *g, const char *device, const char *name, const char *type,
		      unsigned long flags, const char *data, struct err *e)
{
	autofree char *target = xasprintf("%s/%s", g->dir, name);

	if (!str_starts(device, "/dev/"))
		return err_set(e, ERR_INVALID, 0, "rootfs: %s is not a device", device);
	if (io_mkdir_all(target, 0700, e))
		return -1;
	if (mount(device, target, type, flags, data))
		return err_set(e, ERR_SYSTEM, errno, "mount %s (%s)", device, type);
	return 0;
}

/* s_state of the superblock: the file system was not unmounted, or has errors. */
static bool is_dirty(const char *device)
{
	autoclose int fd = open(device, O_RDONLY | O_CLOEXEC);
	unsigned char state[2];

	return fd >= 0 && pread(fd, state, sizeof state, EXT4_STATE_OFFSET) == sizeof state &&
	       state[0] != EXT4_STATE_VALID;
}

/* Without a journal a VM that was killed may leave directories half written: mend them before they are used. */
static void repair(const char *device)
{
	const char *const argv[] = { "e2fsck", "-y", device, NULL };
	struct err e;
	autostr out;

	str_init(&out, MIB);
	if (is_dirty(device) && run_capture(argv, REPAIR_WAIT_MS, &out, &e))
		log_warn("%s", e.msg); /* exit status 1 is that of a success; what is left the mount tells */
}

static int make_dir(const struct guest_container *g, const char *name, struct err *e)
{
	autofree char *path = xasprintf("%s/disk/%s", g->dir, name);

	/* The upper directory's mode is that of the container's "/". */
	if (mkdir(path, 0755) && errno != EEXIST)
		return err_set(e, ERR_SYSTEM, errno, "%s", path);
	return 0;
}

static void describe_layers(const struct guest_container *g, json_t *silo)
{
	autofree char *image = xasprintf("%s/image", g->dir);
	autofree char *upper = xasprintf("%s/disk/upper", g->dir);
	autofree char *work = xasprintf("%s/disk/work", g->dir);

	json_object_set_new(silo, "rootfs",
			    json_pack("{s:[s], s:s, s:s}", "layers", image, "upper", upper, "work", work));
}

/*
 * The overlay of a container that has just ended may hold the file system a moment longer than its mount: it is clean
 * on the disk only when nothing holds the device any more.
 */
static bool is_released(const char *device)
{
	for (int64_t deadline = time_monotonic_ms() + RELEASE_WAIT_MS; time_monotonic_ms() < deadline;
	     poll(NULL, 0, 1)) {
		autoclose int fd = open(device, O_RDONLY | O_EXCL | O_CLOEXEC);

		if (fd >= 0 || errno != EBUSY)
			return true;
	}
	return false;
}

int disks_find(struct guest_container *g, int64_t target, char path[static SCSI_NAME_MAX], struct err *e)
{
	if (target < 0 || target >= GUEST_LATE_DISKS || g->n_targets == array_len(g->targets))
		return err_set(e, ERR_INVALID, 0, "there is no disk %lld", (long long)target);
	if (scsi_attach((int)target, path, e))
		return -1;
	g->targets[g->n_targets++] = (int)target;
	return 0;
}

void disks_release(struct guest_container *g)
{
	struct err e;

	while (g->n_targets)
		if (scsi_detach(g->targets[--g->n_targets], &e))
			log_warn("%s", e.msg);
}

/* The device of a disk, which may have to be looked for first. */
static int find_device(struct guest_container *g, const char *name, char device[static SCSI_NAME_MAX], struct err *e)
{
	char *end;
	long number;

	snprintf(device, SCSI_NAME_MAX, "%s", name);
	if (!str_starts(name, GUEST_LATE_DISK))
		return 0;
	number = strtol(name + strlen(GUEST_LATE_DISK), &end, 10);
	return disks_find(g, *end ? -1 : number, device, e);
}

static int mount_disks(struct guest_container *g, const char *image, const char *disk, struct err *e)
{
	char image_device[SCSI_NAME_MAX], disk_device[SCSI_NAME_MAX];

	if (find_device(g, image, image_device, e) || find_device(g, disk, disk_device, e))
		return -1;
	repair(disk_device);
	if (mount_disk(g, image_device, "image", "erofs", MS_RDONLY | MS_NOATIME, NULL, e) ||
	    mount_disk(g, disk_device, "disk", "ext4", MS_NOATIME, "discard,noinit_itable", e) ||
	    make_dir(g, "upper", e) || make_dir(g, "work", e))
		return -1;
	g->disk = xstrdup(disk_device);
	return 0;
}

int disks_mount(struct guest_container *g, json_t *silo, struct err *e)
{
	const json_t *rootfs = json_object_get(silo, "rootfs");
	const char *image = json_str(rootfs, "image", NULL), *disk = json_str(rootfs, "disk", NULL);

	/* the host's directory, which is mounted already */
	if (json_str(rootfs, "path", NULL))
		return 0;
	if (!image || !disk)
		return err_set(e, ERR_INVALID, 0, "rootfs: image and disk are wanted");
	if (mount_disks(g, image, disk, e)) {
		disks_unmount(g);
		return -1;
	}
	describe_layers(g, silo);
	return 0;
}

void disks_unmount(struct guest_container *g)
{
	static const char *const names[] = { "disk", "image" };

	for (size_t i = 0; i < array_len(names); i++) {
		autofree char *path = xasprintf("%s/%s", g->dir, names[i]);

		if (umount2(path, 0) && errno == EBUSY) {
			/* Something still holds it: at least everything must be on the disk. */
			log_warn("%s is busy", path);
			sync();
			umount2(path, MNT_DETACH);
		}
		(void)rmdir(path);
	}
	(void)rmdir(g->dir);
	if (g->disk && !is_released(g->disk)) {
		log_warn("%s is still in use", g->disk);
		sync();
	}
	own_free(&g->disk);
	disks_release(g);
}
