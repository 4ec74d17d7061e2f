/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"

/* lo is always the first device of a namespace. */
#define LO_INDEX 1

int netlink_lo_up(struct err *e)
{
	autoclose int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} req = {
		.h = { .nlmsg_len = sizeof(req), .nlmsg_type = RTM_NEWLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.i = { .ifi_index = LO_INDEX, .ifi_flags = IFF_UP, .ifi_change = IFF_UP },
	};
	struct {
		struct nlmsghdr h;
		struct nlmsgerr err;
		char rest[256];
	} answer = { 0 };

	if (sock < 0 || send(sock, &req, sizeof(req), 0) < 0 || recv(sock, &answer, sizeof(answer), 0) < 0)
		return err_set(e, ERR_SYSTEM, errno, "bring lo up");
	if (answer.h.nlmsg_type == NLMSG_ERROR && answer.err.error)
		return err_set(e, ERR_SYSTEM, -answer.err.error, "bring lo up");
	return 0;
}
