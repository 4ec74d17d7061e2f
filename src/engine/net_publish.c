/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Published ports at work: rules of the packet filter, the relay, what the kernel has to forget. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "engine/networking.h"
#include "network/conntrack.h"

/* The first network that leads outside by a bridge: nothing is published of the others. */
const struct endpoint *ports_endpoint(const struct net_box *b)
{
	const struct endpoint *x;

	for (x = b->endpoints; x && (x->n->internal || strcmp(x->n->driver, "bridge") != 0); x = x->next)
		;
	return x;
}

void ports_filter(struct networking *w, const struct net_box *b, enum fw_verb verb, struct str *out)
{
	const struct endpoint *x = ports_endpoint(b);

	for (const struct port_binding *p = b->ports; p && x; p = p->next) {
		struct fw_port f = { .proto = p->proto,
				     .host = &p->host,
				     .host_port = p->host_port,
				     .to_port = p->port,
				     .to = &x->addresses[p->host.family == AF_INET6 ? NET_V6 : NET_V4] };

		if (f.to->family) /* else it is the relay's */
			fw_port(w->firewall, out, verb, &f);
	}
}

void ports_relay(struct networking *w, const struct net_box *b)
{
	const struct endpoint *x = ports_endpoint(b);
	struct err e = { 0 };

	for (const struct port_binding *p = b->ports; p && x && w->relay; p = p->next) {
		struct relay_target t = { .key = b->id,
					  .udp = strcmp(p->proto, "udp") == 0,
					  .port = p->port,
					  .to = x->addresses[x->addresses[NET_V6].family ? NET_V6 : NET_V4] };

		if (p->host.family == AF_INET6 && p->sock >= 0 && strcmp(p->proto, "sctp") != 0 &&
		    relay_add(w->relay, p->sock, &t, &e) < 0)
			log_warn("container %.12s: %s", b->id, e.msg);
	}
}

void ports_changed(const struct net_box *b)
{
	struct err e = { 0 };

	for (const struct port_binding *p = b->ports; p; p = p->next) {
		if (strcmp(p->proto, "udp") == 0 && conntrack_forget_udp(&p->host, p->host_port, &e) < 0)
			log_warn("container %.12s: %s", b->id, e.msg);
	}
}

void ports_moved(struct networking *w, struct net_box *b)
{
	ports_changed(b);
	if (!ports_endpoint(b)) {
		ports_free(w, b);
	} else if (w->relay && b->ports) {
		relay_forget(w->relay, b->id);
		ports_relay(w, b);
	}
}

static bool publishes(struct container *c)
{
	autojson *host = record_host(c);

	return json_object_size(json_object_get(host, "PortBindings")) > 0 || json_bool(host, "PublishAllPorts", false);
}

int ports_publish(struct networking *w, struct net_box *b, struct container *c, struct err *e)
{
	autostr text;

	str_init(&text, FIREWALL_TEXT_MAX);
	if (b->ports || !ports_endpoint(b) || !publishes(c))
		return 0;
	if (ports_take(w, b, c, e) < 0)
		return -1;
	ports_filter(w, b, FW_ADD, &text);
	if (firewall_apply(w->firewall, &text, e) < 0 || box_save(w, b, e) < 0) {
		ports_free(w, b);
		return -1;
	}
	ports_changed(b);
	ports_relay(w, b);
	return 0;
}

int net_publish(struct engine *g, struct container *c, struct err *e)
{
	struct networking *w = g->net;
	struct net_box *b;
	int rc = 0;

	pthread_mutex_lock(&w->lock);
	b = box_find(w, c->id);
	if (b)
		rc = ports_publish(w, b, c, e);
	pthread_mutex_unlock(&w->lock);
	return rc;
}
