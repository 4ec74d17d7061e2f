/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Networks as records and as bridges. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/links.h"
#include "engine/networking.h"
#include "network/netns.h"

#define DEFAULT_ROOT "/var/lib/silo"
#define DEFAULT_BRIDGE "silo0"

static const struct {
	const char *name, *driver;
} predefined[] = { { "bridge", "bridge" }, { "host", "host" }, { "none", "null" } };

/* --- records ------------------------------------------------------------------------------------------------------------ */

void network_free(struct network *n)
{
	json_decref(n->doc);
	free(n->name);
	free(n);
}

bool network_is_user_defined(const struct network *n)
{
	return !n->predefined;
}

bool network_has_devices(const struct network *n)
{
	return strcmp(n->driver, "host") != 0 && strcmp(n->driver, "null") != 0;
}

struct network *network_find(struct networking *w, const char *ref, struct err *e)
{
	struct network *found = NULL;

	for (struct network *n = w->networks; n; n = n->next) {
		if (strcmp(n->name, ref) == 0 || strcmp(n->id, ref) == 0)
			return n;
	}
	for (struct network *n = w->networks; n && *ref; n = n->next) {
		if (!str_starts(n->id, ref))
			continue;
		if (found) {
			err_set(e, ERR_INVALID, 0, "network %s is ambiguous (2 matches found on ID prefix)", ref);
			return NULL;
		}
		found = n;
	}
	if (!found)
		err_set(e, ERR_NOT_FOUND, 0, "network %.200s not found", ref);
	return found;
}

static void load_nets(struct network *n, const json_t *doc)
{
	static const char *const keys[] = { [NET_V4] = "v4", [NET_V6] = "v6" };
	static const char *const ranges[] = { [NET_V4] = "range4", [NET_V6] = "range6" };

	for (int v = NET_V4; v <= NET_V6; v++) {
		if (ip_net_parse(json_str(doc, keys[v], ""), &n->nets[v]) < 0)
			n->nets[v] = (struct ip_net){ 0 };
		if (ip_net_parse(json_str(doc, ranges[v], ""), &n->ranges[v]) < 0)
			n->ranges[v] = (struct ip_net){ 0 };
	}
	n->internal = json_bool(n->doc, "Internal", false);
	n->user_subnet = json_bool(doc, "user_subnet", false);
	n->dns_port = (unsigned short)json_int(doc, "dns_port", 0);
}

int network_save(struct networking *w, const struct network *n, struct err *e)
{
	char v4[IP_TEXT_MAX], v6[IP_TEXT_MAX], range4[IP_TEXT_MAX], range6[IP_TEXT_MAX];

	ip_net_format(&n->nets[NET_V4], v4);
	ip_net_format(&n->nets[NET_V6], v6);
	ip_net_format(&n->ranges[NET_V4], range4);
	ip_net_format(&n->ranges[NET_V6], range6);
	autojson *doc = json_pack("{s:s, s:s, s:O, s:s, s:s, s:s, s:s, s:s, s:b, s:i}", "driver", n->driver, "created",
				  n->created, "doc", n->doc, "bridge", n->bridge, "v4", v4, "v6", v6, "range4", range4,
				  "range6", range6, "user_subnet", n->user_subnet, "dns_port", n->dns_port);
	autofree char *text = json_text(doc);

	return db_exec(w->g->db, e, "INSERT OR REPLACE INTO networks (id, name, doc) VALUES (?, ?, ?)", "sss", n->id,
		       n->name, text);
}

static void network_add(struct networking *w, struct network *n)
{
	struct network **last;

	for (last = &w->networks; *last; last = &(*last)->next)
		;
	*last = n;
}

static int network_load(struct networking *w, const json_t *row, struct err *e)
{
	const char *text = json_str(row, "doc", "");
	autojson *doc = json_parse(text, strlen(text), "network", e);
	struct network *n;

	if (!doc)
		return -1;
	n = xcalloc(1, sizeof(*n));
	snprintf(n->id, sizeof(n->id), "%s", json_str(row, "id", ""));
	n->name = xstrdup(json_str(row, "name", ""));
	for (size_t i = 0; i < array_len(predefined); i++) {
		if (strcmp(json_str(doc, "driver", ""), predefined[i].driver) == 0)
			n->driver = predefined[i].driver;
		n->predefined |= strcmp(n->name, predefined[i].name) == 0;
	}
	if (!n->driver)
		n->driver = strcmp(json_str(doc, "driver", ""), "macvlan") == 0 ? "macvlan" : "bridge";
	n->doc = json_incref(json_object_get(doc, "doc"));
	snprintf(n->created, sizeof(n->created), "%s", json_str(doc, "created", ""));
	if (network_read_options(n, e) < 0)
		log_warn("network %s: %s", n->name, e->msg);
	snprintf(n->bridge, sizeof(n->bridge), "%s", json_str(doc, "bridge", ""));
	load_nets(n, doc);
	network_add(w, n);
	return 0;
}

struct network *network_new(const char *name, const char *driver, json_t *doc)
{
	struct network *n = xcalloc(1, sizeof(*n));
	struct timespec now = time_now();

	random_hex(n->id, 32);
	n->name = xstrdup(name);
	n->driver = driver;
	n->doc = doc;
	time_format(&now, n->created);
	return n;
}

int network_insert(struct networking *w, struct network *n, struct err *e)
{
	if (network_save(w, n, e) < 0)
		return -1;
	network_add(w, n);
	return 0;
}

int network_delete(struct networking *w, struct network *n, struct err *e)
{
	struct network **at;

	if (db_exec(w->g->db, e, "DELETE FROM networks WHERE id = ?", "s", n->id) < 0)
		return -1;
	network_down(w, n);
	for (at = &w->networks; *at != n; at = &(*at)->next)
		;
	*at = n->next;
	network_free(n);
	return 0;
}

/* Docker's default networks, made at the first start. */
static int make_predefined(struct networking *w, struct err *e)
{
	for (size_t i = 0; i < array_len(predefined); i++) {
		struct network *n = network_find(w, predefined[i].name, NULL);
		struct ip_net net;

		if (n)
			continue;
		n = network_new(predefined[i].name, predefined[i].driver,
				json_pack("{s:{}, s:{}, s:b, s:b, s:b}", "Options", "Labels", "Internal", 0,
					  "EnableIPv6", 0, "Attachable", 0));
		n->predefined = n->masquerade = n->icc = true;
		network_add(w, n);
		if (i == 0) {
			if (address_pool(w, AF_INET, &net, e) < 0)
				return -1;
			n->nets[NET_V4] = (struct ip_net){ ip_next(&net.a), net.prefix };
			/* Engines beside the host's own one have names of their own. */
			if (strcmp(w->g->root, DEFAULT_ROOT) == 0)
				snprintf(n->bridge, sizeof(n->bridge), "%s", DEFAULT_BRIDGE);
			else
				snprintf(n->bridge, sizeof(n->bridge), "silo-%.6s", w->g->id);
		}
		if (network_save(w, n, e) < 0)
			return -1;
	}
	return 0;
}

/* --- bridges ------------------------------------------------------------------------------------------------------------- */

static void set_sysctl(const char *value, const char *fmt, ...) printf_like(2, 3);
static void set_sysctl(const char *value, const char *fmt, ...)
{
	char path[128];
	struct err e;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	if (io_write_kernel(AT_FDCWD, path, value, &e) < 0)
		log_debug("%s", e.msg);
}

static int make_bridge(struct networking *w, struct network *n, struct err *e)
{
	struct link_change up = { .up = true };
	unsigned char mac[MAC_BYTES] = { 0x02, 0x42 };
	int index = link_index(w->netlink, n->bridge, NULL);

	if (index < 0) {
		if (link_add_bridge(w->netlink, n->bridge, n->mtu, e) < 0)
			return -1;
		index = link_index(w->netlink, n->bridge, e);
		/* Of its own: a bridge without one takes that of a port, and changes it as ports come and go. */
		memcpy(mac + 2, n->nets[NET_V4].a.b, 4);
		up.mac = mac;
	}
	/* Before it is up: no address by somebody else's advertisement, no name given away. */
	set_sysctl("0", "/proc/sys/net/ipv6/conf/%s/accept_ra", n->bridge);
	set_sysctl("1", "/proc/sys/net/ipv4/conf/%s/route_localnet", n->bridge);
	if (index < 0 || link_change(w->netlink, index, &up, e) < 0)
		return -1;
	for (int v = NET_V4; v <= NET_V6; v++) {
		if (n->nets[v].a.family && link_add_address(w->netlink, index, &n->nets[v], e) < 0)
			return -1;
	}
	if (!n->internal && !w->keep_forwarding)
		set_sysctl("1", "/proc/sys/net/ipv4/ip_forward");
	if (!n->internal && n->nets[NET_V6].a.family && !w->keep_forwarding)
		set_sysctl("1", "/proc/sys/net/ipv6/conf/all/forwarding");
	return 0;
}

static void filter_network(struct networking *w, const struct network *n, enum fw_verb verb, struct str *out)
{
	struct fw_network f = {
		.bridge = n->bridge, .masquerade = n->masquerade, .internal = n->internal, .icc = n->icc
	};

	for (int v = NET_V4; v <= NET_V6; v++)
		f.nets[v] = n->nets[v].a.family ? &n->nets[v] : NULL;
	fw_network(w->firewall, out, verb, &f);
}

/* All rules anew, with what is there. */
static int filter_rebuild(struct networking *w, struct err *e)
{
	autostr text;

	str_init(&text, FIREWALL_TEXT_MAX);
	fw_remove(w->firewall, &text);
	fw_create(w->firewall, &text);
	for (const struct network *n = w->networks; n; n = n->next) {
		if (n->up)
			filter_network(w, n, FW_ADD, &text);
	}
	for (struct net_box *b = w->boxes; b; b = b->next) {
		if (b->filtered)
			box_filter(w, b, FW_ADD, &text);
	}
	if (firewall_apply(w->firewall, &text, e) < 0)
		return -1;
	w->filter_up = true;
	return 0;
}

static int filter_change(struct networking *w, const struct network *n, enum fw_verb verb, struct err *e)
{
	autostr text;

	if (!w->filter_up && verb == FW_ADD && filter_rebuild(w, e) < 0)
		return -1;
	if (!w->filter_up)
		return 0;
	str_init(&text, FIREWALL_TEXT_MAX);
	filter_network(w, n, verb, &text);
	return firewall_apply(w->firewall, &text, e);
}

int network_up(struct networking *w, struct network *n, struct err *e)
{
	if (n->up || strcmp(n->driver, "bridge") != 0)
		return 0;
	/* Rules first: no packet passes a bridge that they don't know. */
	if (filter_change(w, n, FW_ADD, e) < 0)
		return err_prefix(e, "network %s", n->name);
	n->up = true;
	if (make_bridge(w, n, e) == 0)
		return 0;
	network_down(w, n);
	return err_prefix(e, "network %s", n->name);
}

void network_down(struct networking *w, struct network *n)
{
	struct err e = { 0 };

	if (n->dns && w->dns) {
		autofree char *key = xasprintf("@%s", n->id);

		dns_forget(w->dns, key);
	}
	n->dns = false;
	if (!n->up)
		return;
	n->up = false;
	if (link_delete(w->netlink, n->bridge, &e) < 0 && e.kind != ERR_NOT_FOUND)
		log_warn("network %s: %s", n->name, e.msg);
	if (filter_change(w, n, FW_DELETE, &e) < 0)
		log_warn("network %s: %s", n->name, e.msg);
}

int network_serve_names(struct networking *w, struct network *n, struct err *e)
{
	autofree char *key = xasprintf("@%s", n->id);
	int udp, tcp;

	if (n->dns)
		return 0;
	if (names_start(w, e) < 0)
		return -1;
	/* The port that running machines know; another when somebody else has it by now. */
	if (netns_listen(-1, &n->nets[NET_V4].a, &n->dns_port, &udp, &tcp, e) < 0) {
		n->dns_port = 0;
		if (netns_listen(-1, &n->nets[NET_V4].a, &n->dns_port, &udp, &tcp, e) < 0)
			return -1;
	}
	if (dns_listen(w->dns, key, udp, tcp, e) < 0)
		return -1;
	n->dns = true;
	return network_save(w, n, e);
}

void network_event(struct networking *w, const struct network *n, const char *action, const char *container)
{
	autojson *attributes =
		json_pack("{s:s, s:s, s:s*}", "name", n->name, "type", n->driver, "container", container);

	engine_event(w->g, "network", action, n->id, attributes);
}

/* --- open, recover, close -------------------------------------------------------------------------------------------------- */

void box_free(struct net_box *b)
{
	json_decref(b->config);
	json_decref(b->links);
	json_decref(b->link_rules);
	free(b);
}

struct net_box *box_find(struct networking *w, const char *id)
{
	struct net_box *b;

	for (b = w->boxes; b && strcmp(b->id, id) != 0; b = b->next)
		;
	return b;
}

static void load_endpoints(struct networking *w, struct net_box *b, const json_t *doc)
{
	struct endpoint **last = &b->endpoints;
	struct port_binding **last_port = &b->ports;
	json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(doc, "endpoints"), i, entry) {
		struct network *n = network_find(w, json_str(entry, "network", ""), NULL);
		struct endpoint *x = n ? xcalloc(1, sizeof(*x)) : NULL;

		if (!x)
			continue;
		x->n = n;
		snprintf(x->id, sizeof(x->id), "%s", json_str(entry, "id", ""));
		snprintf(x->port, sizeof(x->port), "%s", json_str(entry, "port", ""));
		snprintf(x->name, sizeof(x->name), "%s", json_str(entry, "name", ""));
		x->card = (int)json_int(entry, "card", 0);
		if (mac_parse(json_str(entry, "mac", ""), x->mac) < 0 ||
		    (ip_parse(json_str(entry, "v4", ""), &x->addresses[NET_V4]) < 0 &&
		     ip_parse(json_str(entry, "v6", ""), &x->addresses[NET_V6]) < 0))
			log_warn("container %.12s: damaged record of its networks", b->id);
		if (ip_parse(json_str(entry, "v6", ""), &x->addresses[NET_V6]) < 0)
			x->addresses[NET_V6].family = 0;
		*last = x;
		last = &x->next;
	}
	json_array_foreach(json_object_get(doc, "ports"), i, entry) {
		struct port_binding *p = xcalloc(1, sizeof(*p));

		snprintf(p->proto, sizeof(p->proto), "%s", json_str(entry, "proto", ""));
		p->port = (unsigned short)json_int(entry, "port", 0);
		p->host_port = (unsigned short)json_int(entry, "host_port", 0);
		p->sock = -1;
		if (ip_parse(json_str(entry, "host", ""), &p->host) < 0)
			p->host.family = AF_INET;
		*last_port = p;
		last_port = &p->next;
	}
}

static int load_all(struct networking *w, struct err *e)
{
	autojson *networks = db_rows(w->g->db, e, "SELECT * FROM networks ORDER BY rowid", "");
	autojson *boxes = networks ? db_rows(w->g->db, e, "SELECT * FROM endpoints", "") : NULL;
	json_t *row;
	size_t i;

	if (!boxes)
		return -1;
	json_array_foreach(networks, i, row) {
		if (network_load(w, row, e) < 0)
			return -1;
	}
	json_array_foreach(boxes, i, row) {
		const char *text = json_str(row, "doc", "");
		autojson *doc = json_parse(text, strlen(text), "endpoints", e);
		struct net_box *b;

		if (!doc)
			return -1;
		b = xcalloc(1, sizeof(*b));
		snprintf(b->id, sizeof(b->id), "%s", json_str(row, "container", ""));
		b->hyperv = json_bool(doc, "hyperv", false);
		b->config = json_incref(json_object_get(doc, "config"));
		b->links = json_incref(json_object_get(doc, "links"));
		load_endpoints(w, b, doc);
		b->told = b->endpoints != NULL;
		b->next = w->boxes;
		w->boxes = b;
	}
	return 0;
}

int networking_open(struct engine *g, struct err *e)
{
	static const char schema[] =
		"CREATE TABLE IF NOT EXISTS networks (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
		" doc TEXT NOT NULL);"
		"CREATE TABLE IF NOT EXISTS endpoints (container TEXT PRIMARY KEY, doc TEXT NOT NULL);";
	struct networking *w = xcalloc(1, sizeof(*w));
	g->net = w;
	w->g = g;
	pthread_mutex_init(&w->lock, NULL);
	w->firewall = firewall_new_for(g->root, g->id);
	w->netlink = netlink_open(e);
	if (json_bool(g->config, "userland-proxy", true)) {
		w->relay = relay_new(e);
		if (!w->relay)
			return -1;
	}
	if (w->netlink < 0 || db_exec(g->db, e, schema, "") < 0 || defaults_read(w, e) < 0 || load_all(w, e) < 0 ||
	    make_predefined(w, e) < 0)
		return -1;
	return defaults_apply(w, e);
}

static void forget_records(struct networking *w)
{
	struct net_box **at;

	for (at = &w->boxes; *at;) {
		struct net_box *b = *at;
		autorecord *c = table_find(w->g, b->id, NULL);

		if (c) {
			at = &b->next;
			continue;
		}
		*at = b->next;
		box_release(w, b);
		if (db_exec(w->g->db, NULL, "DELETE FROM endpoints WHERE container = ?", "s", b->id) < 0)
			log_warn("forget the networks of %.12s", b->id);
		box_free(b);
	}
}

static pid_t running_pid(struct engine *g, const char *id)
{
	autorecord *c = table_find(g, id, NULL);

	return c ? record_running_pid(c) : 0;
}

static int recover_box(struct networking *w, struct net_box *b, pid_t pid, struct err *e)
{
	for (struct endpoint *x = b->endpoints; x; x = x->next) {
		x->n->up = true;
		if (b->hyperv && names_by_network(x) && network_serve_names(w, x->n, e) < 0)
			return -1;
	}
	b->filtered = true;
	links_compute(w, b);
	ports_reserve_again(w, b);
	if (b->hyperv || !names_wanted(b))
		return 0;
	autoclose int ns = netns_of(pid, e);

	return ns < 0 ? -1 : names_serve(w, b, ns, e);
}

void networking_recover(struct engine *g)
{
	struct networking *w = g->net;
	bool any = false;
	struct err e = { 0 };

	pthread_mutex_lock(&w->lock);
	forget_records(w);
	for (struct net_box *b = w->boxes; b; b = b->next) {
		pid_t pid = b->endpoints ? running_pid(g, b->id) : 0;

		if (!b->endpoints)
			continue;
		if (pid <= 0) {
			box_release(w, b);
			continue;
		}
		any = true;
		if (recover_box(w, b, pid, &e) < 0)
			log_warn("container %.12s: %s", b->id, e.msg);
	}
	/* Bridges of the time before are kept or, without containers, gone at their first use or at the end. */
	for (struct network *n = w->networks; n; n = n->next)
		n->up |= n->bridge[0] && link_index(w->netlink, n->bridge, NULL) >= 0;
	for (struct network *n = w->networks; n; n = n->next)
		any |= n->up;
	if (any && filter_rebuild(w, &e) < 0)
		log_error("%s", e.msg);
	pthread_mutex_unlock(&w->lock);
}

/* With containers running everything stays as it is. Without, nothing of ours stays on the host. */
static void clean_host(struct networking *w)
{
	struct err e = { 0 };
	autostr text;

	str_init(&text, FIREWALL_TEXT_MAX);
	for (const struct net_box *b = w->boxes; b; b = b->next) {
		if (b->endpoints)
			return;
	}
	for (struct network *n = w->networks; n; n = n->next)
		network_down(w, n);
	if (!w->filter_up)
		return;
	fw_remove(w->firewall, &text);
	if (firewall_apply(w->firewall, &text, &e) < 0)
		log_warn("%s", e.msg);
}

void networking_close(struct engine *g)
{
	struct networking *w = g->net;
	struct network *n;
	struct net_box *b;

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	clean_host(w);
	pthread_mutex_unlock(&w->lock);
	dns_free(w->dns);
	while ((b = w->boxes)) {
		struct endpoint *x;

		w->boxes = b->next;
		ports_free(w, b);
		while ((x = b->endpoints)) {
			b->endpoints = x->next;
			endpoint_free(x);
		}
		box_free(b);
	}
	while ((n = w->networks)) {
		w->networks = n->next;
		network_free(n);
	}
	firewall_free(w->firewall);
	free(w->pools);
	relay_free(w->relay);
	close_fd(&w->netlink);
	pthread_mutex_destroy(&w->lock);
	free(w);
	g->net = NULL;
}
