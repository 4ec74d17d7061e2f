/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest's side of hyperv isolation: init of the virtual machine, and a message loop around isolation/process.
 * One thread, one loop. The host is trusted, the containers aren't.
 */
#ifndef SILO_AGENT_H
#define SILO_AGENT_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/loop.h"
#include "isolation/hyperv/channel.h"
#include "isolation/hyperv/guest_docs.h"
#include "os/ipaddr.h"

#define AGENT_RUN_DIR "/run/silo"
#define AGENT_MACHINE_ID_LEN 32

struct guest_container;
struct agent_sockets;
struct relay;

/* A network card, while it belongs to a network. */
struct agent_card {
	bool used;
	unsigned char mac[MAC_BYTES];
};

struct agent {
	struct loop *loop;
	int port; /* the agent channel: a virtio-serial port, non-blocking */
	struct channel *channel;
	bool set_up; /* "setup" has come: this is a clone (or a cold boot) with a host of its own */
	char machine_id[AGENT_MACHINE_ID_LEN + 1];
	struct guest_container *containers;
	struct agent_sockets *sockets;
	bool shares; /* are mounted */
	struct agent_card cards[GUEST_CARDS];
	struct relay *names;
};

/* Everything before the template's snapshot: root, kernel file systems, modules, loopback, port. */
int agent_boot(struct agent *a, struct err *e) must_check;
/* Run a small container, so that the kernel has done everything once. */
int agent_rehearse(struct err *e) must_check;
/* Give this VM's first n disks to their driver: /dev/vda (image), /dev/vdb (writable layer) and so on from then on; or
 * take them away from it. */
int agent_bind_disks(bool bind, int n, struct err *e) must_check;
#define AGENT_DISKS 2 /* image and writable layer; those after them are devices of the host */

/* Make these (NULL = none) the devices, addresses, routes and the name server of the VM: what is there and isn't named
 * any more is taken away, what is there already stays as it is. */
int agent_set_network(struct agent *a, const json_t *network, struct err *e) must_check;
/* Serve 127.0.0.11:53 by asking this server; NULL = no more. */
int agent_relay_names(struct agent *a, const struct ip_addr *server, unsigned short port, struct err *e) must_check;

/* Directories and files that the host shares: mounted at GUEST_SHARES_DIR when the first container has any. */
int agent_mount_shares(struct agent *a, struct err *e) must_check;
/* Listen for what a container's sockets of the host ([{"socket", "uid", "gid", "mode"}], NULL = none) get in connections; and
 * no longer. On failure those that listen stay. */
int agent_open_sockets(struct agent *a, const struct guest_container *of, const json_t *sockets,
		       struct err *e) must_check;
void agent_close_sockets(struct agent *a, const struct guest_container *of);
/* The host's answer to one of them. */
void agent_socket_connected(struct agent *a, const json_t *body);

/* Serve the channel until it ends; returns why. */
void agent_serve(struct agent *a, struct err *e);

/* Power off at once, file systems synced. Doesn't return. */
_Noreturn void agent_power_off(void);

/* One request of the host: answer is a new object or NULL for an empty one. -1 with *e: the error is the answer. */
typedef int agent_op_fn(struct agent *a, const json_t *request, json_t **answer, struct err *e);

agent_op_fn op_setup, op_reset, op_network, op_time_sync, op_sync;
agent_op_fn op_create, op_start, op_exec, op_signal, op_resize, op_freeze, op_top, op_stats, op_update, op_delete;

/* Between requests: forget execs that are over, reap orphans. */
void containers_sweep(struct agent *a);

#endif
