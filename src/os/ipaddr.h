/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* IPv4 and IPv6 addresses and prefixes. Pure: no system call. */
#ifndef SILO_OS_IPADDR_H
#define SILO_OS_IPADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define IP_TEXT_MAX 64  /* an address or "address/prefix", with NUL */
#define MAC_BYTES 6
#define MAC_TEXT_MAX 18 /* "02:42:ac:11:00:02" */

struct ip_addr {
	int family; /* AF_INET, AF_INET6, or 0 = none */
	unsigned char b[16];
};

struct ip_net {
	struct ip_addr a; /* may have host bits: an interface's address */
	unsigned prefix;
};

size_t ip_bytes(int family); /* 4 or 16 */
/* "10.0.0.1", "fd00::1". 0, or -1. */
int ip_parse(const char *text, struct ip_addr *out);
/* "10.0.0.0/24". 0, or -1 (no or too long a prefix included). */
int ip_net_parse(const char *text, struct ip_net *out);
void ip_format(const struct ip_addr *a, char out[static IP_TEXT_MAX]); /* "" for none */
void ip_net_format(const struct ip_net *n, char out[static IP_TEXT_MAX]);
bool ip_equal(const struct ip_addr *a, const struct ip_addr *b);
/* The address with all host bits zero / one. */
struct ip_addr ip_first(const struct ip_net *n);
struct ip_addr ip_last(const struct ip_net *n);
bool ip_in(const struct ip_net *n, const struct ip_addr *a);
bool ip_overlap(const struct ip_net *a, const struct ip_net *b);
/* The next address; wraps at the end of the family. */
struct ip_addr ip_next(const struct ip_addr *a);
/* The address n prefixes of this size further. */
struct ip_addr ip_next_net(const struct ip_net *n);
/* As memcmp, addresses of one family. */
int ip_compare(const struct ip_addr *a, const struct ip_addr *b);

int mac_parse(const char *text, unsigned char out[static MAC_BYTES]);
void mac_format(const unsigned char mac[static MAC_BYTES], char out[static MAC_TEXT_MAX]);
/* The link-local address that a kernel makes of a MAC (EUI-64). */
struct ip_addr mac_link_local(const unsigned char mac[static MAC_BYTES]);

#endif
