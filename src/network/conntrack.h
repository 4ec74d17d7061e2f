/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the kernel remembers of connections. Source: linux/netfilter/nfnetlink_conntrack.h. */
#ifndef SILO_NETWORK_CONNTRACK_H
#define SILO_NETWORK_CONNTRACK_H

#include "base/err.h"
#include "os/ipaddr.h"

/**
 * conntrack_forget_udp - forget UDP traffic to a port of this network namespace's host.
 *
 * A client that never pauses is sent where its first datagram went, whatever the rules say by now.
 * @host  the address it is sent to; all zero = every address of that family.
 * What this host only forwards, with its own address as the sender's, is kept. ERR_SYSTEM; no conntrack: no error.
 */
int conntrack_forget_udp(const struct ip_addr *host, unsigned short port, struct err *e) must_check;

#endif
