/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Unix sockets of the host that a container in a VM may connect to. The agent listens in the guest where the container
 * has the socket; each connection is a stream of the agent channel, which ends in a connection of ours to the host's
 * socket. Bytes only: descriptors can't be passed, and datagrams have no stream.
 */
#ifndef SILO_HYPERV_SOCKETS_H
#define SILO_HYPERV_SOCKETS_H

#include <jansson.h>

#include "base/err.h"

struct sandbox;
struct sockets;

/**
 * sockets_open - find the bind mounts of config whose source is a socket, open those, and mark them ("socket": true):
 * the guest gets no file for them. What happens to their names afterwards doesn't matter.
 *
 * Returns NULL with *e, or the list, which may be empty. ERR_UNSUPPORTED: a datagram socket.
 */
struct sockets *sockets_open(json_t *config, struct err *e) must_check;
/* For the guest: [{"uid", "gid", "mode"}], or NULL without any. New reference. */
json_t *sockets_describe(const struct sockets *s);
/* Ends the connections; before the channel is freed. NULL allowed. */
void sockets_free(struct sockets *s);

/* Events of the guest: somebody has connected there; it has opened its end of the stream. */
void sockets_on_connect(struct sandbox *s, const json_t *body);
void sockets_on_opened(struct sandbox *s, const json_t *body);

#endif
