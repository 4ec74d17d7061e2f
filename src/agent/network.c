/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's network devices, as the host's engine has thought them out ("network" of the request "setup"). */
#include <unistd.h>

#include "agent/agent.h"
#include "base/json.h"
#include "base/own.h"
#include "os/netlink.h"

#define MTU_MAX 65535

static int add_addresses(int sock, int index, const json_t *addresses, struct err *e)
{
	const json_t *entry;
	struct ip_net a;
	size_t i;

	json_array_foreach(addresses, i, entry) {
		const char *text = json_is_string(entry) ? json_string_value(entry) : "";

		if (ip_net_parse(text, &a) < 0)
			return err_set(e, ERR_INVALID, 0, "network address \"%.60s\"", text);
		if (link_add_address(sock, index, &a, e) < 0)
			return -1;
	}
	return 0;
}

static int add_gateways(int sock, int index, const json_t *gateways, struct err *e)
{
	const json_t *entry;
	struct ip_addr a;
	size_t i;

	json_array_foreach(gateways, i, entry) {
		const char *text = json_is_string(entry) ? json_string_value(entry) : "";

		if (ip_parse(text, &a) < 0)
			return err_set(e, ERR_INVALID, 0, "gateway \"%.60s\"", text);
		if (route_add_default(sock, index, &a, e) < 0)
			return -1;
	}
	return 0;
}

static int set_interface(int sock, const json_t *interface, struct err *e)
{
	const char *name = json_str(interface, "name", ""), *text = json_str(interface, "mac", "");
	int64_t mtu = json_int(interface, "mtu", 0);
	unsigned char mac[MAC_BYTES];
	struct link_change address = { .mac = mac }, up = { .up = true };
	int index = link_index(sock, name, e);

	if (index < 0)
		return -1;
	if (mac_parse(text, mac) < 0 || mtu < 0 || mtu > MTU_MAX)
		return err_set(e, ERR_INVALID, 0, "network device %s: MAC \"%.40s\", MTU %lld", name, text,
			       (long long)mtu);
	up.mtu = (unsigned)mtu;
	/* While it is down: that is where every driver takes a new address. */
	if (link_change(sock, index, &address, e) < 0 || link_change(sock, index, &up, e) < 0 ||
	    add_addresses(sock, index, json_object_get(interface, "addresses"), e) < 0)
		return -1;
	return add_gateways(sock, index, json_object_get(interface, "gateways"), e);
}

int agent_set_network(struct agent *a, const json_t *network, struct err *e)
{
	const json_t *dns = json_object_get(network, "dns"), *interface;
	autoclose int sock = -1;
	struct ip_addr server;
	int64_t port = json_int(dns, "port", 0);
	size_t i;

	if (!network)
		return 0;
	sock = netlink_open(e);
	if (sock < 0)
		return -1;
	json_array_foreach(json_object_get(network, "interfaces"), i, interface) {
		if (set_interface(sock, interface, e) < 0)
			return err_prefix(e, "network");
	}
	if (!dns)
		return 0;
	if (ip_parse(json_str(dns, "server", ""), &server) < 0 || port < 1 || port > 65535)
		return err_set(e, ERR_INVALID, 0, "network: name server");
	return agent_relay_names(a->loop, &server, (unsigned short)port, e);
}
