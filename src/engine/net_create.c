/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a request to create a container says about networks, and its memory until the container is removed. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/links.h"
#include "engine/networking.h"

/* EndpointSettings in canonical form: new, or NULL. */
json_t *settings_canonical(const json_t *settings, struct err *e)
{
	json_t *ipam, *aliases, *links, *options;
	const char *mac, *v4, *v6;
	unsigned char bytes[MAC_BYTES];
	int64_t priority;

	if (json_get_object(settings, "IPAMConfig", &ipam, e) < 0 ||
	    json_get_strings(settings, "Aliases", &aliases, e) < 0 ||
	    json_get_strings(settings, "Links", &links, e) < 0 ||
	    json_get_str(settings, "MacAddress", "", &mac, e) < 0 ||
	    json_get_object(settings, "DriverOpts", &options, e) < 0 ||
	    json_get_int(settings, "GwPriority", 0, &priority, e) < 0 ||
	    json_get_str(ipam, "IPv4Address", "", &v4, e) < 0 || json_get_str(ipam, "IPv6Address", "", &v6, e) < 0)
		return NULL;
	if (json_object_size(options) > 0) {
		err_set(e, ERR_UNSUPPORTED, 0, "driver options of an endpoint: not supported yet by Silo");
		return NULL;
	}
	if (links_are_valid(links, e) < 0)
		return NULL;
	if (*mac && mac_parse(mac, bytes) < 0) {
		err_set(e, ERR_INVALID, 0, "invalid MAC address: %s", mac);
		return NULL;
	}
	return json_pack("{s:O?, s:O?, s:o, s:s, s:n, s:I}", "IPAMConfig", ipam, "Links", links, "Aliases",
			 aliases ? json_deep_copy(aliases) : json_array(), "MacAddress", mac, "DriverOpts",
			 "GwPriority", (json_int_t)priority);
}

int settings_check(const struct network *n, const json_t *settings, struct err *e)
{
	const json_t *ipam = json_object_get(settings, "IPAMConfig");
	bool address = *json_str(ipam, "IPv4Address", "") || *json_str(ipam, "IPv6Address", "");

	if (address && n->predefined)
		return err_set(e, ERR_INVALID, 0,
			       "invalid config for network %s: user specified IP address is supported on user "
			       "defined networks only",
			       n->name);
	if (address && !n->user_subnet)
		return err_set(e, ERR_INVALID, 0,
			       "invalid config for network %s: user specified IP address is supported only "
			       "when connecting to networks with user configured subnets",
			       n->name);
	if (json_array_size(json_object_get(settings, "Aliases")) && n->predefined)
		return err_set(e, ERR_INVALID, 0,
			       "invalid config for network %s: network-scoped aliases are only supported for "
			       "user-defined networks",
			       n->name);
	return 0;
}

/* Under the network's name, whatever the request called it. One that isn't there is missed at start, as with Docker. */
static int add_settings(struct networking *w, json_t *out, const char *ref, const json_t *settings, struct err *e)
{
	const struct network *n = network_find(w, ref, NULL);
	json_t *canonical = settings_canonical(settings, e);

	if (!canonical)
		return -1;
	json_object_set_new(out, n ? n->name : ref, canonical);
	return n ? settings_check(n, canonical, e) : 0;
}

/* The network of NetworkMode ("default" and "nat": the default bridge) is always one of them. */
static int read_networks(struct networking *w, struct container *c, const json_t *body, json_t *out, struct err *e)
{
	const char *mode = json_str(c->host, "NetworkMode", "bridge"), *key,
		   *mac = json_str(c->config, "MacAddress", "");
	json_t *networking, *endpoints, *settings;
	const struct network *n = network_find(w, mode, NULL);
	const char *name = n ? n->name : mode;
	autojson *none = json_object();

	if (json_get_object(body, "NetworkingConfig", &networking, e) < 0 ||
	    json_get_object(networking, "EndpointsConfig", &endpoints, e) < 0)
		return -1;
	json_object_foreach(endpoints, key, settings) {
		const char *ref = strcmp(key, "default") == 0 || strcmp(key, "nat") == 0 ? "bridge" : key;

		if (add_settings(w, out, ref, settings, e) < 0)
			return -1;
	}
	if (!json_object_get(out, name) && add_settings(w, out, name, none, e) < 0)
		return -1;
	settings = json_object_get(out, name);
	if (*mac && !*json_str(settings, "MacAddress", ""))
		json_object_set_new(settings, "MacAddress", json_string(mac));
	if (n && !network_has_devices(n) && json_object_size(out) > 1)
		return err_set(e, ERR_INVALID, 0,
			       "conflicting options: cannot attach both user-defined and non-user-defined "
			       "network-modes");
	return strcmp(c->isolation, "hyperv") == 0 ? machine_check_count(json_object_size(out), e) : 0;
}

int net_create(struct engine *g, struct container *c, const json_t *body, struct err *e)
{
	struct networking *w = g->net;
	const char *mode = json_str(c->host, "NetworkMode", "");
	autojson *config = json_object();
	struct net_box *b;
	int rc = 0;

	if (strcmp(mode, "nat") == 0)
		json_object_set_new(c->host, "NetworkMode", json_string("bridge"));
	if (str_starts(mode, "container:") && join_check(g, c, mode + strlen("container:"), e) < 0)
		return -1;
	pthread_mutex_lock(&w->lock);
	if (!str_starts(mode, "container:"))
		rc = read_networks(w, c, body, config, e);
	if (rc == 0) {
		b = xcalloc(1, sizeof(*b));
		snprintf(b->id, sizeof(b->id), "%s", c->id);
		b->hyperv = strcmp(c->isolation, "hyperv") == 0;
		b->config = json_incref(config);
		b->links = json_object();
		b->next = w->boxes;
		w->boxes = b;
		rc = links_create(w, b, c, e) < 0 ? -1 : box_save(w, b, e);
	}
	pthread_mutex_unlock(&w->lock);
	return rc;
}

void net_forget(struct engine *g, const char *id)
{
	struct networking *w = g->net;
	struct net_box **at, *b;

	pthread_mutex_lock(&w->lock);
	for (at = &w->boxes; *at && strcmp((*at)->id, id) != 0; at = &(*at)->next)
		;
	b = *at;
	if (b) {
		*at = b->next;
		box_release(w, b);
		if (db_exec(g->db, NULL, "DELETE FROM endpoints WHERE container = ?", "s", id) < 0)
			log_warn("forget the networks of %.12s", id);
		box_free(b);
	}
	pthread_mutex_unlock(&w->lock);
}
