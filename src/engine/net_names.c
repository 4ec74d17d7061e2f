/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of containers: /etc/hosts, /etc/resolv.conf, and what the embedded name server answers. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/links.h"
#include "engine/networking.h"
#include "network/netns.h"

#define RESOLV_BYTES_MAX (64 * KIB)
#define SHORT_ID 12

bool names_wanted(const struct net_box *b)
{
	for (const struct endpoint *x = b->endpoints; x; x = x->next) {
		if (b->hyperv ? names_by_network(x) : network_is_user_defined(x->n))
			return true;
	}
	return false;
}

/* This host has no address on the wire of a macvlan network. */
bool names_by_network(const struct endpoint *x)
{
	return x->n->bridge[0] && network_is_user_defined(x->n);
}

int names_start(struct networking *w, struct err *e)
{
	if (!w->dns)
		w->dns = dns_new(names_ask, w, e);
	return w->dns ? 0 : -1;
}

int names_serve(struct networking *w, struct net_box *b, int ns, struct err *e)
{
	static const struct ip_addr address = { .family = AF_INET, .b = { 127, 0, 0, 11 } };
	unsigned short port = 53;
	int udp, tcp;

	if (names_start(w, e) < 0 || netns_listen(ns, &address, &port, &udp, &tcp, e) < 0)
		return -1;
	return dns_listen(w->dns, b->id, udp, tcp, e);
}

int names_write(struct networking *w, struct net_box *b, struct container *c, struct err *e)
{
	struct network *bridge = network_find(w, "bridge", NULL);
	autojson *own = json_array();
	char text[IP_TEXT_MAX], gateway[IP_TEXT_MAX] = "";

	for (const struct endpoint *x = b->endpoints; x; x = x->next) {
		for (int v = NET_V4; v <= NET_V6; v++) {
			ip_format(&x->addresses[v], text);
			if (*text)
				json_array_append_new(own, json_string(text));
		}
	}
	/* A virtual machine and a container on one network reach the host by their own gateway. */
	if (b->endpoints)
		ip_format(&b->endpoints->n->nets[NET_V4].a, gateway);
	else if (bridge)
		ip_format(&bridge->nets[NET_V4].a, gateway);
	autojson *links = links_hosts(w, b);

	return files_names(w->g, c, own, links, names_wanted(b), gateway, e);
}

/* --- answers ------------------------------------------------------------------------------------------------------------- */

/* Who asks: by the socket, or by the address where the socket is a network's ("@id"). */
static struct net_box *find_asker(struct networking *w, const char *key, const struct ip_addr *from)
{
	if (*key != '@')
		return box_find(w, key);
	for (struct net_box *b = w->boxes; b; b = b->next) {
		for (const struct endpoint *x = b->endpoints; x; x = x->next) {
			if (strcmp(x->n->id, key + 1) == 0 &&
			    (ip_equal(&x->addresses[NET_V4], from) || ip_equal(&x->addresses[NET_V6], from)))
				return b;
		}
	}
	return NULL;
}

static bool in_list(const json_t *list, const char *name, size_t n)
{
	json_t *entry;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, entry) {
		const char *text = json_string_value(entry);

		if (text && strlen(text) == n && strncasecmp(text, name, n) == 0)
			return true;
	}
	return false;
}

/* Is b called by the first n characters of name in this network? */
static bool is_called(struct networking *w, const struct net_box *b, const struct network *n, const char *name,
		      size_t len)
{
	const json_t *settings = json_object_get(b->config, n->name);
	autorecord *c = table_find(w->g, b->id, NULL);
	char hostname[65];
	bool yes;

	if (!c)
		return false;
	autofree char *own = record_name(c);
	autojson *config = record_config(c);

	container_hostname(c, config, hostname);
	yes = strlen(own) == len && strncasecmp(own, name, len) == 0;
	yes |= len == SHORT_ID && strncasecmp(b->id, name, len) == 0;
	yes |= strlen(hostname) == len && strncasecmp(hostname, name, len) == 0;
	return yes || in_list(json_object_get(settings, "Aliases"), name, len);
}

static void add_addresses(const struct endpoint *x, struct dns_records *r)
{
	for (int v = NET_V4; v <= NET_V6; v++) {
		if (x->addresses[v].family && r->n < DNS_ADDRESSES_MAX)
			r->addresses[r->n++] = x->addresses[v];
	}
}

/* Everybody of that name in one network. "name" and "name.network". */
static bool look_up_in(struct networking *w, const struct network *n, const char *name, struct dns_records *r)
{
	size_t len = strlen(name), suffix = strlen(n->name);
	bool found = false, qualified = len > suffix + 1 && name[len - suffix - 1] == '.' &&
					strcasecmp(name + len - suffix, n->name) == 0;

	for (const struct net_box *b = w->boxes; b; b = b->next) {
		for (const struct endpoint *x = b->endpoints; x; x = x->next) {
			if (x->n != n || (!is_called(w, b, n, name, len) &&
					  !(qualified && is_called(w, b, n, name, len - suffix - 1))))
				continue;
			add_addresses(x, r);
			found = true;
		}
	}
	return found;
}

/* A name that only this container knows another one by. */
static bool look_up_link(struct networking *w, const struct net_box *asker, const struct network *n, const char *name,
			 struct dns_records *r)
{
	json_t *list = json_object_get(json_object_get(asker->config, n->name), "Links"), *entry;
	bool found = false;
	size_t i;

	json_array_foreach(list, i, entry) {
		autofree char *other = NULL;
		autofree char *alias = NULL;

		if (link_parse(json_string_value(entry), &other, &alias, NULL) == 0 && strcasecmp(alias, name) == 0)
			found |= look_up_in(w, n, other, r);
	}
	return found;
}

static bool look_up_reverse(struct networking *w, const struct network *n, const struct ip_addr *a,
			    struct dns_records *r)
{
	for (const struct net_box *b = w->boxes; b; b = b->next) {
		for (const struct endpoint *x = b->endpoints; x; x = x->next) {
			autorecord *c = NULL;

			if (x->n != n || (!ip_equal(&x->addresses[NET_V4], a) && !ip_equal(&x->addresses[NET_V6], a)))
				continue;
			c = table_find(w->g, b->id, NULL);
			if (!c)
				return false;
			autofree char *name = record_name(c);

			snprintf(r->name, sizeof(r->name), "%.120s.%.120s", name, n->name);
			return true;
		}
	}
	return false;
}

static void add_upstream(struct dns_verdict *v, const char *text)
{
	if (v->n_upstreams < DNS_UPSTREAMS_MAX && ip_parse(text, &v->upstreams[v->n_upstreams]) == 0)
		v->n_upstreams++;
}

static void host_upstreams(struct dns_verdict *v)
{
	char *rest, *line;
	autostr text;

	str_init(&text, RESOLV_BYTES_MAX);
	if (io_read_file(AT_FDCWD, "/etc/resolv.conf", &text, NULL) < 0 || !text.s)
		return;
	rest = text.s;
	while ((line = strsep(&rest, "\n"))) {
		if (!str_starts(line, "nameserver"))
			continue;
		line += strlen("nameserver");
		line += strspn(line, " \t");
		line[strcspn(line, " \t\r#;%")] = 0;
		add_upstream(v, line);
	}
}

/* A container that may not reach the outside may not do so by names either. */
static void set_upstreams(struct networking *w, const struct net_box *b, struct dns_verdict *v)
{
	autorecord *c = table_find(w->g, b->id, NULL);
	bool outside = false;
	const json_t *dns;
	json_t *entry;
	size_t i;

	for (const struct endpoint *x = b->endpoints; x; x = x->next)
		outside |= !x->n->internal;
	if (!c || !outside)
		return;
	autojson *host = record_host(c);

	dns = defaults_of(w->g, host, "Dns");
	json_array_foreach((json_t *)(uintptr_t)dns, i, entry)
		add_upstream(v, json_string_value(entry));
	if (json_array_size(dns) == 0)
		host_upstreams(v);
}

void names_ask(void *arg, const char *key, const struct ip_addr *from, const struct dns_query *q, struct dns_verdict *v)
{
	struct networking *w = arg;
	struct ip_addr reversed;
	const struct net_box *asker;
	bool reverse = q->type == DNS_PTR && dns_reverse(q->name, &reversed);

	v->rcode = DNS_SERVER_FAILURE;
	pthread_mutex_lock(&w->lock);
	asker = find_asker(w, key, from);
	if (!asker)
		v->rcode = DNS_REFUSED;
	for (const struct endpoint *x = asker ? asker->endpoints : NULL; x && !v->known; x = x->next) {
		if (!network_is_user_defined(x->n))
			continue;
		v->known = reverse ? look_up_reverse(w, x->n, &reversed, &v->records)
				   : look_up_link(w, asker, x->n, q->name, &v->records) ||
					     look_up_in(w, x->n, q->name, &v->records);
	}
	if (asker && !v->known)
		set_upstreams(w, asker, v);
	pthread_mutex_unlock(&w->lock);
}
