/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Networks of virtual machines: tap devices, and what the guest is told. */
#include "base/json.h"
#include "base/own.h"
#include "engine/networking.h"
#include "monitor/client.h"

int machine_check_count(size_t networks, struct err *e)
{
	if (networks <= GUEST_CARDS)
		return 0;
	return err_set(e, ERR_UNSUPPORTED, 0,
		       "a hyperv container can't be in more than %d networks: its virtual machine has so many network "
		       "cards",
		       GUEST_CARDS);
}

int machine_check(const struct net_box *b, struct err *e)
{
	size_t n = 0;

	for (const struct endpoint *x = b->endpoints; x; x = x->next)
		n++;
	return machine_check_count(n, e);
}

void net_setup_close(struct net_setup *n)
{
	close_fd(&n->fd);
	while (n->n_more)
		close_fd(&n->more[--n->n_more]);
	json_decref(n->guest);
	n->guest = NULL;
}

/* --- what the guest is told ---------------------------------------------------------------------------------------------- */

/* The default route is that of the first endpoint whose network leads outside. */
static bool has_default_route(const struct net_box *b, const struct endpoint *x, int v)
{
	const struct endpoint *first = b->endpoints;

	while (first && (first->n->internal || !first->addresses[v].family))
		first = first->next;
	return x == first;
}

static json_t *interface_document(const struct net_box *b, const struct endpoint *x)
{
	char mac[MAC_TEXT_MAX], text[IP_TEXT_MAX];
	json_t *addresses = json_array(), *gateways = json_array();

	mac_format(x->mac, mac);
	for (int v = NET_V4; v <= NET_V6; v++) {
		struct ip_net a = { x->addresses[v], x->n->nets[v].prefix };

		if (!a.a.family)
			continue;
		ip_net_format(&a, text);
		json_array_append_new(addresses, json_string(text));
		ip_format(&x->n->nets[v].a, text);
		if (has_default_route(b, x, v))
			json_array_append_new(gateways, json_string(text));
	}
	return json_pack("{s:i, s:s, s:s, s:o, s:o, s:i}", "card", x->card, "name", x->name, "mac", mac, "addresses",
			 addresses, "gateways", gateways, "mtu", (int)x->n->mtu);
}

/* Every network's name server answers for all networks of the asker. */
static json_t *dns_document(const struct net_box *b)
{
	char server[IP_TEXT_MAX];
	const struct endpoint *x;

	for (x = b->endpoints; x && !(names_by_network(x) && x->n->dns); x = x->next)
		;
	if (!x)
		return NULL;
	ip_format(&x->n->nets[NET_V4].a, server);
	return json_pack("{s:s, s:i}", "server", server, "port", x->n->dns_port);
}

static json_t *guest_document(const struct net_box *b)
{
	json_t *interfaces = json_array(), *out = json_pack("{s:o}", "interfaces", interfaces), *dns = dns_document(b);

	for (const struct endpoint *x = b->endpoints; x; x = x->next)
		json_array_append_new(interfaces, interface_document(b, x));
	if (dns)
		json_object_set_new(out, "dns", dns);
	return out;
}

/* The ith interface gets its wire by this tap of those that come with the description. */
static void set_tap(json_t *guest, size_t i, size_t tap)
{
	json_object_set_new(json_array_get(json_object_get(guest, "interfaces"), i), "tap",
			    json_integer((json_int_t)tap));
}

json_t *machine_first_network(const json_t *guest)
{
	json_t *first = json_deep_copy(guest), *interfaces = json_object_get(first, "interfaces");

	while (json_array_size(interfaces) > 1)
		json_array_remove(interfaces, 1);
	set_tap(first, 0, 0);
	json_object_set_new(first, "tap", json_integer(MONITOR_NETWORK_FD));
	return first;
}

/* --- devices ---------------------------------------------------------------------------------------------------------------- */

static int make_tap(struct networking *w, const struct endpoint *x, struct err *e)
{
	if (names_by_network(x) && network_serve_names(w, x->n, e) < 0)
		return -1;
	return endpoint_tap(w, x, e);
}

int machine_devices(struct networking *w, struct net_box *b, struct net_setup *out, struct err *e)
{
	for (const struct endpoint *x = b->endpoints; x; x = x->next) {
		int tap = make_tap(w, x, e);

		if (tap < 0)
			return -1;
		if (x == b->endpoints)
			out->fd = tap;
		else
			out->more[out->n_more++] = tap;
	}
	out->guest = guest_document(b);
	for (size_t i = 0; i < out->n_more; i++)
		set_tap(out->guest, i + 1, i);
	return 0;
}

int machine_add_device(struct networking *w, struct net_box *b, const struct endpoint *x, struct net_setup *out,
		       struct err *e)
{
	int tap = make_tap(w, x, e);

	if (tap < 0)
		return -1;
	out->more[out->n_more++] = tap;
	out->guest = guest_document(b);
	set_tap(out->guest, json_array_size(json_object_get(out->guest, "interfaces")) - 1, 0);
	return 0;
}

void machine_describe(const struct net_box *b, struct net_setup *out)
{
	out->guest = guest_document(b);
}
