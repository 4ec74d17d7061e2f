/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Network devices, addresses and routes. A socket speaks for the network namespace in which it was opened, whoever uses
 * it from where. No library: the agent is static. Source: rtnetlink(7), netlink(7).
 */
#ifndef SILO_OS_NETLINK_H
#define SILO_OS_NETLINK_H

#include <stdbool.h>

#include "base/err.h"
#include "os/ipaddr.h"

#define LINK_NAME_MAX 16 /* IFNAMSIZ */

/* Bring the loopback device of the current namespace up. */
int netlink_lo_up(struct err *e) must_check;

/* A socket for the current network namespace, close-on-exec. */
int netlink_open(struct err *e) must_check;
/* Index of a device, or -1: ERR_NOT_FOUND. */
int link_index(int sock, const char *name, struct err *e) must_check;
int link_add_bridge(int sock, const char *name, unsigned mtu, struct err *e) must_check;

struct veth {
	const char *name; /* our end, up, a port of bridge */
	int bridge;
	const char *peer; /* the other end, down, in namespace peer_ns (fd) */
	int peer_ns;
	const unsigned char *peer_mac;
	unsigned mtu; /* 0 = default */
};
/* Both ends, in one message. */
int link_add_veth(int sock, const struct veth *v, struct err *e) must_check;

/* Source: linux/if_link.h, enum macvlan_mode. */
enum macvlan { MACVLAN_PRIVATE = 1, MACVLAN_VEPA = 2, MACVLAN_BRIDGE = 4, MACVLAN_PASSTHRU = 8 };

struct macvlan_link {
	const char *kind; /* "macvlan" or "macvtap" */
	const char *name;
	int parent; /* index, in the socket's namespace */
	int ns;     /* namespace (fd) that it is made in; -1 = here */
	const unsigned char *mac;
	enum macvlan mode;
	unsigned mtu; /* 0 = the parent's */
};
/* Down. ERR_SYSTEM. */
int link_add_macvlan(int sock, const struct macvlan_link *m, struct err *e) must_check;

struct link_change {
	const unsigned char *mac; /* NULL = leave */
	const char *name;         /* NULL = leave */
	unsigned mtu;             /* 0 = leave */
	int master;               /* 0 = leave */
	bool up;                  /* false = leave */
};
int link_change(int sock, int index, const struct link_change *c, struct err *e) must_check;
/* Let a bridge send frames back out of the port that they came in by. */
int link_set_hairpin(int sock, int port, struct err *e) must_check;
int link_delete(int sock, const char *name, struct err *e) must_check;
/* An address that the device has already is no error. */
int link_add_address(int sock, int index, const struct ip_net *a, struct err *e) must_check;
int route_add_default(int sock, int index, const struct ip_addr *gateway, struct err *e) must_check;
int route_delete_default(int sock, int family, struct err *e) must_check;
/* Every destination of the IPv4 routing tables but the default: fn returns non-zero to stop, which is returned. */
int route_each(int sock, int (*fn)(void *arg, const struct ip_net *destination), void *arg, struct err *e) must_check;
/* Every device's name. As route_each. */
int link_each(int sock, int (*fn)(void *arg, const char *name), void *arg, struct err *e) must_check;

#endif
