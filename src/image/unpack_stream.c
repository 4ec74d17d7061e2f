/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plain, gzip (any number of members) or zstd in, plain out. */
#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/own.h"
#include "image/unpack.h"

#define IN_BYTES (256 * KIB)
#define OUT_BYTES (512 * KIB)

struct codec {
	const char *name;
	uint8_t magic[4];
	size_t n_magic;
	int (*open)(struct unpack_stream *s, struct err *e);
	/* Fill out from in; *n = 0 with in used up and s->eof is the end. */
	int (*decode)(struct unpack_stream *s, size_t *n, struct err *e);
};

struct unpack_stream {
	int fd;
	bool eof;     /* of fd */
	bool started; /* codec is chosen */
	bool between; /* gzip, zstd: at the start of a member */
	const struct codec *codec;
	uint8_t *in, *out;
	size_t in_pos, in_len;
	struct inflate_state *gzip;
	ZSTD_DStream *zstd;
	bool digested;
	struct digest digest;
};

static int truncated(struct err *e)
{
	return err_set(e, ERR_INVALID, 0, "unexpected EOF");
}

/* Append to in what one read() gives. */
static int fill(struct unpack_stream *s, struct err *e)
{
	ssize_t n;

	if (s->in_pos == s->in_len)
		s->in_pos = s->in_len = 0;
	do
		n = read(s->fd, s->in + s->in_len, IN_BYTES - s->in_len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_set(e, ERR_SYSTEM, errno, "reading the archive");
	s->eof = n == 0;
	s->in_len += (size_t)n;
	return 0;
}

static int plain_open(struct unpack_stream *s, struct err *e)
{
	return 0;
}

static int plain_decode(struct unpack_stream *s, size_t *n, struct err *e)
{
	uint8_t *swap = s->out;

	/* No copy: the buffers change places (out is the larger one, fill() never uses more than IN_BYTES). */
	*n = s->in_len - s->in_pos;
	if (s->in_pos)
		memmove(s->in, s->in + s->in_pos, *n);
	s->out = s->in;
	s->in = swap;
	s->in_pos = s->in_len = 0;
	return 0;
}

static int gzip_open(struct unpack_stream *s, struct err *e)
{
	s->gzip = xcalloc(1, sizeof(*s->gzip));
	isal_inflate_init(s->gzip);
	s->gzip->crc_flag = ISAL_GZIP;
	s->between = true;
	return 0;
}

/* After a member: another member, zero padding (ignored, as gzip does), or the end. */
static int gzip_next_member(struct unpack_stream *s, struct err *e)
{
	while (s->in_pos < s->in_len && !s->in[s->in_pos])
		s->in_pos++;
	if (s->in_pos == s->in_len)
		return 0;
	if (s->in[s->in_pos] != 0x1f)
		return err_set(e, ERR_INVALID, 0, "gzip: invalid header");
	isal_inflate_reset(s->gzip);
	s->gzip->crc_flag = ISAL_GZIP;
	s->between = false;
	return 0;
}

static int gzip_decode(struct unpack_stream *s, size_t *n, struct err *e)
{
	int rc;

	*n = 0;
	if (s->between && gzip_next_member(s, e))
		return -1;
	if (s->between)
		return 0;
	s->gzip->next_in = s->in + s->in_pos;
	s->gzip->avail_in = (uint32_t)(s->in_len - s->in_pos);
	s->gzip->next_out = s->out;
	s->gzip->avail_out = OUT_BYTES;
	rc = isal_inflate(s->gzip);
	*n = OUT_BYTES - s->gzip->avail_out;
	s->in_pos = s->in_len - s->gzip->avail_in;
	if (rc == ISAL_INCORRECT_CHECKSUM)
		return err_set(e, ERR_INVALID, 0, "gzip: invalid checksum");
	if (rc < 0)
		return err_set(e, ERR_INVALID, 0, "gzip: invalid data");
	s->between = s->gzip->block_state == ISAL_BLOCK_FINISH;
	if (s->eof && !*n && !s->between && s->in_pos == s->in_len)
		return truncated(e);
	return 0;
}

static int zstd_open(struct unpack_stream *s, struct err *e)
{
	s->zstd = ZSTD_createDStream();
	s->between = true;
	return s->zstd ? 0 : err_set(e, ERR_SYSTEM, ENOMEM, "zstd");
}

static int zstd_decode(struct unpack_stream *s, size_t *n, struct err *e)
{
	ZSTD_inBuffer in = { s->in, s->in_len, s->in_pos };
	ZSTD_outBuffer out = { s->out, OUT_BYTES, 0 };
	size_t rc;

	*n = 0;
	if (s->between && in.pos == in.size)
		return 0;
	rc = ZSTD_decompressStream(s->zstd, &out, &in);
	if (ZSTD_isError(rc))
		return err_set(e, ERR_INVALID, 0, "zstd: %s", ZSTD_getErrorName(rc));
	s->in_pos = in.pos;
	*n = out.pos;
	s->between = rc == 0;
	if (s->eof && !*n && !s->between && in.pos == in.size)
		return truncated(e);
	return 0;
}

static const struct codec codecs[] = {
	{ "gzip",  { 0x1f, 0x8b },             2, gzip_open,  gzip_decode  },
	{ "zstd",  { 0x28, 0xb5, 0x2f, 0xfd }, 4, zstd_open,  zstd_decode  },
	{ "plain", { 0 },                      0, plain_open, plain_decode },
};

static int choose(struct unpack_stream *s, struct err *e)
{
	while (s->in_len < sizeof(codecs[0].magic) && !s->eof)
		if (fill(s, e))
			return -1;
	/* The last one takes everything. */
	for (s->codec = codecs; s->codec->n_magic; s->codec++)
		if (s->in_len >= s->codec->n_magic && !memcmp(s->in, s->codec->magic, s->codec->n_magic))
			break;
	s->started = true;
	return s->codec->open(s, e);
}

struct unpack_stream *unpack_stream_new(int fd, bool digested)
{
	struct unpack_stream *s = xcalloc(1, sizeof(*s));

	s->fd = fd;
	s->digested = digested;
	s->in = xmalloc(OUT_BYTES);
	s->out = xmalloc(OUT_BYTES);
	digest_init(&s->digest);
	return s;
}

void unpack_stream_free(struct unpack_stream *s)
{
	if (!s)
		return;
	free(s->in);
	free(s->out);
	free(s->gzip);
	ZSTD_freeDStream(s->zstd);
	free(s);
}

ssize_t unpack_stream_next(struct unpack_stream *s, const void **data, struct err *e)
{
	size_t n = 0;

	if (!s->started && choose(s, e))
		return -1;
	while (!n) {
		if (s->in_pos == s->in_len && !s->eof && fill(s, e))
			return -1;
		if (s->codec->decode(s, &n, e))
			return -1;
		if (!n && s->eof && s->in_pos == s->in_len)
			break;
	}
	if (n && s->digested)
		digest_add(&s->digest, s->out, n);
	*data = s->out;
	return (ssize_t)n;
}

bool unpack_stream_is_plain(const struct unpack_stream *s)
{
	return s->codec && !s->codec->n_magic;
}

void unpack_stream_digest(struct unpack_stream *s, char out[static DIGEST_MAX], uint64_t *bytes)
{
	*bytes = s->digest.bytes;
	digest_end(&s->digest, out);
}
