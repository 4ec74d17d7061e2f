/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/links.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "monitor/client.h"

#define PORTS_MAX 1024 /* of a linked container that become variables */
#define RULES_BYTES_MAX (256 * KIB)

int link_parse(const char *text, char **name, char **alias, struct err *e)
{
	const char *colon = strchr(text, ':'), *slash;

	if (!*text)
		return err_set(e, ERR_INVALID, 0, "empty string specified for links");
	if (colon && strchr(colon + 1, ':'))
		return err_set(e, ERR_INVALID, 0, "bad format for links: %.200s", text);
	*name = colon ? xstrndup(text + (*text == '/'), (size_t)(colon - text) - (*text == '/'))
		      : xstrdup(text + (*text == '/'));
	slash = *text == '/' && colon ? strrchr(colon, '/') : NULL;
	*alias = xstrdup(slash ? slash + 1 : colon ? colon + 1 : *name);
	if (**name && **alias &&
	    strspn(*alias, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == strlen(*alias))
		return 0;
	free(*name);
	free(*alias);
	*name = *alias = NULL;
	return err_set(e, ERR_INVALID, 0, "bad format for links: %.200s", text);
}

/* --- variables ---------------------------------------------------------------------------------------------------------------- */

struct exposed {
	unsigned port;
	char proto[8];
};

static int by_port(const void *a, const void *b)
{
	const struct exposed *x = a, *y = b;

	return x->port != y->port ? (x->port < y->port ? -1 : 1) : strcmp(x->proto, y->proto);
}

/* Exposed ports in order, tcp first. */
static size_t exposed_ports(const json_t *config, struct exposed out[PORTS_MAX])
{
	const char *key;
	json_t *unused;
	size_t n = 0;

	json_object_foreach(json_object_get(config, "ExposedPorts"), key, unused) {
		const char *slash = strchr(key, '/');
		char *end;
		unsigned long first = strtoul(key, &end, 10), last = *end == '-' ? strtoul(end + 1, NULL, 10) : first;

		for (unsigned long p = first; p <= last && p <= 65535 && n < PORTS_MAX; p++) {
			out[n].port = (unsigned)p;
			snprintf(out[n++].proto, sizeof(out->proto), "%.7s", slash ? slash + 1 : "tcp");
		}
	}
	qsort(out, n, sizeof(*out), by_port);
	return n;
}

static void upper(char *text)
{
	for (; *text; text++)
		*text = *text == '-' ? '_' : (char)toupper((unsigned char)*text);
}

struct naming {
	json_t *out;
	const char *prefix, *address;
};

/* PREFIX_PORT_80_TCP and its parts; range: "_START", "_END" or "". */
static void add_port_variables(const struct naming *n, const struct exposed *named, const struct exposed *p,
			       const char *range)
{
	char proto[sizeof(named->proto)], stem[96];
	bool end = strcmp(range, "_END") == 0;

	snprintf(proto, sizeof(proto), "%s", named->proto);
	upper(proto);
	snprintf(stem, sizeof(stem), "%.64s_PORT_%u_%s", n->prefix, named->port, proto);
	json_array_append_new(n->out, json_sprintf("%s%s=%s://%s:%u", stem, range, p->proto, n->address, p->port));
	if (!end)
		json_array_append_new(n->out, json_sprintf("%s_ADDR=%s", stem, n->address));
	if (!end)
		json_array_append_new(n->out, json_sprintf("%s_PROTO=%s", stem, p->proto));
	json_array_append_new(n->out, json_sprintf("%s_PORT%s=%u", stem, range, p->port));
}

static void add_ranges(const struct naming *n, const struct exposed *ports, size_t count)
{
	for (size_t i = 0, j; i < count; i = j) {
		for (j = i + 1;
		     j < count && ports[j].port == ports[j - 1].port + 1 && strcmp(ports[j].proto, ports[i].proto) == 0;
		     j++)
			;
		if (j == i + 1)
			continue;
		add_port_variables(n, &ports[i], &ports[i], "_START");
		add_port_variables(n, &ports[i], &ports[j - 1], "_END");
	}
}

static void add_environment(const struct naming *n, const json_t *env)
{
	json_t *entry;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)env, i, entry) {
		const char *text = json_string_value(entry);

		/* What every container has says nothing about this one. */
		if (strchr(text, '=') && !str_starts(text, "HOME=") && !str_starts(text, "PATH="))
			json_array_append_new(n->out, json_sprintf("%s_ENV_%s", n->prefix, text));
	}
}

json_t *link_variables(const char *name, const char *address, const json_t *config)
{
	autofree struct exposed *ports = xcalloc(PORTS_MAX, sizeof(*ports));
	size_t count = exposed_ports(config, ports);
	const char *slash = strrchr(name, '/');
	autofree char *prefix = xstrdup(slash ? slash + 1 : name);
	struct naming n = { json_array(), prefix, address };

	upper(prefix);
	if (count)
		json_array_append_new(n.out,
				      json_sprintf("%s_PORT=%s://%s:%u", prefix, ports->proto, address, ports->port));
	add_ranges(&n, ports, count);
	for (size_t i = 0; i < count; i++)
		add_port_variables(&n, &ports[i], &ports[i], "");
	json_array_append_new(n.out, json_sprintf("%s_NAME=%s", prefix, name));
	add_environment(&n, json_object_get(config, "Env"));
	return n.out;
}

/* --- create ------------------------------------------------------------------------------------------------------------------- */

static int add_link(struct networking *w, struct net_box *b, const char *text, struct err *e)
{
	autofree char *name = NULL;
	autofree char *alias = NULL;

	if (link_parse(text, &name, &alias, e) < 0)
		return -1;
	autorecord *child = table_find(w->g, name, e);

	if (!child)
		return err_set(e, ERR_INVALID, 0, "could not get container for %.100s: No such container: %.100s", name,
			       name);
	autojson *host = record_host(child);

	if (strcmp(json_str(host, "NetworkMode", ""), "host") == 0)
		return err_set(e, ERR_INVALID, 0,
			       "conflicting options: host type networking can't be used with links. This would result "
			       "in undefined behavior");
	json_object_set_new(b->links, alias, json_string(child->id));
	return 0;
}

int links_create(struct networking *w, struct net_box *b, struct container *c, struct err *e)
{
	json_t *list = json_object_get(c->host, "Links"), *entry, *settings;
	const char *mode = json_str(c->host, "NetworkMode", "");
	const struct network *n = network_find(w, mode, NULL);
	size_t i;

	if (json_array_size(list) == 0)
		return 0;
	if (strcmp(mode, "host") == 0 || str_starts(mode, "container:"))
		return err_set(e, ERR_INVALID, 0,
			       "conflicting options: %s type networking can't be used with links. This would result in "
			       "undefined behavior",
			       *mode == 'h' ? "host" : "container");
	settings = json_object_get(b->config, n ? n->name : mode);
	if (n && network_is_user_defined(n) && settings) {
		json_object_set(settings, "Links", list);
		return links_are_valid(list, e);
	}
	json_array_foreach(list, i, entry) {
		if (add_link(w, b, json_string_value(entry), e) < 0)
			return -1;
	}
	return 0;
}

int links_are_valid(const json_t *list, struct err *e)
{
	json_t *entry;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, entry) {
		autofree char *name = NULL;
		autofree char *alias = NULL;

		if (link_parse(json_string_value(entry), &name, &alias, e) < 0)
			return -1;
	}
	return 0;
}

/* --- while it runs ------------------------------------------------------------------------------------------------------------ */

/* The place of a container in the default bridge. */
static const struct endpoint *on_bridge(const struct net_box *b)
{
	const struct endpoint *x;

	for (x = b ? b->endpoints : NULL; x && strcmp(x->n->name, "bridge") != 0; x = x->next)
		;
	return x;
}

int links_check(struct networking *w, const struct net_box *b, struct container *c, struct err *e)
{
	autofree char *parent = record_name(c);
	const char *alias;
	json_t *id;

	json_object_foreach(b->links, alias, id) {
		autorecord *child = table_find(w->g, json_string_value(id), e);

		if (!child)
			return err_prefix(e, "could not get container for %.100s", alias);
		autofree char *name = record_name(child);

		if (!record_is_running(child))
			return err_set(e, ERR_INVALID, 0, "Cannot link to a non running container: /%s AS /%s/%s", name,
				       parent, alias);
		if (!on_bridge(box_find(w, child->id)))
			return err_set(e, ERR_INVALID, 0, "container %s not attached to default bridge network",
				       child->id);
	}
	return 0;
}

json_t *links_hosts(struct networking *w, const struct net_box *b)
{
	json_t *out = json_array(), *id;
	const char *alias;

	json_object_foreach(b->links, alias, id) {
		const struct endpoint *x = on_bridge(box_find(w, json_string_value(id)));
		autorecord *child = x ? table_find(w->g, json_string_value(id), NULL) : NULL;
		char hostname[65], address[IP_TEXT_MAX];

		if (!child)
			continue;
		autofree char *name = record_name(child);
		autojson *config = record_config(child);

		container_hostname(child, config, hostname);
		for (int v = NET_V4; v <= NET_V6; v++) {
			ip_format(&x->addresses[v], address);
			if (*address)
				json_array_append_new(out, json_sprintf("%s\t%s %s%s%s", address, alias, hostname,
									strcmp(alias, name) ? " " : "",
									strcmp(alias, name) ? name : ""));
		}
	}
	return out;
}

void links_compute(struct networking *w, struct net_box *b)
{
	autofree struct exposed *ports = xcalloc(PORTS_MAX, sizeof(*ports));
	const struct endpoint *from = on_bridge(b), *to;
	const char *alias;
	json_t *id;
	size_t n;

	json_decref(b->link_rules);
	b->link_rules = json_object();
	json_object_foreach(b->links, alias, id) {
		autorecord *child = table_find(w->g, json_string_value(id), NULL);
		char address[IP_TEXT_MAX];

		to = on_bridge(box_find(w, json_string_value(id)));
		if (!child || !from || !to || from->n->icc)
			continue;
		autojson *config = record_config(child);

		n = exposed_ports(config, ports);
		ip_format(&to->addresses[NET_V4], address);
		for (size_t i = 0; i < n; i++) {
			autofree char *key = xasprintf("%s %s %u", address, ports[i].proto, ports[i].port);

			json_object_set_new(b->link_rules, key, json_true()); /* a rule twice would be an error */
		}
	}
}

void links_filter(struct networking *w, const struct net_box *b, enum fw_verb verb, struct str *out)
{
	const struct endpoint *from = on_bridge(b);
	const char *key;
	json_t *unused;

	json_object_foreach(from ? b->link_rules : NULL, key, unused) {
		char address[IP_TEXT_MAX], proto[8];
		struct fw_link l = { .from = &from->addresses[NET_V4], .proto = proto };
		struct ip_addr to;
		unsigned port;

		if (sscanf(key, "%63s %7s %u", address, proto, &port) != 3 || ip_parse(address, &to) < 0)
			continue;
		l.to = &to;
		l.port = (unsigned short)port;
		fw_link(w->firewall, out, verb, &l);
	}
}

static bool links_to(const struct net_box *b, const char *id)
{
	const char *alias;
	json_t *other;

	json_object_foreach(b->links, alias, other) {
		if (strcmp(json_string_value(other), id) == 0)
			return true;
	}
	return false;
}

static void refresh(struct networking *w, struct net_box *b)
{
	autorecord *c = table_find(w->g, b->id, NULL);
	struct err e = { 0 };
	autostr text;

	str_init(&text, RULES_BYTES_MAX);
	links_filter(w, b, FW_DELETE, &text);
	links_compute(w, b);
	links_filter(w, b, FW_ADD, &text);
	if (firewall_apply(w->firewall, &text, &e) < 0 || (c && names_write(w, b, c, &e) < 0))
		log_warn("links of container %.12s: %s", b->id, e.msg);
}

json_t *links_child_started(struct networking *w, const struct net_box *b)
{
	json_t *machines = json_object();

	for (struct net_box *parent = w->boxes; parent; parent = parent->next) {
		struct net_setup setup = { .fd = -1 };

		if (!parent->endpoints || !links_to(parent, b->id))
			continue;
		refresh(w, parent);
		if (!parent->hyperv)
			continue;
		machine_describe(parent, &setup);
		json_object_set_new(machines, parent->id, setup.guest);
	}
	return machines;
}

void links_tell(struct engine *g, const json_t *machines)
{
	json_t *network;
	const char *id;

	json_object_foreach((json_t *)(uintptr_t)machines, id, network) {
		autofree char *dir = path_run(g, id, NULL);
		struct err e = { 0 };

		if (monitor_network(dir, network, NULL, 0, &e) < 0)
			log_warn("links of container %.12s: %s", id, e.msg);
	}
}

/* --- a container's view ------------------------------------------------------------------------------------------------------- */

json_t *links_env(struct engine *g, struct container *c)
{
	struct networking *w = g->net;
	autofree char *parent = record_name(c);
	json_t *out = json_array(), *id;
	const struct net_box *b;
	const char *alias;

	pthread_mutex_lock(&w->lock);
	b = box_find(w, c->id);
	json_object_foreach(b ? b->links : NULL, alias, id) {
		const struct endpoint *x = on_bridge(box_find(w, json_string_value(id)));
		autorecord *child = x ? table_find(g, json_string_value(id), NULL) : NULL;
		autofree char *name = xasprintf("/%s/%s", parent, alias);
		char address[IP_TEXT_MAX];

		if (!child)
			continue;
		autojson *config = record_config(child);

		ip_format(&x->addresses[NET_V4], address);
		autojson *more = link_variables(name, address, config);

		json_array_extend(out, more);
	}
	pthread_mutex_unlock(&w->lock);
	return out;
}

json_t *links_shown(struct engine *g, struct container *c)
{
	struct networking *w = g->net;
	autofree char *parent = record_name(c);
	const struct net_box *b;
	json_t *out = NULL, *id;
	const char *alias;

	pthread_mutex_lock(&w->lock);
	b = box_find(w, c->id);
	json_object_foreach(b ? b->links : NULL, alias, id) {
		autorecord *child = table_find(g, json_string_value(id), NULL);
		autofree char *name = child ? record_name(child) : NULL;

		if (!name)
			continue;
		out = out ? out : json_array();
		json_array_append_new(out, json_sprintf("/%s:/%s/%s", name, parent, alias));
	}
	pthread_mutex_unlock(&w->lock);
	return out;
}
