/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/netlink.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/own.h"

/* lo is always the first device of a namespace. */
#define LO_INDEX 1
#define REQUEST_MAX 1024
#define ANSWER_MAX (32 * KIB)
#define ANSWER_SECONDS 10

/* A request under construction. Its parts are ours and small: REQUEST_MAX can't be exceeded. */
struct request {
	_Alignas(4) char b[REQUEST_MAX];
};

static struct nlmsghdr *head(struct request *r)
{
	return (struct nlmsghdr *)(void *)r->b;
}

static void *begin(struct request *r, unsigned type, unsigned flags, size_t body)
{
	memset(r, 0, sizeof(*r));
	head(r)->nlmsg_len = (uint32_t)NLMSG_SPACE(body);
	head(r)->nlmsg_type = (uint16_t)type;
	head(r)->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	return NLMSG_DATA(r->b);
}

static void put(struct request *r, unsigned type, const void *data, size_t n)
{
	struct rtattr *a = (struct rtattr *)(void *)(r->b + head(r)->nlmsg_len);

	a->rta_type = (uint16_t)type;
	a->rta_len = (uint16_t)RTA_LENGTH(n);
	if (n)
		memcpy(RTA_DATA(a), data, n);
	head(r)->nlmsg_len += (uint32_t)RTA_SPACE(n);
}

static void put_u32(struct request *r, unsigned type, uint32_t v)
{
	put(r, type, &v, sizeof(v));
}

static void put_name(struct request *r, unsigned type, const char *name)
{
	put(r, type, name, strnlen(name, LINK_NAME_MAX - 1) + 1);
}

static uint32_t nest(struct request *r, unsigned type)
{
	uint32_t at = head(r)->nlmsg_len;

	put(r, type | NLA_F_NESTED, NULL, 0);
	return at;
}

static void nest_end(struct request *r, uint32_t at)
{
	((struct rtattr *)(void *)(r->b + at))->rta_len = (uint16_t)(head(r)->nlmsg_len - at);
}

/* Send and wait for the acknowledgement. 0, or -1 with errno. */
static int ask(int sock, struct request *r)
{
	_Alignas(4) char buf[4096];
	ssize_t n;

	head(r)->nlmsg_flags |= NLM_F_ACK;
	if (send(sock, r->b, head(r)->nlmsg_len, 0) < 0)
		return -1;
	do {
		n = recv(sock, buf, sizeof(buf), 0);
	} while (n < 0 && errno == EINTR);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr))) {
		errno = n < 0 ? errno : EPROTO;
		return -1;
	}
	errno = -((struct nlmsgerr *)NLMSG_DATA(buf))->error;
	return errno ? -1 : 0;
}

int netlink_open(struct err *e)
{
	struct timeval limit = { .tv_sec = ANSWER_SECONDS };
	int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (sock < 0)
		return err_set(e, ERR_SYSTEM, errno, "netlink socket");
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return sock;
}

static int change_up(int sock, int index)
{
	struct request r;
	struct ifinfomsg *i = begin(&r, RTM_NEWLINK, 0, sizeof(*i));

	i->ifi_index = index;
	i->ifi_flags = i->ifi_change = IFF_UP;
	return ask(sock, &r);
}

int netlink_lo_up(struct err *e)
{
	autoclose int sock = netlink_open(e);

	if (sock < 0)
		return -1;
	return change_up(sock, LO_INDEX) ? err_set(e, ERR_SYSTEM, errno, "bring lo up") : 0;
}

int link_add_bridge(int sock, const char *name, unsigned mtu, struct err *e)
{
	struct request r;
	uint32_t info;

	begin(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	put_name(&r, IFLA_IFNAME, name);
	if (mtu)
		put_u32(&r, IFLA_MTU, mtu);
	info = nest(&r, IFLA_LINKINFO);
	put(&r, IFLA_INFO_KIND, "bridge", 6);
	nest_end(&r, info);
	return ask(sock, &r) ? err_set(e, errno == EEXIST ? ERR_CONFLICT : ERR_SYSTEM, errno, "create bridge %s", name)
			     : 0;
}

/* The peer must not be up from the start: the kernel refuses that with ENOTCONN. */
int link_add_veth(int sock, const struct veth *v, struct err *e)
{
	static const struct ifinfomsg peer_head;
	uint32_t info, data, peer;
	struct request r;
	struct ifinfomsg *i = begin(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(*i));

	i->ifi_flags = i->ifi_change = IFF_UP;
	put_name(&r, IFLA_IFNAME, v->name);
	put_u32(&r, IFLA_MASTER, (uint32_t)v->bridge);
	if (v->mtu)
		put_u32(&r, IFLA_MTU, v->mtu);
	info = nest(&r, IFLA_LINKINFO);
	put(&r, IFLA_INFO_KIND, "veth", 4);
	data = nest(&r, IFLA_INFO_DATA);
	peer = nest(&r, VETH_INFO_PEER);
	memcpy(r.b + head(&r)->nlmsg_len, &peer_head, sizeof(peer_head));
	head(&r)->nlmsg_len += (uint32_t)NLMSG_ALIGN(sizeof(peer_head));
	put_name(&r, IFLA_IFNAME, v->peer);
	put_u32(&r, IFLA_NET_NS_FD, (uint32_t)v->peer_ns);
	put(&r, IFLA_ADDRESS, v->peer_mac, MAC_BYTES);
	if (v->mtu)
		put_u32(&r, IFLA_MTU, v->mtu);
	nest_end(&r, peer);
	nest_end(&r, data);
	nest_end(&r, info);
	return ask(sock, &r) ? err_set(e, ERR_SYSTEM, errno, "create veth %s", v->name) : 0;
}

int link_add_macvlan(int sock, const struct macvlan_link *m, struct err *e)
{
	struct request r;
	uint32_t info, data;

	begin(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	put_name(&r, IFLA_IFNAME, m->name);
	put_u32(&r, IFLA_LINK, (uint32_t)m->parent);
	put(&r, IFLA_ADDRESS, m->mac, MAC_BYTES);
	if (m->ns >= 0)
		put_u32(&r, IFLA_NET_NS_FD, (uint32_t)m->ns);
	if (m->mtu)
		put_u32(&r, IFLA_MTU, m->mtu);
	info = nest(&r, IFLA_LINKINFO);
	put(&r, IFLA_INFO_KIND, m->kind, strlen(m->kind));
	data = nest(&r, IFLA_INFO_DATA);
	put_u32(&r, IFLA_MACVLAN_MODE, m->mode);
	nest_end(&r, data);
	nest_end(&r, info);
	return ask(sock, &r) ? err_set(e, ERR_SYSTEM, errno, "create %s %s", m->kind, m->name) : 0;
}

int link_change(int sock, int index, const struct link_change *c, struct err *e)
{
	struct request r;
	struct ifinfomsg *i = begin(&r, RTM_NEWLINK, 0, sizeof(*i));

	i->ifi_index = index;
	if (c->up)
		i->ifi_flags = i->ifi_change = IFF_UP;
	if (c->mac)
		put(&r, IFLA_ADDRESS, c->mac, MAC_BYTES);
	if (c->name)
		put_name(&r, IFLA_IFNAME, c->name);
	if (c->mtu)
		put_u32(&r, IFLA_MTU, c->mtu);
	if (c->master)
		put_u32(&r, IFLA_MASTER, (uint32_t)c->master);
	return ask(sock, &r) ? err_set(e, ERR_SYSTEM, errno, "change network device %d", index) : 0;
}

int link_set_hairpin(int sock, int port, struct err *e)
{
	unsigned char on = 1;
	struct request r;
	struct ifinfomsg *i = begin(&r, RTM_SETLINK, 0, sizeof(*i));
	uint32_t info;

	i->ifi_family = AF_BRIDGE;
	i->ifi_index = port;
	info = nest(&r, IFLA_PROTINFO);
	put(&r, IFLA_BRPORT_MODE, &on, sizeof(on));
	nest_end(&r, info);
	return ask(sock, &r) ? err_set(e, ERR_SYSTEM, errno, "hairpin mode of bridge port %d", port) : 0;
}

int link_delete(int sock, const char *name, struct err *e)
{
	struct request r;

	begin(&r, RTM_DELLINK, 0, sizeof(struct ifinfomsg));
	put_name(&r, IFLA_IFNAME, name);
	if (ask(sock, &r) == 0)
		return 0;
	return err_set(e, errno == ENODEV ? ERR_NOT_FOUND : ERR_SYSTEM, errno, "delete network device %s", name);
}

int link_add_address(int sock, int index, const struct ip_net *a, struct err *e)
{
	char text[IP_TEXT_MAX];
	struct ip_addr last = ip_last(a);
	struct request r;
	struct ifaddrmsg *i = begin(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*i));
	size_t n = ip_bytes(a->a.family);

	i->ifa_family = (uint8_t)a->a.family;
	i->ifa_prefixlen = (uint8_t)a->prefix;
	i->ifa_index = (uint32_t)index;
	if (a->a.family == AF_INET6)
		i->ifa_flags = IFA_F_NODAD; /* the engine gives no address twice; and a server may bind to it at once */
	put(&r, IFA_LOCAL, a->a.b, n);
	put(&r, IFA_ADDRESS, a->a.b, n);
	if (a->a.family == AF_INET && a->prefix < 31)
		put(&r, IFA_BROADCAST, last.b, n);
	if (ask(sock, &r) == 0 || errno == EEXIST)
		return 0;
	ip_net_format(a, text);
	return err_set(e, ERR_SYSTEM, errno, "add address %s", text);
}

int route_add_default(int sock, int index, const struct ip_addr *gateway, struct err *e)
{
	char text[IP_TEXT_MAX];
	struct request r;
	struct rtmsg *m = begin(&r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*m));

	m->rtm_family = (uint8_t)gateway->family;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = RTPROT_BOOT;
	m->rtm_scope = RT_SCOPE_UNIVERSE;
	m->rtm_type = RTN_UNICAST;
	put(&r, RTA_GATEWAY, gateway->b, ip_bytes(gateway->family));
	put_u32(&r, RTA_OIF, (uint32_t)index);
	if (ask(sock, &r) == 0)
		return 0;
	ip_format(gateway, text);
	return err_set(e, ERR_SYSTEM, errno, "default route by %s", text);
}

int route_delete_default(int sock, int family, struct err *e)
{
	struct request r;
	struct rtmsg *m = begin(&r, RTM_DELROUTE, 0, sizeof(*m));

	m->rtm_family = (uint8_t)family;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_scope = RT_SCOPE_NOWHERE;
	if (ask(sock, &r) == 0 || errno == ESRCH)
		return 0;
	return err_set(e, ERR_SYSTEM, errno, "remove the default route");
}

/* --- lists ----------------------------------------------------------------------------------------------------------- */

typedef int message_fn(void *arg, const struct nlmsghdr *h);

/* Every message of the answer to a dump request. The rest of the answer is read even when fn has seen enough. */
static int dump(int sock, struct request *r, message_fn *fn, void *arg, struct err *e)
{
	autofree char *buf = xmalloc(ANSWER_MAX);
	int rc = 0;

	if (send(sock, r->b, head(r)->nlmsg_len, 0) < 0)
		return err_set(e, ERR_SYSTEM, errno, "netlink");
	for (;;) {
		ssize_t n = recv(sock, buf, ANSWER_MAX, 0);
		struct nlmsghdr *h = (struct nlmsghdr *)(void *)buf;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(e, ERR_SYSTEM, errno, "netlink");
		for (; NLMSG_OK(h, (size_t)n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return rc;
			if (h->nlmsg_type == NLMSG_ERROR)
				return err_set(e, ERR_SYSTEM, -((struct nlmsgerr *)NLMSG_DATA(h))->error, "netlink");
			if (rc == 0)
				rc = fn(arg, h);
		}
	}
}

static const struct rtattr *find_attribute(const struct nlmsghdr *h, size_t body, unsigned type)
{
	const struct rtattr *a = (const void *)((const char *)NLMSG_DATA(h) + NLMSG_ALIGN(body));
	long left = (long)h->nlmsg_len - (long)NLMSG_SPACE(body);

	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == type)
			return a;
	}
	return NULL;
}

struct each_route {
	int (*fn)(void *arg, const struct ip_net *destination);
	void *arg;
};

static int on_route(void *arg, const struct nlmsghdr *h)
{
	const struct each_route *x = arg;
	const struct rtmsg *m = NLMSG_DATA(h);
	const struct rtattr *to = find_attribute(h, sizeof(*m), RTA_DST);
	struct ip_net n = { .a.family = AF_INET, .prefix = m->rtm_dst_len };

	if (h->nlmsg_type != RTM_NEWROUTE || m->rtm_family != AF_INET || !to || RTA_PAYLOAD(to) < 4 ||
	    !m->rtm_dst_len || m->rtm_type != RTN_UNICAST)
		return 0;
	memcpy(n.a.b, RTA_DATA(to), 4);
	return x->fn(x->arg, &n);
}

int route_each(int sock, int (*fn)(void *arg, const struct ip_net *destination), void *arg, struct err *e)
{
	struct each_route x = { fn, arg };
	struct request r;
	struct rtmsg *m = begin(&r, RTM_GETROUTE, NLM_F_DUMP, sizeof(*m));

	m->rtm_family = AF_INET;
	return dump(sock, &r, on_route, &x, e);
}

struct each_link {
	int (*fn)(void *arg, const char *name);
	void *arg;
};

static int on_link(void *arg, const struct nlmsghdr *h)
{
	const struct each_link *x = arg;
	const struct rtattr *name = find_attribute(h, sizeof(struct ifinfomsg), IFLA_IFNAME);

	return h->nlmsg_type == RTM_NEWLINK && name ? x->fn(x->arg, RTA_DATA(name)) : 0;
}

int link_each(int sock, int (*fn)(void *arg, const char *name), void *arg, struct err *e)
{
	struct each_link x = { fn, arg };
	struct request r;

	begin(&r, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
	return dump(sock, &r, on_link, &x, e);
}

int link_index(int sock, const char *name, struct err *e)
{
	_Alignas(4) char buf[16 * KIB];
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)buf;
	struct request r;
	ssize_t n;

	begin(&r, RTM_GETLINK, 0, sizeof(struct ifinfomsg));
	put_name(&r, IFLA_IFNAME, name);
	if (send(sock, r.b, head(&r)->nlmsg_len, 0) < 0)
		return err_set(e, ERR_SYSTEM, errno, "netlink");
	do {
		n = recv(sock, buf, sizeof(buf), 0);
	} while (n < 0 && errno == EINTR);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct ifinfomsg)) || h->nlmsg_type != RTM_NEWLINK)
		return err_set(e, ERR_NOT_FOUND, 0, "no network device %s", name);
	return ((struct ifinfomsg *)NLMSG_DATA(h))->ifi_index;
}
