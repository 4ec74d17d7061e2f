/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "network/dns_msg.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define HEADER 12
#define LABEL_MAX 63
#define CLASS_IN 1
#define TTL_S 600 /* Docker's */
#define FLAG_RESPONSE 0x80
#define FLAG_OPCODE 0x78
#define FLAG_RD 0x01
#define FLAG_RA 0x80

static unsigned get16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void put16(unsigned char *p, unsigned v)
{
	p[0] = (unsigned char)(v >> 8);
	p[1] = (unsigned char)v;
}

/* The name of a question has no reason to be compressed: a pointer there is refused. Position behind it, or 0. */
static size_t parse_name(const unsigned char *msg, size_t n, size_t at, char out[static DNS_NAME_MAX])
{
	size_t len = 0;

	while (at < n && msg[at]) {
		size_t label = msg[at++];

		if (label > LABEL_MAX || label > n - at || len + label + 2 > DNS_NAME_MAX)
			return 0;
		if (len)
			out[len++] = '.';
		for (size_t i = 0; i < label; i++, at++) {
			if (msg[at] <= ' ' || msg[at] >= 0x7f || msg[at] == '.')
				return 0;
			out[len++] = (char)tolower(msg[at]);
		}
	}
	out[len] = 0;
	return at < n ? at + 1 : 0;
}

int dns_parse(const unsigned char *msg, size_t n, struct dns_query *q)
{
	size_t at;

	if (n < HEADER || msg[2] & (FLAG_RESPONSE | FLAG_OPCODE) || get16(msg + 4) != 1)
		return -1;
	at = parse_name(msg, n, HEADER, q->name);
	if (!at || n - at < 4 || get16(msg + at + 2) != CLASS_IN)
		return -1;
	q->type = get16(msg + at);
	q->end = at + 4;
	return 0;
}

struct answer {
	unsigned char *out;
	size_t len, max;
	unsigned count;
};

static void add_record(struct answer *a, unsigned type, const void *data, size_t n)
{
	unsigned char *p = a->out + a->len;

	if (a->max - a->len < 12 + n)
		return;
	put16(p, 0xc000 | HEADER); /* the name of the question */
	put16(p + 2, type);
	put16(p + 4, CLASS_IN);
	put16(p + 6, TTL_S >> 16);
	put16(p + 8, TTL_S & 0xffff);
	put16(p + 10, (unsigned)n);
	memcpy(p + 12, data, n);
	a->len += 12 + n;
	a->count++;
}

static void add_name(struct answer *a, const char *name)
{
	unsigned char data[DNS_NAME_MAX + 1];
	size_t n = 0;

	while (*name) {
		size_t label = strcspn(name, ".");

		if (!label || label > LABEL_MAX || n + label + 2 > sizeof(data))
			return;
		data[n++] = (unsigned char)label;
		memcpy(data + n, name, label);
		n += label;
		name += label + (name[label] == '.');
	}
	data[n++] = 0;
	add_record(a, DNS_PTR, data, n);
}

size_t dns_format(const unsigned char *msg, const struct dns_query *q, unsigned rcode, const struct dns_records *r,
		  unsigned char *out, size_t max)
{
	struct answer a = { .out = out, .len = q->end, .max = max };

	memcpy(out, msg, q->end);
	out[2] = (unsigned char)(FLAG_RESPONSE | (msg[2] & FLAG_RD));
	out[3] = (unsigned char)(FLAG_RA | rcode);
	for (size_t i = 0; r && i < r->n; i++) {
		unsigned type = r->addresses[i].family == AF_INET6 ? DNS_AAAA : DNS_A;

		if (q->type == type || q->type == DNS_ANY)
			add_record(&a, type, r->addresses[i].b, ip_bytes(r->addresses[i].family));
	}
	if (r && *r->name)
		add_name(&a, r->name);
	put16(out + 6, a.count);
	memset(out + 8, 0, 4);
	return a.len;
}

static bool reverse4(const char *name, struct ip_addr *out)
{
	unsigned v[4];
	int end = 0;

	if (strspn(name, "0123456789.") > 16 ||
	    sscanf(name, "%3u.%3u.%3u.%3u.in-addr.arpa%n", &v[3], &v[2], &v[1], &v[0], &end) != 4 || !end || name[end])
		return false;
	*out = (struct ip_addr){ .family = AF_INET };
	for (size_t i = 0; i < 4; i++) {
		if (v[i] > 255)
			return false;
		out->b[i] = (unsigned char)v[i];
	}
	return true;
}

static bool reverse6(const char *name, struct ip_addr *out)
{
	static const char digits[] = "0123456789abcdef";

	if (strlen(name) != 64 + strlen("ip6.arpa") || strcmp(name + 64, "ip6.arpa") != 0)
		return false;
	*out = (struct ip_addr){ .family = AF_INET6 };
	for (size_t i = 0; i < 32; i++) {
		const char *digit = strchr(digits, name[2 * i]);

		if (!digit || !*digit || name[2 * i + 1] != '.')
			return false;
		out->b[15 - i / 2] |= (unsigned char)((digit - digits) << (i % 2 ? 4 : 0));
	}
	return true;
}

bool dns_reverse(const char *name, struct ip_addr *out)
{
	return reverse4(name, out) || reverse6(name, out);
}
