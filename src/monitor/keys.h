/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Detach keys: a sequence that a terminal's user types to leave without ending the container. Pure. */
#ifndef SILO_MONITOR_KEYS_H
#define SILO_MONITOR_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define KEYS_MAX     16
#define KEYS_DEFAULT "ctrl-p,ctrl-q"

struct keys {
	unsigned char code[KEYS_MAX];
	size_t n;    /* 0 = nothing is looked for */
	size_t seen; /* how much of the sequence has been typed and is held back */
};

/**
 * keys_parse - read Docker's syntax: single characters, "ctrl-" and one of a-z @ [ \ ] ^ _, or DEL, between commas.
 *
 * Returns 0, or -1 with ERR_INVALID ("invalid detach keys (x) provided").
 * Source: Docker CLI reference, "docker attach --detach-keys".
 */
int keys_parse(const char *text, struct keys *k, struct err *e) must_check;

/**
 * keys_filter - pass typed bytes on, hold back what may be the beginning of the sequence.
 *
 * @out    room for n + KEYS_MAX bytes; receives what is to be delivered now.
 * @n_out  its number of bytes.
 * Returns true when the sequence is complete; bytes behind it are dropped.
 */
bool keys_filter(struct keys *k, const unsigned char *in, size_t n, unsigned char *out, size_t *n_out);

#endif
