/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks that are plugged in while the VM runs: targets of the one SCSI bus. */
#include "agent/scsi.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/own.h"
#include "base/str.h"

#define HOSTS "/sys/class/scsi_host"
#define WAIT_MS 10000

/* Name of the first entry of a directory, or "". */
static void first_entry(const char *path, char name[static SCSI_NAME_MAX])
{
	DIR *dir = opendir(path);

	name[0] = '\0';
	for (const struct dirent *d; dir && !name[0] && (d = readdir(dir));)
		if (d->d_name[0] != '.')
			snprintf(name, SCSI_NAME_MAX, "%s", d->d_name);
	if (dir)
		closedir(dir);
}

static char *device_path(const char *host, int target)
{
	return xasprintf("/sys/bus/scsi/devices/%s:0:%d:0", host + strlen("host"), target);
}

static int bus_host(char host[static SCSI_NAME_MAX], struct err *e)
{
	first_entry(HOSTS, host);
	return str_starts(host, "host") ? 0 : err_set(e, ERR_UNAVAILABLE, 0, "the guest kernel has no SCSI disks");
}

int scsi_attach(int target, char path[static SCSI_NAME_MAX], struct err *e)
{
	char host[SCSI_NAME_MAX], name[SCSI_NAME_MAX], order[32];

	if (bus_host(host, e))
		return -1;
	autofree char *scan = xasprintf(HOSTS "/%s/scan", host);
	autofree char *device = device_path(host, target);
	autofree char *block = xasprintf("%s/block", device);

	snprintf(order, sizeof order, "0 %d 0", target);
	if (io_write_kernel(AT_FDCWD, scan, order, e))
		return -1;
	/* The target is there now; its driver looks at it in a thread of its own. That it can be opened comes last. */
	for (int64_t deadline = time_monotonic_ms() + WAIT_MS; time_monotonic_ms() < deadline; poll(NULL, 0, 1)) {
		first_entry(block, name);
		snprintf(path, SCSI_NAME_MAX, "/dev/%.*s", SCSI_NAME_MAX - 6, name);
		autoclose int fd = *name ? open(path, O_RDONLY | O_CLOEXEC) : -1;

		if (fd >= 0)
			return 0;
	}
	return err_set(e, ERR_TIMEOUT, 0, "disk %d doesn't come up", target);
}

int scsi_detach(int target, struct err *e)
{
	char host[SCSI_NAME_MAX];

	if (bus_host(host, e))
		return -1;
	autofree char *device = device_path(host, target);
	autofree char *remove = xasprintf("%s/delete", device);

	return io_write_kernel(AT_FDCWD, remove, "1", e);
}
