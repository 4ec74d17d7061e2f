/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "network/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/own.h"
#include "os/netlink.h"

int tap_open(int netlink, const char *name, int bridge, unsigned mtu, struct err *e)
{
	autoclose int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct link_change change = { .master = bridge, .mtu = mtu, .up = true };
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };
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
