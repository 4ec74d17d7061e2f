/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Parts of a request's life that server.c calls and handlers don't. */
#ifndef SILO_API_EXCHANGE_H
#define SILO_API_EXCHANGE_H

#include "api/http.h"

/* --- upload.c: bodies that are streams --- */
/* Give the handler its own thread and the reading end of a socket. */
int upload_start(struct request *r, struct err *e) must_check;
/* Pass bytes on; waits while the handler is busy, drops them once it has stopped reading. */
void upload_data(struct request *r, const char *data, size_t n);
/* The body is complete: wait for the handler. Returns its value; *e as the handler left it. */
int upload_finish(struct request *r);
/* The client left in the middle: the handler's read fails, and its thread has ended on return. */
void upload_abort(struct request *r);

/* --- hijack.c --- */
/* Answer for libmicrohttpd that lets it let go of the connection. NULL when that can't be. */
struct MHD_Response *hijack_response(struct request *r);
void hijack_fini(struct request *r);

/* relay.c: copy both ways between a client and a session in a thread of its own, beginning with early bytes that the
 * client has already sent. Both are taken. */
int relay_start(int client, int session, const void *early, size_t n_early, struct err *e) must_check;

#endif
