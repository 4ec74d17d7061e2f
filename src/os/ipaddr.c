/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/ipaddr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t ip_bytes(int family)
{
	return family == AF_INET6 ? 16 : 4;
}

int ip_parse(const char *text, struct ip_addr *out)
{
	struct ip_addr a = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };

	if (inet_pton(a.family, text, a.b) != 1)
		return -1;
	*out = a;
	return 0;
}

int ip_net_parse(const char *text, struct ip_net *out)
{
	const char *slash = strchr(text, '/');
	char address[IP_TEXT_MAX];
	struct ip_net n;
	size_t digits;

	if (!slash || (size_t)(slash - text) >= sizeof(address))
		return -1;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = 0;
	digits = strspn(slash + 1, "0123456789");
	if (!digits || digits > 3 || slash[1 + digits] || ip_parse(address, &n.a) < 0)
		return -1;
	n.prefix = (unsigned)atoi(slash + 1);
	if (n.prefix > 8 * ip_bytes(n.a.family))
		return -1;
	*out = n;
	return 0;
}

void ip_format(const struct ip_addr *a, char out[static IP_TEXT_MAX])
{
	if (!a->family || !inet_ntop(a->family, a->b, out, IP_TEXT_MAX))
		*out = 0;
}

void ip_net_format(const struct ip_net *n, char out[static IP_TEXT_MAX])
{
	ip_format(&n->a, out);
	if (*out)
		snprintf(out + strlen(out), IP_TEXT_MAX - strlen(out), "/%u", n->prefix);
}

int ip_compare(const struct ip_addr *a, const struct ip_addr *b)
{
	return memcmp(a->b, b->b, ip_bytes(a->family));
}

bool ip_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	return a->family == b->family && ip_compare(a, b) == 0;
}

static struct ip_addr host_bits(const struct ip_net *n, bool ones)
{
	struct ip_addr a = n->a;

	for (unsigned bit = n->prefix; bit < 8 * ip_bytes(a.family); bit++) {
		unsigned char mask = (unsigned char)(0x80 >> bit % 8);

		a.b[bit / 8] = (unsigned char)(ones ? a.b[bit / 8] | mask : a.b[bit / 8] & ~mask);
	}
	return a;
}

struct ip_addr ip_first(const struct ip_net *n)
{
	return host_bits(n, false);
}

struct ip_addr ip_last(const struct ip_net *n)
{
	return host_bits(n, true);
}

bool ip_in(const struct ip_net *n, const struct ip_addr *a)
{
	struct ip_addr first = ip_first(n), last = ip_last(n);

	return a->family == n->a.family && ip_compare(a, &first) >= 0 && ip_compare(a, &last) <= 0;
}

bool ip_overlap(const struct ip_net *a, const struct ip_net *b)
{
	return ip_in(a, &b->a) || ip_in(b, &a->a);
}

struct ip_addr ip_next(const struct ip_addr *a)
{
	struct ip_addr next = *a;

	for (size_t i = ip_bytes(a->family); i-- > 0;) {
		if (++next.b[i])
			break;
	}
	return next;
}

struct ip_addr ip_next_net(const struct ip_net *n)
{
	struct ip_addr last = ip_last(n);

	return ip_next(&last);
}

int mac_parse(const char *text, unsigned char out[static MAC_BYTES])
{
	unsigned v[MAC_BYTES];
	int end = 0;

	if (strlen(text) != MAC_TEXT_MAX - 1 || strspn(text, "0123456789abcdefABCDEF:") != MAC_TEXT_MAX - 1 ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &end) != MAC_BYTES ||
	    end != MAC_TEXT_MAX - 1)
		return -1;
	for (size_t i = 0; i < MAC_BYTES; i++)
		out[i] = (unsigned char)v[i];
	return 0;
}

void mac_format(const unsigned char mac[static MAC_BYTES], char out[static MAC_TEXT_MAX])
{
	snprintf(out, MAC_TEXT_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

struct ip_addr mac_link_local(const unsigned char mac[static MAC_BYTES])
{
	return (struct ip_addr){ .family = AF_INET6,
				 .b = { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3],
					mac[4], mac[5] } };
}
