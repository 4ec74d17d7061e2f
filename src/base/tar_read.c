/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "base/tar.h"
#include "base/tar_format.h"

#define GNU_SPARSE_AT 386 /* offset of the four pieces in an old GNU header */
#define GNU_SPARSE_IN_HEADER 4
#define GNU_SPARSE_IN_BLOCK 21
#define GNU_PIECE_BYTES 24
#define SIZE_LIMIT (1ull << 62)

struct tar_reader {
	tar_source_fn *source;
	void *arg;
	const uint8_t *data; /* of the source, not yet used */
	size_t n;
	uint8_t block[TAR_BLOCK]; /* one that lies across two pieces of the source */
	uint64_t stored;          /* bytes of the entry's content that are left in the archive */
	size_t padding;
	struct tar_entry entry;
	struct str pax;      /* records of the extended header, with the values in place */
	struct str map_text; /* GNU.sparse.map */
	bool ended;
	/* sparse */
	bool sparse, map_in_data;
	uint64_t real_size; /* GNU.sparse.realsize */
	struct tar_piece *pieces;
	size_t n_pieces, cap_pieces, piece; /* piece: the one that is being read */
	uint64_t piece_done;
};

static int bad_header(struct err *e)
{
	return err_set(e, ERR_INVALID, 0, "archive/tar: invalid tar header");
}

struct tar_reader *tar_reader_new(tar_source_fn *source, void *arg)
{
	struct tar_reader *r = xcalloc(1, sizeof(*r));

	r->source = source;
	r->arg = arg;
	str_init(&r->pax, TAR_PAX_MAX);
	str_init(&r->map_text, TAR_PAX_MAX);
	return r;
}

static void entry_reset(struct tar_reader *r)
{
	struct tar_entry *t = &r->entry;

	free(t->name);
	free(t->link);
	for (size_t i = 0; i < t->n_xattrs; i++) {
		free(t->xattrs[i].name);
		free(t->xattrs[i].value);
	}
	free(t->xattrs);
	*t = (struct tar_entry){ 0 };
	r->sparse = r->map_in_data = false;
	r->real_size = 0;
	r->n_pieces = r->piece = 0;
	r->piece_done = 0;
	str_fini(&r->map_text);
}

void tar_reader_free(struct tar_reader *r)
{
	if (!r)
		return;
	entry_reset(r);
	str_fini(&r->pax);
	free(r->pieces);
	free(r);
}

/* --- bytes ----------------------------------------------------------------------------------------------------- */
/* More of the source. Returns 1, 0 at its end, -1. */
static int fill(struct tar_reader *r, struct err *e)
{
	const void *data;
	ssize_t n = r->source(r->arg, &data, e);

	if (n < 0)
		return -1;
	r->data = data;
	r->n = (size_t)n;
	return n > 0;
}

static int unexpected_end(struct err *e)
{
	return err_set(e, ERR_INVALID, 0, "unexpected EOF");
}

/* The next 512 bytes; NULL at the end (*e untouched) or with *e. */
static const uint8_t *next_block(struct tar_reader *r, struct err *e)
{
	size_t have = 0;
	int rc;

	if (r->n >= TAR_BLOCK) {
		r->data += TAR_BLOCK;
		r->n -= TAR_BLOCK;
		return r->data - TAR_BLOCK;
	}
	while (have < TAR_BLOCK) {
		size_t take = r->n < TAR_BLOCK - have ? r->n : TAR_BLOCK - have;

		if (take)
			memcpy(r->block + have, r->data, take);
		have += take;
		r->data += take;
		r->n -= take;
		if (have == TAR_BLOCK)
			break;
		rc = fill(r, e);
		if (rc < 0)
			return NULL;
		if (!rc && have)
			unexpected_end(e);
		if (!rc)
			return NULL;
	}
	return r->block;
}

/* At most max bytes of content. Returns their number, 0 when max is 0, -1. */
static ssize_t take_bytes(struct tar_reader *r, uint64_t max, const void **data, struct err *e)
{
	size_t n;
	int rc;

	if (!max)
		return 0;
	if (!r->n && (rc = fill(r, e)) <= 0)
		return rc < 0 ? -1 : unexpected_end(e);
	n = r->n < max ? r->n : (size_t)max;
	*data = r->data;
	r->data += n;
	r->n -= n;
	return (ssize_t)n;
}

static int skip(struct tar_reader *r, uint64_t n, struct err *e)
{
	const void *data;
	ssize_t got;

	while ((got = take_bytes(r, n, &data, e)) > 0)
		n -= (uint64_t)got;
	return got < 0 ? -1 : 0;
}

/* The content of a header that speaks of the next one: pax records, long names. */
static int read_text(struct tar_reader *r, uint64_t n, struct str *out, struct err *e)
{
	size_t padding = tar_padding(n);
	const void *data;
	ssize_t got;

	str_drop(out, out->len);
	if (n > TAR_PAX_MAX)
		return err_set(e, ERR_LIMIT, 0, "archive/tar: header field too long");
	while ((got = take_bytes(r, n, &data, e)) > 0) {
		str_add(out, data, (size_t)got);
		n -= (uint64_t)got;
	}
	return got < 0 ? -1 : skip(r, padding, e);
}

/* --- fields ---------------------------------------------------------------------------------------------------- */
/* Octal, or base 256 where the first bit is set. */
static int parse_number(const void *field, size_t size, int64_t *out)
{
	const uint8_t *p = field, *end = p + size;
	uint64_t v = 0;

	if (*p & 0x80) {
		bool negative = *p & 0x40;

		v = negative ? ~0ull : 0;
		for (size_t i = 0; i < size; i++) {
			uint8_t byte = i ? p[i] : (uint8_t)(p[0] & (negative ? 0xff : 0x7f));

			if (!negative && v >> 55)
				return -1;
			v = v << 8 | byte;
		}
		*out = (int64_t)v;
		return 0;
	}
	while (p < end && *p == ' ')
		p++;
	for (; p < end && *p >= '0' && *p <= '7'; p++) {
		if (v >> 60)
			return -1;
		v = v << 3 | (uint64_t)(*p - '0');
	}
	*out = (int64_t)v;
	return p < end && *p && *p != ' ' ? -1 : 0;
}

static int parse_size(const void *field, size_t size, uint64_t *out)
{
	int64_t v;

	if (parse_number(field, size, &v) || v < 0 || (uint64_t)v >= SIZE_LIMIT)
		return -1;
	*out = (uint64_t)v;
	return 0;
}

static bool checksum_good(const struct ustar *h)
{
	const uint8_t *p = (const uint8_t *)h;
	int64_t wanted, as_unsigned = 0, as_signed = 0;
	size_t from = offsetof(struct ustar, checksum), to = from + sizeof(h->checksum);

	if (parse_number(h->checksum, sizeof(h->checksum), &wanted))
		return false;
	for (size_t i = 0; i < TAR_BLOCK; i++) {
		uint8_t c = i >= from && i < to ? ' ' : p[i];

		as_unsigned += c;
		as_signed += (int8_t)c;
	}
	return wanted == as_unsigned || wanted == as_signed;
}

static bool is_zero(const uint8_t *block)
{
	for (size_t i = 0; i < TAR_BLOCK; i++)
		if (block[i])
			return false;
	return true;
}

static char *text_of(const char *field, size_t size)
{
	return xstrndup(field, strnlen(field, size));
}

static int parse_ids(const struct ustar *h, struct tar_entry *t)
{
	int64_t mode, uid, gid, major = 0, minor = 0;

	if (parse_number(h->mode, sizeof(h->mode), &mode) || parse_number(h->uid, sizeof(h->uid), &uid) ||
	    parse_number(h->gid, sizeof(h->gid), &gid) || parse_number(h->mtime, sizeof(h->mtime), &t->mtime))
		return -1;
	if ((h->type == '3' || h->type == '4') &&
	    (parse_number(h->major, sizeof(h->major), &major) || parse_number(h->minor, sizeof(h->minor), &minor)))
		return -1;
	t->mode = (mode_t)mode & 07777;
	t->uid = (uint64_t)uid;
	t->gid = (uint64_t)gid;
	t->major = (unsigned)major;
	t->minor = (unsigned)minor;
	return 0;
}

/* --- pax ------------------------------------------------------------------------------------------------------- */
/* Numbers that replace those of the header that follows. */
struct pax_sizes {
	bool has_size, has_time;
	uint64_t size;
	int64_t mtime;
	long mtime_ns;
	bool has_uid, has_gid, has_sparse_name;
	uint64_t uid, gid;
};

static int decimal(const char *s, size_t n, uint64_t *out)
{
	uint64_t v = 0;

	if (!n)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9' || v >= SIZE_LIMIT / 10)
			return -1;
		v = v * 10 + (uint64_t)(s[i] - '0');
	}
	*out = v;
	return 0;
}

/* "[-]seconds[.fraction]" */
static int pax_time(const char *s, size_t n, struct pax_sizes *t)
{
	bool negative = n && *s == '-';
	const char *dot = memchr(s, '.', n);
	size_t whole = (dot ? (size_t)(dot - s) : n) - negative;
	uint64_t seconds;
	long ns = 0, unit = 100000000;

	if (decimal(s + negative, whole, &seconds))
		return -1;
	for (const char *p = dot ? dot + 1 : s + n; p < s + n && isdigit((unsigned char)*p); p++, unit /= 10)
		ns += (*p - '0') * unit;
	t->mtime = negative ? -(int64_t)seconds - (ns > 0) : (int64_t)seconds;
	t->mtime_ns = negative && ns ? 1000000000 - ns : ns;
	return 0;
}

static int pax_text(char **field, const char *value, size_t n)
{
	if (memchr(value, 0, n) || n > TAR_NAME_MAX)
		return -1;
	free(*field);
	*field = xstrndup(value, n);
	return 0;
}

static int pax_xattr(struct tar_entry *t, const char *name, size_t n_name, const char *value, size_t n)
{
	struct tar_xattr *x;

	if (t->n_xattrs == TAR_XATTRS_MAX || !n_name || memchr(name, 0, n_name))
		return -1;
	if (!t->xattrs)
		t->xattrs = xcalloc(TAR_XATTRS_MAX, sizeof(*t->xattrs));
	x = &t->xattrs[t->n_xattrs++];
	x->name = xstrndup(name, n_name);
	x->value = xmalloc(n + 1);
	x->n = n;
	memcpy(x->value, value, n);
	return 0;
}

static int add_piece(struct tar_reader *r, uint64_t at, uint64_t n)
{
	if (r->n_pieces == TAR_SPARSE_MAX)
		return -1;
	if (r->n_pieces == r->cap_pieces) {
		r->cap_pieces = r->cap_pieces ? 2 * r->cap_pieces : 16;
		r->pieces = xrealloc(r->pieces, r->cap_pieces * sizeof(*r->pieces));
	}
	r->pieces[r->n_pieces++] = (struct tar_piece){ at, n };
	return 0;
}

/* Format 0.0: offset and numbytes come in turns. */
static int pax_piece(struct tar_reader *r, bool is_offset, const char *value, size_t n)
{
	uint64_t v;

	r->sparse = true;
	if (decimal(value, n, &v))
		return -1;
	if (is_offset)
		return add_piece(r, v, 0);
	if (!r->n_pieces)
		return -1;
	r->pieces[r->n_pieces - 1].n = v;
	return 0;
}

static int pax_sparse(struct tar_reader *r, const char *key, const char *value, size_t n)
{
	if (!strcmp(key, "name"))
		return pax_text(&r->entry.name, value, n);
	if (!strcmp(key, "realsize") || !strcmp(key, "size")) {
		r->sparse = true;
		return decimal(value, n, &r->real_size);
	}
	if (!strcmp(key, "offset") || !strcmp(key, "numbytes"))
		return pax_piece(r, *key == 'o', value, n);
	if (!strcmp(key, "map")) {
		r->sparse = true;
		str_drop(&r->map_text, r->map_text.len);
		return str_add(&r->map_text, value, n);
	}
	if (!strcmp(key, "major"))
		r->map_in_data = n == 1 && *value == '1';
	return 0;
}

static int pax_record(struct tar_reader *r, const char *key, const char *value, size_t n, struct pax_sizes *s)
{
	struct tar_entry *t = &r->entry;

	if (!strcmp(key, "path"))
		return s->has_sparse_name ? 0 : pax_text(&t->name, value, n);
	if (!strcmp(key, "GNU.sparse.name"))
		s->has_sparse_name = true;
	if (!strcmp(key, "linkpath"))
		return pax_text(&t->link, value, n);
	if (!strcmp(key, "size"))
		return s->has_size = true, decimal(value, n, &s->size);
	if (!strcmp(key, "uid"))
		return s->has_uid = true, decimal(value, n, &s->uid);
	if (!strcmp(key, "gid"))
		return s->has_gid = true, decimal(value, n, &s->gid);
	if (!strcmp(key, "mtime"))
		return s->has_time = true, pax_time(value, n, s);
	if (str_starts(key, "SCHILY.xattr."))
		return pax_xattr(t, key + 13, strlen(key + 13), value, n);
	/* What Windows' archivers say of a file: for whoever asks by that name. */
	if (str_starts(key, "MSWINDOWS."))
		return pax_xattr(t, key, strlen(key), value, n);
	return str_starts(key, "GNU.sparse.") ? pax_sparse(r, key + 11, value, n) : 0;
}

/* "LENGTH KEY=VALUE\n" ... */
static int pax_parse(struct tar_reader *r, struct pax_sizes *s, struct err *e)
{
	char *p = r->pax.s, *end = p + r->pax.len;

	while (p && p < end) {
		char *space = memchr(p, ' ', (size_t)(end - p)), *equals;
		uint64_t length;

		if (!space || decimal(p, (size_t)(space - p), &length) || length > (uint64_t)(end - p) ||
		    length < (uint64_t)(space - p) + 3 || p[length - 1] != '\n')
			return bad_header(e);
		equals = memchr(space + 1, '=', length - (size_t)(space + 1 - p) - 1);
		if (!equals)
			return bad_header(e);
		*equals = '\0';
		if (pax_record(r, space + 1, equals + 1, (size_t)(p + length - 1 - (equals + 1)), s))
			return bad_header(e);
		p += length;
	}
	return 0;
}

/* --- sparse maps ----------------------------------------------------------------------------------------------- */
/* Old GNU: pieces in the header and in blocks behind it. */
static int gnu_pieces(struct tar_reader *r, const uint8_t *at, size_t max, bool *more)
{
	for (size_t i = 0; i < max; i++) {
		uint64_t offset, n;

		if (parse_size(at + i * GNU_PIECE_BYTES, 12, &offset) ||
		    parse_size(at + i * GNU_PIECE_BYTES + 12, 12, &n))
			return -1;
		if (!at[i * GNU_PIECE_BYTES + 12])
			break;
		if (add_piece(r, offset, n))
			return -1;
	}
	*more = at[max * GNU_PIECE_BYTES];
	return 0;
}

static int gnu_sparse(struct tar_reader *r, const uint8_t *header, struct err *e)
{
	bool more;

	r->sparse = true;
	if (parse_size(header + GNU_SPARSE_AT + GNU_SPARSE_IN_HEADER * GNU_PIECE_BYTES + 1, 12, &r->real_size) ||
	    gnu_pieces(r, header + GNU_SPARSE_AT, GNU_SPARSE_IN_HEADER, &more))
		return bad_header(e);
	while (more) {
		const uint8_t *block = next_block(r, e);

		if (!block)
			return e->kind ? -1 : unexpected_end(e);
		if (gnu_pieces(r, block, GNU_SPARSE_IN_BLOCK, &more))
			return bad_header(e);
	}
	return 0;
}

/* Format 0.1: "offset,size,offset,size". */
static int map_from_text(struct tar_reader *r)
{
	const char *p = r->map_text.s, *end = p + r->map_text.len;
	uint64_t pair[2];

	for (size_t i = 0; p && p < end; i++) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		size_t n = (size_t)((comma ? comma : end) - p);

		if (decimal(p, n, &pair[i % 2]) || (i % 2 && add_piece(r, pair[0], pair[1])))
			return -1;
		p += n + 1;
	}
	return 0;
}

/* Format 1.0: before the data, decimal numbers on lines, padded to a block: their count, then offset and size. */
static int map_from_data(struct tar_reader *r, struct err *e)
{
	uint64_t count = 0, numbers = 0, value = 0, pair[2] = { 0 };
	bool counted = false;

	while (!counted || numbers < 2 * count) {
		const uint8_t *block = r->stored >= TAR_BLOCK ? next_block(r, e) : NULL;

		if (!block)
			return e->kind ? -1 : bad_header(e);
		r->stored -= TAR_BLOCK;
		for (size_t i = 0; i < TAR_BLOCK && (!counted || numbers < 2 * count); i++) {
			if (block[i] >= '0' && block[i] <= '9' && value < SIZE_LIMIT / 10) {
				value = value * 10 + (uint64_t)(block[i] - '0');
				continue;
			}
			if (block[i] != '\n')
				return bad_header(e);
			if (!counted) {
				count = value;
				counted = true;
			} else {
				pair[numbers % 2] = value;
				if (numbers++ % 2 && add_piece(r, pair[0], pair[1]))
					return bad_header(e);
			}
			value = 0;
			if (count > TAR_SPARSE_MAX)
				return bad_header(e);
		}
	}
	return 0;
}

/* Pieces in order, inside the file, and as many bytes as the archive has. */
static int check_map(struct tar_reader *r, struct err *e)
{
	uint64_t end = 0, sum = 0;

	for (size_t i = 0; i < r->n_pieces; i++) {
		const struct tar_piece *p = &r->pieces[i];

		if (p->at < end || p->at > r->entry.size || p->n > r->entry.size - p->at)
			return err_set(e, ERR_INVALID, 0, "archive/tar: invalid sparse map");
		end = p->at + p->n;
		sum += p->n;
	}
	return sum == r->stored ? 0 : err_set(e, ERR_INVALID, 0, "archive/tar: invalid sparse map");
}

static int finish_sparse(struct tar_reader *r, struct err *e)
{
	if (r->map_in_data ? map_from_data(r, e) : map_from_text(r))
		return e->kind ? -1 : bad_header(e);
	r->entry.size = r->real_size;
	return check_map(r, e);
}

/* --- entries --------------------------------------------------------------------------------------------------- */
static char *header_name(const struct ustar *h)
{
	autofree char *name = text_of(h->name, sizeof(h->name));

	/* GNU's and the old headers have other things where the prefix is. */
	if (memcmp(h->magic, "ustar\0", 6) != 0 || !h->prefix[0])
		return take_ptr(&name);
	return xasprintf("%.*s/%s", (int)strnlen(h->prefix, sizeof(h->prefix)), h->prefix, name);
}

static int set_type(struct tar_entry *t, char flag, struct err *e)
{
	size_t n = strlen(t->name);

	if (flag == '\0' || flag == '7' || flag == 'S')
		flag = '0';
	/* Before POSIX directories were files with a slash at the end. */
	if (flag == '0' && n && t->name[n - 1] == '/')
		flag = '5';
	for (size_t i = 0; i < array_len(tar_types); i++)
		if (tar_types[i].flag == flag) {
			t->type = tar_types[i].type;
			return 0;
		}
	return err_set(e, ERR_INVALID, 0, "unhandled tar header type %d", flag);
}

/* A header that describes an object, with what the extended headers before it said. */
static int finish_entry(struct tar_reader *r, const uint8_t *block, char *long_name, char *long_link, struct err *e)
{
	const struct ustar *h = (const struct ustar *)block;
	struct pax_sizes s = { 0 };
	struct tar_entry *t = &r->entry;
	char flag = h->type;

	if (parse_ids(h, t) || parse_size(h->size, sizeof(h->size), &r->stored))
		return bad_header(e);
	t->name = long_name ? xstrdup(long_name) : header_name(h);
	t->link = long_link ? xstrdup(long_link) : text_of(h->link, sizeof(h->link));
	if (flag == 'S' && gnu_sparse(r, block, e))
		return -1;
	if (pax_parse(r, &s, e) || set_type(t, flag, e))
		return -1;
	r->stored = s.has_size ? s.size : r->stored;
	t->uid = s.has_uid ? s.uid : t->uid;
	t->gid = s.has_gid ? s.gid : t->gid;
	if (s.has_time) {
		t->mtime = s.mtime;
		t->mtime_ns = s.mtime_ns;
	}
	if (t->type != S_IFREG) /* some programs write a size for links; it means nothing */
		r->stored = t->type == 0 || t->type == S_IFLNK || t->type == S_IFDIR ? 0 : r->stored;
	r->padding = tar_padding(r->stored);
	t->size = t->type == S_IFREG ? r->stored : 0;
	if (t->type != S_IFLNK && t->type != 0) {
		free(t->link);
		t->link = NULL;
	}
	return r->sparse && t->type == S_IFREG ? finish_sparse(r, e) : 0;
}

/* 'L' and 'K': the name or link name of the next header. */
static int read_long(struct tar_reader *r, uint64_t n, char **out, struct err *e)
{
	autostr text;

	str_init(&text, TAR_PAX_MAX);
	if (read_text(r, n, &text, e))
		return -1;
	free(*out);
	*out = xstrdup(text.s ? text.s : "");
	return strlen(*out) <= TAR_NAME_MAX ? 0 : err_set(e, ERR_LIMIT, 0, "archive/tar: header field too long");
}

/* Headers up to the one of an object. Returns 1, 0 at the end, -1. */
static int read_headers(struct tar_reader *r, char **long_name, char **long_link, struct err *e)
{
	for (;;) {
		const uint8_t *block = next_block(r, e);
		const struct ustar *h = (const struct ustar *)block;
		uint64_t size;
		int rc = 0;

		if (!block || is_zero(block))
			return !block && e->kind ? -1 : 0;
		if (!checksum_good(h) || parse_size(h->size, sizeof(h->size), &size))
			return bad_header(e);
		if (h->type == 'x')
			rc = read_text(r, size, &r->pax, e);
		else if (h->type == 'L')
			rc = read_long(r, size, long_name, e);
		else if (h->type == 'K')
			rc = read_long(r, size, long_link, e);
		else if (h->type == 'g' || h->type == 'V')
			rc = skip(r, size, e) || skip(r, tar_padding(size), e);
		else
			return finish_entry(r, block, *long_name, *long_link, e) ? -1 : 1;
		if (rc)
			return -1;
	}
}

int tar_next(struct tar_reader *r, const struct tar_entry **out, struct err *e)
{
	autofree char *long_name = NULL;
	autofree char *long_link = NULL;
	struct err own = { 0 };
	int rc;

	/* e->kind tells the end from a failure below. */
	if (r->ended || skip(r, r->stored, &own) || skip(r, r->padding, &own))
		return r->ended ? 0 : (*e = own, -1);
	r->stored = r->padding = 0;
	entry_reset(r);
	str_drop(&r->pax, r->pax.len);
	rc = read_headers(r, &long_name, &long_link, &own);
	if (rc < 0)
		*e = own;
	r->ended = rc <= 0;
	*out = &r->entry;
	return rc;
}

ssize_t tar_data(struct tar_reader *r, const void **data, uint64_t *at, struct err *e)
{
	uint64_t want = r->stored;
	ssize_t n;

	if (r->sparse) {
		while (r->piece < r->n_pieces && r->piece_done == r->pieces[r->piece].n) {
			r->piece++;
			r->piece_done = 0;
		}
		if (r->piece == r->n_pieces)
			return 0;
		want = r->pieces[r->piece].n - r->piece_done;
		*at = r->pieces[r->piece].at + r->piece_done;
	} else {
		*at = r->entry.size - r->stored;
	}
	n = take_bytes(r, want, data, e);
	if (n > 0) {
		r->stored -= (uint64_t)n;
		r->piece_done += (uint64_t)n;
	}
	return n;
}
