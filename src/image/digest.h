/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SHA-256 as content addresses: "sha256:" and 64 lower-case hex digits. */
#ifndef SILO_IMAGE_DIGEST_H
#define SILO_IMAGE_DIGEST_H

#include <nettle/sha2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define DIGEST_MAX 80 /* as IMAGE_ID_MAX */
#define DIGEST_HEX 64

/* The hex digits of a digest text that digest_check() accepts. */
#define digest_hex(text) ((text) + 7)

struct digest {
	struct sha256_ctx ctx;
	uint64_t bytes;
};

void digest_init(struct digest *d);
void digest_add(struct digest *d, const void *data, size_t n);
void digest_end(struct digest *d, char out[static DIGEST_MAX]);

/* Of a buffer. */
void digest_of(const void *data, size_t n, char out[static DIGEST_MAX]);
/* Of a whole file by pread(): the file offset stays. ERR_SYSTEM when reading fails. */
int digest_of_file(int fd, char out[static DIGEST_MAX], uint64_t *bytes, struct err *e) must_check;

/* Whether it is "sha256:" and 64 lower-case hex digits. */
bool digest_check(const char *text);

#endif
