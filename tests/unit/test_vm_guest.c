/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest is made of: initramfs, kernel image, module lists, sources of a template. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "isolation/hyperv/cpio.h"
#include "isolation/hyperv/host.h"
#include "isolation/hyperv/kernel.h"

/* ---- cpio ---- */

static unsigned field(const char *header, int index)
{
	char hex[9] = "";

	memcpy(hex, header + 6 + 8 * index, 8);
	return (unsigned)strtoul(hex, NULL, 16);
}

static void entries_are_newc_and_aligned(void **state)
{
	struct cpio c;
	struct err e;
	const char *second;

	cpio_init(&c, MIB);
	assert_int_equal(cpio_add(&c, "abc", S_IFREG | 0755, "12345", 5, &e), 0);
	assert_int_equal(c.out.len, 116 + 8); /* 110 + "abc\0" to 116, 5 to 8 */
	assert_memory_equal(c.out.s, "070701", 6);
	assert_int_equal(field(c.out.s, 1), S_IFREG | 0755);
	assert_int_equal(field(c.out.s, 2), 0);  /* uid */
	assert_int_equal(field(c.out.s, 6), 5);  /* size */
	assert_int_equal(field(c.out.s, 11), 4); /* name with its NUL */
	assert_string_equal(c.out.s + 110, "abc");
	assert_memory_equal(c.out.s + 116, "12345\0\0\0", 8);
	assert_int_equal(cpio_add_device(&c, "dev/console", S_IFCHR | 0600, 5, 1, &e), 0);
	second = c.out.s + 124;
	assert_int_equal(field(second, 9), 5);
	assert_int_equal(field(second, 10), 1);
	assert_int_equal(cpio_end(&c, &e), 0);
	assert_non_null(memmem(c.out.s, c.out.len, "TRAILER!!!", 11));
	assert_int_equal(c.out.len % 4, 0);
	cpio_fini(&c);
}

static void directories_come_once_and_first(void **state)
{
	struct cpio c;
	struct err e;
	size_t len;

	cpio_init(&c, MIB);
	assert_int_equal(cpio_add_dirs(&c, "lib/modules/x.ko", &e), 0);
	len = c.out.len;
	assert_int_equal(cpio_add_dirs(&c, "lib/modules/y.ko", &e), 0);
	assert_int_equal(c.out.len, len);
	assert_int_equal(field(c.out.s, 1), S_IFDIR | 0755);
	assert_string_equal(c.out.s + 110, "lib");
	assert_int_equal(cpio_add_dirs(&c, "plain", &e), 0);
	assert_int_equal(c.out.len, len);
	cpio_fini(&c);
}

static void archive_has_a_maximum(void **state)
{
	struct cpio c;
	struct err e;

	cpio_init(&c, 200);
	assert_int_equal(cpio_add(&c, "a", S_IFREG | 0644, "x", 1, &e), 0);
	assert_int_equal(cpio_add(&c, "b", S_IFREG | 0644, "x", 1, &e), -1);
	assert_int_equal(e.kind, ERR_LIMIT);
	cpio_fini(&c);
}

/* ---- bzImage ---- */

#define IMAGE_BYTES 4096

static void make_image(unsigned char image[static IMAGE_BYTES])
{
	memset(image, 0, IMAGE_BYTES);
	image[0x1f1] = 1; /* set-up code of one sector */
	memcpy(image + 0x202, "HdrS", 4);
	image[0x206] = 0x0f;
	image[0x207] = 0x02;
	image[0x248] = 0x10; /* payload at 16 behind it, 1000 bytes */
	image[0x24c] = 0xe8;
	image[0x24d] = 0x03;
}

static void payload_is_found_in_the_header(void **state)
{
	unsigned char image[IMAGE_BYTES];
	size_t offset, length;
	struct err e;

	make_image(image);
	assert_int_equal(kernel_payload(image, sizeof image, &offset, &length, &e), 0);
	assert_int_equal(offset, 2 * 512 + 16);
	assert_int_equal(length, 1000);
}

static void bad_images_are_refused(void **state)
{
	static const struct {
		size_t at;
		unsigned char value;
		size_t bytes;
	} cases[] = {
		{ 0x202, 'X', IMAGE_BYTES },  /* no header */
		{ 0x206, 7, IMAGE_BYTES },    /* protocol 2.07 */
		{ 0x24b, 0xff, IMAGE_BYTES }, /* payload beyond the end */
		{ 0x24f, 0xff, IMAGE_BYTES }, /* longer than the file */
		{ 0, 0, 1500 },               /* cut off */
		{ 0, 0, 0x200 },              /* smaller than a header */
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		unsigned char image[IMAGE_BYTES];
		size_t offset, length;
		struct err e = { 0 };

		make_image(image);
		image[cases[i].at] = cases[i].value;
		assert_int_equal(kernel_payload(image, cases[i].bytes, &offset, &length, &e), -1);
		assert_int_equal(e.kind, ERR_INVALID);
	}
}

static void elf_and_gzip_are_inflated(void **state)
{
	/* "\177ELF" through gzip -n */
	static const unsigned char gz[] = { 0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xab, 0x77,
					    0xf5, 0x71, 0x03, 0x00, 0x51, 0xc4, 0x3a, 0xa7, 0x04, 0x00, 0x00, 0x00 };
	char path[] = "/tmp/test_vm_guest.XXXXXX";
	int fd = mkstemp(path);
	struct err e = { 0 };
	autostr out;

	str_init(&out, KIB);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "\177ELFx", 5), 5);
	assert_int_equal(kernel_inflate_file(path, &out, &e), 0);
	assert_int_equal(out.len, 5);
	str_drop(&out, 5);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, gz, sizeof gz, 0), sizeof gz);
	if (kernel_inflate_file(path, &out, &e))
		fail_msg("%s", e.msg);
	assert_int_equal(out.len, 4);
	assert_memory_equal(out.s, "\177ELF", 4);
	close(fd);
	unlink(path);
}

/* ---- modules ---- */

static const char dep_text[] = "kernel/fs/ext4/ext4.ko.xz: kernel/lib/crc16.ko.xz kernel/fs/mbcache.ko.xz\n"
			       "kernel/lib/crc16.ko.xz:\n"
			       "kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko\n"
			       "kernel/drivers/virtio/virtio-mmio.ko:\n";
static const char builtin_text[] = "kernel/drivers/block/virtio_blk.ko\n";

static int append(void *arg, const char *path)
{
	return str_printf(arg, "%s\n", path);
}

static void closure_is_in_order_of_loading(void **state)
{
	static const struct {
		const char *name, *files;
		int rc;
	} cases[] = {
		{ "ext4", "kernel/fs/mbcache.ko.xz\nkernel/lib/crc16.ko.xz\nkernel/fs/ext4/ext4.ko.xz\n", 0 },
		{ "virtio_mmio", "kernel/drivers/virtio/virtio-mmio.ko\n", 0 },
		{ "virtio-mmio", "kernel/drivers/virtio/virtio-mmio.ko\n", 0 },
		{ "virtio_net", "kernel/drivers/net/net_failover.ko\nkernel/drivers/net/virtio_net.ko\n", 0 },
		{ "virtio_blk", "", 0 }, /* built in */
		{ "virtio", "", 1 },     /* a prefix is no name */
		{ "crc16x", "", 1 },
		{ "", "", 1 },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		autostr got;

		str_init(&got, KIB);
		str_puts(&got, "");
		assert_int_equal(modules_closure(dep_text, builtin_text, cases[i].name, append, &got), cases[i].rc);
		assert_string_equal(got.s ? got.s : "", cases[i].files);
	}
}

static int refuse(void *arg, const char *path)
{
	return -1;
}

static void closure_ends_when_told(void **state)
{
	assert_int_equal(modules_closure(dep_text, builtin_text, "ext4", refuse, NULL), -1);
	assert_int_equal(modules_closure("", "", "ext4", refuse, NULL), 1);
}

/* ---- sources ---- */

static void a_changed_source_is_noticed(void **state)
{
	char path[] = "/tmp/test_vm_guest.XXXXXX";
	int fd = mkstemp(path);
	autojson *sources = json_array();
	struct err e;

	assert_false(host_sources_unchanged(sources)); /* made of nothing: no template of ours */
	json_array_append_new(sources, host_stat_source(path, &e));
	assert_true(host_sources_unchanged(sources));
	assert_int_equal(write(fd, "x", 1), 1);
	assert_false(host_sources_unchanged(sources));
	close(fd);
	unlink(path);
	assert_false(host_sources_unchanged(sources));
	assert_null(host_stat_source(path, &e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_are_newc_and_aligned),   cmocka_unit_test(directories_come_once_and_first),
		cmocka_unit_test(archive_has_a_maximum),          cmocka_unit_test(payload_is_found_in_the_header),
		cmocka_unit_test(bad_images_are_refused),         cmocka_unit_test(elf_and_gzip_are_inflated),
		cmocka_unit_test(closure_is_in_order_of_loading), cmocka_unit_test(closure_ends_when_told),
		cmocka_unit_test(a_changed_source_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
