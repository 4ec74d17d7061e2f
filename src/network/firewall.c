/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "network/firewall.h"

#include <nftables/libnftables.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"

#define DEFAULT_ROOT "/var/lib/silo" /* an engine with another one has names of its own */

struct firewall {
	char *table;
	pthread_mutex_t lock;
	struct nft_ctx *ctx; /* kept: making one takes longer than a command */
};

/*
 * ports     published ports: to the container, for every address of this host
 * guard     the bridges take routed loopback addresses (published ports on localhost); nobody else may use that
 * forward   a container is reached by its own network, by answers and by published ports; internal ones reach nobody
 */
static const char inet_rules[] =
	/* clang-format off */
	"table inet %s {\n"
	"set bridges { type ifname; }\n"
	"set internal { type ifname; }\n"
	"set same { type ifname . ifname; }\n"
	"set masq4 { type ipv4_addr; flags interval; }\n"
	"set masq6 { type ipv6_addr; flags interval; }\n"
	"set hairpin4 { type ipv4_addr . ipv4_addr; flags interval; }\n"
	"set hairpin6 { type ipv6_addr . ipv6_addr; flags interval; }\n"
	"set links4 { type ipv4_addr . ipv4_addr . inet_proto . inet_service; }\n"
	"map any4 { type inet_proto . inet_service : ipv4_addr . inet_service; }\n"
	"map addr4 { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }\n"
	"map any6 { type inet_proto . inet_service : ipv6_addr . inet_service; }\n"
	"map addr6 { type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service; }\n"
	"chain ports {\n"
	"dnat ip to meta l4proto . ip daddr . th dport map @addr4\n"
	"dnat ip to meta l4proto . th dport map @any4\n"
	"dnat ip6 to meta l4proto . ip6 daddr . th dport map @addr6\n"
	"dnat ip6 to meta l4proto . th dport map @any6\n"
	"}\n"
	"chain guard {\n"
	"type filter hook prerouting priority raw; policy accept;\n"
	"ip daddr 127.0.0.0/8 iifname @bridges drop\n"
	"}\n"
	"chain prerouting {\n"
	"type nat hook prerouting priority dstnat; policy accept;\n"
	"fib daddr type local jump ports\n"
	"}\n"
	"chain output {\n"
	"type nat hook output priority -100; policy accept;\n"
	"ip6 daddr ::1 accept\n" /* never leaves lo: the relay's */
	"fib daddr type local jump ports\n"
	"}\n"
	"chain postrouting {\n"
	"type nat hook postrouting priority srcnat; policy accept;\n"
	"ip saddr . ip daddr @hairpin4 ct status dnat masquerade\n"
	"ip6 saddr . ip6 daddr @hairpin6 ct status dnat masquerade\n"
	"ip saddr 127.0.0.0/8 oifname @bridges masquerade\n"
	"ip saddr @masq4 oifname != @bridges masquerade\n"
	"ip6 saddr @masq6 oifname != @bridges masquerade\n"
	"}\n"
	"chain forward {\n"
	"type filter hook forward priority filter; policy accept;\n"
	"ct state established,related accept\n"
	"iifname != @bridges oifname != @bridges accept\n"
	"ct status dnat accept\n"
	"iifname . oifname @same accept\n"
	"ip saddr . ip daddr . meta l4proto . th dport @links4 accept\n"
	"iifname @internal drop\n"
	"oifname @bridges drop\n"
	"}\n"
	"}\n";
/* clang-format on */

/*
 * prerouting  what leaves a container bears its own addresses, and isn't a router's word
 * forward     from one container to another in a network without icc: only what is linked
 */
static const char bridge_rules[] =
	/* clang-format off */
	"table bridge %s {\n"
	"set ports { type ifname; }\n"
	"set sources4 { type ifname . ether_addr . ipv4_addr; }\n"
	"set macs { type ifname . ether_addr; }\n"
	"set addrs4 { type ifname . ipv4_addr; }\n"
	"set addrs6 { type ifname . ipv6_addr; }\n"
	"set targets6 { typeof iifname . @th,64,128; }\n" /* the same, as it is in a neighbour advertisement */
	"set closed { type ifname; }\n"
	"set links4 { type ipv4_addr . ipv4_addr . inet_proto . inet_service; }\n"
	"chain prerouting {\n"
	"type filter hook prerouting priority -300; policy accept;\n"
	/* Nearly all that comes: one lookup has to do. By its ether type, for a packet with a VLAN tag is none of these. */
	"ether type ip iifname . ether saddr . ip saddr @sources4 accept\n"
	"iifname != @ports accept\n"
	"iifname . ether saddr != @macs drop\n"
	"ether type arp iifname . arp saddr ether != @macs drop\n"
	"ether type arp arp saddr ip 0.0.0.0 accept\n"
	"ether type arp iifname . arp saddr ip @addrs4 accept\n"
	"ether type ip6 icmpv6 type { nd-router-advert, nd-redirect } drop\n"
	"ether type ip6 icmpv6 type nd-neighbor-advert iifname . @th,64,128 != @targets6 drop\n"
	"ether type ip6 ip6 saddr :: accept\n"
	"ether type ip6 iifname . ip6 saddr @addrs6 accept\n"
	"drop\n"
	"}\n"
	"chain forward {\n"
	"type filter hook forward priority -200; policy accept;\n"
	"iifname != @closed accept\n"
	"oifname != @closed accept\n"
	"ether type arp accept\n"
	"ip saddr . ip daddr . meta l4proto . th dport @links4 accept\n"
	"ip daddr . ip saddr . meta l4proto . th sport @links4 accept\n"
	"drop\n"
	"}\n"
	"}\n";
/* clang-format on */

struct firewall *firewall_new(const char *table)
{
	struct firewall *f = xcalloc(1, sizeof(*f));

	f->table = xstrdup(table);
	pthread_mutex_init(&f->lock, NULL);
	return f;
}

struct firewall *firewall_new_for(const char *root, const char *engine_id)
{
	bool usual = strcmp(root, DEFAULT_ROOT) == 0;
	autofree char *table = xasprintf("silo%s%.6s", usual ? "" : "-", usual ? "" : engine_id);

	return firewall_new(table);
}

void firewall_free(struct firewall *f)
{
	if (!f)
		return;
	if (f->ctx)
		nft_ctx_free(f->ctx);
	pthread_mutex_destroy(&f->lock);
	free(f->table);
	free(f);
}

bool fw_name_is_valid(const char *device)
{
	size_t n = strlen(device);

	return n && n < 16 && *device != '.' &&
	       strspn(device, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == n;
}

static void element(const struct firewall *f, struct str *out, enum fw_verb verb, const char *family, const char *set,
		    const char *fmt, ...) printf_like(6, 7);
static void element(const struct firewall *f, struct str *out, enum fw_verb verb, const char *family, const char *set,
		    const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	str_printf(out, "%s element %s %s %s { %s }\n", verb == FW_ADD ? "add" : "delete", family, f->table, set, text);
}

void fw_network(const struct firewall *f, struct str *out, enum fw_verb verb, const struct fw_network *n)
{
	element(f, out, verb, "inet", "bridges", "\"%s\"", n->bridge);
	if (n->icc)
		element(f, out, verb, "inet", "same", "\"%s\" . \"%s\"", n->bridge, n->bridge);
	if (n->internal)
		element(f, out, verb, "inet", "internal", "\"%s\"", n->bridge);
	for (size_t i = 0; i < 2; i++) {
		struct ip_net net;
		char text[IP_TEXT_MAX];
		int v;

		if (!n->nets[i])
			continue;
		net = (struct ip_net){ ip_first(n->nets[i]), n->nets[i]->prefix };
		v = net.a.family == AF_INET6 ? 6 : 4;
		ip_net_format(&net, text);
		element(f, out, verb, "inet", v == 6 ? "hairpin6" : "hairpin4", "%s . %s", text, text);
		if (n->masquerade && !n->internal)
			element(f, out, verb, "inet", v == 6 ? "masq6" : "masq4", "%s", text);
	}
}

static void address6(const struct firewall *f, struct str *out, enum fw_verb verb, const char *port,
		     const struct ip_addr *a)
{
	char text[IP_TEXT_MAX], digits[2 * sizeof(a->b) + 1];

	ip_format(a, text);
	for (size_t i = 0; i < sizeof(a->b); i++)
		snprintf(digits + 2 * i, 3, "%02x", a->b[i]);
	element(f, out, verb, "bridge", "addrs6", "\"%s\" . %s", port, text);
	element(f, out, verb, "bridge", "targets6", "\"%s\" . 0x%s", port, digits);
}

void fw_endpoint(const struct firewall *f, struct str *out, enum fw_verb verb, const struct fw_endpoint *x)
{
	struct ip_addr local = mac_link_local(x->mac);
	char text[IP_TEXT_MAX], mac[MAC_TEXT_MAX];

	mac_format(x->mac, mac);
	element(f, out, verb, "bridge", "macs", "\"%s\" . %s", x->port, mac);
	for (size_t i = 0; i < 2; i++) {
		if (!x->addresses[i])
			continue;
		if (x->addresses[i]->family == AF_INET6) {
			address6(f, out, verb, x->port, x->addresses[i]);
			continue;
		}
		ip_format(x->addresses[i], text);
		element(f, out, verb, "bridge", "addrs4", "\"%s\" . %s", x->port, text);
		element(f, out, verb, "bridge", "sources4", "\"%s\" . %s . %s", x->port, mac, text);
	}
	address6(f, out, verb, x->port, &local);
	if (x->closed)
		element(f, out, verb, "bridge", "closed", "\"%s\"", x->port);
	element(f, out, verb, "bridge", "ports", "\"%s\"", x->port);
}

/* By number: names are looked up in a file of the host's, which it may not have. */
static unsigned protocol(const char *name)
{
	return strcmp(name, "udp") == 0 ? 17 : strcmp(name, "sctp") == 0 ? 132 : 6;
}

void fw_link(const struct firewall *f, struct str *out, enum fw_verb verb, const struct fw_link *l)
{
	static const char *const families[] = { "inet", "bridge" };
	char from[IP_TEXT_MAX], to[IP_TEXT_MAX];

	ip_format(l->from, from);
	ip_format(l->to, to);
	for (size_t i = 0; i < array_len(families); i++)
		element(f, out, verb, families[i], "links4", "%s . %s . %u . %u", from, to, protocol(l->proto),
			l->port);
}

void fw_port(const struct firewall *f, struct str *out, enum fw_verb verb, const struct fw_port *p)
{
	static const struct ip_addr none;
	bool any = memcmp(p->host->b, none.b, sizeof(none.b)) == 0;
	char host[IP_TEXT_MAX], to[IP_TEXT_MAX], set[8];
	char target[IP_TEXT_MAX + 16] = "";

	ip_format(p->host, host);
	ip_format(p->to, to);
	snprintf(set, sizeof(set), "%s%d", any ? "any" : "addr", p->host->family == AF_INET6 ? 6 : 4);
	if (verb == FW_ADD)
		snprintf(target, sizeof(target), " : %s . %u", to, p->to_port);
	element(f, out, verb, "inet", set, "%u%s%s . %u%s", protocol(p->proto), any ? "" : " . ", any ? "" : host,
		p->host_port, target);
}

void fw_remove(const struct firewall *f, struct str *out)
{
	static const char *const families[] = { "inet", "bridge" };

	/* Adding first makes it no error when there is none. */
	for (size_t i = 0; i < array_len(families); i++)
		str_printf(out, "add table %s %s\ndelete table %s %s\n", families[i], f->table, families[i], f->table);
}

void fw_create(const struct firewall *f, struct str *out)
{
	static const char *const rules[] = { inet_rules, bridge_rules };

	for (size_t i = 0; i < array_len(rules); i++) {
		const char *mark = strstr(rules[i], "%s");

		str_add(out, rules[i], (size_t)(mark - rules[i]));
		str_puts(out, f->table);
		str_puts(out, mark + 2);
	}
}

int firewall_apply(struct firewall *f, const struct str *commands, struct err *e)
{
	int rc;

	if (commands->full)
		return err_set(e, ERR_LIMIT, 0, "packet filter: too many rules");
	if (!commands->len)
		return 0;
	pthread_mutex_lock(&f->lock);
	if (!f->ctx) {
		f->ctx = nft_ctx_new(NFT_CTX_DEFAULT);
		if (f->ctx) {
			nft_ctx_buffer_error(f->ctx);
			nft_ctx_buffer_output(f->ctx);
		}
	}
	rc = f->ctx ? nft_run_cmd_from_buffer(f->ctx, commands->s) : -1;
	if (rc) {
		const char *words = f->ctx ? nft_ctx_get_error_buffer(f->ctx) : "no context";

		err_set(e, ERR_SYSTEM, 0, "packet filter (nftables): %.*s", (int)strcspn(words, "\n"), words);
	}
	pthread_mutex_unlock(&f->lock);
	return rc ? -1 : 0;
}
