/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tar: what is written is read again; what is hostile is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>

#include "base/own.h"
#include "base/tar.h"

/* Hands out a text in pieces of `step` bytes. */
struct source {
	const char *data;
	size_t n, step;
};

static ssize_t next_piece(void *arg, const void **data, struct err *e)
{
	struct source *s = arg;
	size_t n = s->n < s->step ? s->n : s->step;

	*data = s->data;
	s->data += n;
	s->n -= n;
	return (ssize_t)n;
}

static void add(struct str *out, const struct tar_entry *t, const char *content)
{
	static const char zeros[TAR_BLOCK];

	assert_int_equal(tar_format(t, out), 0);
	str_add(out, content, t->size);
	str_add(out, zeros, tar_padding(t->size));
}

static void check_content(struct tar_reader *r, const char *expected)
{
	const void *data;
	uint64_t at, end = 0;
	struct err e;
	ssize_t n;

	while ((n = tar_data(r, &data, &at, &e)) > 0) {
		assert_int_equal(at, end);
		assert_memory_equal(data, expected + at, n);
		end += (uint64_t)n;
	}
	assert_int_equal(n, 0);
	assert_int_equal(end, strlen(expected));
}

static void what_is_written_is_read(void **state)
{
	static const size_t steps[] = { 1, 511, 512, 513, 100000 };
	char long_name[300], value[] = { 1, 0, '\n', '=', 2 };
	struct tar_xattr xattr = { .name = "user.x", .value = value, .n = sizeof(value) };
	struct tar_entry entries[] = {
		{ .name = "file", .type = S_IFREG, .mode = 04755, .uid = 5, .gid = 6, .size = 5, .mtime = 1234567890 },
		{ .name = long_name, .type = S_IFDIR, .mode = 0700, .uid = 4000000000u, .mtime = -5 },
		{ .name = "link", .link = long_name, .type = S_IFLNK, .mode = 0777 },
		{ .name = "hard", .link = "file", .type = 0 },
		{ .name = "dev", .type = S_IFCHR, .mode = 0600, .major = 1, .minor = 3 },
		{ .name = "attr\xc3\xa9", .type = S_IFREG, .xattrs = &xattr, .n_xattrs = 1, .size = 0 },
	};
	autostr tar;

	memset(long_name, 'n', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	str_init(&tar, MIB);
	for (size_t i = 0; i < array_len(entries); i++)
		add(&tar, &entries[i], "hello");
	for (size_t k = 0; k < array_len(steps); k++) {
		struct source s = { tar.s, tar.len, steps[k] };
		struct tar_reader *r = tar_reader_new(next_piece, &s);
		const struct tar_entry *t;
		struct err e = { 0 };

		for (size_t i = 0; i < array_len(entries); i++) {
			const struct tar_entry *w = &entries[i];

			assert_int_equal(tar_next(r, &t, &e), 1);
			assert_string_equal(t->name, w->name);
			assert_int_equal(t->type, w->type);
			assert_int_equal(t->mode, w->mode);
			assert_int_equal(t->uid, w->uid);
			assert_int_equal(t->mtime, w->mtime);
			assert_int_equal(t->major, w->major);
			assert_int_equal(t->n_xattrs, w->n_xattrs);
			if (w->link)
				assert_string_equal(t->link, w->link);
			if (w->n_xattrs)
				assert_memory_equal(t->xattrs[0].value, value, sizeof(value));
			if (i == 0 && k % 2)
				check_content(r, "hello"); /* else it is skipped */
		}
		assert_int_equal(tar_next(r, &t, &e), 0);
		tar_reader_free(r);
	}
}

/* What is cut off anywhere inside an entry is an error, never an entry. */
static void truncation_is_an_error(void **state)
{
	const struct tar_entry entry = { .name = "file", .type = S_IFREG, .size = 600 };
	char content[600] = "x";
	autostr tar;

	str_init(&tar, MIB);
	add(&tar, &entry, content);
	for (size_t n = 1; n < tar.len; n += 37) {
		struct source s = { tar.s, n, 100 };
		struct tar_reader *r = tar_reader_new(next_piece, &s);
		const struct tar_entry *t;
		struct err e = { 0 };
		int rc = tar_next(r, &t, &e);

		if (rc == 1)
			rc = tar_next(r, &t, &e);
		assert_int_equal(rc, -1);
		assert_int_equal(e.kind, ERR_INVALID);
		assert_string_equal(e.msg, "unexpected EOF");
		tar_reader_free(r);
	}
}

static void bad_headers(void **state)
{
	static const struct {
		size_t at;
		const char *text;
	} cases[] = { { 148, "99999999" }, { 124, "7777777777z" }, { 156, "Q" } };
	const struct tar_entry entry = { .name = "file", .type = S_IFREG };

	for (size_t i = 0; i < array_len(cases); i++) {
		const struct tar_entry *t;
		struct err e = { 0 };
		autostr tar;

		str_init(&tar, MIB);
		add(&tar, &entry, "");
		memcpy(tar.s + cases[i].at, cases[i].text, strlen(cases[i].text));
		struct source s = { tar.s, tar.len, 512 };
		struct tar_reader *r = tar_reader_new(next_piece, &s);

		assert_int_equal(tar_next(r, &t, &e), -1);
		assert_int_equal(e.kind, ERR_INVALID);
		tar_reader_free(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(truncation_is_an_error),
		cmocka_unit_test(bad_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
