/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/hive.h"

#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "base/str.h"
#include "windows/utf.h"

#define BASE_BYTES 4096     /* the block before the bins */
#define CHECKED_BYTES 508   /* of it, by the checksum behind them */
#define DEPTH_MAX 512       /* of keys, as Windows has it */
#define PATH_BYTES_MAX (32 * KIB)
#define LIST_DEPTH 2        /* an ri of lists */
#define PIECE_BYTES 16344   /* of large data */
#define NONE 0xffffffffu
#define IN_PLACE 0x80000000u

/* Places in a key node and a value, from the cell's first byte of content. */
enum {
	NK_FLAGS = 2,
	NK_LAYERING = 13,
	NK_SUBKEYS = 20,
	NK_LIST = 28,
	NK_VALUES = 36,
	NK_VALUE_LIST = 40,
	NK_NAME_BYTES = 72,
	NK_NAME = 76,
	VK_NAME_BYTES = 2,
	VK_BYTES = 4,
	VK_DATA = 8,
	VK_TYPE = 12,
	VK_FLAGS = 16,
	VK_NAME = 20,
};
#define NK_FLAG_LINK 0x10
#define NK_FLAG_LATIN 0x20
#define VK_FLAG_LATIN 1
#define VK_FLAG_TOMBSTONE 2

struct hive {
	const uint8_t *bins;
	size_t n;
	uint8_t *seen;    /* a bit for each place where a key may be */
	size_t data_left; /* bytes of data that may still be handed out */
	size_t values_left;
	hive_key_fn *each;
	void *arg;
	struct str path;
	unsigned depth;
};

struct cell {
	const uint8_t *p;
	size_t n;
};

static int broken(struct err *e, const char *what)
{
	return err_set(e, ERR_INVALID, 0, "broken registry hive: %s", what);
}

static uint16_t u16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t u32(const uint8_t *p)
{
	return u16(p) | (uint32_t)u16(p + 2) << 16;
}

/* An allocated cell of at least min bytes. Its size is negative in the file. */
static int cell_at(const struct hive *h, uint32_t at, size_t min, struct cell *out, struct err *e)
{
	uint32_t size;

	if (at % 8 || at > h->n || h->n - at < 8)
		return broken(e, "a cell outside of it");
	size = -u32(h->bins + at);
	if (size < 8 || size > h->n - at)
		return broken(e, "a cell of impossible size");
	*out = (struct cell){ h->bins + at + 4, size - 4 };
	return out->n < min ? broken(e, "a cell that is too small") : 0;
}

static bool has_mark(const struct cell *c, const char *mark)
{
	return c->n >= 2 && !memcmp(c->p, mark, 2);
}

/* Latin-1 or UTF-16; appended to out. */
static int add_name(struct str *out, const struct cell *c, size_t at, size_t n, bool latin, struct err *e)
{
	size_t start = out->len;

	if (n > c->n - at)
		return broken(e, "a name outside of its cell");
	for (size_t i = 0; latin && i < n; i++) {
		if (!c->p[at + i])
			return broken(e, "a name with a zero in it");
		utf_add(out, c->p[at + i]);
	}
	if (!latin && utf_add_utf16(out, c->p + at, n))
		return broken(e, "a name that isn't text");
	return out->full || (start == out->len && n) ? broken(e, "names that are too long") : 0;
}

/* --- values --------------------------------------------------------------------------------------------------------- */

/* Pieces of 16344 bytes, listed in a cell. */
static int large_data(struct hive *h, const struct cell *head, size_t n, struct hive_value *out, struct err *e)
{
	struct cell list, piece;
	unsigned count = u16(head->p + 2);
	size_t done = 0;

	if (cell_at(h, u32(head->p + 4), 4 * (size_t)count, &list, e))
		return -1;
	out->owned = xmalloc(n + 1);
	for (unsigned i = 0; i < count && done < n; i++) {
		size_t take = n - done < PIECE_BYTES ? n - done : PIECE_BYTES;

		if (cell_at(h, u32(list.p + 4 * (size_t)i), take, &piece, e))
			return -1;
		memcpy(out->owned + done, piece.p, take);
		done += take;
	}
	out->data = out->owned;
	return done == n ? 0 : broken(e, "large data that isn't whole");
}

static int read_data(struct hive *h, const struct cell *vk, struct hive_value *out, struct err *e)
{
	uint32_t n = u32(vk->p + VK_BYTES);
	struct cell c;

	if (n & IN_PLACE) {
		out->n = n & ~IN_PLACE;
		out->data = vk->p + VK_DATA;
		return out->n <= 4 ? 0 : broken(e, "data in place that doesn't fit");
	}
	out->n = n;
	out->data = vk->p;
	if (!n)
		return 0;
	/* No two values share their data: all of it together isn't more than the hive. */
	if (n > h->data_left)
		return broken(e, "more data than it has");
	h->data_left -= n;
	if (cell_at(h, u32(vk->p + VK_DATA), 0, &c, e))
		return -1;
	if (n > PIECE_BYTES && c.n >= 8 && has_mark(&c, "db"))
		return large_data(h, &c, n, out, e);
	out->data = c.p;
	return n <= c.n ? 0 : broken(e, "data outside of its cell");
}

static int read_value(struct hive *h, uint32_t at, struct hive_value *out, struct err *e)
{
	struct cell vk;
	unsigned flags;
	autostr name;

	str_init(&name, PATH_BYTES_MAX * 2);
	if (cell_at(h, at, VK_NAME, &vk, e))
		return -1;
	if (!has_mark(&vk, "vk"))
		return broken(e, "a value without its mark");
	flags = u16(vk.p + VK_FLAGS);
	out->type = u32(vk.p + VK_TYPE);
	out->deleted = flags & VK_FLAG_TOMBSTONE;
	if (add_name(&name, &vk, VK_NAME, u16(vk.p + VK_NAME_BYTES), flags & VK_FLAG_LATIN, e))
		return -1;
	out->name = str_take(&name);
	return out->deleted ? 0 : read_data(h, &vk, out, e);
}

static int read_values(struct hive *h, const struct cell *nk, struct hive_value *values, size_t n, struct err *e)
{
	struct cell list;

	if (!n)
		return 0;
	if (cell_at(h, u32(nk->p + NK_VALUE_LIST), 4 * n, &list, e))
		return -1;
	for (size_t i = 0; i < n; i++)
		if (read_value(h, u32(list.p + 4 * i), &values[i], e))
			return -1;
	return 0;
}

/* --- keys ----------------------------------------------------------------------------------------------------------- */

static int walk_key(struct hive *h, uint32_t at, struct err *e);

/* lf and lh have a hint beside each key, li has none, ri has lists. */
static int walk_list(struct hive *h, uint32_t at, unsigned depth, uint32_t *left, struct err *e)
{
	struct cell list;
	size_t step, count;
	bool lists;

	if (cell_at(h, at, 4, &list, e))
		return -1;
	lists = has_mark(&list, "ri");
	step = has_mark(&list, "lf") || has_mark(&list, "lh") ? 8 : 4;
	count = u16(list.p + 2);
	if (step == 4 && !lists && !has_mark(&list, "li"))
		return broken(e, "a list of keys without its mark");
	if (count * step > list.n - 4 || (lists && depth == LIST_DEPTH))
		return broken(e, "a list of keys that can't be");
	for (size_t i = 0; i < count; i++) {
		uint32_t child = u32(list.p + 4 + i * step);

		if (!lists && !(*left)--)
			return broken(e, "more keys than a key says");
		if (lists ? walk_list(h, child, depth + 1, left, e) : walk_key(h, child, e))
			return -1;
	}
	return 0;
}

static int visit(struct hive *h, const struct cell *nk, struct err *e)
{
	size_t n = u32(nk->p + NK_VALUES);
	struct hive_key key = { .path = h->path.s ? h->path.s : "",
				.layering = (enum hive_layering)(nk->p[NK_LAYERING] & 3),
				.link = u16(nk->p + NK_FLAGS) & NK_FLAG_LINK,
				.n_values = n };
	struct hive_value *values;
	int rc;

	if (n > h->values_left)
		return broken(e, "more values than it can have");
	h->values_left -= n;
	values = xcalloc(n + 1, sizeof(*values));
	key.values = values;
	rc = read_values(h, nk, values, n, e) || h->each(h->arg, &key, e) ? -1 : 0;
	for (size_t i = 0; i < n; i++) {
		free(values[i].name);
		free(values[i].owned);
	}
	free(values);
	return rc;
}

/* The root's own name isn't part of a path. */
static int enter_name(struct hive *h, const struct cell *nk, struct err *e)
{
	size_t start;

	if (!h->depth)
		return 0;
	if (h->path.len)
		str_puts(&h->path, "\\");
	start = h->path.len;
	if (add_name(&h->path, nk, NK_NAME, u16(nk->p + NK_NAME_BYTES), u16(nk->p + NK_FLAGS) & NK_FLAG_LATIN, e))
		return -1;
	if (start == h->path.len || strchr(h->path.s + start, '\\'))
		return broken(e, "a key without a usable name");
	return 0;
}

static int walk_key(struct hive *h, uint32_t at, struct err *e)
{
	size_t before = h->path.len;
	struct cell nk;
	uint32_t subkeys;

	if (cell_at(h, at, NK_NAME, &nk, e))
		return -1;
	if (!has_mark(&nk, "nk"))
		return broken(e, "a key without its mark");
	if (h->seen[at / 64] & 1u << at / 8 % 8 || h->depth > DEPTH_MAX)
		return broken(e, "keys in a circle");
	h->seen[at / 64] |= (uint8_t)(1u << at / 8 % 8);
	if (enter_name(h, &nk, e) || visit(h, &nk, e))
		return -1;
	subkeys = u32(nk.p + NK_SUBKEYS);
	h->depth++;
	if (subkeys && u32(nk.p + NK_LIST) != NONE && walk_list(h, u32(nk.p + NK_LIST), 1, &subkeys, e))
		return -1;
	h->depth--;
	if (h->path.s)
		h->path.s[h->path.len = before] = '\0';
	return 0;
}

/* --- the file ------------------------------------------------------------------------------------------------------- */

static bool sum_is_good(const uint8_t *data)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < CHECKED_BYTES; i += 4)
		sum ^= u32(data + i);
	/* Two sums are marks of other files. */
	sum = sum == NONE ? NONE - 1 : sum ? sum : 1;
	return sum == u32(data + CHECKED_BYTES);
}

static int check_base(const uint8_t *data, size_t n, struct err *e)
{
	if (n < BASE_BYTES || memcmp(data, "regf", 4) != 0)
		return broken(e, "no hive at all");
	if (!sum_is_good(data))
		return broken(e, "wrong checksum");
	if (u32(data + 20) != 1 || u32(data + 32) != 1)
		return broken(e, "a version that isn't known");
	if (u32(data + 40) > n - BASE_BYTES)
		return broken(e, "it is cut off");
	return 0;
}

int hive_walk(const uint8_t *data, size_t n, hive_key_fn *each, void *arg, struct err *e)
{
	struct hive h = { .each = each, .arg = arg };
	int rc;

	if (n > HIVE_BYTES_MAX)
		return err_set(e, ERR_LIMIT, 0, "registry hive: larger than %llu bytes", HIVE_BYTES_MAX);
	if (check_base(data, n, e))
		return -1;
	h.bins = data + BASE_BYTES;
	h.n = u32(data + 40);
	h.data_left = h.n;
	h.values_left = h.n / (4 + VK_NAME);
	h.seen = xcalloc(h.n / 64 + 1, 1);
	str_init(&h.path, PATH_BYTES_MAX);
	rc = walk_key(&h, u32(data + 36), e);
	str_fini(&h.path);
	free(h.seen);
	return rc;
}
