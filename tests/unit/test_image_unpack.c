/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The extractor without its jail and without root: archives of files into a private directory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/str.h"
#include "image/compression.h"
#include "image/unpack.h"
#include "os/extract.h"

struct target {
	char dir[32];
	int fd;
};

static int setup(void **state)
{
	struct target *t = xcalloc(1, sizeof *t);

	strcpy(t->dir, "/tmp/silo-unpack-XXXXXX");
	if (!mkdtemp(t->dir))
		return -1;
	t->fd = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = t;
	return t->fd < 0;
}

static int teardown(void **state)
{
	struct target *t = *state;
	struct err e;

	close(t->fd);
	io_remove_tree(AT_FDCWD, t->dir, &e);
	free(t);
	return 0;
}

/* One ustar entry with data appended to a tar; the shortest writer that makes what the tests need. */
static void add(struct str *tar, const char *name, char type, const char *link, const char *data)
{
	char h[512] = { 0 };
	unsigned sum = 0;
	size_t n = strlen(data);

	strncpy(h, name, 100);
	sprintf(h + 100, "%07o", 0644);
	sprintf(h + 108, "%07o", (unsigned)getuid());
	sprintf(h + 116, "%07o", (unsigned)getgid());
	sprintf(h + 124, "%011zo", n);
	sprintf(h + 136, "%011o", 1000000000u);
	memset(h + 148, ' ', 8);
	h[156] = type;
	strncpy(h + 157, link, 100);
	memcpy(h + 257, "ustar\00000", 8);
	for (size_t i = 0; i < sizeof h; i++)
		sum += (unsigned char)h[i];
	sprintf(h + 148, "%06o", sum);
	str_add(tar, h, sizeof h);
	str_add(tar, data, n);
	memset(h, 0, sizeof h);
	str_add(tar, h, (512 - n % 512) % 512);
}

static int run(struct target *t, const struct str *tar, enum unpack_mode mode, struct unpack_result *r, struct err *e)
{
	const struct unpack_limits limits = { .entries = 10, .bytes = 1000 };
	autoclose int in = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	assert_int_equal(io_write_all(in, tar->s ? tar->s : "", tar->len), 0);
	assert_int_equal(lseek(in, 0, SEEK_SET), 0);
	return unpack_run(in, t->fd, -1, mode, &limits, r, e);
}

static void files_and_links(void **state)
{
	struct target *t = *state;
	struct unpack_result r;
	struct err e = { 0 };
	struct stat st;
	char digest[DIGEST_MAX];
	autostr tar;

	str_init(&tar, MIB);
	add(&tar, "./dir/", '5', "", "");
	add(&tar, "dir/file", '0', "", "hello");
	add(&tar, "/absolute", '0', "", "x");
	add(&tar, "hard", '1', "dir/file", "");
	add(&tar, "way", '2', "/dir", "");
	add(&tar, "way/through", '0', "", "y");
	str_add(&tar, (char[1024]){ 0 }, 1024);
	assert_int_equal(run(t, &tar, UNPACK_LAYER, &r, &e), 0);
	assert_int_equal(r.entries, 6);
	assert_int_equal(r.file_bytes, 7 + strlen("/dir"));
	digest_of(tar.s, tar.len, digest);
	assert_string_equal(r.diff_id, digest);
	assert_int_equal(fstatat(t->fd, "dir/through", &st, 0), 0);
	assert_int_equal(fstatat(t->fd, "hard", &st, 0), 0);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(st.st_mtime, 1000000000);
	assert_int_equal(fstatat(t->fd, "absolute", &st, 0), 0);
}

static void bad_archives(void **state)
{
	static const struct {
		const char *name;
		char type;
		const char *link, *data;
		enum err_kind kind;
		const char *text;
	} cases[] = {
		{ "../x", '0', "", "", ERR_INVALID, "\"../x\" is outside of the archive" },
		{ "a/../../x", '0', "", "", ERR_INVALID, "outside of the archive" },
		{ "x", '1', "../../etc/passwd", "", ERR_INVALID, "outside of the archive" },
		{ "x", '1', "x", "", ERR_INVALID, "hard link to itself" },
		{ "x", '1', "none", "", ERR_INVALID, "hard link" },
		{ "sys", '2', "/tmp", "", ERR_INVALID, "symbolic link at /sys is refused" },
		{ ".wh.", '0', "", "", ERR_INVALID, "invalid whiteout" },
		{ ".wh...", '0', "", "", ERR_INVALID, "invalid whiteout" },
		{ ".", '0', "", "", ERR_INVALID, "isn't a directory" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct unpack_result r;
		struct err e = { 0 };
		autostr tar;

		str_init(&tar, MIB);
		add(&tar, cases[i].name, cases[i].type, cases[i].link, cases[i].data);
		assert_int_equal(run(*state, &tar, UNPACK_LAYER, &r, &e), -1);
		assert_int_equal(e.kind, cases[i].kind);
		assert_non_null(strstr(e.msg, cases[i].text));
	}
}

static void limits_hold(void **state)
{
	struct unpack_result r;
	struct err e = { 0 };
	char big[1002];
	autostr tar, many;

	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	str_init(&tar, MIB);
	add(&tar, "big", '0', "", big);
	assert_int_equal(run(*state, &tar, UNPACK_LAYER, &r, &e), -1);
	assert_int_equal(e.kind, ERR_LIMIT);
	str_init(&many, MIB);
	for (int i = 0; i < 11; i++)
		add(&many, "d/", '5', "", "");
	assert_int_equal(run(*state, &many, UNPACK_LAYER, &r, &e), -1);
	assert_string_equal(e.msg, "more than 10 entries");
}

static void truncation_is_seen(void **state)
{
	struct unpack_result r;
	struct err e = { 0 };
	autostr tar;

	str_init(&tar, MIB);
	add(&tar, "file", '0', "", "hello");
	tar.len = 514;
	assert_int_equal(run(*state, &tar, UNPACK_LAYER, &r, &e), -1);
	assert_non_null(strstr(e.msg, "unexpected EOF"));
	/* The start of a gzip stream. */
	tar.len = 0;
	str_add(&tar, "\x1f\x8b\x08\0\0\0\0\0\0\3", 10);
	assert_int_equal(run(*state, &tar, UNPACK_LAYER, &r, &e), -1);
	assert_string_equal(e.msg, "unexpected EOF");
	/* And of a zstd frame. */
	tar.len = 0;
	str_add(&tar, "\x28\xb5\x2f\xfd\x24", 5);
	assert_int_equal(run(*state, &tar, UNPACK_LAYER, &r, &e), -1);
	assert_string_equal(e.msg, "unexpected EOF");
}

/* The smallest streams of their kind: of "hello" as it is, of nothing, and what isn't one. */
static const char bzip2_hello[] =
	"BZh91AY&SY\x19\x31\x65\x3d\0\0\0\x81\0\x02\x44\xa0\0\x21\x9a\x68\x33\x4d\x07\x33\x8b\xb9"
	"\x22\x9c\x28\x48\x0c\x98\xb2\x9e\x80";
static const char xz_nothing[] =
	"\xfd"
	"7zXZ\0\0\x04\xe6\xd6\xb4\x46\0\0\0\0\x1c\xdf\x44\x21\x1f\xb6\xf3\x7d\x01\0\0\0\0\x04YZ";

static void compressions_are_told_apart(void **state)
{
	static const struct {
		const char *head;
		size_t n;
		enum compression is;
	} cases[] = {
		{ "\x1f\x8b\x08", 3, COMPRESSION_GZIP },
		{ "\x28\xb5\x2f\xfd\0\0", 6, COMPRESSION_ZSTD },
		{ bzip2_hello, sizeof bzip2_hello - 1, COMPRESSION_BZIP2 },
		{ "BZh9\x17\x72\x45\x38\x50\x90", 10, COMPRESSION_BZIP2 },
		{ "BZhello.txt\0\0", 13, COMPRESSION_NONE },
		{ xz_nothing, sizeof xz_nothing - 1, COMPRESSION_XZ },
		{ "\xfd" "7zXY\0\0\0\0", 10, COMPRESSION_NONE },
		{ "\x1f", 1, COMPRESSION_NONE },
		{ "", 0, COMPRESSION_NONE },
	};

	for (size_t i = 0; i < array_len(cases); i++)
		assert_int_equal(compression_of(cases[i].head, cases[i].n), cases[i].is);
}

static void every_codec_ends_where_it_should(void **state)
{
	static const struct {
		const char *data;
		size_t n;
		const char *text;
	} cases[] = {
		{ bzip2_hello, sizeof bzip2_hello - 1, "unexpected EOF" }, /* "hello" is no tar */
		{ bzip2_hello, 20, "unexpected EOF" },
		{ "BZh91AY&SYxxxxxxxxxxxxxxxxxxxxxx", 32, "bzip2: invalid data" },
		{ xz_nothing, sizeof xz_nothing - 1, NULL },
		{ xz_nothing, 20, "unexpected EOF" },
		{ "\xfd" "7zXZ\0xxxxxxxxxxxxxxxx", 22, "xz: invalid data" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct unpack_result r;
		struct err e = { 0 };
		autostr tar;

		str_init(&tar, MIB);
		str_add(&tar, cases[i].data, cases[i].n);
		assert_int_equal(run(*state, &tar, UNPACK_LAYER, &r, &e), cases[i].text ? -1 : 0);
		if (cases[i].text)
			assert_string_equal(e.msg, cases[i].text);
	}
}

static void nothing_is_an_empty_archive(void **state)
{
	struct unpack_result r;
	struct err e = { 0 };
	autostr tar;

	str_init(&tar, MIB);
	assert_int_equal(run(*state, &tar, UNPACK_LAYER, &r, &e), 0);
	assert_int_equal(r.entries, 0);
}

static void paths_are_cleaned(void **state)
{
	static const char *const cases[][2] = {
		{ "a", "a" }, { "/a//b/", "a/b" }, { "./", "" }, { "././a/./b", "a/b" }, { "..a/b..", "..a/b.." }, { "/", "" },
	};
	char out[TAR_NAME_MAX], longest[2 * TAR_NAME_MAX];
	struct err e;

	for (size_t i = 0; i < array_len(cases); i++) {
		assert_int_equal(extract_clean_path(cases[i][0], out, &e), 0);
		assert_string_equal(out, cases[i][1]);
	}
	memset(longest, 'a', sizeof longest);
	longest[TAR_NAME_MAX - 2] = '\0';
	assert_int_equal(extract_clean_path(longest, out, &e), 0);
	longest[TAR_NAME_MAX - 2] = 'a';
	longest[TAR_NAME_MAX + 1] = '\0';
	assert_int_equal(extract_clean_path(longest, out, &e), -1);
	assert_int_equal(extract_clean_path("", out, &e), -1);
	assert_int_equal(extract_clean_path(NULL, out, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(files_and_links, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_archives, setup, teardown),
		cmocka_unit_test_setup_teardown(limits_hold, setup, teardown),
		cmocka_unit_test_setup_teardown(truncation_is_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_an_empty_archive, setup, teardown),
		cmocka_unit_test(paths_are_cleaned),
		cmocka_unit_test(compressions_are_told_apart),
		cmocka_unit_test_setup_teardown(every_codec_ends_where_it_should, setup, teardown),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
