/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The HTTP server: one thread per connection (libmicrohttpd), requests dispatched through the route table. */
#ifndef SILO_API_SERVER_H
#define SILO_API_SERVER_H

#include <stddef.h>

#include "base/err.h"
#include "engine/engine.h"

#define SERVER_NAME "Silo/" SILO_VERSION " (linux)"

struct server;

/**
 * server_start - serve the Engine API on listening stream sockets.
 *
 * @engine     must outlive the server.
 * @listeners  at most LISTENERS_MAX (daemon.h) non-blocking sockets; taken, whether it succeeds or not.
 */
struct server *server_start(struct engine *engine, const int *listeners, size_t n, struct err *e) must_check;

/* Stop accepting, hang up on the clients, wait until their requests have ended. Hijacked connections live on. */
void server_stop(struct server *s);

#endif
