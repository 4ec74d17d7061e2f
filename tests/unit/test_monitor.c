/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pure parts of the monitor: detach keys, frames, the table of life. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/attr.h"
#include "monitor/frame.h"
#include "monitor/jsonlog.h"
#include "monitor/keys.h"
#include "monitor/life.h"

static void keys_are_parsed(void **state unused_arg)
{
	static const struct {
		const char *text, *codes;
	} good[] = {
		{ "ctrl-p,ctrl-q", "\x10\x11" },
		{ "a", "a" },
		{ "a,b,c", "abc" },
		{ "ctrl-[", "\x1b" },
		{ "ctrl-\\", "\x1c" },
		{ "ctrl-],ctrl-^,ctrl-_", "\x1d\x1e\x1f" },
		{ "DEL", "\x7f" },
		{ "ctrl-a,x", "\x01x" },
	};
	static const char *const bad[] = { "",        "ctrl-A", "ctrl-",
					   "ab",      "a,",     ",a",
					   "ctrl-aa", "ctrl-1", "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q" };
	struct keys k;
	struct err e;

	for (size_t i = 0; i < array_len(good); i++) {
		assert_int_equal(keys_parse(good[i].text, &k, &e), 0);
		assert_int_equal(k.n, strlen(good[i].codes));
		assert_memory_equal(k.code, good[i].codes, k.n);
	}
	for (size_t i = 0; i < array_len(bad); i++) {
		assert_int_equal(keys_parse(bad[i], &k, &e), -1);
		assert_int_equal(e.kind, ERR_INVALID);
		assert_non_null(strstr(e.msg, "invalid detach keys ("));
	}
	assert_int_equal(keys_parse("ctrl-@", &k, &e), 0);
	assert_int_equal(k.code[0], 0);
}

/* Type `in` in chunks of `chunk` bytes; what was delivered, and whether it ended in a detach. */
static bool type(const char *keys, const char *in, size_t chunk, char *delivered)
{
	unsigned char out[256];
	struct keys k;
	struct err e;
	size_t n = strlen(in), total = 0, got;
	bool leave = false;

	assert_int_equal(keys_parse(keys, &k, &e), 0);
	for (size_t i = 0; i < n && !leave; i += chunk) {
		size_t take = n - i < chunk ? n - i : chunk;

		leave = keys_filter(&k, (const unsigned char *)in + i, take, out, &got);
		assert_true(got <= take + KEYS_MAX);
		memcpy(delivered + total, out, got);
		total += got;
	}
	delivered[total] = 0;
	return leave;
}

static void keys_are_found(void **state unused_arg)
{
	static const struct {
		const char *keys, *in, *delivered;
		bool leave;
	} cases[] = {
		{ "ctrl-p,ctrl-q", "hello", "hello", false },
		{ "ctrl-p,ctrl-q", "ab\x10\x11 rest", "ab", true },
		{ "ctrl-p,ctrl-q",
		  "a\x10"
		  "b",
		  "a\x10"
		  "b",
		  false },
		{ "ctrl-p,ctrl-q", "\x10\x10\x11", "\x10", true },
		{ "ctrl-p,ctrl-q", "\x10", "", false },
		{ "ctrl-p,ctrl-q", "\x11\x10", "\x11", false },
		{ "a,a,b", "aaab", "a", true },
		{ "a,a,b", "aacaab", "aac", true },
		{ "a,b,a,c", "ababac", "ab", true },
		{ "a,b,a,c", "abaaabac", "abaa", true },
		{ "a,b,a,b,c", "ababd", "ababd", false },
		{ "x", "x", "", true },
	};
	char delivered[300];

	for (size_t i = 0; i < array_len(cases); i++)
		for (size_t chunk = 1; chunk <= 8; chunk++) {
			assert_int_equal(type(cases[i].keys, cases[i].in, chunk, delivered), cases[i].leave);
			assert_string_equal(delivered, cases[i].delivered);
		}
}

/* Against the obvious slow way: every text of 8 letters of a small alphabet. */
static void keys_agree_with_search(void **state unused_arg)
{
	static const struct {
		const char *keys, *text;
	} sequences[] = { { "a,a", "aa" }, { "a,b,a", "aba" }, { "a,a,b,a,a", "aabaa" }, { "a,b,a,b,b", "ababb" } };
	char in[9] = { 0 }, delivered[300];

	for (size_t q = 0; q < array_len(sequences); q++)
		for (unsigned word = 0; word < 256; word++) {
			for (unsigned i = 0; i < 8; i++)
				in[i] = word >> i & 1 ? 'b' : 'a';
			const char *found = strstr(in, sequences[q].text);

			assert_int_equal(type(sequences[q].keys, in, 3, delivered), found != NULL);
			/* Before the sequence everything; without one all but a beginning of it. */
			assert_memory_equal(in, delivered, strlen(delivered));
			if (found)
				assert_int_equal(strlen(delivered), found - in);
			else
				assert_true(strlen(delivered) + strlen(sequences[q].text) > 8);
		}
}

static void frames_are_dockers(void **state unused_arg)
{
	unsigned char head[FRAME_HEAD];

	frame_head(STREAM_STDOUT, 5, head);
	assert_memory_equal(head, "\1\0\0\0\0\0\0\5", 8);
	frame_head(STREAM_STDERR, 0x01020304, head);
	assert_memory_equal(head, "\2\0\0\0\1\2\3\4", 8);
}

static void life_has_a_table(void **state unused_arg)
{
	static const struct {
		enum life_state from;
		enum life_event event;
		int next; /* -1 = refused */
		const char *text;
	} cases[] = {
		{ LIFE_CREATED, LIFE_START, LIFE_RUNNING, NULL },
		{ LIFE_CREATED, LIFE_EXEC, -1, "container c1 is not running" },
		{ LIFE_CREATED, LIFE_ATTACH, LIFE_CREATED, NULL },
		{ LIFE_RUNNING, LIFE_START, -1, "container c1 is already running" },
		{ LIFE_RUNNING, LIFE_PAUSE, LIFE_PAUSED, NULL },
		{ LIFE_RUNNING, LIFE_RESUME, -1, "container c1 is not paused" },
		{ LIFE_PAUSED, LIFE_PAUSE, -1, "container c1 is already paused" },
		{ LIFE_PAUSED, LIFE_EXEC, -1, "container c1 is paused, unpause the container before exec" },
		{ LIFE_PAUSED, LIFE_RESUME, LIFE_RUNNING, NULL },
		{ LIFE_PAUSED, LIFE_END, LIFE_STOPPED, NULL },
		{ LIFE_STOPPED, LIFE_START, -1, "container c1 has ended" },
		{ LIFE_STOPPED, LIFE_SIGNAL, -1, "container c1 is not running" },
		{ LIFE_STOPPED, LIFE_ASK, LIFE_STOPPED, NULL },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		enum life_state next = LIFE_STATES;
		struct err e = { 0 };
		int rc = life_next(cases[i].from, cases[i].event, "c1", &next, &e);

		assert_int_equal(rc, cases[i].next < 0 ? -1 : 0);
		if (rc) {
			assert_int_equal(e.kind, ERR_CONFLICT);
			assert_string_equal(e.msg, cases[i].text);
		} else {
			assert_int_equal(next, cases[i].next);
		}
	}
}

/* No cell of the table was forgotten: a forgotten one would lead back to "created". */
static void life_is_complete(void **state unused_arg)
{
	for (int s = LIFE_RUNNING; s < LIFE_STATES; s++)
		for (int ev = 0; ev < LIFE_EVENTS; ev++) {
			enum life_state next = LIFE_STATES;
			struct err e;

			if (life_next((enum life_state)s, (enum life_event)ev, "c", &next, &e) == 0)
				assert_int_not_equal(next, LIFE_CREATED);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_parsed),        cmocka_unit_test(keys_are_found),
		cmocka_unit_test(keys_agree_with_search), cmocka_unit_test(frames_are_dockers),
		cmocka_unit_test(life_has_a_table),       cmocka_unit_test(life_is_complete),
	};

	return cmocka_run_group_tests_name("monitor", tests, NULL, NULL);
}
