/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/own.h"
#include "base/tar.h"
#include "base/tar_format.h"

#define OCTAL_7 07777777ull
#define OCTAL_11 077777777777ull

static char type_flag(const struct tar_entry *t)
{
	for (size_t i = 0; i < array_len(tar_types); i++)
		if (tar_types[i].type == t->type)
			return tar_types[i].flag;
	return '0';
}

/* "LENGTH KEY=VALUE\n", where LENGTH counts itself. */
static void add_record(struct str *out, const char *key, const void *value, size_t n)
{
	size_t rest = 1 + strlen(key) + 1 + n + 1, length = rest;
	char digits[24];

	for (size_t before = 0; before != length;) {
		before = length;
		length = rest + (size_t)snprintf(digits, sizeof(digits), "%zu", length);
	}
	str_printf(out, "%s %s=", digits, key);
	str_add(out, value, n);
	str_puts(out, "\n");
}

static void add_number(struct str *out, const char *key, long long value)
{
	char text[24];

	add_record(out, key, text, (size_t)snprintf(text, sizeof(text), "%lld", value));
}

static bool fits_text(const char *text, size_t room)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++)
		if (text[i] & 0x80)
			return false;
	return n <= room;
}

static void pax_records(const struct tar_entry *t, struct str *out)
{
	if (!fits_text(t->name, sizeof(((struct ustar *)0)->name)))
		add_record(out, "path", t->name, strlen(t->name));
	if (t->link && !fits_text(t->link, sizeof(((struct ustar *)0)->link)))
		add_record(out, "linkpath", t->link, strlen(t->link));
	if (t->size > OCTAL_11)
		add_number(out, "size", (long long)t->size);
	if (t->uid > OCTAL_7)
		add_number(out, "uid", (long long)t->uid);
	if (t->gid > OCTAL_7)
		add_number(out, "gid", (long long)t->gid);
	if (t->mtime < 0 || (uint64_t)t->mtime > OCTAL_11)
		add_number(out, "mtime", t->mtime);
	for (size_t i = 0; i < t->n_xattrs; i++) {
		autofree char *key = xasprintf("SCHILY.xattr.%s", t->xattrs[i].name);

		add_record(out, key, t->xattrs[i].value, t->xattrs[i].n);
	}
}

static void put_octal(char *field, size_t size, uint64_t value, uint64_t max)
{
	char text[24];

	snprintf(text, sizeof(text), "%0*llo", (int)size - 1, (unsigned long long)(value > max ? 0 : value));
	memcpy(field, text, size - 1);
}

static void put_text(char *field, size_t size, const char *text)
{
	size_t n = strlen(text);

	memcpy(field, text, n < size ? n : size);
}

static int add_block(struct str *out, struct ustar *h)
{
	unsigned sum = 0;

	memcpy(h->magic, "ustar", 6);
	memcpy(h->version, "00", 2);
	memset(h->checksum, ' ', sizeof(h->checksum));
	for (size_t i = 0; i < sizeof(*h); i++)
		sum += ((unsigned char *)h)[i];
	snprintf(h->checksum, sizeof(h->checksum), "%06o", sum);
	return str_add(out, h, sizeof(*h));
}

static int add_pax(const struct tar_entry *t, struct str *out)
{
	static const char zeros[TAR_BLOCK];
	struct ustar h = { .type = 'x' };
	autostr records;

	str_init(&records, TAR_PAX_MAX);
	pax_records(t, &records);
	if (records.full)
		return -1;
	if (!records.len)
		return 0;
	put_text(h.name, sizeof(h.name), "PaxHeaders.0/x");
	put_octal(h.mode, sizeof(h.mode), 0644, OCTAL_7);
	put_octal(h.uid, sizeof(h.uid), 0, OCTAL_7);
	put_octal(h.gid, sizeof(h.gid), 0, OCTAL_7);
	put_octal(h.size, sizeof(h.size), records.len, OCTAL_11);
	put_octal(h.mtime, sizeof(h.mtime), 0, OCTAL_11);
	if (add_block(out, &h) || str_add(out, records.s, records.len))
		return -1;
	return str_add(out, zeros, tar_padding(records.len));
}

int tar_format(const struct tar_entry *t, struct str *out)
{
	struct ustar h = { .type = type_flag(t) };
	bool device = t->type == S_IFCHR || t->type == S_IFBLK;

	if (add_pax(t, out))
		return -1;
	put_text(h.name, sizeof(h.name), t->name);
	put_text(h.link, sizeof(h.link), t->link ? t->link : "");
	put_octal(h.mode, sizeof(h.mode), t->mode & 07777, OCTAL_7);
	put_octal(h.uid, sizeof(h.uid), t->uid, OCTAL_7);
	put_octal(h.gid, sizeof(h.gid), t->gid, OCTAL_7);
	put_octal(h.size, sizeof(h.size), t->type == S_IFREG ? t->size : 0, OCTAL_11);
	put_octal(h.mtime, sizeof(h.mtime), t->mtime < 0 ? 0 : (uint64_t)t->mtime, OCTAL_11);
	put_octal(h.major, sizeof(h.major), device ? t->major : 0, OCTAL_7);
	put_octal(h.minor, sizeof(h.minor), device ? t->minor : 0, OCTAL_7);
	return add_block(out, &h);
}
