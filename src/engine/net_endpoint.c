/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A container's devices: made for a run, taken away after it, added and removed while it runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "engine/links.h"
#include "engine/networking.h"
#include "network/netns.h"
#include "network/tap.h"

void endpoint_free(struct endpoint *x)
{
	free(x);
}

/* --- records -------------------------------------------------------------------------------------------------------------- */

static json_t *endpoint_record(const struct endpoint *x)
{
	char mac[MAC_TEXT_MAX], v4[IP_TEXT_MAX], v6[IP_TEXT_MAX];

	mac_format(x->mac, mac);
	ip_format(&x->addresses[NET_V4], v4);
	ip_format(&x->addresses[NET_V6], v6);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i}", "network", x->n->id, "id", x->id, "mac", mac, "v4",
			 v4, "v6", v6, "port", x->port, "name", x->name, "card", x->card);
}

int box_save(struct networking *w, const struct net_box *b, struct err *e)
{
	autojson *endpoints = json_array(), *ports = json_array();

	for (const struct endpoint *x = b->endpoints; x; x = x->next)
		json_array_append_new(endpoints, endpoint_record(x));
	for (const struct port_binding *p = b->ports; p; p = p->next) {
		char host[IP_TEXT_MAX];

		ip_format(&p->host, host);
		json_array_append_new(ports, json_pack("{s:s, s:i, s:i, s:s}", "proto", p->proto, "port", p->port,
						       "host_port", p->host_port, "host", host));
	}
	autojson *doc = json_pack("{s:b, s:O, s:O?, s:O, s:O}", "hyperv", b->hyperv, "config", b->config, "links",
				  b->links, "endpoints", endpoints, "ports", ports);
	autofree char *text = json_text(doc);

	return db_exec(w->g->db, e, "INSERT OR REPLACE INTO endpoints (container, doc) VALUES (?, ?)", "ss", b->id,
		       text);
}

/* --- the packet filter ------------------------------------------------------------------------------------------------------ */

static void filter_endpoint(struct networking *w, const struct endpoint *x, enum fw_verb verb, struct str *out)
{
	struct fw_endpoint f = { .port = x->port, .mac = x->mac, .closed = !x->n->icc };

	if (!*x->n->bridge) /* macvlan: it is a port of no bridge */
		return;
	for (int v = NET_V4; v <= NET_V6; v++)
		f.addresses[v] = x->addresses[v].family ? &x->addresses[v] : NULL;
	fw_endpoint(w->firewall, out, verb, &f);
}

void box_filter(struct networking *w, struct net_box *b, enum fw_verb verb, struct str *out)
{
	for (const struct endpoint *x = b->endpoints; x; x = x->next)
		filter_endpoint(w, x, verb, out);
	ports_filter(w, b, verb, out);
	links_filter(w, b, verb, out);
}

static int apply_box(struct networking *w, struct net_box *b, enum fw_verb verb, struct err *e)
{
	autostr text;

	str_init(&text, FIREWALL_TEXT_MAX);
	box_filter(w, b, verb, &text);
	return firewall_apply(w->firewall, &text, e);
}

static int apply_endpoint(struct networking *w, const struct endpoint *x, enum fw_verb verb, struct err *e)
{
	autostr text;

	str_init(&text, FIREWALL_TEXT_MAX);
	filter_endpoint(w, x, verb, &text);
	return firewall_apply(w->firewall, &text, e);
}

/* --- one endpoint ------------------------------------------------------------------------------------------------------------ */

/* eth0, eth1, ...: the first that b hasn't got. */
static void name_device(const struct net_box *b, struct endpoint *x)
{
	for (int i = 0;; i++) {
		const struct endpoint *y;

		snprintf(x->name, sizeof(x->name), "%.11s%d", x->n->prefix, i);
		for (y = b->endpoints; y && strcmp(y->name, x->name) != 0; y = y->next)
			;
		if (!y)
			return;
	}
}

/* The first card of the machine that no endpoint has. */
static int free_card(const struct net_box *b)
{
	for (int card = 0;; card++) {
		const struct endpoint *y;

		for (y = b->endpoints; y && y->card != card; y = y->next)
			;
		if (!y)
			return card;
	}
}

/* A new endpoint at the end of b's list: addresses, names; no device yet. */
static struct endpoint *add_endpoint(struct networking *w, struct net_box *b, struct network *n, struct err *e)
{
	struct endpoint *x, **last;
	char hex[8];

	if (b->hyperv && strcmp(n->prefix, NET_DEVICE_PREFIX) != 0) {
		err_set(e, ERR_UNSUPPORTED, 0,
			"network %s: container_iface_prefix is not supported with hyperv isolation", n->name);
		return NULL;
	}
	if (network_up(w, n, e) < 0)
		return NULL;
	x = xcalloc(1, sizeof(*x));
	x->n = n;
	if (address_take(w, n, json_object_get(b->config, n->name), x, e) < 0) {
		free(x);
		return NULL;
	}
	random_hex(x->id, 32);
	random_hex(hex, 3);
	snprintf(x->port, sizeof(x->port), "%s%s", b->hyperv ? "tap" : "veth", hex);
	name_device(b, x);
	x->card = free_card(b);
	for (last = &b->endpoints; *last; last = &(*last)->next)
		;
	*last = x;
	return x;
}

static void remove_endpoint(struct net_box *b, struct endpoint *x)
{
	struct endpoint **at;

	for (at = &b->endpoints; *at && *at != x; at = &(*at)->next)
		;
	if (*at)
		*at = x->next;
	free(x);
}

/* A veth pair: one end a port of the bridge, the other the container's. */
static int make_veth(struct networking *w, const struct endpoint *x, int ns, struct err *e)
{
	struct veth v = { .name = x->port, .peer = x->name, .peer_ns = ns, .peer_mac = x->mac, .mtu = x->n->mtu };
	int port;

	v.bridge = link_index(w->netlink, x->n->bridge, e);
	if (v.bridge < 0 || link_add_veth(w->netlink, &v, e) < 0)
		return -1;
	/* A container that asks for its own published port: where the kernel filters bridged packets (br_netfilter) the
	 * new destination is found in the bridge already. */
	port = link_index(w->netlink, x->port, e);
	return port < 0 ? -1 : link_set_hairpin(w->netlink, port, e);
}

/* macvlan or macvtap on the network's parent. ns: where it is made; -1 = here. */
static int describe_macvlan(struct networking *w, const struct endpoint *x, int ns, struct macvlan_link *out,
			    struct err *e)
{
	*out = (struct macvlan_link){ .kind = ns < 0 ? "macvtap" : "macvlan",
				      .name = ns < 0 ? x->port : x->name,
				      .ns = ns,
				      .mac = x->mac,
				      .mode = x->n->mode,
				      .mtu = x->n->mtu,
				      .parent = link_index(w->netlink, x->n->parent, e) };
	return out->parent < 0 ? err_prefix(e, "network %s", x->n->name) : 0;
}

static int make_macvlan(struct networking *w, const struct endpoint *x, int ns, struct err *e)
{
	struct macvlan_link m;

	return describe_macvlan(w, x, ns, &m, e) < 0 ? -1 : link_add_macvlan(w->netlink, &m, e);
}

static int make_device(struct networking *w, const struct endpoint *x, int ns, int inside, struct err *e)
{
	struct link_change up = { .up = true };
	int index;

	if ((*x->n->bridge ? make_veth(w, x, ns, e) : make_macvlan(w, x, ns, e)) < 0)
		return -1;
	index = link_index(inside, x->name, e);
	if (index < 0 || link_change(inside, index, &up, e) < 0)
		return -1;
	for (int k = NET_V4; k <= NET_V6; k++) {
		struct ip_net a = { x->addresses[k], x->n->nets[k].prefix };

		if (a.a.family && link_add_address(inside, index, &a, e) < 0)
			return -1;
	}
	return 0;
}

/* By the first endpoint whose network leads outside. */
static int set_default_routes(const struct net_box *b, int inside, struct err *e)
{
	for (int v = NET_V4; v <= NET_V6; v++) {
		const struct endpoint *x;
		int index;

		for (x = b->endpoints; x && (x->n->internal || !x->addresses[v].family); x = x->next)
			;
		if (!x)
			continue;
		index = link_index(inside, x->name, e);
		if (index < 0 || route_add_default(inside, index, &x->n->nets[v].a, e) < 0)
			return -1;
	}
	return 0;
}

/* --- a run ---------------------------------------------------------------------------------------------------------------------- */

/* The network of NetworkMode first, then by the user's priority, then by name. */
static json_t *ordered_networks(const struct net_box *b, const char *mode)
{
	json_t *names = json_array(), *settings;
	const char *name;

	json_object_foreach(b->config, name, settings) {
		int64_t mine = json_int(settings, "GwPriority", 0);
		size_t at;

		for (at = 0; at < json_array_size(names); at++) {
			const char *other = json_string_value(json_array_get(names, at));
			int64_t its = json_int(json_object_get(b->config, other), "GwPriority", 0);

			if (mine > its || (mine == its && strcmp(name, mode) == 0) ||
			    (mine == its && strcmp(other, mode) != 0 && strcmp(name, other) < 0))
				break;
		}
		json_array_insert_new(names, at, json_string(name));
	}
	return names;
}

static int add_endpoints(struct networking *w, struct net_box *b, const char *mode, struct err *e)
{
	autojson *names = ordered_networks(b, mode);
	json_t *entry;
	size_t i;

	json_array_foreach(names, i, entry) {
		struct network *n = network_find(w, json_string_value(entry), e);

		if (!n)
			return err_prefix(e, "failed to set up container networking");
		if (network_has_devices(n) && !add_endpoint(w, b, n, e))
			return -1;
	}
	return b->hyperv ? machine_check(b, e) : 0;
}

static int make_namespace(struct networking *w, struct net_box *b, int *fd, struct err *e)
{
	autoclose int inside = -1;
	autoclose int ns = netns_new(&inside, e);

	if (ns < 0)
		return -1;
	for (const struct endpoint *x = b->endpoints; x; x = x->next) {
		if (make_device(w, x, ns, inside, e) < 0)
			return -1;
	}
	if (set_default_routes(b, inside, e) < 0 || (names_wanted(b) && names_serve(w, b, ns, e) < 0))
		return -1;
	*fd = take_fd(&ns);
	return 0;
}

int endpoint_tap(struct networking *w, const struct endpoint *x, struct err *e)
{
	struct macvlan_link m;
	int bridge;

	if (!*x->n->bridge)
		return describe_macvlan(w, x, -1, &m, e) < 0 ? -1 : macvtap_open(w->netlink, &m, e);
	bridge = link_index(w->netlink, x->n->bridge, e);
	return bridge < 0 ? -1 : tap_open(w->netlink, x->port, bridge, x->n->mtu, e);
}

static int start_box(struct networking *w, struct net_box *b, struct container *c, struct net_setup *out, struct err *e)
{
	autojson *host = record_host(c);

	if (links_check(w, b, c, e) < 0 || add_endpoints(w, b, json_str(host, "NetworkMode", ""), e) < 0 ||
	    names_write(w, b, c, e) < 0)
		return -1;
	if (!b->endpoints)
		return 0;
	links_compute(w, b);
	/* The rules are there before the first packet can be. */
	if (apply_box(w, b, FW_ADD, e) < 0)
		return -1;
	b->filtered = true;
	if ((b->hyperv ? machine_devices(w, b, out, e) : make_namespace(w, b, &out->fd, e)) < 0)
		return -1;
	return box_save(w, b, e);
}

int net_start(struct engine *g, struct container *c, struct net_setup *out, struct err *e)
{
	struct networking *w = g->net;
	autojson *host = record_host(c);
	const char *mode = json_str(host, "NetworkMode", "");
	struct net_box *b;
	int rc;

	*out = (struct net_setup){ .fd = -1 };
	if (strncmp(mode, "container:", strlen("container:")) == 0)
		return join_container(g, c, mode + strlen("container:"), out, e);
	pthread_mutex_lock(&w->lock);
	b = box_find(w, c->id);
	if (!b) {
		rc = err_set(e, ERR_SYSTEM, 0, "container %s has no record of its networks", c->id);
	} else {
		box_release(w, b);
		rc = start_box(w, b, c, out, e);
		if (rc < 0)
			box_release(w, b);
	}
	pthread_mutex_unlock(&w->lock);
	if (rc < 0)
		net_setup_close(out);
	return rc;
}

void net_started(struct engine *g, struct container *c)
{
	struct networking *w = g->net;
	autojson *machines = NULL;
	struct net_box *b;

	pthread_mutex_lock(&w->lock);
	b = box_find(w, c->id);
	for (struct endpoint *x = b ? b->endpoints : NULL; x; x = x->next)
		network_event(w, x->n, "connect", c->id);
	if (b) {
		b->told = true;
		machines = links_child_started(w, b);
	}
	pthread_mutex_unlock(&w->lock);
	links_tell(g, machines);
}

/* Does a container that shares another one's network run? */
static bool anybody_joined(struct engine *g)
{
	struct container **all = table_all(g);
	bool joined = false;

	for (size_t i = 0; all[i] && !joined; i++) {
		autojson *host = record_host(all[i]);

		joined = strncmp(json_str(host, "NetworkMode", ""), "container:", strlen("container:")) == 0;
	}
	table_free_list(all);
	return joined;
}

void box_release(struct networking *w, struct net_box *b)
{
	struct endpoint *x;
	struct err e = { 0 };
	bool linger;

	if (w->dns)
		dns_forget(w->dns, b->id);
	if (!b->endpoints)
		return;
	if (b->filtered && w->filter_up && apply_box(w, b, FW_DELETE, &e) < 0)
		log_warn("container %.12s: %s", b->id, e.msg);
	b->filtered = false;
	ports_changed(b);
	ports_free(w, b);
	linger = !b->hyperv && anybody_joined(w->g);
	while ((x = b->endpoints)) {
		/* A device goes with its namespace or its machine. To delete it takes many milliseconds, which somebody
		 * waits for: only where the namespace may live on, and a macvtap, which knows no descriptor's end. */
		if ((linger || (b->hyperv && !*x->n->bridge)) && link_delete(w->netlink, x->port, &e) < 0 &&
		    e.kind != ERR_NOT_FOUND)
			log_warn("container %.12s: %s", b->id, e.msg);
		if (b->told)
			network_event(w, x->n, "disconnect", b->id);
		b->endpoints = x->next;
		endpoint_free(x);
	}
	b->told = false;
	if (box_save(w, b, &e) < 0)
		log_warn("container %.12s: %s", b->id, e.msg);
}

void net_release(struct engine *g, struct container *c)
{
	struct networking *w = g->net;
	struct net_box *b;

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	b = box_find(w, c->id);
	if (b)
		box_release(w, b);
	pthread_mutex_unlock(&w->lock);
}

/* --- while it runs ------------------------------------------------------------------------------------------------------------- */

/* The device and what belongs to it, in the container's network namespace. */
static int make_live(struct networking *w, struct net_box *b, struct endpoint *x, bool had_names, int pid,
		     struct err *e)
{
	autoclose int ns = netns_of(pid, e);
	autoclose int inside = ns < 0 ? -1 : netns_netlink(ns, e);

	if (inside < 0 || make_device(w, x, ns, inside, e) < 0 || set_default_routes(b, inside, e) < 0)
		return -1;
	return had_names || !names_wanted(b) ? 0 : names_serve(w, b, ns, e);
}

int box_connect_live(struct networking *w, struct net_box *b, struct network *n, int pid, struct net_setup *machine,
		     struct err *e)
{
	bool had_names = names_wanted(b), filtered;
	struct endpoint *x = add_endpoint(w, b, n, e);

	if (!x)
		return -1;
	filtered = apply_endpoint(w, x, FW_ADD, e) == 0;
	if (filtered &&
	    (b->hyperv ? machine_add_device(w, b, x, machine, e) : make_live(w, b, x, had_names, pid, e)) == 0 &&
	    box_save(w, b, e) == 0) {
		b->filtered = true;
		return 0;
	}
	if (link_delete(w->netlink, x->port, NULL) < 0)
		log_debug("network %s: there was no device yet", n->name);
	if (filtered && apply_endpoint(w, x, FW_DELETE, NULL) < 0)
		log_warn("network %s: undo connect", n->name);
	remove_endpoint(b, x);
	return -1;
}

void box_disconnect_live(struct networking *w, struct net_box *b, struct network *n, int pid)
{
	struct err e = { 0 };
	autoclose int ns = b->hyperv ? -1 : netns_of(pid, &e);
	autoclose int inside = ns < 0 ? -1 : netns_netlink(ns, &e);
	struct endpoint *x;
	bool whole;

	for (x = b->endpoints; x && x->n != n; x = x->next)
		;
	if (!x)
		return;
	/* Ports that lead here lead to the next one from now on; links are of one network. */
	whole = x == ports_endpoint(b) || json_object_size(b->link_rules) > 0;
	if ((whole ? apply_box(w, b, FW_DELETE, &e) : apply_endpoint(w, x, FW_DELETE, &e)) < 0)
		log_warn("network %s: %s", n->name, e.msg);
	if ((*n->bridge || b->hyperv ? link_delete(w->netlink, x->port, &e) : link_delete(inside, x->name, &e)) < 0)
		log_warn("network %s: %s", n->name, e.msg);
	remove_endpoint(b, x);
	links_compute(w, b);
	if (whole && apply_box(w, b, FW_ADD, &e) < 0)
		log_warn("network %s: %s", n->name, e.msg);
	if (whole)
		ports_moved(w, b);
	b->filtered = b->endpoints != NULL;
	if (inside >= 0 && set_default_routes(b, inside, &e) < 0)
		log_warn("network %s: %s", n->name, e.msg);
	if (w->dns && !names_wanted(b))
		dns_forget(w->dns, b->id);
	if (box_save(w, b, &e) < 0)
		log_warn("network %s: %s", n->name, e.msg);
}

/* --- inspect -------------------------------------------------------------------------------------------------------------------- */

static json_t *dns_names(struct networking *w, const struct net_box *b, const json_t *settings)
{
	autorecord *c = table_find(w->g, b->id, NULL);
	json_t *names = json_array(), *alias;
	size_t i;

	if (!c)
		return names;
	autofree char *name = record_name(c);

	json_array_append_new(names, json_string(name));
	json_array_foreach(json_object_get(settings, "Aliases"), i, alias)
		json_array_append(names, alias);
	json_array_append_new(names, json_sprintf("%.12s", b->id));
	return names;
}

json_t *endpoint_settings(const struct net_box *b, const char *network, const struct networking *w)
{
	const json_t *settings = json_object_get(b->config, network);
	json_t *aliases = json_object_get(settings, "Aliases"), *ipam = json_object_get(settings, "IPAMConfig");
	json_t *links = json_object_get(settings, "Links");
	char mac[MAC_TEXT_MAX] = "", v4[IP_TEXT_MAX] = "", v6[IP_TEXT_MAX] = "", gw4[IP_TEXT_MAX] = "",
	     gw6[IP_TEXT_MAX] = "";
	struct networking *mutable_w = (struct networking *)(uintptr_t)w;
	struct network *n = network_find(mutable_w, network, NULL);
	const struct endpoint *x;

	for (x = b->endpoints; x && x->n != n; x = x->next)
		;
	if (x) {
		mac_format(x->mac, mac);
		ip_format(&x->addresses[NET_V4], v4);
		ip_format(&x->addresses[NET_V6], v6);
		if (!n->internal && *v4)
			ip_format(&n->nets[NET_V4].a, gw4);
		if (!n->internal && *v6)
			ip_format(&n->nets[NET_V6].a, gw6);
	} else {
		snprintf(mac, sizeof(mac), "%s", json_str(settings, "MacAddress", ""));
	}
	return json_pack("{s:O?, s:O?, s:O?, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:i, s:O?, s:o, s:I}",
			 "IPAMConfig", ipam, "Links", links, "Aliases", json_array_size(aliases) ? aliases : NULL,
			 "MacAddress", mac, "NetworkID", n ? n->id : "", "EndpointID", x ? x->id : "", "Gateway", gw4,
			 "IPAddress", v4, "IPPrefixLen", x && *v4 ? (int)n->nets[NET_V4].prefix : 0, "IPv6Gateway", gw6,
			 "GlobalIPv6Address", v6, "GlobalIPv6PrefixLen", x && *v6 ? (int)n->nets[NET_V6].prefix : 0,
			 "DriverOpts", json_object_get(settings, "DriverOpts"), "DNSNames",
			 n && network_is_user_defined(n) ? dns_names(mutable_w, b, settings) : json_null(),
			 "GwPriority", (json_int_t)json_int(settings, "GwPriority", 0));
}
