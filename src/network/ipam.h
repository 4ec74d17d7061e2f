/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which addresses and which networks are free. Pure: the caller says what is taken. */
#ifndef SILO_NETWORK_IPAM_H
#define SILO_NETWORK_IPAM_H

#include <stdbool.h>

#include "base/err.h"
#include "os/ipaddr.h"

typedef bool ipam_taken_fn(void *arg, const struct ip_addr *a);
typedef bool ipam_clash_fn(void *arg, const struct ip_net *n);

/**
 * ipam_address - the first free address of a network.
 *
 * @range  part of net to choose from, or NULL: all of it.
 * @from   where to start looking (wraps), so that an address isn't used again at once; family 0 = the beginning.
 * Never the network's own or its broadcast address. ERR_FORBIDDEN "no available IPv4 addresses on this network's address pools".
 */
int ipam_address(const struct ip_net *net, const struct ip_net *range, const struct ip_addr *from, ipam_taken_fn *taken,
		 void *arg, struct ip_addr *out, struct err *e) must_check;

struct ipam_pool {
	struct ip_net base;
	unsigned size; /* prefix of the networks cut from it */
};
/* The first network of this family's pools that doesn't clash. ERR_SYSTEM when there is none. */
int ipam_network(const struct ipam_pool *pools, size_t n, int family, ipam_clash_fn *clash, void *arg,
		 struct ip_net *out, struct err *e) must_check;

#endif
