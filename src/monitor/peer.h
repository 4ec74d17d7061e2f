/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The monitor's private socket: connections of silod, one JSON object a packet (base/msg.h). Nothing here blocks: a
 * peer that doesn't read has a bounded queue and is dropped when that is full.
 */
#ifndef SILO_MONITOR_PEER_H
#define SILO_MONITOR_PEER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/loop.h"

#define PEERS_MAX            256       /* connections at once; more wait in the listen queue */
#define PEER_QUEUE_BYTES_MAX (2 * MIB) /* room for the largest answer and some events */

struct packet;
struct peers;

struct peer {
	struct peer *next;
	struct peers *set;
	int sock; /* -1: gone, freed by the next sweep */
	struct loop_io *io;
	bool watches; /* gets events */
	bool holds;   /* its end is the container's */
	struct packet *first, *last;
	size_t queued_bytes;
};

struct peers {
	struct loop *loop;
	int listener; /* owned */
	struct loop_io *io;
	struct peer *list;
	size_t n;
	bool seen;    /* there has been a connection */
	bool let_go;  /* one that held it has ended */
	bool starved; /* no connection is accepted: no descriptor was left */
	void *arg;
	/* One request, borrowed, with descriptors that the callee may take (set to -1); the rest is closed after it. */
	void (*request)(void *arg, struct peer *p, const json_t *request, int *fds, size_t n_fds);
};

/* listener is taken, also on failure. */
int peers_init(struct peers *set, struct loop *l, int listener, struct err *e) must_check;
void peers_fini(struct peers *set);

/* Send or queue; the message is borrowed. */
void peer_send(struct peer *p, const json_t *message);
/* To all watching peers. */
void peers_push(struct peers *set, const json_t *event);
/* Free what is gone. To be called between rounds of the loop. Returns the number of living peers. */
size_t peers_sweep(struct peers *set);
/* Descriptors have been closed: accept again if that had to stop. */
void peers_retry(struct peers *set);
/* Is everything delivered? */
bool peers_are_flushed(const struct peers *set);

#endif
