/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/resource.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/own.h"
#include "base/str.h"

#define PE_OFFSET_AT 0x3c
#define PE_SECTIONS_AT 6
#define PE_OPTIONAL_BYTES_AT 20
#define PE_HEADER_BYTES 24
#define DIRECTORY_RESOURCES (112 + 2 * 8) /* in the optional header of a 64-bit image */
#define SECTION_BYTES 40
#define RESOURCE_DIRECTORY_BYTES 16
#define IS_DIRECTORY 0x80000000u
#define TYPE_STRINGS 6
#define BLOCK_STRINGS 16
#define STRING_CHARS_MAX 4096

struct image {
	unsigned char *d;
	size_t n;
	bool bad;        /* something was read outside */
	size_t root;     /* file offset of the resources */
	size_t distance; /* what is added to an address in them for its file offset */
};

static uint32_t get(struct image *m, size_t at, int bytes)
{
	uint32_t value = 0;

	if (at > m->n || m->n - at < (size_t)bytes) {
		m->bad = true;
		return 0;
	}
	for (int i = bytes - 1; i >= 0; i--)
		value = value << 8 | m->d[at + (size_t)i];
	return value;
}

static void put(struct image *m, size_t at, uint32_t value, int bytes)
{
	if (at > m->n || m->n - at < (size_t)bytes) {
		m->bad = true;
		return;
	}
	for (int i = 0; i < bytes; i++, value >>= 8)
		m->d[at + (size_t)i] = (unsigned char)value;
}

/* Where the resources are in the file: their section. */
static bool find_resources(struct image *m)
{
	size_t pe = get(m, PE_OFFSET_AT, 4), optional = pe + PE_HEADER_BYTES;
	size_t section = optional + get(m, pe + PE_OPTIONAL_BYTES_AT, 2);
	uint32_t address = get(m, optional + DIRECTORY_RESOURCES, 4);

	for (uint32_t i = get(m, pe + PE_SECTIONS_AT, 2); i > 0 && !m->bad; i--, section += SECTION_BYTES) {
		if (get(m, section + 12, 4) != address)
			continue;
		m->root = get(m, section + 20, 4);
		m->distance = m->root - address; /* may wrap around: it is added */
		return !m->bad;
	}
	return false;
}

/* Entry i of a directory: its number; *at receives the offset of what it is for, from the root. False behind the last. */
static bool entry(struct image *m, size_t directory, uint32_t i, uint32_t *number, uint32_t *at)
{
	size_t base = m->root + directory;

	if (i >= get(m, base + 12, 2) + get(m, base + 14, 2) || m->bad)
		return false;
	*number = get(m, base + RESOURCE_DIRECTORY_BYTES + 8 * (size_t)i, 4);
	*at = get(m, base + RESOURCE_DIRECTORY_BYTES + 8 * (size_t)i + 4, 4);
	return !m->bad;
}

static bool find_entry(struct image *m, size_t directory, uint32_t wanted, uint32_t *at)
{
	uint32_t number;

	for (uint32_t i = 0; entry(m, directory, i, &number, at); i++)
		if (number == wanted)
			return true;
	return false;
}

/* A block of 16 counted strings with one of them replaced. False when that one isn't what it should be. */
static bool make_block(struct image *m, size_t at, unsigned index, const char *from, const char *to, struct str *out)
{
	for (unsigned i = 0; i < BLOCK_STRINGS && !m->bad; i++) {
		size_t chars = get(m, at, 2), length = i == index ? strlen(to) : chars;
		bool same = i != index || chars == strlen(from);

		for (size_t k = 0; i == index && same && k < chars; k++)
			same = get(m, at + 2 + 2 * k, 2) == (unsigned char)from[k];
		if (!same || chars > STRING_CHARS_MAX || at + 2 + 2 * chars > m->n)
			return false;
		str_add(out, (const char[]){ (char)(length & 0xff), (char)(length >> 8) }, 2);
		if (i == index)
			for (size_t k = 0; k < length; k++)
				str_add(out, (const char[]){ to[k], 0 }, 2);
		else
			str_add(out, (const char *)m->d + at + 2, 2 * chars);
		at += 2 + 2 * chars;
	}
	return !m->bad && !out->full;
}

/* The place of the language that has the largest block; *bytes is its size. */
static uint32_t largest(struct image *m, size_t languages, uint32_t *bytes)
{
	uint32_t number, at, address = 0;

	*bytes = 0;
	for (uint32_t i = 0; entry(m, languages, i, &number, &at); i++) {
		uint32_t size = get(m, m->root + at + 4, 4);

		if (size <= *bytes || at & IS_DIRECTORY)
			continue;
		*bytes = size;
		address = get(m, m->root + at, 4);
	}
	return address;
}

int resource_replace_string(unsigned char *file, size_t n, unsigned id, unsigned language, const char *from,
			    const char *to, struct err *e)
{
	struct image m = { .d = file, .n = n };
	uint32_t blocks, languages, data, room, place;
	size_t at;
	autostr block;

	str_init(&block, 64 * KIB);
	if (!find_resources(&m) || !find_entry(&m, 0, TYPE_STRINGS, &blocks) ||
	    !find_entry(&m, blocks & ~IS_DIRECTORY, id / BLOCK_STRINGS + 1, &languages) ||
	    !find_entry(&m, languages & ~IS_DIRECTORY, language, &data))
		return err_set(e, ERR_INVALID, 0, "string %u: no such resource", id);
	at = (uint32_t)(get(&m, m.root + data, 4) + m.distance);
	place = largest(&m, languages & ~IS_DIRECTORY, &room);
	if (m.bad || !make_block(&m, at, id % BLOCK_STRINGS, from, to, &block))
		return err_set(e, ERR_INVALID, 0, "string %u isn't \"%s\"", id, from);
	at = (uint32_t)(place + m.distance);
	if (block.len > room || at > n || n - at < block.len)
		return err_set(e, ERR_INVALID, 0, "string %u: no room", id);
	memcpy(file + at, block.s, block.len);
	put(&m, m.root + data, place, 4);
	put(&m, m.root + data + 4, (uint32_t)block.len, 4);
	return m.bad ? err_set(e, ERR_INVALID, 0, "resources are cut off") : 0;
}
