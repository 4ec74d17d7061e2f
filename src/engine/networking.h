/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Networks, and what containers have of them.
 *
 * One lock for all of it, taken before engine.lock and container.lock: callers hold neither of those. container.op may be
 * held. A container is known here by its id, from its creation (net_create) to its removal (net_forget).
 */
#ifndef SILO_ENGINE_NETWORKING_H
#define SILO_ENGINE_NETWORKING_H

#include <pthread.h>

#include "engine/state.h"
#include "network/dns.h"
#include "network/firewall.h"
#include "network/ipam.h"
#include "network/relay.h"
#include "os/netlink.h"

#define NET_V4 0
#define NET_V6 1
#define NET_DEVICE_PREFIX "eth"

struct network {
	struct network *next;
	char id[ENGINE_ID_MAX];
	char *name;
	const char *driver; /* "bridge", "macvlan", "host", "null" */
	char created[TIME_TEXT_MAX];
	json_t *doc; /* canonical: IPAM, Options, Labels, Internal, EnableIPv6, Attachable */
	char bridge[LINK_NAME_MAX];
	struct ip_net nets[2];   /* the gateway's address, and the prefix; family 0 = none */
	struct ip_net ranges[2]; /* to give addresses from; family 0 = all of it */
	struct ip_addr last[2];  /* given most recently */
	bool user_subnet, internal, masquerade, predefined;
	bool icc;                   /* its containers may talk to each other */
	unsigned mtu;               /* 0 = default */
	struct ip_addr binding;     /* where ports are published that name no address; family 0 = everywhere */
	char prefix[LINK_NAME_MAX]; /* of the devices' names in containers */
	char parent[LINK_NAME_MAX]; /* macvlan: the host's device */
	enum macvlan mode;
	bool up;      /* the bridge is there and known to the packet filter */
	bool dns;     /* a name server listens on the gateway's address, for virtual machines */
	unsigned short dns_port;
};

/* A container's place in a network, while it runs. */
struct endpoint {
	struct endpoint *next;
	struct network *n;
	char id[ENGINE_ID_MAX];
	unsigned char mac[MAC_BYTES];
	struct ip_addr addresses[2];
	char port[LINK_NAME_MAX]; /* of the bridge */
	char name[LINK_NAME_MAX]; /* in the container */
	int card;                 /* of a virtual machine */
};

struct port_binding {
	struct port_binding *next;
	char proto[8];
	unsigned short port, host_port;
	struct ip_addr host; /* all zero = every address */
	int sock;            /* keeps others off; -1 = none */
};

struct net_box {
	struct net_box *next;
	char id[ENGINE_ID_MAX];
	bool hyperv;
	json_t *config;             /* {network name: canonical EndpointSettings} */
	json_t *links;              /* on the default bridge: {alias: container id} */
	json_t *link_rules;         /* what that opens in a closed network (links.c); NULL = nothing */
	struct endpoint *endpoints; /* the first is the one with the default route */
	struct port_binding *ports;
	bool filtered; /* endpoints and ports are in the packet filter */
	bool told;     /* the event "connect" was sent */
};

struct networking {
	struct engine *g;
	pthread_mutex_t lock;
	struct network *networks;
	struct net_box *boxes;
	struct firewall *firewall;
	bool filter_up;
	struct dns *dns;         /* NULL until somebody needs it */
	struct relay *relay;     /* NULL: "userland-proxy": false */
	struct ipam_pool *pools; /* where networks without a subnet get one */
	size_t n_pools;
	bool keep_forwarding; /* "ip-forward": false: the host's setting stays as it is */
	int netlink;
	unsigned next_port;
};

/* --- networks (networks.c); lock held ------------------------------------------------------------------------------- */
/* By name, id, or unique prefix of the id. ERR_NOT_FOUND "network X not found". Borrowed. */
struct network *network_find(struct networking *w, const char *ref, struct err *e) must_check;
bool network_is_user_defined(const struct network *n);
bool network_has_devices(const struct network *n); /* neither host nor none */
/* Make the bridge and the rules, where they aren't there. */
int network_up(struct networking *w, struct network *n, struct err *e) must_check;
void network_down(struct networking *w, struct network *n);
struct net_box *box_find(struct networking *w, const char *id);
void box_free(struct net_box *b);
/* A name server for the virtual machines of a network. */
int network_serve_names(struct networking *w, struct network *n, struct err *e) must_check;
void network_event(struct networking *w, const struct network *n, const char *action, const char *container);

/* Add to the table, save, delete. */
struct network *network_new(const char *name, const char *driver, json_t *doc);
void network_free(struct network *n);
int network_insert(struct networking *w, struct network *n, struct err *e) must_check;
int network_delete(struct networking *w, struct network *n, struct err *e) must_check;
int network_save(struct networking *w, const struct network *n, struct err *e) must_check;
/* Options of n->doc into n (net_options.c). ERR_UNSUPPORTED for one that Silo doesn't know. */
int network_read_options(struct network *n, struct err *e) must_check;

/* --- daemon.json (net_defaults.c) ------------------------------------------------------------------------------------- */
/* Check what it says about networks; address pools into w. */
int defaults_read(struct networking *w, struct err *e) must_check;
/* Make the default bridge what it says, unless a container uses it as it is. lock held */
int defaults_apply(struct networking *w, struct err *e) must_check;
/* Dns, DnsOptions or DnsSearch of a HostConfig, or else what is said for all containers. Borrowed. */
const json_t *defaults_of(const struct engine *g, const json_t *host, const char *key);

/* --- EndpointSettings of requests (net_create.c) ---------------------------------------------------------------------- */
/* In canonical form: new, or NULL with ERR_INVALID. */
json_t *settings_canonical(const json_t *settings, struct err *e) must_check;
int settings_check(const struct network *n, const json_t *settings, struct err *e) must_check;

/* --- addresses (net_address.c); lock held ----------------------------------------------------------------------------- */
/* Fill addresses and MAC of x by this EndpointSettings. */
int address_take(struct networking *w, struct network *n, const json_t *settings, struct endpoint *x,
		 struct err *e) must_check;
/* A network that clashes with no other and with no route of the host. */
int address_pool(struct networking *w, int family, struct ip_net *out, struct err *e) must_check;
bool address_pool_clashes(struct networking *w, const struct ip_net *n);
/* An address that IPAM.Config keeps for something that is no container? */
bool address_is_kept(const struct network *n, const struct ip_addr *a);
/* A unique local prefix of the network's id, so that it needs no table: fdXX:XXXX:XXXX::1/64 (RFC 4193). */
struct ip_net address_unique_local(const struct network *n);
/* Read Docker's IPAM.Config into n. NULL = choose. */
int address_config(struct networking *w, struct network *n, const json_t *ipam, bool ipv6, struct err *e) must_check;

/* --- ports (net_ports.c); lock held ------------------------------------------------------------------------------------ */
/* Check PortBindings and -P of a request; PortBindings is replaced by its canonical form. No lock needed. */
int ports_check(json_t *host, struct err *e) must_check;
/* Reserve what the container publishes. ERR_SYSTEM "driver failed programming ..." */
int ports_take(struct networking *w, struct net_box *b, struct container *c, struct err *e) must_check;
void ports_free(struct networking *w, struct net_box *b);
bool ports_is_any(const struct ip_addr *a); /* 0.0.0.0 or :: */
/* NetworkSettings.Ports, and the list of GET /containers/json. */
json_t *ports_settings(const struct net_box *b, const json_t *config);
json_t *ports_list(const struct net_box *b, const json_t *config);
/* Bind again what a restarted engine finds. */
void ports_reserve_again(struct networking *w, struct net_box *b);

/* --- ports at work (net_publish.c); lock held ---------------------------------------------------------------------------- */
/* Where published ports lead to, or NULL. */
const struct endpoint *ports_endpoint(const struct net_box *b);
void ports_filter(struct networking *w, const struct net_box *b, enum fw_verb verb, struct str *out);
void ports_relay(struct networking *w, const struct net_box *b);
/* The rules of b's ports came or went: UDP clients are sent by the new ones. */
void ports_changed(const struct net_box *b);
/* What they lead to has gone: to the next one, if there is one. */
void ports_moved(struct networking *w, struct net_box *b);
/* What c publishes, if that isn't there yet and there is where to. */
int ports_publish(struct networking *w, struct net_box *b, struct container *c, struct err *e) must_check;

/* --- endpoints (net_endpoint.c); lock held ------------------------------------------------------------------------------ */
void box_filter(struct networking *w, struct net_box *b, enum fw_verb verb, struct str *out);
void endpoint_free(struct endpoint *x);
/* Everything of b that is there while it runs. */
void box_release(struct networking *w, struct net_box *b);
int box_save(struct networking *w, const struct net_box *b, struct err *e);
json_t *endpoint_settings(const struct net_box *b, const char *network, const struct networking *w);
/* machine: of a virtual machine, what it is to be told (monitor_network()) when no lock is held any more. */
int box_connect_live(struct networking *w, struct net_box *b, struct network *n, int pid, struct net_setup *machine,
		     struct err *e) must_check;
void box_disconnect_live(struct networking *w, struct net_box *b, struct network *n, int pid);

/* --- container:X (net_join.c); no lock held ---------------------------------------------------------------------------------- */
/* ERR_INVALID where X is there and isn't of c's kind. */
int join_check(struct engine *g, const struct container *c, const char *ref, struct err *e) must_check;
/* The namespace or the machine of X, which must run. */
int join_container(struct engine *g, const struct container *c, const char *ref, struct net_setup *out,
		   struct err *e) must_check;

/* --- virtual machines (net_machine.c); lock held ----------------------------------------------------------------------------- */
/* ERR_UNSUPPORTED for more networks than a machine has cards. */
/* Where its tap device is a port: a descriptor, or -1. (net_endpoint.c) */
int endpoint_tap(struct networking *w, const struct endpoint *x, struct err *e) must_check;
int machine_check_count(size_t networks, struct err *e) must_check;
int machine_check(const struct net_box *b, struct err *e) must_check;
/* Tap devices of b's endpoints, and their description for the guest (no lock needed: of it, the part of silo.json). */
int machine_devices(struct networking *w, struct net_box *b, struct net_setup *out, struct err *e) must_check;
/* A device for one more endpoint, the last one, and the description with it. */
int machine_add_device(struct networking *w, struct net_box *b, const struct endpoint *x, struct net_setup *out,
		       struct err *e) must_check;
void machine_describe(const struct net_box *b, struct net_setup *out);
json_t *machine_first_network(const json_t *guest);

/* --- names (net_names.c) -------------------------------------------------------------------------------------------------- */
dns_ask_fn names_ask;
int names_start(struct networking *w, struct err *e) must_check;         /* lock held */
bool names_wanted(const struct net_box *b);                              /* lock held */
bool names_by_network(const struct endpoint *x); /* does a virtual machine find the name server there? */
int names_serve(struct networking *w, struct net_box *b, int ns, struct err *e) must_check; /* lock held */
/* /etc/hosts and resolv.conf of a container with these endpoints. lock held */
int names_write(struct networking *w, struct net_box *b, struct container *c, struct err *e) must_check;

#endif
