/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "network/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "os/mount.h"
#include "os/netlink.h"

/* IFF_VNET_HDR: a header before each packet says what the other side needn't have done (segments, checksum). */
#define TAP_FLAGS (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)

int tap_open(int netlink, const char *name, int bridge, unsigned mtu, struct err *e)
{
	autoclose int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct link_change change = { .master = bridge, .mtu = mtu, .up = true };
	struct ifreq request = { .ifr_flags = TAP_FLAGS };
	int index;

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, errno, "open /dev/net/tun");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &request))
		return err_set(e, ERR_SYSTEM, errno, "create tap device %s", name);
	index = link_index(netlink, name, e);
	if (index < 0 || link_change(netlink, index, &change, e) < 0 || link_set_hairpin(netlink, index, e) < 0)
		return -1;
	return take_fd(&fd);
}

/* The number of its device node. A sysfs of our own shows this network namespace, whatever is mounted on /sys. */
static int macvtap_number(const char *name, int index, dev_t *out, struct err *e)
{
	autofree char *path = xasprintf("class/net/%s/macvtap/tap%d/dev", name, index);
	autoclose int sysfs = fs_mount("sysfs", NULL, NULL, 0, 0, e);
	unsigned major, minor;
	autostr text;

	str_init(&text, 64);
	if (sysfs < 0 || io_read_file(sysfs, path, &text, e) < 0)
		return -1;
	if (sscanf(text.s, "%u:%u", &major, &minor) != 2)
		return err_set(e, ERR_SYSTEM, 0, "device number of %s: %s", name, text.s);
	*out = makedev(major, minor);
	return 0;
}

/* By a node of our own: no /dev of anybody need have it. */
static int open_device(dev_t number, struct err *e)
{
	autoclose int place = fs_mount("tmpfs", NULL, NULL, 0, 0, e);
	struct ifreq request = { .ifr_flags = TAP_FLAGS };
	autoclose int fd = -1;

	if (place < 0)
		return -1;
	if (mknodat(place, "tap", S_IFCHR | 0600, number) < 0)
		return err_set(e, ERR_SYSTEM, errno, "make the node of a macvtap device");
	fd = openat(place, "tap", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
		return err_set(e, ERR_SYSTEM, errno, "open a macvtap device");
	return take_fd(&fd);
}

int macvtap_open(int netlink, const struct macvlan_link *m, struct err *e)
{
	struct link_change up = { .up = true };
	struct err ignored;
	dev_t number;
	int index, fd;

	if (link_add_macvlan(netlink, m, e) < 0)
		return -1;
	index = link_index(netlink, m->name, e);
	if (index < 0 || link_change(netlink, index, &up, e) < 0 || macvtap_number(m->name, index, &number, e) < 0)
		fd = -1;
	else
		fd = open_device(number, e);
	if (fd < 0 && link_delete(netlink, m->name, &ignored) < 0)
		log_warn("%s", ignored.msg);
	return fd;
}
