/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plain, gzip, zstd, bzip2 or xz in (any number of members), plain out. */
#include <bzlib.h>
#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/own.h"
#include "image/compression.h"
#include "image/unpack.h"

#define IN_BYTES (256 * KIB)
#define OUT_BYTES (512 * KIB)
#define XZ_MEMORY (256 * MIB) /* `xz -9` needs 65 MiB; dictionaries may have up to 4 GiB */

struct codec {
	int (*open)(struct unpack_stream *s, struct err *e);
	/* Fill out from in; *n = 0 with in used up and s->eof is the end. */
	int (*decode)(struct unpack_stream *s, size_t *n, struct err *e);
};

struct unpack_stream {
	int fd;
	bool eof;     /* of fd */
	bool started; /* codec is chosen */
	bool between; /* compressed: at the start of a member; xz: at the end of all */
	const struct codec *codec;
	uint8_t *in, *out;
	size_t in_pos, in_len;
	struct inflate_state *gzip;
	ZSTD_DStream *zstd;
	bz_stream bzip2;
	lzma_stream xz;
	uint64_t bytes; /* handed out */
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

static int bzip2_open(struct unpack_stream *s, struct err *e)
{
	s->between = true;
	return 0;
}

static int bzip2_decode(struct unpack_stream *s, size_t *n, struct err *e)
{
	bz_stream *z = &s->bzip2;
	int rc;

	*n = 0;
	if (s->between && s->in_pos == s->in_len)
		return 0;
	if (s->between && BZ2_bzDecompressInit(z, 0, 0) != BZ_OK)
		return err_set(e, ERR_SYSTEM, ENOMEM, "bzip2");
	s->between = false;
	z->next_in = (char *)s->in + s->in_pos;
	z->avail_in = (unsigned)(s->in_len - s->in_pos);
	z->next_out = (char *)s->out;
	z->avail_out = OUT_BYTES;
	rc = BZ2_bzDecompress(z);
	if (rc != BZ_OK && rc != BZ_STREAM_END)
		return err_set(e, ERR_INVALID, 0, "bzip2: invalid data");
	*n = OUT_BYTES - z->avail_out;
	s->in_pos = s->in_len - z->avail_in;
	if (rc == BZ_STREAM_END) {
		BZ2_bzDecompressEnd(z);
		s->between = true;
	} else if (s->eof && !*n && s->in_pos == s->in_len) {
		return truncated(e);
	}
	return 0;
}

static int xz_open(struct unpack_stream *s, struct err *e)
{
	if (lzma_stream_decoder(&s->xz, XZ_MEMORY, LZMA_CONCATENATED) != LZMA_OK)
		return err_set(e, ERR_SYSTEM, ENOMEM, "xz");
	return 0;
}

static int xz_decode(struct unpack_stream *s, size_t *n, struct err *e)
{
	lzma_ret rc;

	*n = 0;
	if (s->between)
		return 0;
	s->xz.next_in = s->in + s->in_pos;
	s->xz.avail_in = s->in_len - s->in_pos;
	s->xz.next_out = s->out;
	s->xz.avail_out = OUT_BYTES;
	rc = lzma_code(&s->xz, s->eof ? LZMA_FINISH : LZMA_RUN);
	*n = OUT_BYTES - s->xz.avail_out;
	s->in_pos = s->in_len - s->xz.avail_in;
	s->between = rc == LZMA_STREAM_END;
	if (rc == LZMA_BUF_ERROR)
		return truncated(e);
	if (rc == LZMA_MEMLIMIT_ERROR)
		return err_set(e, ERR_LIMIT, 0, "xz: needs more than %llu bytes of memory",
			       (unsigned long long)XZ_MEMORY);
	if (rc != LZMA_OK && rc != LZMA_STREAM_END)
		return err_set(e, ERR_INVALID, 0, "xz: invalid data");
	return 0;
}

static const struct codec codecs[] = {
	[COMPRESSION_NONE] = { plain_open, plain_decode },  [COMPRESSION_GZIP] = { gzip_open, gzip_decode },
	[COMPRESSION_ZSTD] = { zstd_open, zstd_decode },    [COMPRESSION_BZIP2] = { bzip2_open, bzip2_decode },
	[COMPRESSION_XZ] = { xz_open, xz_decode },
};

static int choose(struct unpack_stream *s, struct err *e)
{
	while (s->in_len < COMPRESSION_HEAD && !s->eof)
		if (fill(s, e))
			return -1;
	s->codec = &codecs[compression_of(s->in, s->in_len)];
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
	BZ2_bzDecompressEnd(&s->bzip2);
	lzma_end(&s->xz);
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
	s->bytes += n;
	*data = s->out;
	return (ssize_t)n;
}

bool unpack_stream_is_plain(const struct unpack_stream *s)
{
	return s->codec == &codecs[COMPRESSION_NONE];
}

void unpack_stream_digest(struct unpack_stream *s, char out[static DIGEST_MAX], uint64_t *bytes)
{
	*bytes = s->bytes;
	digest_end(&s->digest, out);
}
