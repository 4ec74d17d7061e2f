/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "image/digest.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/own.h"
#include "base/str.h"

#define READ_BYTES (512 * KIB)

void digest_init(struct digest *d)
{
	sha256_init(&d->ctx);
	d->bytes = 0;
}

void digest_add(struct digest *d, const void *data, size_t n)
{
	sha256_update(&d->ctx, n, data);
	d->bytes += n;
}

void digest_end(struct digest *d, char out[static DIGEST_MAX])
{
	static const char hex[] = "0123456789abcdef";
	uint8_t raw[SHA256_DIGEST_SIZE];

	sha256_digest(&d->ctx, sizeof(raw), raw);
	memcpy(out, "sha256:", 7);
	for (size_t i = 0; i < sizeof(raw); i++) {
		out[7 + 2 * i] = hex[raw[i] >> 4];
		out[8 + 2 * i] = hex[raw[i] & 15];
	}
	out[7 + DIGEST_HEX] = '\0';
}

void digest_of(const void *data, size_t n, char out[static DIGEST_MAX])
{
	struct digest d;

	digest_init(&d);
	digest_add(&d, data, n);
	digest_end(&d, out);
}

int digest_of_file(int fd, char out[static DIGEST_MAX], uint64_t *bytes, struct err *e)
{
	autofree char *buf = xmalloc(READ_BYTES);
	struct digest d;
	ssize_t n;

	digest_init(&d);
	while ((n = pread(fd, buf, READ_BYTES, (off_t)d.bytes)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, ERR_SYSTEM, errno, "reading a blob");
		digest_add(&d, buf, (size_t)n);
	}
	*bytes = d.bytes;
	digest_end(&d, out);
	return 0;
}

bool digest_check(const char *text)
{
	return text && strlen(text) == 7 + DIGEST_HEX && str_starts(text, "sha256:") &&
	       str_is_hex(digest_hex(text), DIGEST_HEX);
}
