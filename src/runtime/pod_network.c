/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A macvtap device in passthru mode takes everything that arrives on the namespace's device, and the guest has that one's
 * MAC address, addresses and gateways: to the network it is the device. Undoing is deleting the macvtap.
 */
#include "runtime/pod_network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "monitor/client.h"
#include "network/tap.h"
#include "os/ipaddr.h"
#include "os/netlink.h"

#define TAP_NAME "silotap0"
#define ROUTES_BYTES_MAX (256 * KIB)

struct pod_network {
	int tap;
};

enum { NAMESPACE_NONE, NAMESPACE_NEW, NAMESPACE_GIVEN };

static int find_namespace(const json_t *config, const char **path)
{
	const json_t *ns;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(config, "linux"), "namespaces"), i, ns) {
		if (strcmp(json_str(ns, "type", ""), "network") != 0)
			continue;
		*path = json_str(ns, "path", "");
		return **path ? NAMESPACE_GIVEN : NAMESPACE_NEW;
	}
	return NAMESPACE_NONE;
}

/* ---- in the namespace: we are single-threaded, so this process may go there and come back ---- */

static int enter(const char *path, int *back, struct err *e)
{
	autoclose int ns = open(path, O_RDONLY | O_CLOEXEC);

	*back = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (ns < 0 || *back < 0 || setns(ns, CLONE_NEWNET))
		return err_set(e, ERR_INVALID, errno, "linux.namespaces: network namespace %s", path);
	return 0;
}

static void leave(int back)
{
	if (back >= 0 && setns(back, CLONE_NEWNET))
		log_warn("return to the network namespace: %s", strerror(errno));
}

static int prefix_length(const struct sockaddr *mask, int family)
{
	const unsigned char *bytes =
		family == AF_INET
			? (const unsigned char *)&((const struct sockaddr_in *)(const void *)mask)->sin_addr
			: (const unsigned char *)&((const struct sockaddr_in6 *)(const void *)mask)->sin6_addr;
	int bits = 0;

	for (int i = 0; i < (family == AF_INET ? 4 : 16); i++)
		bits += __builtin_popcount(bytes[i]);
	return bits;
}

/* "a/n", or false: link-local IPv6 addresses are the guest's own affair. */
static bool address_text(const struct ifaddrs *a, char out[static 80])
{
	char text[INET6_ADDRSTRLEN];
	int family = a->ifa_addr ? a->ifa_addr->sa_family : AF_UNSPEC;
	const void *address =
		family == AF_INET ? (const void *)&((const struct sockaddr_in *)(const void *)a->ifa_addr)->sin_addr
				  : (const void *)&((const struct sockaddr_in6 *)(const void *)a->ifa_addr)->sin6_addr;

	if ((family != AF_INET && family != AF_INET6) || !a->ifa_netmask)
		return false;
	if (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL((const struct in6_addr *)address))
		return false;
	if (!inet_ntop(family, address, text, sizeof(text)))
		return false;
	snprintf(out, 80, "%s/%d", text, prefix_length(a->ifa_netmask, family));
	return true;
}

/* The first device with an address, else the first one, that is up and isn't the loopback. NULL = none. */
static const char *choose_device(const struct ifaddrs *all)
{
	const char *first = NULL;
	char text[80];

	for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
		if ((a->ifa_flags & IFF_LOOPBACK) || !(a->ifa_flags & IFF_UP))
			continue;
		if (address_text(a, text))
			return a->ifa_name;
		first = first ? first : a->ifa_name;
	}
	return first;
}

/* {"name", "addresses", "gateways"}, empty where there is no device. */
static json_t *describe_device(struct err *e)
{
	struct ifaddrs *all;
	json_t *out = json_object();
	const char *name;
	char text[80];

	if (getifaddrs(&all)) {
		json_decref(out);
		err_set(e, ERR_SYSTEM, errno, "read addresses");
		return NULL;
	}
	name = choose_device(all);
	if (name) {
		json_decref(out);
		out = json_pack("{s:s, s:[], s:[]}", "name", name, "addresses", "gateways");
	}
	for (const struct ifaddrs *a = all; name && a; a = a->ifa_next) {
		if (!strcmp(name, a->ifa_name) && address_text(a, text))
			json_array_append_new(json_object_get(out, "addresses"), json_string(text));
	}
	freeifaddrs(all);
	return out;
}

static int add_link(json_t *device, struct err *e)
{
	autoclose int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq mac = { 0 }, mtu = { 0 };
	const unsigned char *m = (const unsigned char *)mac.ifr_hwaddr.sa_data;

	snprintf(mac.ifr_name, sizeof(mac.ifr_name), "%s", json_str(device, "name", ""));
	memcpy(mtu.ifr_name, mac.ifr_name, sizeof(mtu.ifr_name));
	if (sock < 0 || ioctl(sock, SIOCGIFHWADDR, &mac) || ioctl(sock, SIOCGIFMTU, &mtu))
		return err_set(e, ERR_SYSTEM, errno, "read device %s", mac.ifr_name);
	json_object_set_new(device, "mac",
			    json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]));
	json_object_set_new(device, "mtu", json_integer(mtu.ifr_mtu));
	return 0;
}

/* /proc/net/route: "Iface Destination Gateway Flags RefCnt Use Metric Mask ...", addresses as the machine has them. */
static void add_gateway4(json_t *device, char *text)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char name[32], shown[INET_ADDRSTRLEN];
		unsigned destination, gateway, mask;

		if (sscanf(line, "%31s %x %x %*x %*d %*d %*d %x", name, &destination, &gateway, &mask) != 4 ||
		    destination || mask || !gateway || strcmp(name, json_str(device, "name", "")) != 0)
			continue;
		if (inet_ntop(AF_INET, &gateway, shown, sizeof(shown)))
			json_array_append_new(json_object_get(device, "gateways"), json_string(shown));
		return;
	}
}

/* /proc/net/ipv6_route: destination, length, source, length, next hop, metric, ..., device. */
static void add_gateway6(json_t *device, char *text)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char destination[33], hop[33], name[32], shown[INET6_ADDRSTRLEN];
		unsigned char bytes[16];
		unsigned length;

		if (sscanf(line, "%32s %x %*s %*s %32s %*s %*s %*s %*s %31s", destination, &length, hop, name) != 4 ||
		    length || strcmp(name, json_str(device, "name", "")) != 0 || strspn(hop, "0") == 32)
			continue;
		for (int i = 0; i < 16; i++)
			bytes[i] = (unsigned char)strtoul((char[3]){ hop[2 * i], hop[2 * i + 1], 0 }, NULL, 16);
		if (inet_ntop(AF_INET6, bytes, shown, sizeof(shown)))
			json_array_append_new(json_object_get(device, "gateways"), json_string(shown));
		return;
	}
}

static void add_gateways(json_t *device)
{
	static const struct {
		const char *file;
		void (*add)(json_t *device, char *text);
	} tables[] = { { "/proc/self/net/route", add_gateway4 }, { "/proc/self/net/ipv6_route", add_gateway6 } };

	for (size_t i = 0; i < array_len(tables); i++) {
		autostr text;

		str_init(&text, ROUTES_BYTES_MAX);
		if (!io_read_file(AT_FDCWD, tables[i].file, &text, NULL) && text.len)
			tables[i].add(device, text.s);
	}
}

static int make_tap(const json_t *device, struct err *e)
{
	autoclose int sock = netlink_open(e);
	unsigned char mac[MAC_BYTES];
	struct macvlan_link m = {
		.kind = "macvtap", .name = TAP_NAME, .ns = -1, .mac = mac, .mode = MACVLAN_PASSTHRU
	};

	if (sock < 0)
		return -1;
	if (mac_parse(json_str(device, "mac", ""), mac))
		return err_set(e, ERR_UNSUPPORTED, 0, "device %s has no Ethernet address",
			       json_str(device, "name", ""));
	m.parent = link_index(sock, json_str(device, "name", ""), e);
	return m.parent < 0 ? -1 : macvtap_open(sock, &m, e);
}

/* Returns the device, with "tap" 0 where there is one. */
static json_t *connect_device(struct pod_network *n, struct err *e)
{
	autojson *device = describe_device(e);

	if (!device || !json_object_size(device))
		return take_ptr(&device);
	if (add_link(device, e))
		return NULL;
	add_gateways(device);
	n->tap = make_tap(device, e);
	if (n->tap < 0)
		return NULL;
	json_object_set_new(device, "card", json_integer(0));
	json_object_set_new(device, "tap", json_integer(0));
	return take_ptr(&device);
}

static int connect_namespace(struct pod_network *n, const char *path, json_t *doc, struct err *e)
{
	autoclose int back = -1;
	json_t *device = NULL;

	if (!enter(path, &back, e))
		device = connect_device(n, e);
	leave(back);
	if (!device)
		return err_prefix(e, "network of the virtual machine");
	if (n->tap < 0) {
		json_decref(device);
		return 0;
	}
	json_object_set_new(json_object_get(doc, "silo"), "network",
			    json_pack("{s:[o], s:i}", "interfaces", device, "tap", MONITOR_NETWORK_FD));
	json_object_set_new(doc, "pod_network", json_string(path));
	return 0;
}

struct pod_network *pod_network_connect(const json_t *config, json_t *doc, struct err *e)
{
	struct pod_network *n = xcalloc(1, sizeof(*n));
	const char *path = NULL;
	int rc = 0;

	n->tap = -1;
	switch (find_namespace(config, &path)) {
	case NAMESPACE_NONE:
		rc = err_set(e, ERR_UNSUPPORTED, 0,
			     "linux.namespaces: a virtual machine can't have the host's network");
		break;
	case NAMESPACE_GIVEN:
		rc = connect_namespace(n, path, doc, e);
		break;
	default:
		break;
	}
	if (!rc)
		return n;
	pod_network_free(n);
	return NULL;
}

int pod_network_tap(const struct pod_network *n)
{
	return n->tap;
}

void pod_network_free(struct pod_network *n)
{
	if (n)
		close_fd(&n->tap);
	free(n);
}

void pod_network_undo(const json_t *doc)
{
	const char *path = json_str(doc, "pod_network", NULL);
	struct err e = { 0 };
	autoclose int back = -1;

	if (!path)
		return;
	/* a namespace that is gone has taken its devices along */
	if (!enter(path, &back, &e)) {
		autoclose int sock = netlink_open(&e);

		if (sock >= 0 && link_delete(sock, TAP_NAME, &e))
			log_debug("%s", e.msg);
	}
	leave(back);
}
