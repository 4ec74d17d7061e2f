/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The container's log: splitting into lines and pieces, the file, its rotation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "monitor/jsonlog.h"

static void note_piece(void *arg, const char *piece, size_t n)
{
	struct str *seen = arg;

	str_add(seen, piece, n);
	str_puts(seen, "|");
}

static void lines_are_split(void **state unused_arg)
{
	static const struct {
		const char *in, *pieces;
	} cases[] = {
		{ "a\nb\n", "a\n|b\n|" }, { "a\nb", "a\n|b|" }, { "\n\n", "\n|\n|" }, { "", "" }, { "abc", "abc|" },
	};

	for (size_t i = 0; i < array_len(cases); i++)
		for (size_t chunk = 1; chunk < 6; chunk++) {
			size_t n = strlen(cases[i].in);
			struct log_lines l;
			autostr seen;

			log_lines_init(&l);
			str_init(&seen, 100);
			str_puts(&seen, "");
			for (size_t at = 0; at < n; at += chunk)
				log_lines_feed(&l, cases[i].in + at, n - at < chunk ? n - at : chunk, note_piece,
					       &seen);
			log_lines_finish(&l, note_piece, &seen);
			assert_string_equal(seen.s, cases[i].pieces);
		}
}

struct lengths {
	size_t n[8], count;
	bool newline[8];
};

static void note_length(void *arg, const char *piece, size_t n)
{
	struct lengths *l = arg;

	assert_true(l->count < 8);
	l->n[l->count] = n;
	l->newline[l->count++] = n > 0 && piece[n - 1] == '\n';
}

static void long_lines_are_cut(void **state unused_arg)
{
	size_t n = 2 * LOG_PIECE_MAX + 100;
	autofree char *text = xmalloc(n + 1);
	struct lengths got = { 0 };
	struct log_lines l;

	memset(text, 'x', n);
	text[n] = '\n';
	log_lines_init(&l);
	for (size_t at = 0; at <= n; at += 1000)
		log_lines_feed(&l, text + at, n + 1 - at < 1000 ? n + 1 - at : 1000, note_length, &got);
	assert_int_equal(got.count, 3);
	assert_int_equal(got.n[0], LOG_PIECE_MAX);
	assert_int_equal(got.n[1], LOG_PIECE_MAX);
	assert_int_equal(got.n[2], 101);
	assert_false(got.newline[0] || got.newline[1]);
	assert_true(got.newline[2]);
	assert_int_equal(l.rest.len, 0);
	log_lines_finish(&l, note_length, &got);
	assert_int_equal(got.count, 3);
}

static void characters_are_not_cut(void **state unused_arg)
{
	autofree char *text = xmalloc(LOG_PIECE_MAX + 2);
	struct lengths got = { 0 };
	struct log_lines l;

	memset(text, 'x', LOG_PIECE_MAX + 2);
	memcpy(text + LOG_PIECE_MAX - 2, "\xe2\x82\xac", 3); /* the euro sign would be cut after two bytes */
	log_lines_init(&l);
	log_lines_feed(&l, text, LOG_PIECE_MAX + 2, note_length, &got);
	assert_int_equal(got.count, 1);
	assert_int_equal(got.n[0], LOG_PIECE_MAX - 2);
	/* Bytes that aren't UTF-8 at all are cut where the piece is full. */
	memset(text, '\xbf', LOG_PIECE_MAX + 2);
	log_lines_finish(&l, note_length, &got);
	log_lines_feed(&l, text, LOG_PIECE_MAX + 2, note_length, &got);
	assert_int_equal(got.n[2], LOG_PIECE_MAX);
	log_lines_finish(&l, note_length, &got);
}

/* --- files ------------------------------------------------------------------------------------------------------ */

static int make_dir(void **state)
{
	char name[] = "/tmp/silo-test-log.XXXXXX";

	*state = mkdtemp(name) ? xstrdup(name) : NULL;
	return *state ? 0 : -1;
}

static int remove_dir(void **state)
{
	struct err e;
	int rc = io_remove_tree(AT_FDCWD, *state, &e);

	free(*state);
	return rc;
}

/* All lines of a log file, as an array of objects. */
static json_t *read_log(const char *path)
{
	json_t *lines = json_array();
	struct err e;
	autostr text;

	str_init(&text, 4 * MIB);
	assert_int_equal(io_read_file(AT_FDCWD, path, &text, &e), 0);
	assert_true(text.len == 0 || text.s[text.len - 1] == '\n');
	for (char *line = strtok(text.s, "\n"); line; line = strtok(NULL, "\n")) {
		json_t *j = json_parse(line, strlen(line), "line", &e);

		assert_non_null(j);
		json_array_append_new(lines, j);
	}
	return lines;
}

static void assert_line(const json_t *lines, size_t i, const char *text, const char *stream)
{
	const json_t *line = json_array_get(lines, i);
	struct timespec t;

	assert_string_equal(json_str(line, "log", ""), text);
	assert_string_equal(json_str(line, "stream", ""), stream);
	assert_int_equal(time_parse(json_str(line, "time", ""), &t), 0);
}

static void write_text(struct jsonlog *log, int stream, const char *text)
{
	jsonlog_write(log, stream, text, strlen(text));
}

static void log_has_dockers_format(void **state)
{
	autofree char *path = xasprintf("%s/log", (char *)*state);
	struct err e;
	struct jsonlog *log = jsonlog_open(path, 0, 1, NULL, &e);

	assert_non_null(log);
	write_text(log, STREAM_STDOUT, "one\ntw");
	write_text(log, STREAM_STDERR, "bad \xff\xc3 \"q\"\t\n");
	autojson *early = read_log(path);

	assert_int_equal(json_array_size(early), 2); /* at once; the unfinished line isn't there */
	write_text(log, STREAM_STDOUT, "o\nlast");
	jsonlog_close(log);
	autojson *lines = read_log(path);

	assert_int_equal(json_array_size(lines), 4);
	assert_line(lines, 0, "one\n", "stdout");
	assert_line(lines, 1, "bad \xef\xbf\xbd\xef\xbf\xbd \"q\"\t\n", "stderr");
	assert_line(lines, 2, "two\n", "stdout");
	assert_line(lines, 3, "last", "stdout");
}

static void log_goes_on(void **state)
{
	autofree char *path = xasprintf("%s/log", (char *)*state);
	struct err e;

	for (int i = 0; i < 2; i++) {
		struct jsonlog *log = jsonlog_open(path, 0, 1, NULL, &e);

		assert_non_null(log);
		write_text(log, STREAM_STDOUT, "x\n");
		jsonlog_close(log);
	}
	autojson *lines = read_log(path);

	assert_int_equal(json_array_size(lines), 2);
	assert_null(jsonlog_open("/nonexistent/dir/log", 0, 1, NULL, &e));
	assert_int_equal(e.kind, ERR_SYSTEM);
}

/* Text of all lines of a file, one after the other. */
static void join_log(const char *path, struct str *out)
{
	autojson *lines = read_log(path);
	size_t i;
	json_t *line;

	json_array_foreach(lines, i, line)
		str_puts(out, json_str(line, "log", ""));
}

static void log_is_rotated(void **state)
{
	autofree char *path = xasprintf("%s/log", (char *)*state);
	struct err e;
	struct jsonlog *log = jsonlog_open(path, 1000, 3, NULL, &e);
	struct stat st;
	autostr kept;

	assert_non_null(log);
	for (int i = 0; i < 100; i++) {
		char line[16];

		snprintf(line, sizeof(line), "%d\n", i);
		write_text(log, STREAM_STDOUT, line);
	}
	jsonlog_close(log);
	str_init(&kept, 10000);
	for (int i = 2; i >= 0; i--) {
		autofree char *name = i ? xasprintf("%s.%d", path, i) : xstrdup(path);

		assert_int_equal(stat(name, &st), 0);
		assert_true(st.st_size < 1200);
		join_log(name, &kept);
	}
	autofree char *beyond = xasprintf("%s.3", path);

	assert_int_equal(access(beyond, F_OK), -1);
	assert_true(str_ends(kept.s, "\n97\n98\n99\n")); /* in order, the newest kept */
	assert_null(strstr(kept.s, "\n10\n"));
}

static void one_file_is_begun_again(void **state)
{
	autofree char *path = xasprintf("%s/log", (char *)*state);
	autofree char *second = xasprintf("%s.1", path);
	struct err e;
	struct jsonlog *log = jsonlog_open(path, 500, 1, NULL, &e);
	struct stat st;

	/* Also when it all comes in one write. */
	autofree char *many = xmalloc(20000);

	memset(many, '\n', 20000);
	jsonlog_write(log, STREAM_STDOUT, many, 20000);
	jsonlog_close(log);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size < 700);
	assert_int_equal(access(second, F_OK), -1);
}

/* No space: RLIMIT_FSIZE makes write() fail in the middle of a line. */
static void full_disk_keeps_whole_lines(void **state)
{
	autofree char *path = xasprintf("%s/log", (char *)*state);
	struct rlimit old, small;
	struct err e;
	struct jsonlog *log = jsonlog_open(path, 0, 1, NULL, &e);

	getrlimit(RLIMIT_FSIZE, &old);
	small = (struct rlimit){ 250, old.rlim_max };
	signal(SIGXFSZ, SIG_IGN);
	write_text(log, STREAM_STDOUT, "before\n");
	setrlimit(RLIMIT_FSIZE, &small);
	for (int i = 0; i < 10; i++)
		write_text(log, STREAM_STDOUT, "a line that may be lost\n");
	setrlimit(RLIMIT_FSIZE, &old);
	write_text(log, STREAM_STDOUT, "after\n");
	jsonlog_close(log);
	autojson *lines = read_log(path);
	size_t n = json_array_size(lines);

	assert_true(n >= 2 && n < 12);
	assert_line(lines, 0, "before\n", "stdout");
	assert_line(lines, n - 1, "after\n", "stdout");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_split),
		cmocka_unit_test(long_lines_are_cut),
		cmocka_unit_test(characters_are_not_cut),
		cmocka_unit_test_setup_teardown(log_has_dockers_format, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(log_goes_on, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(log_is_rotated, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(one_file_is_begun_again, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(full_disk_keeps_whole_lines, make_dir, remove_dir),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
