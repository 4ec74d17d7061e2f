/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* As much of D-Bus as a client needs that speaks to one peer, without a bus. Source: D-Bus specification. */
#ifndef SILO_OS_DBUS_H
#define SILO_OS_DBUS_H

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define DBUS_BODY_MAX (64 * KIB)

enum dbus_type { DBUS_CALL = 1, DBUS_REPLY = 2, DBUS_ERROR = 3, DBUS_SIGNAL = 4 };

/* A method of the peer's. */
struct dbus_call {
	const char *destination, *path, *interface, *member, *signature;
};

/* A message that has come. The strings point into it. */
struct dbus_message {
	enum dbus_type type;
	uint32_t reply_serial;
	const char *member, *error; /* "" = none */
	struct str data;            /* all of it */
	size_t at;                  /* how far its body has been read */
};

/* Connect to a unix socket and say who we are: a descriptor. ERR_UNAVAILABLE where nobody listens. */
int dbus_open(const char *path, struct err *e) must_check;

/* ---- values, appended to the body of a call ---- */

void dbus_put_u32(struct str *b, uint32_t v);
void dbus_put_u64(struct str *b, uint64_t v);
/* Strings and object paths. */
void dbus_put_string(struct str *b, const char *s);
void dbus_put_bytes(struct str *b, const void *data, size_t n);
/* An element of an array of properties: then comes its value. signature: of the value. */
void dbus_put_property(struct str *b, const char *name, const char *signature);
/* An array whose elements begin at multiples of alignment: what is put between begin and end. */
struct dbus_array {
	size_t length_at, start;
};
struct dbus_array dbus_begin_array(struct str *b, size_t alignment);
void dbus_end_array(struct str *b, struct dbus_array a);

/* ---- messages ---- */

/**
 * dbus_call - call a method and wait for its answer.
 *
 * @m  receives the answer; what it had before is freed. Signals that come before the answer are dropped.
 * An error of the peer's is ERR_SYSTEM with its text; m->error is its name then.
 */
int dbus_call(int sock, const struct dbus_call *c, const struct str *body, struct dbus_message *m, int64_t deadline_ms,
	      struct err *e) must_check;
/* The next message. deadline_ms: as time_monotonic_ms(). ERR_TIMEOUT. */
int dbus_receive(int sock, struct dbus_message *m, int64_t deadline_ms, struct err *e) must_check;
void dbus_message_init(struct dbus_message *m);
void dbus_message_fini(struct dbus_message *m);

/* The next value of a body, whose type the caller knows. "" or 0 where there is none. */
const char *dbus_get_string(struct dbus_message *m);
uint32_t dbus_get_u32(struct dbus_message *m);
/* A variant of a string. */
const char *dbus_get_string_variant(struct dbus_message *m);

#endif
