/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages between Silo's own processes on one host (silod and monitors): one JSON object is one packet of a
 * SOCK_SEQPACKET unix socket, with up to MSG_FDS_MAX file descriptors beside it.
 * An error travels as {"error": {"kind": "not_found", "sys": 2, "msg": "..."}}.
 */
#ifndef SILO_BASE_MSG_H
#define SILO_BASE_MSG_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

#define MSG_BYTES_MAX (1 * MIB)
#define MSG_FDS_MAX 8

/* Listening / connected SOCK_SEQPACKET socket, close-on-exec. msg_listen replaces a stale path; mode is the file's. */
int msg_listen(const char *path, unsigned mode, struct err *e) must_check;
int msg_connect(const char *path, struct err *e) must_check;

/* Send one message. fds stay the caller's. ERR_LIMIT above MSG_BYTES_MAX. A blocked peer: waits at most 10 s. */
int msg_send(int sock, const json_t *body, const int *fds, size_t n_fds, struct err *e) must_check;

/**
 * msg_recv - receive one message.
 *
 * @timeout_ms  -1 = no limit; else ERR_TIMEOUT.
 * @fds         array of MSG_FDS_MAX, receives close-on-exec descriptors that the caller then owns; may be NULL: none
 *              accepted, any that came are closed.
 * Returns a new reference, or NULL with *e: ERR_NOT_FOUND with text "connection closed" at end of file.
 */
json_t *msg_recv(int sock, int timeout_ms, int *fds, size_t *n_fds, struct err *e) must_check;

/* msg_send + msg_recv; an "error" member of the answer becomes *e and NULL. */
json_t *msg_call(int sock, const json_t *body, const int *fds, size_t n_fds, int timeout_ms, struct err *e) must_check;

json_t *msg_error(const struct err *e);                     /* {"error": {...}} */
int msg_check_error(const json_t *body, struct err *e);     /* 0 when body has no "error", else -1 and *e */

#endif
