/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Silo's packet filter: two nftables of one name (families inet and bridge), a fixed set of rules, and sets and maps that
 * networks, endpoints and ports are elements of. Rules of other programs are never touched.
 *
 * The functions that add commands are pure; firewall_apply() makes one transaction of them.
 */
#ifndef SILO_NETWORK_FIREWALL_H
#define SILO_NETWORK_FIREWALL_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "os/ipaddr.h"

#define FIREWALL_TEXT_MAX (4 * MIB)

struct firewall;

enum fw_verb { FW_ADD, FW_DELETE };

struct fw_network {
	const char *bridge;
	const struct ip_net *nets[2]; /* NULL = none; interface address or network */
	bool masquerade, internal;
	bool icc; /* its ports may talk to each other */
};

struct fw_endpoint {
	const char *port; /* of the bridge */
	const unsigned char *mac;
	const struct ip_addr *addresses[2]; /* NULL = none */
	bool closed;                        /* of a network without icc */
};

/* In a network without icc: from may use this port of to. IPv4 addresses. */
struct fw_link {
	const struct ip_addr *from, *to;
	const char *proto;
	unsigned short port;
};

struct fw_port {
	const char *proto;          /* "tcp", "udp" or "sctp" */
	const struct ip_addr *host; /* all zero = every address of that family */
	unsigned short host_port;
	const struct ip_addr *to;
	unsigned short to_port;
};

/* No system call yet. table: [a-z0-9-]. Names of devices that are passed in later must satisfy fw_name_is_valid(). */
struct firewall *firewall_new(const char *table);
/* With the table's name that an engine with this state directory and id uses. */
struct firewall *firewall_new_for(const char *root, const char *engine_id);
void firewall_free(struct firewall *f); /* the rules stay */
bool fw_name_is_valid(const char *device);

void fw_network(const struct firewall *f, struct str *out, enum fw_verb verb, const struct fw_network *n);
void fw_endpoint(const struct firewall *f, struct str *out, enum fw_verb verb, const struct fw_endpoint *x);
void fw_link(const struct firewall *f, struct str *out, enum fw_verb verb, const struct fw_link *l);
void fw_port(const struct firewall *f, struct str *out, enum fw_verb verb, const struct fw_port *p);
/* What takes the tables away, and what makes them (empty). */
void fw_remove(const struct firewall *f, struct str *out);
void fw_create(const struct firewall *f, struct str *out);

/* All of the commands or none. Thread-safe. ERR_SYSTEM with the words of nftables. */
int firewall_apply(struct firewall *f, const struct str *commands, struct err *e) must_check;

#endif
