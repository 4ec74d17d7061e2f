/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Network namespaces of containers, and work inside them from a process that stays outside. */
#ifndef SILO_NETWORK_NETNS_H
#define SILO_NETWORK_NETNS_H

#include "base/err.h"

/**
 * netns_run - call fn in a network namespace, in a thread of its own, and wait for it.
 *
 * @ns  descriptor of the namespace, or -1: a new one.
 * Sockets that fn opens belong to that namespace for good. Returns what fn returned.
 */
int netns_run(int ns, int (*fn)(void *arg, struct err *e), void *arg, struct err *e) must_check;

/* A new namespace with lo up. *netlink receives a socket in it (os/netlink.h). Returns its descriptor, or -1. */
int netns_new(int *netlink, struct err *e) must_check;
/* The namespace of a process: descriptor, or -1. */
int netns_of(int pid, struct err *e) must_check;
/* A netlink socket in it, or -1. */
int netns_netlink(int ns, struct err *e) must_check;

/* Listening UDP and TCP sockets on an address, non-blocking, inside ns (-1 = here). port 0 = any, *port receives it. */
struct ip_addr;
int netns_listen(int ns, const struct ip_addr *a, unsigned short *port, int *udp, int *tcp, struct err *e) must_check;

#endif
