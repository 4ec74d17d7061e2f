/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which addresses networks and containers get. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "engine/networking.h"
#include "network/ipam.h"

/* --- containers ------------------------------------------------------------------------------------------------------- */

bool address_is_kept(const struct network *n, const struct ip_addr *a)
{
	json_t *entry, *value;
	const char *key;
	size_t i;

	json_array_foreach(json_member(json_object_get(n->doc, "IPAM"), "Config"), i, entry) {
		json_object_foreach(json_member(entry, "AuxiliaryAddresses"), key, value) {
			struct ip_addr kept;

			if (ip_parse(json_string_value(value), &kept) == 0 && ip_equal(&kept, a))
				return true;
		}
	}
	return false;
}

struct in_use {
	struct networking *w;
	const struct network *n;
};

static bool is_taken(void *arg, const struct ip_addr *a)
{
	const struct in_use *u = arg;
	int v = a->family == AF_INET6 ? NET_V6 : NET_V4;

	if (ip_equal(&u->n->nets[v].a, a) || address_is_kept(u->n, a))
		return true;
	for (const struct net_box *b = u->w->boxes; b; b = b->next) {
		for (const struct endpoint *x = b->endpoints; x; x = x->next) {
			if (x->n == u->n && ip_equal(&x->addresses[v], a))
				return true;
		}
	}
	return false;
}

static int take_static(struct in_use *u, const char *text, int v, struct ip_addr *out, struct err *e)
{
	const struct ip_net *net = &u->n->nets[v];

	if (ip_parse(text, out) < 0 || out->family != (v == NET_V6 ? AF_INET6 : AF_INET))
		return err_set(e, ERR_INVALID, 0, "invalid IPv%d address: %s", v == NET_V6 ? 6 : 4, text);
	if (!net->a.family || !ip_in(net, out))
		return err_set(e, ERR_INVALID, 0, "no configured subnet or ip-range contain the IP address %s", text);
	if (is_taken(u, out))
		return err_set(e, ERR_FORBIDDEN, 0, "Address already in use");
	return 0;
}

/* A MAC of the address, as Docker's: it stays the same where the address does. */
static void make_mac(struct endpoint *x)
{
	x->mac[0] = 0x02;
	x->mac[1] = 0x42;
	memcpy(x->mac + 2, x->addresses[NET_V4].b, 4);
}

int address_take(struct networking *w, struct network *n, const json_t *settings, struct endpoint *x, struct err *e)
{
	static const char *const keys[] = { [NET_V4] = "IPv4Address", [NET_V6] = "IPv6Address" };
	const json_t *wanted = json_object_get(settings, "IPAMConfig");
	const char *mac = json_str(settings, "MacAddress", "");
	struct in_use u = { w, n };

	for (int v = NET_V4; v <= NET_V6; v++) {
		const char *text = json_str(wanted, keys[v], "");
		const struct ip_net *range = n->ranges[v].a.family ? &n->ranges[v] : NULL;

		if (*text) {
			if (take_static(&u, text, v, &x->addresses[v], e) < 0)
				return -1;
		} else if (n->nets[v].a.family) {
			if (ipam_address(&n->nets[v], range, &n->last[v], is_taken, &u, &x->addresses[v], e) < 0)
				return -1;
			n->last[v] = x->addresses[v];
		}
	}
	if (*mac && mac_parse(mac, x->mac) < 0)
		return err_set(e, ERR_INVALID, 0, "invalid MAC address: %s", mac);
	if (!*mac)
		make_mac(x);
	return 0;
}

/* --- networks --------------------------------------------------------------------------------------------------------- */

static int overlaps(void *arg, const struct ip_net *destination)
{
	return ip_overlap(arg, destination);
}

bool address_pool_clashes(struct networking *w, const struct ip_net *n)
{
	for (const struct network *x = w->networks; x; x = x->next) {
		for (int v = NET_V4; v <= NET_V6; v++) {
			if (x->nets[v].a.family == n->a.family && ip_overlap(&x->nets[v], n))
				return true;
		}
	}
	return false;
}

static bool clashes(void *arg, const struct ip_net *n)
{
	struct networking *w = arg;
	struct ip_net copy = *n;

	return address_pool_clashes(w, n) || route_each(w->netlink, overlaps, &copy, NULL) > 0;
}

int address_pool(struct networking *w, int family, struct ip_net *out, struct err *e)
{
	return ipam_network(w->pools, w->n_pools, family, clashes, w, out, e);
}

static int parse_inside(const json_t *config, const char *key, const struct ip_net *net, struct ip_addr *out,
			struct err *e)
{
	const char *text = json_str(config, key, "");

	if (!*text)
		return 0;
	if (ip_parse(text, out) < 0)
		return err_set(e, ERR_INVALID, 0, "invalid gateway address \"%s\"", text);
	if (!ip_in(net, out))
		return err_set(e, ERR_INVALID, 0, "invalid gateway %s: it is not in the network's subnet", text);
	return 0;
}

static int check_kept(const json_t *config, const struct ip_net *net, struct err *e)
{
	json_t *kept, *value;
	struct ip_addr a;
	const char *name;

	if (json_get_object(config, "AuxiliaryAddresses", &kept, e) < 0)
		return -1;
	json_object_foreach(kept, name, value) {
		const char *text = json_is_string(value) ? json_string_value(value) : "";

		if (ip_parse(text, &a) < 0 || !ip_in(net, &a))
			return err_set(e, ERR_INVALID, 0,
				       "invalid auxiliary address %.50s: %.100s is not in the subnet", name, text);
	}
	return 0;
}

/* One entry of IPAM.Config: {"Subnet", "IPRange", "Gateway", "AuxiliaryAddresses"}. */
static int read_entry(struct networking *w, struct network *n, const json_t *config, struct err *e)
{
	const char *subnet = json_str(config, "Subnet", ""), *range = json_str(config, "IPRange", "");
	struct ip_addr gateway = { 0 }, first;
	struct ip_net net;
	int v;

	if (!*subnet)
		return err_set(e, ERR_INVALID, 0, "invalid network config: IPAM.Config without a Subnet");
	if (ip_net_parse(subnet, &net) < 0)
		return err_set(e, ERR_INVALID, 0, "invalid subnet %s: invalid CIDR block notation", subnet);
	v = net.a.family == AF_INET6 ? NET_V6 : NET_V4;
	if (n->nets[v].a.family)
		return err_set(e, ERR_UNSUPPORTED, 0,
			       "more than one IPv%d subnet in a network is not supported by Silo", v == NET_V6 ? 6 : 4);
	first = ip_first(&net);
	if (!ip_equal(&first, &net.a))
		return err_set(e, ERR_INVALID, 0, "invalid subnet %s: it should be a network address", subnet);
	if (8 * ip_bytes(net.a.family) - net.prefix < 2 || net.prefix < 4)
		return err_set(e, ERR_INVALID, 0, "invalid subnet %s: no room for addresses, or too much", subnet);
	if (address_pool_clashes(w, &net))
		return err_set(e, ERR_FORBIDDEN, 0,
			       "invalid pool request: Pool overlaps with other one on this address space");
	if (parse_inside(config, "Gateway", &net, &gateway, e) < 0)
		return -1;
	if (check_kept(config, &net, e) < 0)
		return -1;
	if (*range && (ip_net_parse(range, &n->ranges[v]) < 0 || !ip_in(&net, &n->ranges[v].a) ||
		       n->ranges[v].prefix < net.prefix))
		return err_set(e, ERR_INVALID, 0, "invalid ip-range %s: it is not inside the subnet", range);
	n->nets[v] = (struct ip_net){ gateway.family ? gateway : ip_next(&first), net.prefix };
	n->user_subnet = true;
	return 0;
}

struct ip_net address_unique_local(const struct network *n)
{
	struct ip_net net = { .a = { .family = AF_INET6, .b = { 0xfd } }, .prefix = 64 };

	for (size_t i = 0; i < 5; i++) {
		unsigned byte;

		if (sscanf(n->id + 2 * i, "%2x", &byte) == 1)
			net.a.b[1 + i] = (unsigned char)byte;
	}
	net.a.b[15] = 1;
	return net;
}

static int choose_v6(struct networking *w, struct network *n, struct err *e)
{
	struct ip_net net;
	bool pooled = false;

	for (size_t i = 0; i < w->n_pools; i++)
		pooled |= w->pools[i].base.a.family == AF_INET6;
	if (!pooled) {
		n->nets[NET_V6] = address_unique_local(n);
		return 0;
	}
	if (address_pool(w, AF_INET6, &net, e) < 0)
		return -1;
	n->nets[NET_V6] = (struct ip_net){ ip_next(&net.a), net.prefix };
	return 0;
}

int address_config(struct networking *w, struct network *n, const json_t *ipam, bool ipv6, struct err *e)
{
	json_t *entry;
	struct ip_net net;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)ipam, i, entry) {
		if (read_entry(w, n, entry, e) < 0)
			return -1;
	}
	if (!n->nets[NET_V4].a.family) {
		if (address_pool(w, AF_INET, &net, e) < 0)
			return -1;
		n->nets[NET_V4] = (struct ip_net){ ip_next(&net.a), net.prefix };
	}
	if (ipv6 && !n->nets[NET_V6].a.family)
		return choose_v6(w, n, e);
	if (!ipv6 && n->nets[NET_V6].a.family)
		return err_set(e, ERR_INVALID, 0, "an IPv6 subnet needs --ipv6");
	return 0;
}
