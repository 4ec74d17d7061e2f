/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The name server of containers: answers what the engine knows, forwards the rest. One thread for all sockets (UDP), one
 * short-lived thread per TCP connection.
 */
#ifndef SILO_NETWORK_DNS_H
#define SILO_NETWORK_DNS_H

#include "base/err.h"
#include "network/dns_msg.h"

#define DNS_KEY_MAX 80
#define DNS_UPSTREAMS_MAX 3

struct dns;

struct dns_verdict {
	bool known;    /* records are the answer, even when there are none of the type asked for */
	unsigned rcode; /* of an unknown name when there is no upstream */
	struct dns_records records;
	struct ip_addr upstreams[DNS_UPSTREAMS_MAX];
	size_t n_upstreams;
};

/* Called from the server's threads, with no lock of the server held that dns_listen() or dns_forget() needs. *v is zeroed. */
typedef void dns_ask_fn(void *arg, const char *key, const struct ip_addr *from, const struct dns_query *q,
			struct dns_verdict *v);

struct dns *dns_new(dns_ask_fn *ask, void *arg, struct err *e) must_check;
void dns_free(struct dns *d);
/* Serve these sockets (taken, whatever happens) under a key that ask() gets. */
int dns_listen(struct dns *d, const char *key, int udp, int tcp, struct err *e) must_check;
/* Close the sockets with this key. */
void dns_forget(struct dns *d, const char *key);

#endif
