/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/kernel.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"

#define IMAGE_BYTES_MAX (256 * MIB)  /* a vmlinuz */
#define VMLINUX_BYTES_MAX (512 * MIB)

/* ---- where it is ---- */

/* Is this "vmlinuz-<release>" newer than what k has, and are its modules there? Then it becomes k. */
static void consider(const char *root, const char *boot_file, struct kernel *k)
{
	const char *release = boot_file + strlen("vmlinuz-");
	autofree char *modules = xasprintf("%s/lib/modules/%s", root, release);
	autofree char *dep = xasprintf("%s/modules.dep", modules);
	autofree char *image = xasprintf("%s/boot/%s", root, boot_file);

	if (k->release && strverscmp(release, k->release) <= 0)
		return;
	if (access(dep, R_OK) || access(image, R_OK))
		return;
	kernel_fini(k);
	k->image_path = take_ptr(&image);
	k->modules_dir = take_ptr(&modules);
	k->release = xstrdup(release);
}

static bool find_below(const char *root, struct kernel *k)
{
	autofree char *boot_path = xasprintf("%s/boot", root);
	DIR *boot = opendir(boot_path);
	struct dirent *d;

	if (!boot)
		return false;
	while ((d = readdir(boot)))
		if (str_starts(d->d_name, "vmlinuz-"))
			consider(root, d->d_name, k);
	closedir(boot);
	return k->release;
}

int kernel_find(const char *dir, const char *vm_dir, struct kernel *k, struct err *e)
{
	autofree char *own = vm_dir ? xasprintf("%s/kernel", vm_dir) : NULL;
	const char *places[] = { getenv("SILO_GUEST_KERNEL"), own, "/usr/local/lib/silo/kernel", "/usr/lib/silo/kernel",
				 "" /* the host's own */ };

	*k = (struct kernel){ 0 };
	if (dir && find_below(dir, k))
		return 0;
	for (size_t i = 0; !dir && i < array_len(places); i++)
		if (places[i] && find_below(places[i], k))
			return 0;
	return err_set(e, ERR_UNAVAILABLE, 0,
		       "no guest kernel with its modules in %s (script/fetch-guest-kernel gets one)",
		       dir ? dir : "/usr/local/lib/silo/kernel, /usr/lib/silo/kernel or /boot");
}

void kernel_fini(struct kernel *k)
{
	free(k->image_path);
	free(k->modules_dir);
	free(k->release);
	*k = (struct kernel){ 0 };
}

/* ---- decompression ---- */

static uint32_t le32(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int kernel_payload(const unsigned char *image, size_t n, size_t *offset, size_t *length, struct err *e)
{
	size_t setup_sectors;

	if (n < 0x260 || memcmp(image + 0x202, "HdrS", 4))
		return err_set(e, ERR_INVALID, 0, "not a bzImage");
	if (image[0x206] + image[0x207] * 256 < 0x208)
		return err_set(e, ERR_INVALID, 0, "bzImage of an old boot protocol");
	setup_sectors = image[0x1f1] ? image[0x1f1] : 4;
	*offset = (setup_sectors + 1) * 512 + le32(image + 0x248);
	*length = le32(image + 0x24c);
	if (*offset > n || *length > n - *offset || *length < 8)
		return err_set(e, ERR_INVALID, 0, "bzImage is cut off");
	return 0;
}

/* Decompress data into out. */
static int inflate(const void *data, size_t n, const char *what, struct str *out, struct err *e)
{
	struct archive *a = archive_read_new();
	struct archive_entry *entry;
	char buf[64 * KIB];
	ssize_t got = -1;

	archive_read_support_filter_gzip(a);
	archive_read_support_filter_xz(a);
	archive_read_support_filter_lzma(a);
	archive_read_support_filter_zstd(a);
	archive_read_support_filter_lz4(a);
	archive_read_support_filter_bzip2(a);
	archive_read_support_format_raw(a);
	if (archive_read_open_memory(a, data, n) == ARCHIVE_OK && archive_read_next_header(a, &entry) == ARCHIVE_OK)
		while ((got = archive_read_data(a, buf, sizeof buf)) > 0)
			if (str_add(out, buf, (size_t)got))
				break;
	if (out->full)
		err_set(e, ERR_LIMIT, 0, "%s: larger than %zu MiB", what, out->max >> 20);
	else if (got < 0)
		err_set(e, ERR_INVALID, 0, "%s: can't decompress: %s", what, archive_error_string(a));
	archive_read_free(a);
	return out->full || got < 0 ? -1 : 0;
}

int kernel_inflate_file(const char *path, struct str *out, struct err *e)
{
	autostr raw;

	str_init(&raw, IMAGE_BYTES_MAX);
	if (io_read_file(AT_FDCWD, path, &raw, e))
		return -1;
	if (raw.len >= 4 && !memcmp(raw.s, "\177ELF", 4)) {
		if (str_add(out, raw.s, raw.len))
			return err_set(e, ERR_LIMIT, 0, "%s: too large", path);
		return 0;
	}
	return inflate(raw.s, raw.len, path, out, e);
}

int kernel_extract(const char *image_path, int fd, struct err *e)
{
	autostr image, vmlinux;
	size_t offset, length, tail;

	str_init(&image, IMAGE_BYTES_MAX);
	str_init(&vmlinux, VMLINUX_BYTES_MAX);
	if (io_read_file(AT_FDCWD, image_path, &image, e))
		return -1;
	if (image.len >= 4 && !memcmp(image.s, "\177ELF", 4)) {
		if (io_write_all(fd, image.s, image.len))
			return err_set(e, ERR_SYSTEM, errno, "write vmlinux");
		return 0;
	}
	if (kernel_payload((unsigned char *)image.s, image.len, &offset, &length, e))
		return err_prefix(e, "%s", image_path);
	/* The last four bytes of the payload are the size of what comes out: part of gzip's format, else the kernel's. */
	tail = image.s[offset] == '\x1f' && image.s[offset + 1] == '\x8b' ? 0 : 4;
	if (inflate(image.s + offset, length - tail, image_path, &vmlinux, e))
		return -1;
	if (vmlinux.len < 4 || memcmp(vmlinux.s, "\177ELF", 4) ||
	    (uint32_t)vmlinux.len != le32((unsigned char *)image.s + offset + length - 4))
		return err_set(e, ERR_INVALID, 0, "%s: doesn't decompress to an ELF file", image_path);
	if (io_write_all(fd, vmlinux.s, vmlinux.len))
		return err_set(e, ERR_SYSTEM, errno, "write vmlinux");
	return 0;
}

/* ---- modules ---- */

/* Is path ("kernel/drivers/virtio/virtio-mmio.ko.xz", n bytes) the file of module name ("virtio_mmio")? */
static bool is_module(const char *path, size_t n, const char *name)
{
	size_t start = n;

	while (start && path[start - 1] != '/')
		start--;
	path += start;
	n -= start;
	for (; *name && n; name++, path++, n--)
		if (*name != *path && !(strchr("-_", *name) && strchr("-_", *path)))
			return false;
	return !*name && n >= 3 && !memcmp(path, ".ko", 3);
}

/* The line of text whose first word (up to ':', blank or line end) is the file of the module; NULL: none. */
static const char *find_line(const char *text, const char *name)
{
	while (text && *text) {
		if (is_module(text, strcspn(text, ": \n"), name))
			return text;
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	return NULL;
}

int modules_closure(const char *dep, const char *builtin, const char *name, int (*add)(void *arg, const char *path),
		    void *arg)
{
	const char *line = find_line(dep, name), *end;

	if (!line)
		return find_line(builtin, name) ? 0 : 1;
	end = line + strcspn(line, "\n");
	/* modules.dep lists the whole closure of a module, what is needed first at the end. */
	while (end > line) {
		const char *word = end;
		size_t n;

		while (word > line && word[-1] != ' ')
			word--;
		n = (size_t)(end - word);
		if (n && word[n - 1] == ':')
			n--;
		if (n) {
			autofree char *path = xstrndup(word, n);

			if (add(arg, path))
				return -1;
		}
		end = word > line ? word - 1 : line;
	}
	return 0;
}
