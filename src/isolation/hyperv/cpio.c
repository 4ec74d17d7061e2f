/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/cpio.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/own.h"

#define HEADER_BYTES 110

void cpio_init(struct cpio *c, size_t max_bytes)
{
	*c = (struct cpio){ 0 };
	str_init(&c->out, max_bytes);
}

void cpio_fini(struct cpio *c)
{
	str_fini(&c->out);
}

/* Header and file data both start at a multiple of four bytes. */
static void pad(struct cpio *c)
{
	static const char zeros[4];

	str_add(&c->out, zeros, (4 - c->out.len % 4) % 4);
}

static int entry(struct cpio *c, const char *name, mode_t mode, unsigned dev_major, unsigned dev_minor,
		 const void *data, size_t n, struct err *e)
{
	unsigned links = S_ISDIR(mode) ? 2 : 1;
	char header[HEADER_BYTES + 1];

	if (n > UINT32_MAX)
		return err_set(e, ERR_LIMIT, 0, "initramfs: %s is too large", name);
	c->ino++;
	/* magic ino mode uid gid nlink mtime size devmajor devminor rdevmajor rdevminor namesize check */
	snprintf(header, sizeof header, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", c->ino,
		 (unsigned)mode, 0u, 0u, links, 0u, (unsigned)n, 0u, 0u, dev_major, dev_minor,
		 (unsigned)strlen(name) + 1, 0u);
	str_add(&c->out, header, HEADER_BYTES);
	str_add(&c->out, name, strlen(name) + 1);
	pad(c);
	if (n)
		str_add(&c->out, data, n);
	pad(c);
	if (c->out.full)
		return err_set(e, ERR_LIMIT, 0, "initramfs: larger than %zu MiB", c->out.max >> 20);
	return 0;
}

int cpio_add(struct cpio *c, const char *name, mode_t mode, const void *data, size_t n, struct err *e)
{
	return entry(c, name, mode, 0, 0, data, n, e);
}

int cpio_add_device(struct cpio *c, const char *name, mode_t mode, unsigned dev_major, unsigned dev_minor,
		    struct err *e)
{
	return entry(c, name, mode, dev_major, dev_minor, NULL, 0, e);
}

static size_t hex8(const char *s)
{
	size_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 4 | (size_t)(s[i] <= '9' ? s[i] - '0' : s[i] - 'a' + 10);
	return v;
}

/* Whether the archive has a directory of this name: walks the headers, there are some hundred of them. */
static bool has_entry(const struct cpio *c, const char *name, size_t name_len)
{
	const char *s = c->out.s;
	size_t at = 0;

	while (at + HEADER_BYTES < c->out.len) {
		size_t size = hex8(s + at + 54), name_size = hex8(s + at + 94);

		if (name_size == name_len + 1 && !memcmp(s + at + HEADER_BYTES, name, name_len))
			return true;
		at = (at + HEADER_BYTES + name_size + 3) & ~(size_t)3;
		at = (at + size + 3) & ~(size_t)3;
	}
	return false;
}

int cpio_add_dirs(struct cpio *c, const char *name, struct err *e)
{
	const char *slash = name;

	while ((slash = strchr(slash, '/'))) {
		size_t n = (size_t)(slash - name);
		autofree char *dir = xstrndup(name, n);

		if (!has_entry(c, name, n) && cpio_add(c, dir, S_IFDIR | 0755, NULL, 0, e))
			return -1;
		slash++;
	}
	return 0;
}

int cpio_end(struct cpio *c, struct err *e)
{
	return entry(c, "TRAILER!!!", 0, 0, 0, NULL, 0, e);
}
