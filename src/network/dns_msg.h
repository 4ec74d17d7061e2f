/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages of the domain name system, as far as a small server needs them. Source: RFC 1035 section 4. Pure. */
#ifndef SILO_NETWORK_DNS_MSG_H
#define SILO_NETWORK_DNS_MSG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "os/ipaddr.h"

#define DNS_NAME_MAX 256 /* text without the last dot, with NUL */
#define DNS_UDP_MAX 4096
#define DNS_ADDRESSES_MAX 16

enum { DNS_A = 1, DNS_PTR = 12, DNS_AAAA = 28, DNS_ANY = 255 };
enum { DNS_OK = 0, DNS_SERVER_FAILURE = 2, DNS_NO_NAME = 3, DNS_REFUSED = 5 };

struct dns_query {
	char name[DNS_NAME_MAX]; /* lower case */
	unsigned type;
	size_t end; /* of the question section */
};

/* One question of class IN, of an ordinary query. 0; -1: not a query that can be answered or forwarded. */
int dns_parse(const unsigned char *msg, size_t n, struct dns_query *q) must_check;

struct dns_records {
	struct ip_addr addresses[DNS_ADDRESSES_MAX]; /* those of the wrong type are left out */
	size_t n;
	char name[DNS_NAME_MAX]; /* for DNS_PTR; "" = none */
};

/* The answer to msg (which dns_parse took): its length; never more than max, which must be at least 512. */
size_t dns_format(const unsigned char *msg, const struct dns_query *q, unsigned rcode, const struct dns_records *r,
		  unsigned char *out, size_t max);

/* "4.3.2.1.in-addr.arpa" -> 1.2.3.4; ip6.arpa likewise. False for other names. */
bool dns_reverse(const char *name, struct ip_addr *out);

#endif
