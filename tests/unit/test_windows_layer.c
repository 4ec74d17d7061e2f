/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/own.h"
#include "windows/hive_apply.h"
#include "windows/names_tree.h"

/* --- a hive, made by hand ----------------------------------------------------------------------------------------------- */

#define BINS_BYTES 8192

struct maker {
	uint8_t data[4096 + BINS_BYTES];
	size_t used; /* of the bins */
};

static void put(uint8_t *at, uint64_t value, size_t n)
{
	for (size_t i = 0; i < n; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t cell(struct maker *m, size_t n, uint8_t **content)
{
	size_t size = (n + 4 + 7) & ~(size_t)7, at = m->used;

	assert_true(at + size <= BINS_BYTES);
	put(m->data + 4096 + at, (uint32_t)-size, 4);
	*content = m->data + 4096 + at + 4;
	m->used += size;
	return (uint32_t)at;
}

static uint32_t make_value(struct maker *m, const char *name, uint32_t type, const char *data, size_t n, bool deleted)
{
	uint8_t *vk, *bytes;
	uint32_t place = cell(m, n, &bytes), at = cell(m, 20 + strlen(name), &vk);

	memcpy(bytes, data, n);
	memcpy(vk, "vk", 2);
	put(vk + 2, strlen(name), 2);
	put(vk + 4, n, 4);
	put(vk + 8, place, 4);
	put(vk + 12, type, 4);
	put(vk + 16, 1 | (deleted ? 2 : 0), 2);
	memcpy(vk + 20, name, strlen(name));
	return at;
}

static uint32_t make_list(struct maker *m, const uint32_t *members, size_t n)
{
	uint8_t *p;
	uint32_t at = cell(m, 4 * n, &p);

	for (size_t i = 0; i < n; i++)
		put(p + 4 * i, members[i], 4);
	return at;
}

static uint32_t make_key(struct maker *m, const char *name, unsigned layering, const uint32_t *values, size_t n_values,
			 const uint32_t *keys, size_t n_keys)
{
	uint32_t value_list = n_values ? make_list(m, values, n_values) : UINT32_MAX, key_list = UINT32_MAX, at;
	uint8_t *p;

	if (n_keys) {
		key_list = cell(m, 4 + 4 * n_keys, &p);
		memcpy(p, "li", 2);
		put(p + 2, n_keys, 2);
		for (size_t i = 0; i < n_keys; i++)
			put(p + 4 + 4 * i, keys[i], 4);
	}
	at = cell(m, 76 + strlen(name), &p);
	memcpy(p, "nk", 2);
	put(p + 2, 0x20, 2);
	p[13] = (uint8_t)layering;
	put(p + 20, n_keys, 4);
	put(p + 28, key_list, 4);
	put(p + 36, n_values, 4);
	put(p + 40, value_list, 4);
	put(p + 72, strlen(name), 2);
	memcpy(p + 76, name, strlen(name));
	return at;
}

static void finish(struct maker *m, uint32_t root)
{
	uint32_t sum = 0;

	memcpy(m->data, "regf", 4);
	put(m->data + 20, 1, 4);
	put(m->data + 32, 1, 4);
	put(m->data + 36, root, 4);
	put(m->data + 40, BINS_BYTES, 4);
	for (size_t i = 0; i < 508; i++)
		sum ^= (uint32_t)m->data[i] << (8 * (i % 4));
	put(m->data + 508, sum, 4);
}

static const char before[] =
	"WINE REGISTRY Version 2\n;; a comment\n\n"
	"[Software\\\\Keep] 1\n\"a\"=\"1\"\n\"B\"=hex:01,\\\n  02\n\n"
	"[Software\\\\Gone] 1\n\"a\"=\"1\"\n\n"
	"[Software\\\\Gone\\\\Below] 1\n\n"
	"[Software\\\\Local] 1\n\"old\"=\"1\"\n\n"
	"[Software\\\\Local\\\\Below] 1\n\"stays\"=\"1\"\n\n"
	"[Software\\\\Tree\\\\Below] 1\n\n"
	"[Software\\\\\\x41f\\x440\\[x\\]] 1\n\"n\"=\"1\"\n\n"
	"[Software\\\\Microsoft\\\\Windows NT\\\\CurrentVersion] 1\n\"CurrentBuild\"=\"20348\"\n\n";

static char *apply(struct maker *m, struct err *e)
{
	struct registry *r = registry_parse(before);
	size_t links = 0;
	autostr out = { 0 };
	int rc = hive_apply(r, "Software", NULL, m->data, sizeof(m->data), &links, e) || registry_text(r, &out, e);

	registry_free(r);
	return rc ? NULL : xstrdup(out.s);
}

static void make_delta(struct maker *m)
{
	uint32_t keep[] = { make_value(m, "A", 1, "n\0e\0w\0\0\0", 8, false), make_value(m, "b", 0, "", 0, true),
			    make_value(m, "n\"\\", 4, "\x2a\0\0\0", 4, false) };
	uint32_t local[] = { make_value(m, "new", 3, "\1\2", 2, false) };
	uint32_t build[] = { make_value(m, "CurrentBuild", 1, "9\0\0\0", 4, false),
			     make_value(m, "x", 3, "\1", 1, false) };
	uint32_t version = make_key(m, "CurrentVersion", HIVE_TOMBSTONE - 1, build, 2, NULL, 0);
	uint32_t nt = make_key(m, "Windows NT", 0, NULL, 0, &version, 1);
	uint32_t keys[] = { make_key(m, "keep", 0, keep, 3, NULL, 0),
			    make_key(m, "Gone", HIVE_TOMBSTONE, NULL, 0, NULL, 0),
			    make_key(m, "Local", HIVE_SUPERSEDE_LOCAL, local, 1, NULL, 0),
			    make_key(m, "Tree", HIVE_SUPERSEDE_TREE, NULL, 0, NULL, 0),
			    make_key(m, "Microsoft", 0, NULL, 0, &nt, 1) };

	finish(m, make_key(m, "ROOT", 0, NULL, 0, keys, array_len(keys)));
}

static void test_delta(void **state)
{
	static const char *const there[] = {
		"[Software\\\\Keep] 1\n\"A\"=hex(1):6e,00,65,00,77,00,00,00\n\"n\\\"\\\\\"=dword:0000002a\n",
		"[Software\\\\Local] 1\n\"new\"=hex:01,02\n",
		"\"stays\"=\"1\"",
		"[Software\\\\Tree]",
		"[Software\\\\\\x41f\\x440\\[x\\]] 1\n",
		"\"CurrentBuild\"=\"20348\"",
		"\"x\"=hex:01",
	};
	static const char *const not_there[] = { "Gone", "\"a\"=", "\"B\"", "\"old\"", "Tree\\\\Below", "\"9\"" };
	struct maker m = { 0 };
	struct err e = { 0 };

	make_delta(&m);
	autofree char *text = apply(&m, &e);

	assert_non_null(text);
	for (size_t i = 0; i < array_len(there); i++)
		if (!strstr(text, there[i]))
			fail_msg("%s: not in\n%s", there[i], text);
	for (size_t i = 0; i < array_len(not_there); i++)
		if (strstr(text, not_there[i]))
			fail_msg("%s: in\n%s", not_there[i], text);
}

/* Of a user's hive some keys only. */
static void test_choice(void **state)
{
	static const char *const only[] = { "Keep", "local", NULL }, *const but[] = { "Local\\Not", "LOCAL", NULL };
	const struct hive_choice choice = { .only = only, .but = but };
	struct registry *r = registry_parse(before);
	struct maker m = { 0 };
	struct err e = { 0 };
	size_t links = 0;
	autostr out = { 0 };

	make_delta(&m);
	assert_int_equal(hive_apply(r, "Software", &choice, m.data, sizeof(m.data), &links, &e), 0);
	assert_int_equal(registry_text(r, &out, &e), 0);
	registry_free(r);
	assert_non_null(strstr(out.s, "\"A\"=hex(1)"));
	assert_non_null(strstr(out.s, "[Software\\\\Gone]"));
	assert_non_null(strstr(out.s, "\"old\"=\"1\""));
	assert_null(strstr(out.s, "\"x\"=hex:01"));
}

/* Every byte of the hive changed in turn: it ends, and says so where it can't be read. */
static void test_damage(void **state)
{
	struct maker good = { 0 };

	make_delta(&good);
	for (size_t i = 0; i < 4096 + good.used; i += i < 512 || i >= 4096 ? 1 : 512) {
		for (int bit = 0; bit < 8; bit += 3) {
			struct maker m = good;
			struct err e = { 0 };

			m.data[i] ^= (uint8_t)(1u << bit);
			autofree char *text = apply(&m, &e);

			assert_true(text || (e.kind == ERR_INVALID && strstr(e.msg, "broken registry hive")));
		}
	}
}

static void test_bad_hives(void **state)
{
	struct maker m = { 0 };
	struct err e = { 0 };
	size_t links = 0;
	struct registry *r = registry_parse(before);
	uint32_t self, key;
	uint8_t *list;

	assert_int_equal(hive_apply(r, "Software", NULL, (const uint8_t *)"regf", 4, &links, &e), -1);
	assert_string_equal(e.msg, "broken registry hive: no hive at all");
	make_delta(&m);
	assert_int_equal(hive_apply(r, "Software", NULL, m.data, 4096 + 100, &links, &e), -1);
	assert_string_equal(e.msg, "broken registry hive: it is cut off");
	/* A key that is below itself. */
	m = (struct maker){ 0 };
	self = cell(&m, 8, &list);
	key = make_key(&m, "ROOT", 0, NULL, 0, NULL, 0);
	memcpy(list, "li\1\0", 4);
	put(list + 4, key, 4);
	put(m.data + 4096 + key + 4 + 20, 1, 4);
	put(m.data + 4096 + key + 4 + 28, self, 4);
	finish(&m, key);
	assert_int_equal(hive_apply(r, "Software", NULL, m.data, sizeof(m.data), &links, &e), -1);
	assert_string_equal(e.msg, "broken registry hive: keys in a circle");
	registry_free(r);
}

static void test_names(void **state)
{
	struct names_tree *t = names_tree_new(-1, "c");
	struct err e = { 0 };
	struct name *a = names_get(t, names_root(t), "Windows", &e), *b, *none;

	assert_ptr_equal(names_get(t, names_root(t), "wINDOWS", &e), a);
	b = names_get(t, a, "System32", &e);
	assert_int_equal(names_find(t, names_root(t), "system32", &none, &e), 0);
	assert_null(none);
	autofree char *path = names_path(b);

	assert_string_equal(path, "c/Windows/System32");
	for (int i = 0; i < 10000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%d", i);
		assert_non_null(names_get(t, b, name, &e));
	}
	assert_int_equal(names_find(t, b, "N9999", &none, &e), 0);
	assert_non_null(none);
	names_tree_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delta),     cmocka_unit_test(test_choice), cmocka_unit_test(test_damage),
		cmocka_unit_test(test_bad_hives), cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
