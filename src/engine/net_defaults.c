/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What daemon.json says about networks: the default bridge, address pools, name servers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "engine/networking.h"

#define POOLS_MAX 256

/* Where networks without a subnet get one, when daemon.json doesn't say. */
static const struct {
	const char *base;
	unsigned size;
} builtin_pools[] = { { "172.30.0.0/15", 16 }, { "172.18.0.0/15", 16 }, { "172.20.0.0/14", 16 },
		      { "172.24.0.0/14", 16 }, { "172.28.0.0/15", 16 }, { "192.168.0.0/16", 20 },
		      { "10.192.0.0/10", 20 } };

/* --- check ---------------------------------------------------------------------------------------------------------------- */

static int add_pool(struct networking *w, const char *base, int64_t size, struct err *e)
{
	struct ipam_pool *p = &w->pools[w->n_pools];

	if (ip_net_parse(base, &p->base) < 0)
		return err_set(e, ERR_INVALID, 0, "default-address-pools: invalid base pool \"%.100s\"", base);
	if (size < (int64_t)p->base.prefix || size > (int64_t)(8 * ip_bytes(p->base.a.family)) - 2)
		return err_set(e, ERR_INVALID, 0,
			       "default-address-pools: the size /%lld does not fit into the base pool %s",
			       (long long)size, base);
	p->base.a = ip_first(&p->base);
	p->size = (unsigned)size;
	w->n_pools++;
	return 0;
}

static int read_pools(struct networking *w, const json_t *config, struct err *e)
{
	json_t *list, *entry;
	const char *base;
	int64_t size;
	size_t i;

	if (json_get_array(config, "default-address-pools", &list, e) < 0)
		return -1;
	if (json_array_size(list) > POOLS_MAX)
		return err_set(e, ERR_LIMIT, 0, "default-address-pools: more than %d", POOLS_MAX);
	w->pools = xcalloc(json_array_size(list) + array_len(builtin_pools), sizeof(*w->pools));
	json_array_foreach(list, i, entry) {
		if (json_get_str(entry, "base", "", &base, e) < 0 || json_get_int(entry, "size", 0, &size, e) < 0 ||
		    add_pool(w, base, size, e) < 0)
			return -1;
	}
	for (i = 0; i < array_len(builtin_pools) && json_array_size(list) == 0; i++) {
		if (add_pool(w, builtin_pools[i].base, builtin_pools[i].size, e) < 0)
			return -1;
	}
	return 0;
}

/* A prefix, of an address where one is wanted. family 0: not said. */
static int read_net(const json_t *config, const char *key, int family, struct ip_net *out, struct err *e)
{
	const char *text;

	*out = (struct ip_net){ 0 };
	if (json_get_str(config, key, "", &text, e) < 0)
		return -1;
	if (*text && (ip_net_parse(text, out) < 0 || out->a.family != family))
		return err_set(e, ERR_INVALID, 0, "%s: invalid CIDR address: %.100s", key, text);
	return 0;
}

/* Lines of resolv.conf are made of these. */
static int check_lines(const json_t *config, const char *key, bool addresses, struct err *e)
{
	struct ip_addr a;
	json_t *list, *entry;
	size_t i;

	if (json_get_strings(config, key, &list, e) < 0)
		return -1;
	json_array_foreach(list, i, entry) {
		const char *text = json_string_value(entry);

		for (const char *p = text; *p; p++) {
			if ((unsigned char)*p <= ' ')
				return err_set(e, ERR_INVALID, 0, "%s: invalid value \"%s\"", key, text);
		}
		if (!*text || (addresses && ip_parse(text, &a) < 0))
			return err_set(e, ERR_INVALID, 0, "%s: invalid value \"%s\"", key, text);
	}
	return 0;
}

/* Keys that have one value only: the other one can't be had. */
static int check_fixed(const json_t *config, struct err *e)
{
	static const char *const on[] = { "iptables", "ip6tables" };
	bool value;

	for (size_t i = 0; i < array_len(on); i++) {
		if (json_get_bool(config, on[i], true, &value, e) < 0)
			return -1;
		if (!value)
			return err_set(e, ERR_UNSUPPORTED, 0,
				       "%s: false is not supported by Silo: its rules are in nftables of their own, "
				       "which leave those of other programs alone",
				       on[i]);
	}
	return 0;
}

/* The bridge's own address, with the prefix of its network. */
static int check_bip(const json_t *config, struct err *e)
{
	struct ip_net bip;
	struct ip_addr first, last;

	if (read_net(config, "bip", AF_INET, &bip, e) < 0)
		return -1;
	if (!bip.a.family)
		return 0;
	first = ip_first(&bip);
	last = ip_last(&bip);
	if (bip.prefix > 30 || ip_equal(&bip.a, &first) || ip_equal(&bip.a, &last))
		return err_set(e, ERR_INVALID, 0, "bip: %s is not an address in a network with room for others",
			       json_str(config, "bip", ""));
	return 0;
}

int defaults_read(struct networking *w, struct err *e)
{
	static const char *const flags[] = { "ipv6", "icc", "ip-masq", "ip-forward", "userland-proxy" };
	const json_t *config = w->g->config;
	struct ip_net ignored;
	struct ip_addr a;
	const char *ip;
	int64_t mtu;
	bool flag;

	for (size_t i = 0; i < array_len(flags); i++) {
		if (json_get_bool(config, flags[i], true, &flag, e) < 0)
			return -1;
	}
	if (read_pools(w, config, e) < 0 || check_bip(config, e) < 0 ||
	    read_net(config, "fixed-cidr", AF_INET, &ignored, e) < 0 ||
	    read_net(config, "fixed-cidr-v6", AF_INET6, &ignored, e) < 0 || check_lines(config, "dns", true, e) < 0 ||
	    check_lines(config, "dns-search", false, e) < 0 || check_lines(config, "dns-opts", false, e) < 0 ||
	    check_fixed(config, e) < 0 || json_get_str(config, "ip", "", &ip, e) < 0 ||
	    json_get_int(config, "mtu", 0, &mtu, e) < 0)
		return -1;
	if (*ip && (ip_parse(ip, &a) < 0 || a.family != AF_INET))
		return err_set(e, ERR_INVALID, 0, "ip: invalid IPv4 address \"%.100s\"", ip);
	if (mtu && (mtu < 68 || mtu > 65535))
		return err_set(e, ERR_INVALID, 0, "mtu: invalid value %lld", (long long)mtu);
	w->keep_forwarding = !json_bool(config, "ip-forward", true);
	return 0;
}

const json_t *defaults_of(const struct engine *g, const json_t *host, const char *key)
{
	static const char *const keys[][2] = { { "Dns", "dns" },
					       { "DnsOptions", "dns-opts" },
					       { "DnsSearch", "dns-search" } };
	const json_t *given = json_object_get(host, key);

	for (size_t i = 0; i < array_len(keys) && json_array_size(given) == 0; i++) {
		if (strcmp(key, keys[i][0]) == 0)
			return json_object_get(g->config, keys[i][1]);
	}
	return given;
}

/* --- the default bridge ------------------------------------------------------------------------------------------------------- */

static const char *word(bool value)
{
	return value ? "true" : "false";
}

/* As Docker shows them. */
static json_t *bridge_options(const struct networking *w, const struct network *n)
{
	const json_t *config = w->g->config;
	const char *ip = json_str(config, "ip", "0.0.0.0");
	json_t *mtu = json_sprintf("%lld", (long long)json_int(config, "mtu", 1500));

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "com.docker.network.bridge.default_bridge", "true",
			 "com.docker.network.bridge.enable_icc", word(json_bool(config, "icc", true)),
			 "com.docker.network.bridge.enable_ip_masquerade", word(json_bool(config, "ip-masq", true)),
			 "com.docker.network.bridge.host_binding_ipv4", ip, "com.docker.network.bridge.name", n->bridge,
			 "com.docker.network.driver.mtu", mtu);
}

/* The addresses that n should have. */
static int wanted_nets(struct networking *w, const struct network *n, struct ip_net nets[2], struct ip_net ranges[2],
		       struct err *e)
{
	const json_t *config = w->g->config;
	struct ip_net bip, fixed, fixed6;

	if (read_net(config, "bip", AF_INET, &bip, e) < 0 || read_net(config, "fixed-cidr", AF_INET, &fixed, e) < 0 ||
	    read_net(config, "fixed-cidr-v6", AF_INET6, &fixed6, e) < 0)
		return -1;
	memcpy(nets, n->nets, sizeof(n->nets));
	if (bip.a.family)
		nets[NET_V4] = bip;
	ranges[NET_V4] = fixed;
	ranges[NET_V6] = (struct ip_net){ 0 };
	if (fixed.a.family && (!ip_in(&nets[NET_V4], &fixed.a) || fixed.prefix < nets[NET_V4].prefix))
		return err_set(e, ERR_INVALID, 0,
			       "fixed-cidr: it is not inside the default bridge's subnet (say with bip what that is)");
	if (!json_bool(config, "ipv6", false))
		nets[NET_V6] = (struct ip_net){ 0 };
	else if (fixed6.a.family)
		nets[NET_V6] = (struct ip_net){ ip_first(&fixed6), fixed6.prefix };
	else if (!nets[NET_V6].a.family)
		nets[NET_V6] = address_unique_local(n);
	if (fixed6.a.family && nets[NET_V6].a.family)
		nets[NET_V6].a = ip_next(&nets[NET_V6].a);
	return 0;
}

static bool has_endpoints(const struct networking *w, const struct network *n)
{
	for (const struct net_box *b = w->boxes; b; b = b->next) {
		for (const struct endpoint *x = b->endpoints; x; x = x->next) {
			if (x->n == n)
				return true;
		}
	}
	return false;
}

static bool clashes_with_another(const struct networking *w, const struct network *n, const struct ip_net *net)
{
	for (const struct network *m = w->networks; m; m = m->next) {
		for (int v = NET_V4; v <= NET_V6 && m != n; v++) {
			if (m->nets[v].a.family == net->a.family && ip_overlap(&m->nets[v], net))
				return true;
		}
	}
	return false;
}

int defaults_apply(struct networking *w, struct err *e)
{
	struct network *n = network_find(w, "bridge", e);
	struct ip_net nets[2], ranges[2];
	autojson *options = n ? bridge_options(w, n) : NULL;

	if (!n || wanted_nets(w, n, nets, ranges, e) < 0)
		return n ? err_prefix(e, "daemon.json") : -1;
	bool same = json_equal(options, json_object_get(n->doc, "Options")) &&
		    memcmp(nets, n->nets, sizeof(nets)) == 0 && memcmp(ranges, n->ranges, sizeof(ranges)) == 0;

	if (same)
		return network_read_options(n, e);
	if (has_endpoints(w, n)) {
		log_warn("daemon.json: containers use the default bridge as it is; it changes at a start of the engine "
			 "without them");
		return 0;
	}
	for (int v = NET_V4; v <= NET_V6; v++) {
		if (nets[v].a.family && clashes_with_another(w, n, &nets[v]))
			return err_set(e, ERR_INVALID, 0,
				       "daemon.json: the default bridge's addresses overlap with another network's");
	}
	/* One of before has the addresses of before. */
	if (link_delete(w->netlink, n->bridge, e) < 0 && e->kind != ERR_NOT_FOUND)
		return -1;
	memcpy(n->nets, nets, sizeof(nets));
	memcpy(n->ranges, ranges, sizeof(ranges));
	memset(n->last, 0, sizeof(n->last));
	json_object_set(n->doc, "Options", options);
	json_object_set_new(n->doc, "EnableIPv6", json_boolean(nets[NET_V6].a.family));
	return network_read_options(n, e) < 0 ? -1 : network_save(w, n, e);
}
