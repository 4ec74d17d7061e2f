/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crew.h"
#include "base/io.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/msg.h"
#include "base/own.h"
#include "base/step.h"
#include "base/str.h"

static void err_is_cut_and_prefixed(void **state)
{
	struct err e = { 0 };
	char big[2000];

	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = 0;
	assert_int_equal(err_set(&e, ERR_INVALID, ENOENT, "open %s", "f"), -1);
	assert_string_equal(e.msg, "open f: No such file or directory");
	assert_int_equal(err_prefix(&e, "step %d", 3), -1);
	assert_string_equal(e.msg, "step 3: open f: No such file or directory");
	err_set(&e, ERR_SYSTEM, 0, "%s", big);
	assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
	err_set(&e, ERR_SYSTEM, 0, "again: %.10s", e.msg);
	assert_string_equal(e.msg, "again: xxxxxxxxxx");
	assert_int_equal(err_kind_parse(err_kind_name(ERR_NOT_EXECUTABLE)), ERR_NOT_EXECUTABLE);
	assert_int_equal(err_kind_parse("nonsense"), ERR_SYSTEM);
}

static void str_keeps_its_maximum(void **state)
{
	autostr b;

	str_init(&b, 8);
	assert_int_equal(str_puts(&b, "12345"), 0);
	assert_int_equal(str_puts(&b, "6789"), -1);
	assert_true(b.full);
	assert_string_equal(b.s, "12345");
	assert_int_equal(str_printf(&b, "%d", 678), 0);
	assert_string_equal(b.s, "12345678");
	str_drop(&b, 3);
	assert_string_equal(b.s, "45678");
}

static void json_strings_are_valid_utf8(void **state)
{
	static const struct {
		const char *in;
		size_t n;
		const char *out;
	} cases[] = {
		{ "plain", 5, "\"plain\"" },
		{ "a\"b\\c\n\t", 7, "\"a\\\"b\\\\c\\n\\t\"" },
		{ "\x01\x1b", 2, "\"\\u0001\\u001b\"" },
		{ "\xc3\xa9", 2, "\"\xc3\xa9\"" },
		{ "\xff", 1, "\"\xef\xbf\xbd\"" },
		{ "\xc3", 1, "\"\xef\xbf\xbd\"" },                           /* cut */
		{ "\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },           /* overlong */
		{ "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" }, /* surrogate */
		{ "a\0b", 3, "\"a\\u0000b\"" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		autostr b;

		str_init(&b, 1000);
		assert_int_equal(str_add_json(&b, cases[i].in, cases[i].n), 0);
		assert_string_equal(b.s, cases[i].out);
	}
}

static void json_refuses_what_is_not_safe(void **state)
{
	struct err e = { 0 };
	char deep[201];

	memset(deep, '[', 200);
	deep[200] = 0;
	assert_null(json_parse(deep, 200, "body", &e));
	assert_int_equal(e.kind, ERR_INVALID);
	assert_non_null(strstr(e.msg, "nested"));
	assert_null(json_parse("{\"a\":1,\"a\":2}", 13, "body", &e));
	assert_non_null(strstr(e.msg, "duplicate"));
	assert_null(json_parse("{} x", 4, "body", &e));

	autojson *wide = json_parse("[18446744073709551615,9223372036854775807,\"99999999999999999999\\\"\",1e30]", 72,
				    "body", &e);

	assert_true(json_is_real(json_array_get(wide, 0)));
	assert_int_equal(json_integer_value(json_array_get(wide, 1)), INT64_MAX);
	assert_string_equal(json_string_value(json_array_get(wide, 2)), "99999999999999999999\"");
	autojson *j = json_parse("{\"Image\":\"x\",\"Nul\":null,\"N\":3,\"B\":\"a\\u0000b\"}", 44, "body", &e);
	const char *s;
	bool flag;
	int64_t n;

	if (!j) /* jansson without JSON_ALLOW_NUL refuses the NUL by itself: just as good */
		return;
	assert_int_equal(json_get_str(j, "image", NULL, &s, &e), 0);
	assert_string_equal(s, "x");
	assert_int_equal(json_get_bool(j, "nul", true, &flag, &e), 0);
	assert_true(flag);
	assert_int_equal(json_get_str(j, "n", NULL, &s, &e), -1);
	assert_string_equal(e.msg, "invalid value for n: expected string, got number");
	assert_int_equal(json_get_int(j, "N", 0, &n, &e), 0);
	assert_int_equal(n, 3);
}

static void times_are_read_and_written(void **state)
{
	struct timespec t;
	char text[TIME_TEXT_MAX];

	assert_int_equal(time_parse("2026-01-02T03:04:05.000000678Z", &t), 0);
	time_format(&t, text);
	assert_string_equal(text, "2026-01-02T03:04:05.000000678Z");
	assert_int_equal(time_parse("2026-01-02T05:04:05+02:00", &t), 0);
	time_format(&t, text);
	assert_string_equal(text, "2026-01-02T03:04:05.000000000Z");
	static const char *const dates[] = { "1970-01-01T00:00:00", "2000-02-29T23:59:59", "2100-03-01T00:00:00",
					     "1969-12-31T23:59:59", "2026-12-31T12:30:01" };

	for (size_t i = 0; i < array_len(dates); i++) {
		autofree char *in = xasprintf("%s.000000000Z", dates[i]);

		assert_int_equal(time_parse(in, &t), 0);
		time_format(&t, text);
		assert_string_equal(text, in);
	}
	assert_int_equal(time_parse("1767323045.5", &t), 0);
	assert_int_equal(t.tv_nsec, 500000000);
	assert_int_equal(time_parse("yesterday", &t), -1);
	assert_int_equal(time_parse("2026-01-02T03:04:05Zjunk", &t), -1);
}

static char *scratch(void)
{
	char *dir = xstrdup("/tmp/silo-unit-XXXXXX");

	assert_non_null(mkdtemp(dir));
	return dir;
}

static void files_are_replaced_whole(void **state)
{
	autofree char *dir = scratch();
	autofree char *path = xasprintf("%s/file", dir);
	struct err e = { 0 };
	autostr text;

	assert_int_equal(io_write_file(AT_FDCWD, path, "one", 3, 0600, true, &e), 0);
	assert_int_equal(io_write_file(AT_FDCWD, path, "second", 6, 0640, false, &e), 0);
	str_init(&text, 6);
	assert_int_equal(io_read_file(AT_FDCWD, path, &text, &e), 0);
	assert_string_equal(text.s, "second");
	str_fini(&text);
	text.max = 5;
	assert_int_equal(io_read_file(AT_FDCWD, path, &text, &e), -1);
	assert_int_equal(e.kind, ERR_LIMIT);
	assert_int_equal(io_read_file(AT_FDCWD, "/nonexistent/x", &text, &e), -1);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	assert_int_equal(io_remove_tree(AT_FDCWD, dir, &e), 0);
	assert_int_equal(access(dir, F_OK), -1);
}

static void deep_trees_and_links_are_removed(void **state)
{
	autofree char *dir = scratch();
	autofree char *outside = scratch();
	autofree char *kept = xasprintf("%s/kept", outside);
	struct err e = { 0 };
	int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(io_write_file(AT_FDCWD, kept, "", 0, 0600, false, &e), 0);
	assert_int_equal(symlinkat(outside, at, "link"), 0);
	for (int i = 0; i < 1500; i++) {
		assert_int_equal(mkdirat(at, "d", 0700), 0);
		int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		close(at);
		at = next;
	}
	close(at);
	assert_int_equal(io_remove_tree(AT_FDCWD, dir, &e), 0);
	assert_int_equal(access(dir, F_OK), -1);
	assert_int_equal(access(kept, F_OK), 0);
	assert_int_equal(io_remove_tree(AT_FDCWD, dir, &e), 0);
	io_remove_tree(AT_FDCWD, outside, &e);
}

static void messages_carry_descriptors_and_errors(void **state)
{
	int s[2], fds[MSG_FDS_MAX];
	size_t n_fds;
	struct err e = { 0 }, back = { 0 };

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	autojson *hello = json_pack("{s:s}", "op", "start");

	assert_int_equal(msg_send(s[0], hello, &s[0], 1, &e), 0);
	autojson *got = msg_recv(s[1], 1000, fds, &n_fds, &e);

	assert_true(json_equal(hello, got));
	assert_int_equal(n_fds, 1);
	close(fds[0]);
	err_set(&e, ERR_NO_COMMAND, 0, "exec: \"\xff\": not found");
	autojson *bad = msg_error(&e);

	assert_non_null(bad);
	assert_int_equal(msg_check_error(bad, &back), -1);
	assert_int_equal(back.kind, ERR_NO_COMMAND);
	assert_null(msg_recv(s[1], 1, NULL, NULL, &e));
	assert_int_equal(e.kind, ERR_TIMEOUT);
	close(s[0]);
	assert_null(msg_recv(s[1], 1000, NULL, NULL, &e));
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	close(s[1]);
}

struct trace {
	struct str text;
	int fail_at;
};

static int trace_run(struct trace *t, const char *name, int number, struct err *e)
{
	str_puts(&t->text, name);
	return t->fail_at == number ? err_set(e, ERR_SYSTEM, 0, "broken") : 0;
}

static int run_a(void *t, struct err *e)
{
	return trace_run(t, "A", 1, e);
}

static int run_b(void *t, struct err *e)
{
	return trace_run(t, "B", 2, e);
}

static int run_c(void *t, struct err *e)
{
	return trace_run(t, "C", 3, e);
}

static void undo_a(void *t)
{
	str_puts(&((struct trace *)t)->text, "a");
}

static void undo_b(void *t)
{
	str_puts(&((struct trace *)t)->text, "b");
}

static void steps_are_undone_newest_first(void **state)
{
	static const struct step table[] = { { "a", NULL, run_a, undo_a },
					     { "b", NULL, run_b, undo_b },
					     { "c", NULL, run_c, NULL } };
	static const char *const expected[] = { "ABC", "A", "ABa", "ABCba" };

	for (int i = 0; i < 4; i++) {
		struct trace t = { .fail_at = i };
		struct err e = { 0 };
		size_t done;

		str_init(&t.text, 100);
		assert_int_equal(steps_run(table, 3, &t, &done, &e), i ? -1 : 0);
		assert_string_equal(t.text.s, expected[i]);
		assert_int_equal(done, i ? 0 : 3);
		if (!i) {
			steps_undo(table, done, &t);
			assert_string_equal(t.text.s, "ABCba");
		} else {
			assert_string_equal(e.msg + 1, ": broken");
		}
		str_fini(&t.text);
	}
}

struct ticks {
	struct loop *loop;
	struct loop_io *io, *timer;
	int reads, fires;
	int fd;
};

static void on_timer(void *arg, uint32_t events)
{
	struct ticks *t = arg;

	t->timer = NULL;
	t->fires++;
	loop_stop(t->loop);
}

static void on_read(void *arg, uint32_t events)
{
	struct ticks *t = arg;
	char byte;
	struct err e;

	assert_int_equal(read(t->fd, &byte, 1), 1);
	t->reads++;
	loop_remove(&t->io);
	t->timer = loop_timer(t->loop, 0, on_timer, t, &e);
	assert_non_null(t->timer);
}

static void loop_calls_and_forgets(void **state)
{
	struct err e = { 0 };
	struct ticks t = { .loop = loop_new(&e) };
	int p[2];

	assert_int_equal(pipe(p), 0);
	t.fd = p[0];
	t.io = loop_add(t.loop, p[0], EPOLLIN, on_read, &t, &e);
	assert_int_equal(write(p[1], "xy", 2), 2);
	assert_int_equal(loop_run(t.loop, &e), 0);
	assert_int_equal(t.reads, 1);
	assert_int_equal(t.fires, 1);
	loop_free(t.loop);
	close(p[0]);
	close(p[1]);
}

struct workload {
	atomic_int done;
	size_t fails_at;
	int told;
	bool refuses;
};

static int do_item(void *arg, size_t i, struct err *e)
{
	struct workload *w = arg;

	if (i == w->fails_at)
		return err_set(e, ERR_CONFLICT, 0, "item %zu", i);
	w->done++;
	return 0;
}

static int hear(void *arg, struct err *e)
{
	struct workload *w = arg;

	w->told++;
	return w->refuses ? err_set(e, ERR_TIMEOUT, 0, "nobody listens") : 0;
}

static void crews_do_all_and_end_with_a_failure(void **state)
{
	struct workload good = { .fails_at = 1000 }, bad = { .fails_at = 7 },
			deaf = { .fails_at = 1000, .refuses = true }, late = { .fails_at = 1000 };
	struct crew c = { .work = do_item, .tell = hear, .arg = &good, .n_items = 100 };
	struct err e = { 0 };

	assert_int_equal(crew_run(&c, 4, &e), 0);
	assert_int_equal(good.done, 100);
	assert_true(good.told > 0);
	c = (struct crew){ .work = do_item, .arg = &bad, .n_items = 100 };
	assert_int_equal(crew_run(&c, 1, &e), -1);
	assert_string_equal(e.msg, "item 7");
	assert_int_equal(bad.done, 7);
	c = (struct crew){ .work = do_item, .tell = hear, .arg = &deaf, .n_items = 100 };
	assert_int_equal(crew_run(&c, 2, &e), -1);
	assert_int_equal(e.kind, ERR_TIMEOUT);
	assert_int_equal(deaf.told, 1);
	/* Items that come while the crew works; none at all. */
	c = (struct crew){ .work = do_item, .arg = &late };
	assert_int_equal(crew_start(&c, 2, &e), 0);
	for (int i = 0; i < 50; i++) {
		pthread_mutex_lock(&c.lock);
		crew_offer_locked(&c);
		pthread_mutex_unlock(&c.lock);
	}
	assert_int_equal(crew_end(&c, &e), 0);
	assert_int_equal(late.done, 50);
	c = (struct crew){ .work = do_item, .arg = &late };
	assert_int_equal(crew_run(&c, 2, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(err_is_cut_and_prefixed),
		cmocka_unit_test(str_keeps_its_maximum),
		cmocka_unit_test(json_strings_are_valid_utf8),
		cmocka_unit_test(json_refuses_what_is_not_safe),
		cmocka_unit_test(times_are_read_and_written),
		cmocka_unit_test(files_are_replaced_whole),
		cmocka_unit_test(deep_trees_and_links_are_removed),
		cmocka_unit_test(messages_carry_descriptors_and_errors),
		cmocka_unit_test(steps_are_undone_newest_first),
		cmocka_unit_test(loop_calls_and_forgets),
		cmocka_unit_test(crews_do_all_and_end_with_a_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
