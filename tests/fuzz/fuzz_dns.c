/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Queries of containers to the embedded name server. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "network/dns_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct dns_records r = { .n = DNS_ADDRESSES_MAX };
	unsigned char out[512];
	struct ip_addr a;
	struct dns_query q;

	if (dns_parse(data, n, &q) < 0)
		return 0;
	if (strlen(q.name) >= DNS_NAME_MAX || q.end > n || q.end > sizeof(out))
		abort();
	if (dns_reverse(q.name, &a) && !a.family)
		abort();
	for (size_t i = 0; i < r.n; i++)
		r.addresses[i].family = i % 2 ? AF_INET6 : AF_INET;
	memcpy(r.name, q.name, sizeof(r.name));
	if (dns_format(data, &q, DNS_OK, &r, out, sizeof(out)) > sizeof(out))
		abort();
	return 0;
}
