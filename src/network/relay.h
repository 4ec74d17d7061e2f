/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel can't translate: connections to IPv6 addresses of this host for containers that have IPv4 only, and
 * those to ::1, whose packets never leave the loopback device. One thread for all of them; everything else is the packet
 * filter's (firewall.h).
 */
#ifndef SILO_NETWORK_RELAY_H
#define SILO_NETWORK_RELAY_H

#include <stdbool.h>

#include "base/err.h"
#include "os/ipaddr.h"

struct relay;

struct relay_target {
	const char *key; /* whose it is, for relay_forget() */
	bool udp;
	struct ip_addr to;
	unsigned short port;
};

struct relay *relay_new(struct err *e) must_check;
/* Ends all connections. NULL allowed. */
void relay_free(struct relay *r);
/* Serve a bound socket: the relay has a duplicate. TCP: it listens from now on. */
int relay_add(struct relay *r, int sock, const struct relay_target *t, struct err *e) must_check;
/* Close the sockets with this key and end their connections; done when it returns. */
void relay_forget(struct relay *r, const char *key);

#endif
