/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "network/ipam.h"

#define TRIES_MAX 70000 /* more than a /16; a larger network isn't searched to its end */

static bool is_reserved(const struct ip_net *net, const struct ip_addr *a)
{
	struct ip_addr first = ip_first(net), last = ip_last(net);
	unsigned host_bits = 8 * (unsigned)ip_bytes(net->a.family) - net->prefix;

	if (host_bits < 2) /* point to point: no network and no broadcast address */
		return false;
	return ip_equal(a, &first) || (a->family == AF_INET && ip_equal(a, &last));
}

int ipam_address(const struct ip_net *net, const struct ip_net *range, const struct ip_addr *from, ipam_taken_fn *taken,
		 void *arg, struct ip_addr *out, struct err *e)
{
	const struct ip_net *within = range ? range : net;
	struct ip_addr first = ip_first(within), at = first;

	if (from->family && ip_in(within, from))
		at = ip_next(from);
	for (int i = 0; i < TRIES_MAX; i++) {
		if (!ip_in(within, &at))
			at = first;
		if (!is_reserved(net, &at) && !taken(arg, &at)) {
			*out = at;
			return 0;
		}
		at = ip_next(&at);
		if (ip_equal(&at, &first) && !from->family)
			break;
	}
	return err_set(e, ERR_FORBIDDEN, 0, "no available IPv%d addresses on this network's address pools",
		       net->a.family == AF_INET6 ? 6 : 4);
}

int ipam_network(const struct ipam_pool *pools, size_t n, int family, ipam_clash_fn *clash, void *arg,
		 struct ip_net *out, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		struct ip_net net = { ip_first(&pools[i].base), pools[i].size };

		if (net.a.family != family)
			continue;
		for (int tries = 0; tries < TRIES_MAX && ip_in(&pools[i].base, &net.a); tries++) {
			if (!clash(arg, &net)) {
				*out = net;
				return 0;
			}
			net.a = ip_next_net(&net);
		}
	}
	return err_set(e, ERR_SYSTEM, 0, "all predefined address pools have been fully subnetted");
}
