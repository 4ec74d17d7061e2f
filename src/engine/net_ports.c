/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Published ports: what a request says, which port of the host it gets, who has it already. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/networking.h"

#define RANDOM_FIRST 32768
#define RANDOM_LAST 60999
#define BINDINGS_MAX 4096 /* of a container */

/* "80", "8000-8010" as two numbers. "" = 0 to 0. 0, or -1. */
static int parse_range(const char *text, unsigned *first, unsigned *last)
{
	char *end;
	unsigned long v;

	*first = *last = 0;
	if (!*text)
		return 0;
	v = strtoul(text, &end, 10);
	if (end == text || v > 65535 || *text == '-' || *text == '+' || *text == ' ')
		return -1;
	*first = *last = (unsigned)v;
	if (*end == '-') {
		text = end + 1;
		v = strtoul(text, &end, 10);
		if (end == text || v > 65535 || v < *first || *text == '-' || *text == '+' || *text == ' ')
			return -1;
		*last = (unsigned)v;
	}
	return *end ? -1 : 0;
}

/* "80/tcp". */
static int parse_key(const char *key, unsigned short *port, char proto[static 8], struct err *e)
{
	const char *slash = strchr(key, '/');
	autofree char *number = xstrndup(key, slash ? (size_t)(slash - key) : strlen(key));
	unsigned first, last;

	if (parse_range(number, &first, &last) < 0 || first != last || !first)
		return err_set(e, ERR_INVALID, 0, "invalid port specification: \"%s\"", key);
	snprintf(proto, 8, "%.7s", slash ? slash + 1 : "tcp");
	if (strcmp(proto, "tcp") != 0 && strcmp(proto, "udp") != 0 && strcmp(proto, "sctp") != 0)
		return err_set(e, ERR_INVALID, 0, "invalid port specification: \"%s\"", key);
	*port = (unsigned short)first;
	return 0;
}

/* {"HostIp", "HostPort"} in canonical form: new, or NULL. */
static json_t *check_binding(const json_t *binding, struct err *e)
{
	const char *ip, *port;
	unsigned first, last;
	struct ip_addr a;

	if (json_get_str(binding, "HostIp", "", &ip, e) < 0 || json_get_str(binding, "HostPort", "", &port, e) < 0)
		return NULL;
	if (*ip && ip_parse(ip, &a) < 0) {
		err_set(e, ERR_INVALID, 0, "invalid IP address in port mapping: %s", ip);
		return NULL;
	}
	if (parse_range(port, &first, &last) < 0) {
		err_set(e, ERR_INVALID, 0, "invalid port specification: \"%s\"", port);
		return NULL;
	}
	return json_pack("{s:s, s:s}", "HostIp", ip, "HostPort", port);
}

int ports_check(json_t *host, struct err *e)
{
	json_t *list, *binding, *canonical;
	autojson *out = json_object();
	size_t n = 0, i;
	const char *key;

	json_object_foreach(json_object_get(host, "PortBindings"), key, list) {
		char proto[8];
		unsigned short port;
		json_t *bindings = json_array();

		json_object_set_new(out, key, bindings);
		if (parse_key(key, &port, proto, e) < 0)
			return -1;
		json_array_foreach(list, i, binding) {
			canonical = check_binding(binding, e);
			if (!canonical)
				return -1;
			json_array_append_new(bindings, canonical);
			if (++n > BINDINGS_MAX)
				return err_set(e, ERR_LIMIT, 0, "more than %d published ports", BINDINGS_MAX);
		}
		if (json_array_size(list) == 0)
			json_array_append_new(bindings, json_pack("{s:s, s:s}", "HostIp", "", "HostPort", ""));
	}
	json_object_set(host, "PortBindings", out);
	return 0;
}

/* --- reservation ------------------------------------------------------------------------------------------------------- */

bool ports_is_any(const struct ip_addr *a)
{
	static const struct ip_addr none;

	return memcmp(a->b, none.b, sizeof(none.b)) == 0;
}

static bool same_port(const struct port_binding *a, const struct port_binding *b)
{
	return a->host_port == b->host_port && strcmp(a->proto, b->proto) == 0 && a->host.family == b->host.family &&
	       (ports_is_any(&a->host) || ports_is_any(&b->host) || ip_equal(&a->host, &b->host));
}

static bool taken_by_silo(const struct networking *w, const struct port_binding *p)
{
	for (const struct net_box *b = w->boxes; b; b = b->next) {
		for (const struct port_binding *q = b->ports; q; q = q->next) {
			if (q != p && same_port(p, q))
				return true;
		}
	}
	return false;
}

static const struct {
	const char *name;
	int type, protocol;
} protocols[] = { { "tcp", SOCK_STREAM, IPPROTO_TCP },
		  { "udp", SOCK_DGRAM, IPPROTO_UDP },
		  { "sctp", SOCK_STREAM, IPPROTO_SCTP } };

static int port_socket(const struct port_binding *p)
{
	size_t i;

	for (i = 0; i + 1 < array_len(protocols) && strcmp(protocols[i].name, p->proto) != 0; i++)
		;
	return socket(p->host.family, protocols[i].type | SOCK_CLOEXEC, protocols[i].protocol);
}

/* Keeps others off. Packets for it are sent elsewhere before they would arrive here, or the relay listens on it. */
static int bind_port(const struct port_binding *p)
{
	struct sockaddr_storage s = { .ss_family = (sa_family_t)p->host.family };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&s;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&s;
	bool is6 = p->host.family == AF_INET6;
	autoclose int fd = port_socket(p);
	int on = 1;

	if (fd < 0)
		return -1;
	if (is6) {
		v6->sin6_port = htons(p->host_port);
		memcpy(&v6->sin6_addr, p->host.b, 16);
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	} else {
		v4->sin_port = htons(p->host_port);
		memcpy(&v4->sin_addr, p->host.b, 4);
	}
	if (strcmp(p->proto, "tcp") == 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)); /* old connections are no obstacle */
	if (bind(fd, (struct sockaddr *)&s, is6 ? sizeof(*v6) : sizeof(*v4)) < 0)
		return -1;
	return take_fd(&fd);
}

static int no_port(const struct port_binding *p, int why, struct err *e)
{
	char ip[IP_TEXT_MAX];

	ip_format(&p->host, ip);
	if (why == 0)
		return err_set(e, ERR_SYSTEM, 0, "Bind for %s%s%s:%u failed: port is already allocated",
			       p->host.family == AF_INET6 ? "[" : "", ip, p->host.family == AF_INET6 ? "]" : "",
			       p->host_port);
	return err_set(e, ERR_SYSTEM, 0, "failed to bind host port %s:%u/%s: %s", ip, p->host_port, p->proto,
		       why == EADDRINUSE ? "address already in use" : strerror(why));
}

/* One port of the host, for one or both families. */
static int try_port(struct networking *w, struct port_binding *both, size_t n, unsigned port, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		struct port_binding *p = &both[i];

		p->host_port = (unsigned short)port;
		if (!taken_by_silo(w, p)) {
			p->sock = bind_port(p);
			/* A kernel without SCTP has no socket for it, and nobody else who could want the port. */
			if (p->sock >= 0 || (errno == EPROTONOSUPPORT && strcmp(p->proto, "sctp") == 0))
				continue;
			no_port(p, errno, e);
		} else {
			no_port(p, 0, e);
		}
		for (size_t k = 0; k < i; k++)
			close_fd(&both[k].sock);
		return -1;
	}
	return 0;
}

static int random_port(struct networking *w, struct port_binding *both, size_t n, struct err *e)
{
	for (unsigned i = 0; i <= RANDOM_LAST - RANDOM_FIRST; i++) {
		unsigned port = RANDOM_FIRST + (w->next_port + i) % (RANDOM_LAST - RANDOM_FIRST + 1);

		if (try_port(w, both, n, port, e) == 0) {
			w->next_port = port - RANDOM_FIRST + 1;
			return 0;
		}
	}
	return err_set(e, ERR_SYSTEM, 0, "all ports are allocated");
}

/* wanted: "", a port, or a range of which the first free one is taken. */
static int take_port(struct networking *w, struct port_binding *both, size_t n, const char *wanted, struct err *e)
{
	unsigned first, last;

	if (parse_range(wanted, &first, &last) < 0)
		return err_set(e, ERR_INVALID, 0, "invalid port specification: \"%s\"", wanted);
	if (!first)
		return random_port(w, both, n, e);
	for (unsigned port = first; port <= last; port++) {
		if (try_port(w, both, n, port, e) == 0)
			return 0;
	}
	return -1;
}

/* A host without IPv6 publishes by IPv4 only. */
static bool host_has_v6(void)
{
	struct port_binding p = { .proto = "tcp", .host = { .family = AF_INET6 } };
	autoclose int fd = -1;

	p.host.b[15] = 1;
	fd = bind_port(&p);
	return fd >= 0;
}

/* The addresses of the host: the one that was asked for, or every one of both families where there is a way in. */
static size_t host_addresses(const struct networking *w, const struct endpoint *x, const char *ip,
			     struct port_binding *wanted, struct port_binding both[2])
{
	bool has6 = x->addresses[NET_V6].family || (w->relay && strcmp(wanted->proto, "sctp") != 0);
	bool bound = !*ip && x->n->binding.family && !ports_is_any(&x->n->binding);

	if (bound)
		wanted->host = x->n->binding;
	both[0] = both[1] = *wanted;
	both[1].host.family = AF_INET6;
	return *ip || bound || !has6 || !host_has_v6() ? 1 : 2;
}

static int add_port(struct networking *w, struct net_box *b, const char *key, const char *ip, const char *host_port,
		    struct err *e)
{
	const struct endpoint *x = ports_endpoint(b);
	struct port_binding wanted = { .sock = -1, .host = { .family = AF_INET } }, both[2], **last;
	size_t n;

	if (parse_key(key, &wanted.port, wanted.proto, e) < 0)
		return -1;
	if (*ip && ip_parse(ip, &wanted.host) < 0)
		return err_set(e, ERR_INVALID, 0, "invalid IP address in port mapping: %s", ip);
	n = host_addresses(w, x, ip, &wanted, both);
	if (both[0].host.family == AF_INET6 && !x->addresses[NET_V6].family &&
	    (!w->relay || strcmp(wanted.proto, "sctp") == 0))
		return err_set(e, ERR_UNSUPPORTED, 0, "port %s on %s: the container has no IPv6 address, and %s", key,
			       ip, w->relay ? "SCTP can't be relayed" : "userland-proxy is switched off");
	if (take_port(w, both, n, host_port, e) < 0)
		return -1;
	for (last = &b->ports; *last; last = &(*last)->next)
		;
	for (size_t i = 0; i < n; i++) {
		*last = xmalloc(sizeof(**last));
		**last = both[i];
		last = &(*last)->next;
	}
	return 0;
}

/* -P: every exposed port that isn't published already. */
static int publish_all(struct networking *w, struct net_box *b, const json_t *config, const json_t *given,
		       struct err *e)
{
	const char *key;
	json_t *unused;

	json_object_foreach(json_object_get(config, "ExposedPorts"), key, unused) {
		autofree char *full = xasprintf("%s%s", key, strchr(key, '/') ? "" : "/tcp");
		char *dash = strchr(full, '-');

		if (dash || json_object_get(given, full))
			continue;
		if (add_port(w, b, full, "", "", e) < 0)
			return -1;
	}
	return 0;
}

static int take_all(struct networking *w, struct net_box *b, struct container *c, struct err *e)
{
	autojson *config = record_config(c);
	autojson *host = record_host(c);
	json_t *bindings = json_object_get(host, "PortBindings"), *list, *binding;
	const char *key;
	size_t i;

	json_object_foreach(bindings, key, list) {
		json_array_foreach(list, i, binding) {
			if (add_port(w, b, key, json_str(binding, "HostIp", ""), json_str(binding, "HostPort", ""), e) <
			    0)
				return -1;
		}
	}
	return json_bool(host, "PublishAllPorts", false) ? publish_all(w, b, config, bindings, e) : 0;
}

int ports_take(struct networking *w, struct net_box *b, struct container *c, struct err *e)
{
	autofree char *name = record_name(c);

	if (!ports_endpoint(b) || take_all(w, b, c, e) == 0)
		return 0;
	ports_free(w, b);
	return err_prefix(e, "driver failed programming external connectivity on endpoint %s (%s)", name,
			  ports_endpoint(b)->id);
}

void ports_free(struct networking *w, struct net_box *b)
{
	struct port_binding *p;

	if (w->relay && b->ports)
		relay_forget(w->relay, b->id);
	while ((p = b->ports)) {
		b->ports = p->next;
		close_fd(&p->sock);
		free(p);
	}
}

void ports_reserve_again(struct networking *w, struct net_box *b)
{
	for (struct port_binding *p = b->ports; p; p = p->next) {
		if (p->sock < 0)
			p->sock = bind_port(p);
	}
	ports_relay(w, b);
}

/* --- what is shown ------------------------------------------------------------------------------------------------------ */

json_t *ports_settings(const struct net_box *b, const json_t *config)
{
	json_t *out = json_object(), *unused;
	const char *key;

	if (!b || !b->endpoints) /* not running */
		return out;
	json_object_foreach(json_object_get(config, "ExposedPorts"), key, unused) {
		autofree char *full = xasprintf("%s%s", key, strchr(key, '/') ? "" : "/tcp");

		json_object_set_new(out, full, json_null());
	}
	for (const struct port_binding *p = b->ports; p; p = p->next) {
		autofree char *full = xasprintf("%u/%s", p->port, p->proto);
		json_t *list = json_object_get(out, full);
		char ip[IP_TEXT_MAX];

		if (!json_is_array(list)) {
			list = json_array();
			json_object_set_new(out, full, list);
		}
		ip_format(&p->host, ip);
		json_array_append_new(
			list, json_pack("{s:s, s:o}", "HostIp", ip, "HostPort", json_sprintf("%u", p->host_port)));
	}
	return out;
}

json_t *ports_list(const struct net_box *b, const json_t *config)
{
	autojson *all = ports_settings(b, config);
	json_t *out = json_array(), *list, *binding;
	const char *key;
	size_t i;

	json_object_foreach(all, key, list) {
		const char *slash = strchr(key, '/');
		int port = (int)strtol(key, NULL, 10);

		if (!json_is_array(list))
			json_array_append_new(
				out, json_pack("{s:i, s:s}", "PrivatePort", port, "Type", slash ? slash + 1 : "tcp"));
		json_array_foreach(list, i, binding)
			json_array_append_new(out,
					      json_pack("{s:s, s:i, s:i, s:s}", "IP", json_str(binding, "HostIp", ""),
							"PrivatePort", port, "PublicPort",
							(int)strtol(json_str(binding, "HostPort", "0"), NULL, 10),
							"Type", slash ? slash + 1 : "tcp"));
	}
	return out;
}
