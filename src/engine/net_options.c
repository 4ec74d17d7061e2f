/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What `docker network create -o` may say. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "engine/networking.h"

#define PREFIX_MAX 11 /* leaves room for a number */

static int bad_value(const char *key, const char *value, struct err *e)
{
	return err_set(e, ERR_INVALID, 0, "invalid value for %s: %.100s", key, value);
}

/* What Go's strconv.ParseBool takes. */
static int read_bool(const char *key, const char *value, bool *out, struct err *e)
{
	static const char *const words[2][6] = { { "0", "f", "F", "false", "FALSE", "False" },
						 { "1", "t", "T", "true", "TRUE", "True" } };

	for (size_t i = 0; i < 12; i++) {
		if (strcmp(value, words[i / 6][i % 6]) == 0) {
			*out = i / 6;
			return 0;
		}
	}
	return bad_value(key, value, e);
}

static int read_name(struct network *n, const char *key unused_arg, const char *value, struct err *e)
{
	if (!fw_name_is_valid(value))
		return err_set(e, ERR_INVALID, 0, "invalid bridge name %.100s", value);
	snprintf(n->bridge, sizeof(n->bridge), "%s", value);
	return 0;
}

static int read_mtu(struct network *n, const char *key, const char *value, struct err *e)
{
	char *end;
	unsigned long mtu = strtoul(value, &end, 10);

	if (*end || mtu < 68 || mtu > 65535)
		return bad_value(key, value, e);
	n->mtu = (unsigned)mtu;
	return 0;
}

static int read_masquerade(struct network *n, const char *key, const char *value, struct err *e)
{
	return read_bool(key, value, &n->masquerade, e);
}

static int read_icc(struct network *n, const char *key, const char *value, struct err *e)
{
	return read_bool(key, value, &n->icc, e);
}

static int read_binding(struct network *n, const char *key, const char *value, struct err *e)
{
	struct ip_addr a;

	if (ip_parse(value, &a) < 0 || a.family != AF_INET)
		return bad_value(key, value, e);
	n->binding = a;
	return 0;
}

static int read_prefix(struct network *n, const char *key, const char *value, struct err *e)
{
	if (!fw_name_is_valid(value) || strlen(value) > PREFIX_MAX)
		return bad_value(key, value, e);
	snprintf(n->prefix, sizeof(n->prefix), "%s", value);
	return 0;
}

/* The one mode that there is: what isn't published isn't reached, and addresses are hidden. */
static int read_gateway_mode(struct network *n unused_arg, const char *key, const char *value, struct err *e)
{
	if (strcmp(value, "nat") == 0)
		return 0;
	return err_set(e, ERR_UNSUPPORTED, 0, "network option %s=%.50s is not supported by Silo, only nat", key, value);
}

static int read_default_bridge(struct network *n, const char *key, const char *value, struct err *e)
{
	return n->predefined ? 0 : bad_value(key, value, e);
}

static int read_parent(struct network *n, const char *key, const char *value, struct err *e)
{
	if (!fw_name_is_valid(value) || strcmp(value, "lo") == 0)
		return bad_value(key, value, e);
	snprintf(n->parent, sizeof(n->parent), "%s", value);
	return 0;
}

static int read_macvlan_mode(struct network *n, const char *key unused_arg, const char *value, struct err *e)
{
	static const struct {
		const char *name;
		enum macvlan mode;
	} modes[] = { { "bridge", MACVLAN_BRIDGE }, { "private", MACVLAN_PRIVATE }, { "vepa", MACVLAN_VEPA } };

	for (size_t i = 0; i < array_len(modes); i++) {
		if (strcmp(value, modes[i].name) == 0) {
			n->mode = modes[i].mode;
			return 0;
		}
	}
	if (strcmp(value, "passthru") == 0)
		return err_set(e, ERR_UNSUPPORTED, 0, "macvlan mode passthru is not supported by Silo");
	return err_set(e, ERR_INVALID, 0, "unknown macvlan mode: %.100s", value);
}

/* driver: the only one that has it; NULL = all. Options that aren't here are refused. */
static const struct {
	const char *key, *driver;
	int (*read)(struct network *n, const char *key, const char *value, struct err *e);
} options[] = {
	{ "com.docker.network.bridge.name", "bridge", read_name },
	{ "com.docker.network.bridge.default_bridge", "bridge", read_default_bridge },
	{ "com.docker.network.bridge.enable_ip_masquerade", "bridge", read_masquerade },
	{ "com.docker.network.bridge.enable_icc", "bridge", read_icc },
	{ "com.docker.network.bridge.host_binding_ipv4", "bridge", read_binding },
	{ "com.docker.network.bridge.gateway_mode_ipv4", "bridge", read_gateway_mode },
	{ "com.docker.network.bridge.gateway_mode_ipv6", "bridge", read_gateway_mode },
	{ "com.docker.network.container_iface_prefix", NULL, read_prefix },
	{ "com.docker.network.driver.mtu", NULL, read_mtu },
	{ "parent", "macvlan", read_parent },
	{ "macvlan_mode", "macvlan", read_macvlan_mode },
};

static int read_one(struct network *n, const char *key, const char *value, struct err *e)
{
	for (size_t i = 0; i < array_len(options); i++) {
		if (strcmp(key, options[i].key) == 0 &&
		    (!options[i].driver || strcmp(options[i].driver, n->driver) == 0))
			return options[i].read(n, key, value, e);
	}
	return err_set(e, ERR_UNSUPPORTED, 0, "network option %.100s is not supported by Silo for driver %s", key,
		       n->driver);
}

int network_read_options(struct network *n, struct err *e)
{
	const char *key;
	json_t *value;

	n->mtu = 0;
	n->masquerade = n->icc = true;
	n->binding = (struct ip_addr){ 0 };
	n->mode = MACVLAN_BRIDGE;
	snprintf(n->prefix, sizeof(n->prefix), NET_DEVICE_PREFIX);
	if (strcmp(n->driver, "bridge") == 0)
		snprintf(n->bridge, sizeof(n->bridge), "br-%.12s", n->id);
	json_object_foreach(json_object_get(n->doc, "Options"), key, value) {
		if (read_one(n, key, json_string_value(value), e) < 0)
			return -1;
	}
	return 0;
}
