/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The operations of /networks. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/filter.h"
#include "engine/networking.h"
#include "monitor/client.h"

/* --- inspect ---------------------------------------------------------------------------------------------------------------- */

/* AuxiliaryAddresses of the subnet of a family, as they were given; borrowed, NULL = none. */
static json_t *kept_addresses(const struct network *n, int v)
{
	json_t *entry;
	size_t i;

	json_array_foreach(json_member(json_object_get(n->doc, "IPAM"), "Config"), i, entry) {
		bool is6 = strchr(json_str(entry, "Subnet", ""), ':') != NULL;

		if (is6 == (v == NET_V6))
			return json_member(entry, "AuxiliaryAddresses");
	}
	return NULL;
}

static json_t *ipam_json(const struct network *n)
{
	json_t *config = json_array();

	for (int v = NET_V4; v <= NET_V6; v++) {
		struct ip_net net = { ip_first(&n->nets[v]), n->nets[v].prefix };
		char subnet[IP_TEXT_MAX], gateway[IP_TEXT_MAX], range[IP_TEXT_MAX];
		json_t *entry;

		if (!n->nets[v].a.family)
			continue;
		ip_net_format(&net, subnet);
		ip_format(&n->nets[v].a, gateway);
		ip_net_format(&n->ranges[v], range);
		entry = json_pack("{s:s, s:s}", "Subnet", subnet, "Gateway", gateway);
		if (*range)
			json_object_set_new(entry, "IPRange", json_string(range));
		if (kept_addresses(n, v))
			json_object_set(entry, "AuxiliaryAddresses", kept_addresses(n, v));
		json_array_append_new(config, entry);
	}
	return json_pack("{s:s, s:O?, s:o}", "Driver", "default", "Options",
			 json_object_get(json_object_get(n->doc, "IPAM"), "Options"), "Config", config);
}

static json_t *container_json(struct networking *w, const struct net_box *b, const struct endpoint *x)
{
	autorecord *c = table_find(w->g, b->id, NULL);
	autofree char *name = c ? record_name(c) : xstrdup("");
	struct ip_net v4 = { x->addresses[NET_V4], x->n->nets[NET_V4].prefix };
	struct ip_net v6 = { x->addresses[NET_V6], x->n->nets[NET_V6].prefix };
	char mac[MAC_TEXT_MAX], text4[IP_TEXT_MAX], text6[IP_TEXT_MAX];

	mac_format(x->mac, mac);
	ip_net_format(&v4, text4);
	ip_net_format(&v6, text6);
	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "Name", name, "EndpointID", x->id, "MacAddress", mac,
			 "IPv4Address", text4, "IPv6Address", text6);
}

static json_t *containers_json(struct networking *w, const struct network *n)
{
	json_t *out = json_object();

	for (const struct net_box *b = w->boxes; b; b = b->next) {
		for (const struct endpoint *x = b->endpoints; x; x = x->next) {
			if (x->n == n)
				json_object_set_new(out, b->id, container_json(w, b, x));
		}
	}
	return out;
}

static json_t *network_json(struct networking *w, const struct network *n, bool containers)
{
	json_t *out =
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:o, s:b, s:b, s:b, s:{s:s}, s:b, s:O, s:O}", "Name",
			  n->name, "Id", n->id, "Created", n->created, "Scope", "local", "Driver", n->driver,
			  "EnableIPv4", 1, "EnableIPv6", json_bool(n->doc, "EnableIPv6", false), "IPAM", ipam_json(n),
			  "Internal", n->internal, "Attachable", json_bool(n->doc, "Attachable", false), "Ingress", 0,
			  "ConfigFrom", "Network", "", "ConfigOnly", 0, "Options", json_object_get(n->doc, "Options"),
			  "Labels", json_object_get(n->doc, "Labels"));

	json_object_set_new(out, "Containers", containers ? containers_json(w, n) : json_object());
	return out;
}

json_t *engine_network_inspect(struct engine *g, const char *ref, struct err *e)
{
	struct networking *w = g->net;
	struct network *n;
	json_t *out;

	pthread_mutex_lock(&w->lock);
	n = network_find(w, ref, e);
	out = n ? network_json(w, n, true) : NULL;
	pthread_mutex_unlock(&w->lock);
	return out;
}

/* Does a container that isn't removed name it? */
static bool is_used(struct networking *w, const struct network *n)
{
	for (const struct net_box *b = w->boxes; b; b = b->next) {
		for (const struct endpoint *x = b->endpoints; x; x = x->next) {
			if (x->n == n)
				return true;
		}
	}
	return false;
}

static bool type_matches(const json_t *filters, const struct network *n)
{
	return filters_exact(filters, "type", n->predefined ? "builtin" : "custom");
}

static bool dangling_matches(struct networking *w, const json_t *filters, const struct network *n)
{
	bool dangling = !n->predefined && !is_used(w, n);

	return !filters_has(filters, "dangling") || (filters_exact(filters, "dangling", dangling ? "true" : "false") ||
						     filters_exact(filters, "dangling", dangling ? "1" : "0"));
}

static bool is_listed(struct networking *w, const json_t *filters, const struct network *n)
{
	return filters_match(filters, "name", n->name) && filters_match(filters, "id", n->id) &&
	       filters_exact(filters, "driver", n->driver) && filters_exact(filters, "scope", "local") &&
	       filters_labels(filters, "label", json_object_get(n->doc, "Labels")) && type_matches(filters, n) &&
	       dangling_matches(w, filters, n);
}

json_t *engine_network_list(struct engine *g, const json_t *filters, struct err *e)
{
	static const char *const known[] = { "dangling", "driver", "id", "label", "name", "scope", "type", NULL };
	autojson *plain = filters_parse(filters, known, e);
	struct networking *w = g->net;
	json_t *out;

	if (!plain)
		return NULL;
	out = json_array();
	pthread_mutex_lock(&w->lock);
	for (const struct network *n = w->networks; n; n = n->next) {
		if (is_listed(w, plain, n))
			json_array_append_new(out, network_json(w, n, false));
	}
	pthread_mutex_unlock(&w->lock);
	return out;
}

/* --- create ------------------------------------------------------------------------------------------------------------------ */

struct creation {
	const char *name, *driver, *scope, *ipam_driver;
	json_t *ipam, *ipam_config, *options, *labels;
	bool internal, ipv6, attachable, ingress, config_only;
};

static int read_creation(const json_t *body, struct creation *x, struct err *e)
{
	json_t *from;
	bool ipv4;

	if (json_get_str(body, "Name", "", &x->name, e) < 0 ||
	    json_get_str(body, "Driver", "bridge", &x->driver, e) < 0 ||
	    json_get_str(body, "Scope", "", &x->scope, e) < 0 || json_get_object(body, "IPAM", &x->ipam, e) < 0 ||
	    json_get_array(x->ipam, "Config", &x->ipam_config, e) < 0 ||
	    json_get_str(x->ipam, "Driver", "default", &x->ipam_driver, e) < 0 ||
	    json_get_object(body, "Options", &x->options, e) < 0 ||
	    json_get_object(body, "Labels", &x->labels, e) < 0 ||
	    json_get_bool(body, "Internal", false, &x->internal, e) < 0 ||
	    json_get_bool(body, "EnableIPv6", false, &x->ipv6, e) < 0 ||
	    json_get_bool(body, "EnableIPv4", true, &ipv4, e) < 0 ||
	    json_get_bool(body, "Attachable", false, &x->attachable, e) < 0 ||
	    json_get_bool(body, "Ingress", false, &x->ingress, e) < 0 ||
	    json_get_bool(body, "ConfigOnly", false, &x->config_only, e) < 0 ||
	    json_get_object(body, "ConfigFrom", &from, e) < 0)
		return -1;
	if (x->ingress || x->config_only || *json_str(from, "Network", ""))
		return err_set(e, ERR_UNSUPPORTED, 0,
			       "ingress, config-only and config-from networks are not supported by Silo");
	if (!ipv4)
		return err_set(e, ERR_UNSUPPORTED, 0, "a network without IPv4 is not supported yet by Silo");
	if (*x->scope && strcmp(x->scope, "local") != 0)
		return err_set(e, ERR_UNSUPPORTED, 0, "network scope %.50s is not supported by Silo", x->scope);
	return 0;
}

static int check_strings(const json_t *map, const char *what, struct err *e)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)map, key, value) {
		if (!json_is_string(value))
			return err_set(e, ERR_INVALID, 0, "invalid value for %s.%s: expected string", what, key);
	}
	return 0;
}

static bool is_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	size_t n = strlen(name);

	return n && n <= 255 && strchr(letters, *name) &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == n;
}

static int check_creation(struct networking *w, const struct creation *x, struct err *e)
{
	static const char *const reserved[] = { "bridge", "host", "none", "default", "nat" };
	void *option = json_object_iter(json_member(x->ipam, "Options"));

	if (!is_name(x->name))
		return err_set(e, ERR_INVALID, 0,
			       "invalid network name \"%.100s\": only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", x->name);
	for (size_t i = 0; i < array_len(reserved); i++) {
		if (strcmp(reserved[i], x->name) == 0)
			return err_set(e, ERR_FORBIDDEN, 0, "operation is not permitted on predefined %s network ",
				       x->name);
	}
	if (strcmp(x->driver, "host") == 0 || strcmp(x->driver, "null") == 0)
		return err_set(e, ERR_FORBIDDEN, 0, "only one instance of \"%s\" network is allowed", x->driver);
	if (*x->driver && strcmp(x->driver, "bridge") != 0 && strcmp(x->driver, "macvlan") != 0)
		return err_set(e, ERR_NOT_FOUND, 0,
			       "could not find plugin %.100s in v1 plugin registry: plugin not found", x->driver);
	if (strcmp(x->ipam_driver, "default") != 0)
		return err_set(e, ERR_UNSUPPORTED, 0, "IPAM driver %.100s is not supported by Silo", x->ipam_driver);
	if (option)
		return err_set(e, ERR_UNSUPPORTED, 0, "IPAM option %.100s is not supported by Silo",
			       json_object_iter_key(option));
	for (const struct network *n = w->networks; n; n = n->next) {
		if (strcmp(n->name, x->name) == 0)
			return err_set(e, ERR_CONFLICT, 0, "network with name %s already exists", x->name);
	}
	return check_strings(x->options, "Options", e) < 0 ? -1 : check_strings(x->labels, "Labels", e);
}

static int check_bridge_name(struct networking *w, const struct network *n, struct err *e)
{
	for (const struct network *m = w->networks; m; m = m->next) {
		if (strcmp(m->bridge, n->bridge) == 0)
			return err_set(e, ERR_FORBIDDEN, 0, "networks have same bridge name: %s", n->bridge);
	}
	if (link_index(w->netlink, n->bridge, NULL) >= 0)
		return err_set(e, ERR_FORBIDDEN, 0, "a network device %s exists already on this host", n->bridge);
	return 0;
}

/* Its containers are beside the host on the parent's wire: a bridge is not needed, and nothing of the host filters. */
static int check_macvlan(struct networking *w, const struct network *n, struct err *e)
{
	if (!*n->parent)
		return err_set(e, ERR_INVALID, 0,
			       "a macvlan network of Silo needs a device of this host: -o parent=DEVICE");
	if (link_index(w->netlink, n->parent, NULL) < 0)
		return err_set(e, ERR_INVALID, 0, "invalid parent %s: there is no such network device on this host",
			       n->parent);
	return 0;
}

static int fill_network(struct networking *w, struct network *n, const struct creation *x, struct err *e)
{
	json_t *entry;
	size_t i;

	json_array_foreach(x->ipam_config, i, entry) {
		if (!json_is_object(entry))
			return err_set(e, ERR_INVALID, 0, "invalid IPAM configuration");
	}
	n->internal = x->internal;
	if (network_read_options(n, e) < 0 || (*n->bridge ? check_bridge_name(w, n, e) : check_macvlan(w, n, e)) < 0)
		return -1;
	return address_config(w, n, x->ipam_config, x->ipv6, e);
}

static json_t *create(struct networking *w, const struct creation *x, struct err *e)
{
	struct network *n;

	if (check_creation(w, x, e) < 0)
		return NULL;
	n = network_new(x->name, strcmp(x->driver, "macvlan") == 0 ? "macvlan" : "bridge",
			json_pack("{s:O?, s:o, s:o, s:b, s:b, s:b}", "IPAM", x->ipam, "Options",
				  x->options ? json_deep_copy(x->options) : json_object(), "Labels",
				  x->labels ? json_deep_copy(x->labels) : json_object(), "Internal", x->internal,
				  "EnableIPv6", x->ipv6, "Attachable", x->attachable));
	if (fill_network(w, n, x, e) < 0) {
		network_free(n);
		return NULL;
	}
	/* The bridge is made at once: what is wrong with it is said here, not at a container's start. */
	if (network_up(w, n, e) < 0 || network_insert(w, n, e) < 0) {
		network_down(w, n);
		network_free(n);
		return NULL;
	}
	network_event(w, n, "create", NULL);
	return json_pack("{s:s, s:s}", "Id", n->id, "Warning", "");
}

json_t *engine_network_create(struct engine *g, const json_t *body, struct err *e)
{
	struct networking *w = g->net;
	struct creation x = { 0 };
	json_t *out;

	if (read_creation(body, &x, e) < 0)
		return NULL;
	pthread_mutex_lock(&w->lock);
	out = create(w, &x, e);
	pthread_mutex_unlock(&w->lock);
	return out;
}

/* --- remove -------------------------------------------------------------------------------------------------------------------- */

static int refuse_active(struct networking *w, const struct network *n, struct err *e)
{
	autostr names;

	str_init(&names, 200);
	for (const struct net_box *b = w->boxes; b; b = b->next) {
		for (const struct endpoint *x = b->endpoints; x; x = x->next) {
			autorecord *c = x->n == n ? table_find(w->g, b->id, NULL) : NULL;
			autofree char *name = c ? record_name(c) : NULL;

			if (name)
				str_printf(&names, "%sname:\"%s\" id:\"%.12s\"", names.len ? ", " : "", name, x->id);
		}
	}
	return err_set(e, ERR_FORBIDDEN, 0, "error while removing network: network %s has active endpoints (%s)",
		       n->name, names.s ? names.s : "");
}

/* Containers that aren't running keep the name of what is gone, and can't start: as with Docker. */
static int remove_network(struct networking *w, const char *ref, struct err *e)
{
	struct network *n = network_find(w, ref, e);

	if (!n)
		return -1;
	if (n->predefined)
		return err_set(e, ERR_FORBIDDEN, 0, "%s is a pre-defined network and cannot be removed", n->name);
	if (is_used(w, n))
		return refuse_active(w, n, e);
	network_event(w, n, "destroy", NULL);
	return network_delete(w, n, e);
}

/* A container that was prepared but not started doesn't use its networks: as far as users know it isn't there. */
static void let_go_prepared(struct engine *g, const char *ref)
{
	struct container **all = table_all(g);

	for (size_t i = 0; all[i]; i++) {
		autojson *host = record_host(all[i]);
		autojson *networks = net_networks(g, all[i], host);
		const char *name;
		json_t *settings;
		bool named = false;

		json_object_foreach(networks, name, settings)
			named |= strcmp(name, ref) == 0 || str_starts(json_str(settings, "NetworkID", ""), ref);
		if (!named || pthread_mutex_trylock(&all[i]->op) != 0)
			continue;
		run_unpark(g, all[i]);
		pthread_mutex_unlock(&all[i]->op);
	}
	table_free_list(all);
}

int engine_network_remove(struct engine *g, const char *ref, struct err *e)
{
	struct networking *w = g->net;
	int rc;

	let_go_prepared(g, ref);
	pthread_mutex_lock(&w->lock);
	rc = remove_network(w, ref, e);
	pthread_mutex_unlock(&w->lock);
	return rc;
}

/* Named by a container, running or not. */
static bool is_named(struct networking *w, const struct network *n)
{
	for (const struct net_box *b = w->boxes; b; b = b->next) {
		if (json_object_get(b->config, n->name))
			return true;
	}
	return false;
}

static bool until_matches(const json_t *filters, const struct network *n)
{
	struct timespec until, created;
	const char *text = json_string_value(json_array_get(json_object_get(filters, "until"), 0));

	if (!text)
		return true;
	return time_parse(text, &until) == 0 && time_parse(n->created, &created) == 0 && created.tv_sec < until.tv_sec;
}

json_t *engine_network_prune(struct engine *g, const json_t *filters, struct err *e)
{
	static const char *const known[] = { "until", "label", "label!", NULL };
	autojson *plain = filters_parse(filters, known, e);
	autojson *deleted = json_array();
	struct networking *w = g->net;
	struct network *n, *next;
	int rc = 0;

	if (!plain)
		return NULL;
	pthread_mutex_lock(&w->lock);
	for (n = w->networks; n && rc == 0; n = next) {
		next = n->next;
		if (n->predefined || is_named(w, n) || !until_matches(plain, n) ||
		    !filters_labels(plain, "label", json_object_get(n->doc, "Labels")) ||
		    (filters_has(plain, "label!") &&
		     filters_labels(plain, "label!", json_object_get(n->doc, "Labels"))))
			continue;
		json_array_append_new(deleted, json_string(n->name));
		network_event(w, n, "destroy", NULL);
		rc = network_delete(w, n, e);
	}
	pthread_mutex_unlock(&w->lock);
	return rc < 0 ? NULL : json_pack("{s:O}", "NetworksDeleted", deleted);
}

/* --- connect, disconnect ---------------------------------------------------------------------------------------------------------- */

static bool joins_other(struct container *c)
{
	autojson *host = record_host(c);

	return str_starts(json_str(host, "NetworkMode", ""), "container:");
}

static struct net_box *box_for(struct networking *w, struct container *c, const struct network *n, const char *what,
			       struct err *e)
{
	struct net_box *b = box_find(w, c->id);
	json_t *settings;
	const char *name;

	if (!b || joins_other(c) || strcmp(n->driver, "host") == 0 || json_object_get(b->config, "host")) {
		err_set(e, ERR_INVALID, 0, "container cannot be %s host network or the network of another container",
			what);
		return NULL;
	}
	if (strcmp(n->driver, "null") == 0 && strcmp(what, "connected to") == 0) {
		json_object_foreach(b->config, name, settings) {
			err_set(e, ERR_FORBIDDEN, 0,
				"container cannot be connected to multiple networks with one of the networks in "
				"private (none) mode");
			return NULL;
		}
	}
	return b;
}

/* machine: receives what a virtual machine is to be told of the change. */
static int connect_box(struct networking *w, struct container *c, struct network *n, const json_t *settings,
		       struct net_setup *machine, struct err *e)
{
	struct net_box *b = box_for(w, c, n, "connected to", e);
	autofree char *name = record_name(c);
	pid_t pid = record_running_pid(c);
	json_t *canonical;
	int rc;

	if (!b)
		return -1;
	if (json_object_get(b->config, n->name))
		return err_set(e, ERR_FORBIDDEN, 0, "endpoint with name %s already exists in network %s", name,
			       n->name);
	if (b->hyperv && machine_check_count(json_object_size(b->config) + 1, e) < 0)
		return -1;
	if (json_object_get(b->config, "none") && pid > 0 && !b->hyperv)
		return err_set(e, ERR_UNSUPPORTED, 0,
			       "connecting a running container of the network none is not supported yet");
	canonical = settings_canonical(settings, e);
	if (!canonical)
		return -1;
	json_object_set_new(b->config, n->name, canonical);
	json_object_del(b->config, "none");
	rc = settings_check(n, canonical, e);
	if (rc == 0)
		rc = pid > 0 ? box_connect_live(w, b, n, pid, machine, e) : box_save(w, b, e);
	if (rc == 0 && pid > 0)
		rc = names_write(w, b, c, e) < 0 ? -1 : ports_publish(w, b, c, e);
	if (rc < 0 && pid > 0)
		box_disconnect_live(w, b, n, pid);
	if (rc < 0)
		json_object_del(b->config, n->name);
	else if (pid > 0)
		network_event(w, n, "connect", c->id);
	return rc;
}

static int disconnect_box(struct networking *w, struct container *c, struct network *n, struct net_setup *machine,
			  struct err *e)
{
	struct net_box *b = box_for(w, c, n, "disconnected from", e);
	pid_t pid = record_running_pid(c);

	if (!b)
		return -1;
	if (!json_object_get(b->config, n->name))
		return err_set(e, ERR_FORBIDDEN, 0, "container %s is not connected to network %s", c->id, n->name);
	if (pid > 0)
		box_disconnect_live(w, b, n, pid);
	if (pid > 0 && b->hyperv)
		machine_describe(b, machine);
	json_object_del(b->config, n->name);
	if (pid > 0)
		network_event(w, n, "disconnect", c->id);
	if (box_save(w, b, e) < 0)
		return -1;
	return pid > 0 ? names_write(w, b, c, e) : 0;
}

/* The guest may take long, or be hostile: no lock but c->op is held meanwhile. */
static int tell_machine(struct engine *g, struct container *c, struct net_setup *machine, struct err *e)
{
	autofree char *dir = path_run(g, c->id, NULL);
	int rc = machine->guest ? monitor_network(dir, machine->guest, machine->more, machine->n_more, e) : 0;

	net_setup_close(machine);
	return rc;
}

/* The machine didn't take the network. Anything may have happened since: the container may be gone. */
static void undo_connect(struct networking *w, struct container *c, const char *network)
{
	struct net_setup unused = { .fd = -1 };
	struct err e = { 0 };
	struct network *n;

	pthread_mutex_lock(&w->lock);
	n = network_find(w, network, &e);
	if (n && disconnect_box(w, c, n, &unused, &e) < 0)
		log_debug("network %s: %s", network, e.msg);
	pthread_mutex_unlock(&w->lock);
	net_setup_close(&unused);
}

int engine_network_connect(struct engine *g, const char *ref, const json_t *body, struct err *e)
{
	struct networking *w = g->net;
	struct net_setup machine = { .fd = -1 };
	char id[ENGINE_ID_MAX] = "";
	const char *container;
	struct network *n;
	json_t *settings;
	int rc = -1;

	if (json_get_str(body, "Container", "", &container, e) < 0 ||
	    json_get_object(body, "EndpointConfig", &settings, e) < 0)
		return -1;
	autorecord *c = table_find(g, container, e);

	if (!c)
		return -1;
	pthread_mutex_lock(&c->op);
	run_unpark(g, c); /* its namespace was made for the networks of before */
	pthread_mutex_lock(&w->lock);
	n = network_find(w, ref, e);
	if (n) {
		memcpy(id, n->id, sizeof(id));
		rc = connect_box(w, c, n, settings, &machine, e);
	}
	pthread_mutex_unlock(&w->lock);
	if (rc == 0 && (rc = tell_machine(g, c, &machine, e)) < 0)
		undo_connect(w, c, id);
	net_setup_close(&machine);
	pthread_mutex_unlock(&c->op);
	return rc;
}

int engine_network_disconnect(struct engine *g, const char *ref, const json_t *body, struct err *e)
{
	struct networking *w = g->net;
	struct net_setup machine = { .fd = -1 };
	const char *container;
	struct network *n;
	int rc = -1;

	if (json_get_str(body, "Container", "", &container, e) < 0)
		return -1;
	autorecord *c = table_find(g, container, e);

	if (!c)
		return -1;
	pthread_mutex_lock(&c->op);
	run_unpark(g, c);
	pthread_mutex_lock(&w->lock);
	n = network_find(w, ref, e);
	if (n)
		rc = disconnect_box(w, c, n, &machine, e);
	pthread_mutex_unlock(&w->lock);
	/* It is off the network, whatever the guest says. */
	if (tell_machine(g, c, &machine, e) < 0)
		log_warn("container %.12s: network disconnect: %s", c->id, e->msg);
	pthread_mutex_unlock(&c->op);
	return rc;
}

/* --- a container's view ------------------------------------------------------------------------------------------------------------ */

json_t *net_networks(struct engine *g, struct container *c, const json_t *host)
{
	struct networking *w = g->net;
	json_t *out = json_object(), *settings;
	const struct net_box *b;
	const char *name;

	pthread_mutex_lock(&w->lock);
	b = box_find(w, c->id);
	json_object_foreach(b ? b->config : NULL, name, settings)
		json_object_set_new(out, name, endpoint_settings(b, name, w));
	pthread_mutex_unlock(&w->lock);
	return out;
}

json_t *net_port_list(struct engine *g, struct container *c, const json_t *config)
{
	struct networking *w = g->net;
	json_t *out;

	pthread_mutex_lock(&w->lock);
	out = ports_list(box_find(w, c->id), config);
	pthread_mutex_unlock(&w->lock);
	return out;
}

/* The old fields of NetworkSettings speak of the default bridge. */
json_t *net_settings(struct engine *g, struct container *c, const json_t *config, const json_t *host)
{
	static const char *const copied[] = { "EndpointID", "Gateway",     "GlobalIPv6Address", "GlobalIPv6PrefixLen",
					      "IPAddress",  "IPPrefixLen", "IPv6Gateway",       "MacAddress" };
	struct networking *w = g->net;
	json_t *networks = net_networks(g, c, host), *ports, *out, *bridge = json_object_get(networks, "bridge");
	pid_t pid = record_running_pid(c);

	pthread_mutex_lock(&w->lock);
	ports = ports_settings(box_find(w, c->id), config);
	pthread_mutex_unlock(&w->lock);
	out = json_pack("{s:s, s:s, s:s, s:o, s:b, s:s, s:i, s:n, s:n, s:s, s:s, s:s, s:i, s:s, s:i, s:s, s:s, s:o}",
			"Bridge", "", "SandboxID", pid ? c->id : "", "SandboxKey", "", "Ports", ports, "HairpinMode", 0,
			"LinkLocalIPv6Address", "", "LinkLocalIPv6PrefixLen", 0, "SecondaryIPAddresses",
			"SecondaryIPv6Addresses", "EndpointID", "", "Gateway", "", "GlobalIPv6Address", "",
			"GlobalIPv6PrefixLen", 0, "IPAddress", "", "IPPrefixLen", 0, "IPv6Gateway", "", "MacAddress",
			"", "Networks", networks);
	if (pid && strcmp(c->isolation, "process") == 0)
		json_object_set_new(out, "SandboxKey", json_sprintf("/proc/%d/ns/net", (int)pid));
	for (size_t i = 0; bridge && i < array_len(copied); i++)
		json_object_set(out, copied[i], json_object_get(bridge, copied[i]));
	return out;
}
