/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "network/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/own.h"
#include "base/str.h"

#define ANSWER_MAX (64 * KIB)
#define ANSWER_SECONDS 10
#define FORGET_BYTES_MAX (1 * MIB) /* of requests: some ten thousand clients */

/* --- attributes --------------------------------------------------------------------------------------------------------------- */

struct bytes {
	const char *p;
	size_t n;
};

/* The attribute of this type among those in `in`: with its header in *whole (may be NULL), without it returned. */
static struct bytes attribute(struct bytes in, unsigned type, struct bytes *whole)
{
	while (in.n >= NLA_HDRLEN) {
		struct nlattr a;
		size_t step;

		memcpy(&a, in.p, sizeof(a));
		if (a.nla_len < NLA_HDRLEN || a.nla_len > in.n)
			break;
		if ((a.nla_type & NLA_TYPE_MASK) == type) {
			if (whole)
				*whole = (struct bytes){ in.p, a.nla_len };
			return (struct bytes){ in.p + NLA_HDRLEN, a.nla_len - (size_t)NLA_HDRLEN };
		}
		step = NLA_ALIGN(a.nla_len);
		if (step > in.n)
			break;
		in.p += step;
		in.n -= step;
	}
	return (struct bytes){ NULL, 0 };
}

struct tuple {
	struct ip_addr from, to;
	unsigned proto, port;
};

static bool read_tuple(struct bytes in, struct tuple *t)
{
	struct bytes ip = attribute(in, CTA_TUPLE_IP, NULL), proto = attribute(in, CTA_TUPLE_PROTO, NULL);
	bool is6 = attribute(ip, CTA_IP_V6_SRC, NULL).n != 0;
	struct bytes from = attribute(ip, is6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, NULL);
	struct bytes to = attribute(ip, is6 ? CTA_IP_V6_DST : CTA_IP_V4_DST, NULL);
	struct bytes number = attribute(proto, CTA_PROTO_NUM, NULL), port = attribute(proto, CTA_PROTO_DST_PORT, NULL);
	uint16_t value;

	*t = (struct tuple){ .from.family = is6 ? AF_INET6 : AF_INET, .to.family = is6 ? AF_INET6 : AF_INET };
	if (!from.p || !to.p || !number.p || !port.p || from.n != ip_bytes(t->from.family) || to.n != from.n ||
	    number.n < 1 || port.n < sizeof(value))
		return false;
	memcpy(t->from.b, from.p, from.n);
	memcpy(t->to.b, to.p, to.n);
	memcpy(&value, port.p, sizeof(value));
	t->proto = (unsigned char)*number.p;
	t->port = ntohs(value);
	return true;
}

/* --- requests ----------------------------------------------------------------------------------------------------------------- */

static void add_request(struct str *out, unsigned type, unsigned flags, int family, const struct bytes attributes[2])
{
	struct nfgenmsg g = { .nfgen_family = (uint8_t)family, .version = NFNETLINK_V0 };
	struct nlmsghdr h = { .nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type),
			      .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
			      .nlmsg_len = NLMSG_LENGTH(sizeof(g)) };
	static const char padding[NLA_ALIGNTO];

	for (size_t i = 0; i < 2; i++)
		h.nlmsg_len += (uint32_t)NLA_ALIGN(attributes[i].n);
	if (out->len + h.nlmsg_len > out->max)
		return;
	str_add(out, &h, sizeof(h));
	str_add(out, &g, sizeof(g));
	for (size_t i = 0; i < 2; i++) {
		str_add(out, attributes[i].p, attributes[i].n);
		str_add(out, padding, NLA_ALIGN(attributes[i].n) - attributes[i].n);
	}
}

struct wanted {
	const struct ip_addr *host;
	unsigned port;
	bool any;
};

/* One entry of the table: when it is wanted, the request that deletes it. */
static void look_at(const struct wanted *w, struct bytes entry, struct str *out)
{
	struct bytes found[2] = { { NULL, 0 }, { NULL, 0 } };
	struct bytes original = attribute(entry, CTA_TUPLE_ORIG, &found[0]);
	struct tuple there, back;

	if (!read_tuple(original, &there) || !read_tuple(attribute(entry, CTA_TUPLE_REPLY, NULL), &back) ||
	    there.proto != IPPROTO_UDP || there.port != w->port || there.to.family != w->host->family ||
	    (!w->any && !ip_equal(&there.to, w->host)))
		return;
	if (ip_equal(&back.from, &there.to) && !ip_equal(&back.to, &there.from)) /* sent on under our own address */
		return;
	(void)attribute(entry, CTA_ID, &found[1]);
	add_request(out, IPCTNL_MSG_CT_DELETE, 0, there.to.family, found);
}

static int read_table(int sock, const struct wanted *w, struct str *out, struct err *e)
{
	autofree char *buf = xmalloc(ANSWER_MAX);

	for (;;) {
		ssize_t n = recv(sock, buf, ANSWER_MAX, 0);
		struct nlmsghdr *h = (struct nlmsghdr *)(void *)buf;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(e, ERR_SYSTEM, n ? errno : EPROTO, "read the table of connections");
		for (; NLMSG_OK(h, (size_t)n); h = NLMSG_NEXT(h, n)) {
			size_t head = NLMSG_LENGTH(sizeof(struct nfgenmsg));

			if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
				return 0; /* an error: a kernel without conntrack, which has nothing to forget */
			if (h->nlmsg_len > head)
				look_at(w, (struct bytes){ (const char *)h + head, h->nlmsg_len - head }, out);
		}
	}
}

int conntrack_forget_udp(const struct ip_addr *host, unsigned short port, struct err *e)
{
	static const struct ip_addr none;
	static const struct bytes nothing[2];
	autoclose int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	struct timeval limit = { .tv_sec = ANSWER_SECONDS };
	struct wanted w = { host, port, memcmp(host->b, none.b, sizeof(none.b)) == 0 };
	autostr ask, forget;

	str_init(&ask, KIB);
	str_init(&forget, FORGET_BYTES_MAX);
	if (sock < 0)
		return errno == EPROTONOSUPPORT ? 0 : err_set(e, ERR_SYSTEM, errno, "netlink socket");
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	add_request(&ask, IPCTNL_MSG_CT_GET, NLM_F_DUMP, host->family, nothing);
	if (send(sock, ask.s, ask.len, 0) < 0)
		return err_set(e, ERR_SYSTEM, errno, "read the table of connections");
	if (read_table(sock, &w, &forget, e) < 0)
		return -1;
	/* One after the other: the kernel handles several messages in one datagram, but not above its own limit. */
	for (size_t at = 0; at < forget.len;) {
		struct nlmsghdr h;

		memcpy(&h, forget.s + at, sizeof(h));
		if (send(sock, forget.s + at, h.nlmsg_len, 0) < 0)
			return err_set(e, ERR_SYSTEM, errno, "forget a connection");
		at += h.nlmsg_len;
	}
	return 0;
}
