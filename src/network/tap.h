/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The network card of a virtual machine: a tap device that is a port of a bridge. */
#ifndef SILO_NETWORK_TAP_H
#define SILO_NETWORK_TAP_H

#include "base/err.h"

/**
 * tap_open - make a tap device, up, as a port of a bridge.
 *
 * @netlink  socket of the namespace that the bridge is in (this one).
 * @bridge   index of the bridge.
 * The device lives as long as somebody holds the descriptor that is returned. -1 with *e: nothing is left.
 */
int tap_open(int netlink, const char *name, int bridge, unsigned mtu, struct err *e) must_check;

struct macvlan_link;
/**
 * macvtap_open - make a macvtap device, up: a network card on the wire of a device of this host.
 *
 * Unlike a tap device it has to be deleted. -1 with *e: nothing is left.
 */
int macvtap_open(int netlink, const struct macvlan_link *m, struct err *e) must_check;

#endif
