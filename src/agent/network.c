/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest's network devices, as the host's engine has thought them out ("network" of the requests "setup" and
 * "network"). A card that no network needs has no driver: the container doesn't see it.
 */
#include <string.h>
#include <unistd.h>

#include "agent/container.h"
#include "agent/virtio.h"
#include "base/json.h"
#include "base/log.h"
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

/* Give the card to its driver, and it the name that the container shall see. */
static int open_card(int sock, int number, const char *name, struct err *e)
{
	char given[LINK_NAME_MAX];
	struct link_change rename = { .name = name };
	int index;

	if (virtio_bind(VIRTIO_CARD, number, true, e) || virtio_card_name(number, given, e))
		return -1;
	index = link_index(sock, given, e);
	if (index < 0 || (strcmp(given, name) && link_change(sock, index, &rename, e)))
		return -1;
	return index;
}

static int set_interface(struct agent *a, int sock, const json_t *interface, struct err *e)
{
	const char *name = json_str(interface, "name", ""), *text = json_str(interface, "mac", "");
	int64_t mtu = json_int(interface, "mtu", 0);
	struct agent_card *card;
	struct link_change address = { 0 }, up = { .up = true };
	int number = guest_card(interface, e), index;

	if (number < 0)
		return -1;
	card = &a->cards[number];
	address.mac = card->mac;
	if (mac_parse(text, card->mac) < 0 || mtu < 0 || mtu > MTU_MAX)
		return err_set(e, ERR_INVALID, 0, "network device %s: MAC \"%.40s\", MTU %lld", name, text,
			       (long long)mtu);
	up.mtu = (unsigned)mtu;
	card->used = true;
	index = open_card(sock, number, name, e);
	/* While it is down: that is where every driver takes a new address. */
	if (index < 0 || link_change(sock, index, &address, e) < 0 || link_change(sock, index, &up, e) < 0)
		return -1;
	return add_addresses(sock, index, json_object_get(interface, "addresses"), e);
}

/* Addresses and routes go with the device. */
static int close_card(struct agent *a, int number, struct err *e)
{
	a->cards[number].used = false;
	return virtio_bind(VIRTIO_CARD, number, false, e);
}

static bool is_interface(const struct agent_card *card, int number, const json_t *interface)
{
	unsigned char mac[MAC_BYTES];

	return guest_card(interface, NULL) == number && mac_parse(json_str(interface, "mac", ""), mac) == 0 &&
	       !memcmp(mac, card->mac, MAC_BYTES);
}

static int close_others(struct agent *a, const json_t *interfaces, struct err *e)
{
	for (int i = 0; i < GUEST_CARDS; i++) {
		const json_t *interface;
		bool kept = false;
		size_t k;

		json_array_foreach(interfaces, k, interface)
			kept |= is_interface(&a->cards[i], i, interface);
		if (a->cards[i].used && !kept && close_card(a, i, e))
			return -1;
	}
	return 0;
}

static int open_missing(struct agent *a, int sock, const json_t *interfaces, struct err *e)
{
	const json_t *interface;
	size_t i;

	json_array_foreach(interfaces, i, interface) {
		int number = guest_card(interface, e);

		if (number < 0)
			return -1;
		if (!a->cards[number].used && set_interface(a, sock, interface, e)) {
			if (a->cards[number].used && close_card(a, number, NULL))
				log_warn("network card %d keeps its driver", number);
			return -1;
		}
	}
	return 0;
}

static int set_routes(int sock, const json_t *interfaces, struct err *e)
{
	const json_t *interface;
	size_t i;

	json_array_foreach(interfaces, i, interface) {
		const json_t *gateways = json_object_get(interface, "gateways");
		int index = json_array_size(gateways) ? link_index(sock, json_str(interface, "name", ""), e) : 0;

		if (index < 0 || add_gateways(sock, index, gateways, e))
			return -1;
	}
	return 0;
}

static int set_name_server(struct agent *a, const json_t *dns, struct err *e)
{
	int64_t port = json_int(dns, "port", 0);
	struct ip_addr server;

	if (!dns)
		return agent_relay_names(a, NULL, 0, e);
	if (ip_parse(json_str(dns, "server", ""), &server) < 0 || port < 1 || port > 65535)
		return err_set(e, ERR_INVALID, 0, "name server");
	return agent_relay_names(a, &server, (unsigned short)port, e);
}

int agent_set_network(struct agent *a, const json_t *network, struct err *e)
{
	const json_t *interfaces = json_object_get(network, "interfaces");
	autoclose int sock = netlink_open(e);

	if (sock < 0 || close_others(a, interfaces, e) || open_missing(a, sock, interfaces, e) ||
	    set_routes(sock, interfaces, e) || set_name_server(a, json_object_get(network, "dns"), e))
		return err_prefix(e, "network");
	return 0;
}

int op_network(struct agent *a, const json_t *request, json_t **answer, struct err *e)
{
	const json_t *containers = json_object_get(request, "containers"), *entry;
	size_t i;

	if (agent_set_network(a, json_object_get(request, "network"), e))
		return -1;
	json_array_foreach(containers, i, entry) {
		const struct guest_container *g = guest_container_find(a, entry, e);

		if (g)
			container_rewrite_files(g, json_object_get(entry, "files"));
	}
	return 0;
}
