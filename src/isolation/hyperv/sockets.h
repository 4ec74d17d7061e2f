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

struct container;
struct sandbox;
struct sockets;

struct sockets *sockets_new(void);
/**
 * sockets_add - find the bind mounts of a container's config whose source is a socket, open those, and mark them ("socket":
 * number): the guest gets no file for them. What happens to their names afterwards doesn't matter.
 *
 * On failure those that were found stay for sockets_drop(). ERR_UNSUPPORTED: a datagram socket.
 */
int sockets_add(struct sockets *s, const struct container *of, json_t *config, struct err *e) must_check;
/* For the guest: [{"socket", "uid", "gid", "mode"}] of a container, or NULL without any. New reference. */
json_t *sockets_describe(const struct sockets *s, const struct container *of);
/* Those of a container are no longer shared: ends their connections. */
void sockets_drop(struct sockets *s, const struct container *of);
/* Before the channel is freed. NULL allowed. */
void sockets_free(struct sockets *s);

/* Events of the guest: somebody has connected there; it has opened its end of the stream. */
void sockets_on_connect(struct sandbox *s, const json_t *body);
void sockets_on_opened(struct sandbox *s, const json_t *body);

#endif
