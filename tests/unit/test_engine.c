/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine's pure parts: life cycle, signals, filters, events, status texts, choices, top, the log reader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/own.h"
#include "engine/body_limits.h"
#include "engine/create.h"
#include "engine/events.h"
#include "engine/health.h"
#include "engine/inspect.h"
#include "engine/lifecycle.h"
#include "engine/limits.h"
#include "engine/logfile.h"
#include "engine/restart.h"
#include "engine/signals.h"
#include "engine/template_use.h"
#include "engine/top.h"

static void life_cycle(void **state)
{
	static const struct {
		enum life from;
		enum life_event event;
		enum err_kind kind;
		const char *text;
		enum life to;
	} cases[] = {
		{ LIFE_CREATED, DO_START, 0, "", LIFE_RUNNING },
		{ LIFE_RUNNING, DO_START, ERR_NOT_MODIFIED, "container ID is already started", 0 },
		{ LIFE_PAUSED, DO_START, ERR_CONFLICT, "cannot start a paused container, try unpause instead", 0 },
		{ LIFE_EXITED, DO_STOP, ERR_NOT_MODIFIED, "container ID is already stopped", 0 },
		{ LIFE_EXITED, DO_KILL, ERR_CONFLICT, "cannot kill container: REF: container ID is not running", 0 },
		{ LIFE_RUNNING, DO_REMOVE, ERR_CONFLICT,
		  "cannot remove container \"/NAME\": container is running: stop the container before removing or force "
		  "remove",
		  0 },
		{ LIFE_PAUSED, DO_EXEC, ERR_CONFLICT, "Container ID is paused, unpause the container before exec", 0 },
		{ LIFE_RUNNING, DO_PAUSE, 0, "", LIFE_PAUSED },
		{ LIFE_PAUSED, DO_UNPAUSE, 0, "", LIFE_RUNNING },
		{ LIFE_PAUSED, IT_EXITED, 0, "", LIFE_EXITED },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct err e = { 0 };
		enum life to = LIFE_DEAD;
		int rc = lifecycle_next(cases[i].from, cases[i].event, "REF", "ID", "NAME", &to, &e);

		assert_int_equal(rc, cases[i].kind ? -1 : 0);
		assert_int_equal(e.kind, cases[i].kind);
		assert_string_equal(e.msg, cases[i].text);
		if (rc == 0)
			assert_int_equal(to, cases[i].to);
	}
	for (enum life s = LIFE_CREATED; s < LIFE_N; s++)
		assert_int_equal(lifecycle_parse(lifecycle_name(s)), s);
}

static void hostile_names_are_no_format(void **state)
{
	struct err e = { 0 };
	enum life to;

	assert_int_equal(lifecycle_next(LIFE_EXITED, DO_KILL, "%n%s{id}", "ID", "N", &to, &e), -1);
	assert_string_equal(e.msg, "cannot kill container: %n%s{id}: container ID is not running");
}

static void signals(void **state)
{
	static const struct {
		const char *text;
		int number;
	} cases[] = { { "KILL", 9 },	 { "SIGKILL", 9 },     { "sigterm", 15 },   { "15", 15 },	 { "WINCH", 28 },
		      { "RTMIN", 34 },	 { "SIGRTMIN+3", 37 }, { "RTMAX", 64 },	    { "RTMAX-1", 63 },	 { "", 99 },
		      { NULL, 99 },	 { "0", -1 },	       { "65", -1 },	    { "NOPE", -1 },	 { "9x", -1 },
		      { "RTMIN+31", -1 }, { "RTMIN-1", -1 },   { "-9", -1 } };

	for (size_t i = 0; i < array_len(cases); i++)
		assert_int_equal(signal_parse(cases[i].text, 99, NULL), cases[i].number);
}

static void names(void **state)
{
	static const char *const good[] = { "ab", "a1", "web_1.x-y", "0x" };
	static const char *const bad[] = { "a",
					   "",
					   "-ab",
					   "_ab",
					   "a b",
					   "a/b",
					   "\xc3\xa4"
					   "b",
					   "a\nb" };

	for (size_t i = 0; i < array_len(good); i++)
		assert_int_equal(create_check_name(good[i], NULL), 0);
	for (size_t i = 0; i < array_len(bad); i++) {
		struct err e = { 0 };

		assert_int_equal(create_check_name(bad[i], &e), -1);
		assert_int_equal(e.kind, ERR_INVALID);
	}
	for (int i = 0; i < 50; i++) {
		char name[64];

		create_random_name(i, name);
		assert_int_equal(create_check_name(name, NULL), 0);
	}
}

static void isolation(void **state)
{
	struct err e = { 0 };

	assert_string_equal(isolation_choose("HyperV", NULL, false, &e), "hyperv");
	assert_string_equal(isolation_choose("process", "hyperv", true, &e), "process");
	assert_string_equal(isolation_choose("default", "hyperv", false, &e), "hyperv");
	assert_string_equal(isolation_choose("", NULL, true, &e), "hyperv");
	assert_string_equal(isolation_choose(NULL, NULL, false, &e), "process");
	assert_null(isolation_choose("xyz", NULL, false, &e));
	assert_string_equal(e.msg, "invalid isolation (xyz): Silo supports 'default', 'process', or 'hyperv'");
}

static void host_kind(void **state)
{
	assert_true(host_is_client("", "10\n", false));   /* notebook */
	assert_true(host_is_client("", "31\n", false));	  /* convertible */
	assert_false(host_is_client("", "17\n", false));  /* main server chassis */
	assert_false(host_is_client("", "3\n", true));	  /* a virtual machine that calls itself a desktop */
	assert_false(host_is_client("", "", false));
	assert_false(host_is_client("", "1\n", false));
	assert_true(host_is_client("ICON=x\nCHASSIS=\"laptop\"\n", "17\n", true));
	assert_false(host_is_client("CHASSIS=server\n", "10\n", false));
}

static json_t *parse(const char *text)
{
	return json_loads(text, 0, NULL);
}

static void filter_forms(void **state)
{
	static const char *const known[] = { "label", "name", NULL };
	autojson *list = parse("{\"label\": [\"a=1\", \"b\"]}");
	autojson *map = parse("{\"label\": {\"a=1\": true, \"b\": true, \"c\": false}}");
	autojson *labels = parse("{\"a\": \"1\", \"b\": \"2\"}");
	autojson *other = parse("{\"a\": \"2\", \"b\": \"2\"}");
	autojson *unknown = parse("{\"foo\": [\"x\"]}");
	autojson *wrong = parse("{\"name\": \"x\"}");
	const json_t *forms[] = { list, map };
	struct err e = { 0 };

	for (size_t i = 0; i < array_len(forms); i++) {
		autojson *f = filters_parse(forms[i], known, &e);

		assert_true(filters_labels(f, "label", labels));
		assert_false(filters_labels(f, "label", other));
		assert_false(filters_has(f, "name"));
	}
	assert_null(filters_parse(unknown, known, &e));
	assert_string_equal(e.msg, "invalid filter 'foo'");
	assert_null(filters_parse(wrong, known, &e));
	assert_int_equal(e.kind, ERR_INVALID);
}

static void filter_matching(void **state)
{
	static const char *const known[] = { "name", NULL };
	autojson *filters = parse("{\"name\": [\"^we\"]}");
	autojson *bad_pattern = parse("{\"name\": [\"(\"]}");
	autojson *f = filters_parse(filters, known, NULL);
	autojson *b = filters_parse(bad_pattern, known, NULL);

	assert_true(filters_match(f, "name", "web"));
	assert_false(filters_match(f, "name", "aweb"));
	assert_false(filters_match(b, "name", "web"));
	assert_true(filters_match(b, "name", "("));
	assert_true(filters_match(NULL, "name", "web"));
}

static void event_ring(void **state)
{
	struct events *v = events_new();
	autojson *attributes = parse("{\"image\": \"bb\", \"name\": \"web\", \"tier\": \"1\"}");
	autojson *match = parse("{\"container\": [\"web\"], \"event\": [\"exec_create\"], \"label\": [\"tier=1\"]}");
	autojson *miss = parse("{\"type\": [\"image\"]}");
	uint64_t seq = 0;

	events_publish(v, "container", "exec_create: ls", "abc", attributes);
	autojson *event = events_next(v, &seq, 0);

	assert_string_equal(json_str(event, "status", ""), "exec_create: ls");
	assert_string_equal(json_str(event, "from", ""), "bb");
	assert_true(events_match(event, match));
	assert_false(events_match(event, miss));
	assert_true(events_match(event, NULL));
	assert_null(events_next(v, &seq, 0));
	for (int i = 0; i < EVENTS_KEPT + 10; i++)
		events_publish(v, "container", "die", "abc", attributes);
	autojson *oldest = events_next(v, &seq, 0);

	assert_non_null(oldest);
	assert_int_equal(events_head(v) - seq, EVENTS_KEPT - 1);
	events_free(v);
}

static void status_column(void **state)
{
	static const struct {
		enum life life;
		int64_t age;
		const char *text;
	} cases[] = {
		{ LIFE_CREATED, 5, "Created" },
		{ LIFE_RUNNING, 0, "Up Less than a second" },
		{ LIFE_RUNNING, 1, "Up 1 second" },
		{ LIFE_RUNNING, 59, "Up 59 seconds" },
		{ LIFE_RUNNING, 61, "Up About a minute" },
		{ LIFE_PAUSED, 180, "Up 3 minutes (Paused)" },
		{ LIFE_RUNNING, 3600, "Up About an hour" },
		{ LIFE_EXITED, 7200, "Exited (3) 2 hours ago" },
		{ LIFE_EXITED, 3 * 86400, "Exited (3) 3 days ago" },
		{ LIFE_EXITED, 21 * 86400, "Exited (3) 3 weeks ago" },
		{ LIFE_EXITED, 800 * 86400LL, "Exited (3) 2 years ago" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		char text[80];

		status_text(cases[i].life, 3, 1000000000 - cases[i].age, 1000000000 - cases[i].age, 1000000000, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void top_rows(void **state)
{
	autojson *pids = parse("[12, 14]");
	struct err e = { 0 };
	autojson *table = top_table("UID   PID CMD\nroot   12 sh -c  sleep 5 \nroot   13 other\nroot   14 ps\n", pids, &e);
	autofree char *text = json_text(table);

	assert_string_equal(text, "{\"Titles\":[\"UID\",\"PID\",\"CMD\"],\"Processes\":[[\"root\",\"12\",\"sh -c  sleep 5\"],"
				  "[\"root\",\"14\",\"ps\"]]}");
	assert_null(top_table("USER CMD\n", pids, &e));
	assert_string_equal(e.msg, "Couldn't find PID field in ps output");
}

/* --- log reader ------------------------------------------------------------------------------------------------------ */

static void write_lines(const char *path, int from, int to)
{
	FILE *f = fopen(path, "a");

	for (int i = from; i < to; i++)
		fprintf(f, "{\"log\":\"%d\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:00Z\"}\n", i);
	fclose(f);
}

/* Read everything: first and last number, how many. */
static int read_all(struct logfile *l, int *first, int *last)
{
	json_t *line;
	int n = 0;

	while ((line = logfile_next(l))) {
		*last = atoi(json_str(line, "log", "-1"));
		if (n++ == 0)
			*first = *last;
		json_decref(line);
	}
	return n;
}

static void log_tail_over_rotated_files(void **state)
{
	char dir[] = "/tmp/silo-logXXXXXX";
	static const struct {
		int64_t tail;
		int n, first;
	} cases[] = { { -1, 3000, 0 }, { 0, 0, 0 },	  { 1, 1, 2999 },    { 1000, 1000, 2000 },
		      { 1001, 1001, 1999 }, { 2500, 2500, 500 }, { 9999, 3000, 0 } };

	assert_non_null(mkdtemp(dir));
	autofree char *path = xasprintf("%s/x-json.log", dir);
	autofree char *path1 = xasprintf("%s.1", path);
	autofree char *path2 = xasprintf("%s.2", path);

	write_lines(path2, 0, 1000);
	write_lines(path1, 1000, 2000);
	write_lines(path, 2000, 3000);
	for (size_t i = 0; i < array_len(cases); i++) {
		struct err e = { 0 };
		struct logfile *l = logfile_open(path, cases[i].tail, &e);
		int first = 0, last = 0;

		assert_non_null(l);
		assert_int_equal(read_all(l, &first, &last), cases[i].n);
		assert_int_equal(first, cases[i].first);
		if (cases[i].n)
			assert_int_equal(last, 2999);
		logfile_close(l);
	}
	unlink(path2);
	unlink(path1);
	unlink(path);
	rmdir(dir);
}

static void log_follows_rotation(void **state)
{
	char dir[] = "/tmp/silo-logXXXXXX";
	int first = 0, last = 0;
	struct err e = { 0 };

	assert_non_null(mkdtemp(dir));
	autofree char *path = xasprintf("%s/x-json.log", dir);
	autofree char *path1 = xasprintf("%s.1", path);
	struct logfile *l = logfile_open(path, -1, &e); /* nothing there yet */

	assert_int_equal(read_all(l, &first, &last), 0);
	write_lines(path, 0, 10);
	assert_int_equal(read_all(l, &first, &last), 10);
	write_lines(path, 10, 15);
	rename(path, path1);
	write_lines(path, 15, 20);
	assert_int_equal(read_all(l, &first, &last), 10);
	assert_int_equal(first, 10);
	assert_int_equal(last, 19);
	logfile_close(l);
	unlink(path1);
	unlink(path);
	rmdir(dir);
}

static void log_skips_rubbish(void **state)
{
	char path[] = "/tmp/silo-logXXXXXX";
	autoclose int fd = mkstemp(path);
	int first = 0, last = 0;
	struct err e = { 0 };
	FILE *f = fdopen(dup(fd), "w");

	fputs("not json\n[1]\n", f);
	for (int i = 0; i < 3 * 1024 * 1024; i++) /* an endless line */
		fputc('x', f);
	fputs("\n", f);
	fclose(f);
	write_lines(path, 7, 8);
	struct logfile *l = logfile_open(path, -1, &e);

	assert_int_equal(read_all(l, &first, &last), 1);
	assert_int_equal(first, 7);
	logfile_close(l);
	unlink(path);
}

static void restarts(void **state)
{
	static const struct {
		const char *policy;
		int exit_code, restarts;
		bool stopped, wanted;
	} cases[] = {
		{ "{\"Name\": \"no\"}", 1, 0, false, false },
		{ "{\"Name\": \"always\"}", 0, 9, false, true },
		{ "{\"Name\": \"always\"}", 0, 9, true, false },
		{ "{\"Name\": \"unless-stopped\"}", 0, 0, false, true },
		{ "{\"Name\": \"on-failure\"}", 0, 0, false, false },
		{ "{\"Name\": \"on-failure\"}", 1, 99, false, true },
		{ "{\"Name\": \"on-failure\", \"MaximumRetryCount\": 2}", 1, 1, false, true },
		{ "{\"Name\": \"on-failure\", \"MaximumRetryCount\": 2}", 1, 2, false, false },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		autojson *policy = json_loads(cases[i].policy, 0, NULL);

		assert_int_equal(restart_is_wanted(policy, cases[i].exit_code, cases[i].restarts, cases[i].stopped),
				 cases[i].wanted);
	}
	assert_int_equal(restart_backoff_ms(0, 0), 100);
	assert_int_equal(restart_backoff_ms(100, 9), 200);
	assert_int_equal(restart_backoff_ms(51200, 0), 60000);
	assert_int_equal(restart_backoff_ms(60000, 0), 60000);
	assert_int_equal(restart_backoff_ms(60000, 10), 100);
}

static void health_turns(void **state)
{
	static const struct {
		int exit_code;
		bool in_start_period, changed;
		const char *status;
		int streak;
	} steps[] = {
		{ 1, true, false, "starting", 0 },  { 1, false, false, "starting", 1 }, { 1, false, true, "unhealthy", 2 },
		{ 0, false, true, "healthy", 0 },   { 0, false, false, "healthy", 0 },	{ 1, true, false, "healthy", 1 },
		{ -1, true, true, "unhealthy", 2 },
	};
	autojson *health = json_pack("{s:s, s:i, s:[]}", "Status", "starting", "FailingStreak", 0, "Log");

	for (size_t i = 0; i < array_len(steps); i++) {
		json_t *entry = json_pack("{s:i}", "ExitCode", steps[i].exit_code);

		assert_int_equal(health_result(health, entry, steps[i].in_start_period, 2), steps[i].changed);
		assert_string_equal(json_str(health, "Status", ""), steps[i].status);
		assert_int_equal(json_int(health, "FailingStreak", -1), steps[i].streak);
	}
	assert_int_equal(json_array_size(json_object_get(health, "Log")), 5);
}

static void lists_of_numbers(void **state)
{
	static const struct {
		const char *text;
		int rc, count;
	} cases[] = { { "0", 0, 1 },   { "0-2,7", 0, 4 }, { "1,1", 0, 1 }, { "", 0, 0 },
		      { "2-1", -1, 0 }, { "0-", -1, 0 },   { "0,", -1, 0 }, { "8", -1, 0 }, { "-1", -1, 0 }, { "a", -1, 0 } };

	for (size_t i = 0; i < array_len(cases); i++) {
		unsigned char set[8] = { 0 };
		int n = 0;

		assert_int_equal(list_parse(cases[i].text, set, sizeof(set)), cases[i].rc);
		for (size_t k = 0; k < sizeof(set); k++)
			n += set[k];
		if (cases[i].rc == 0)
			assert_int_equal(n, cases[i].count);
	}
}

static void machine_sizes(void **state)
{
	static const struct {
		const char *host;
		int64_t unlimited, memory_mib, cpus; /* unlimited: CPUs without a limit */
	} cases[] = {
		{ "{}", 1, 4096, 1 },
		{ "{}", 3, 4096, 4 },
		{ "{}", 64, 4096, 4 },
		{ "{\"Memory\": 67108864, \"NanoCpus\": 500000000}", 4, 1024, 1 },
		{ "{\"Memory\": 1073741825}", 1, 2048, 1 },
		{ "{\"Memory\": 1000000000000}", 1, 8192, 1 },
		{ "{\"NanoCpus\": 1500000000}", 1, 4096, 2 },
		{ "{\"CpuQuota\": 300000}", 1, 4096, 4 },
		{ "{\"NanoCpus\": 64000000000}", 1, 4096, 4 },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		autojson *host = json_loads(cases[i].host, 0, NULL);
		struct vm_size size = vm_size_class(host, (struct vm_size){ 4096, cases[i].unlimited }, 10000, 6);

		assert_int_equal(size.memory_mib, cases[i].memory_mib);
		assert_int_equal(size.cpus, cases[i].cpus);
	}
}

static void defaults_of_the_daemon(void **state)
{
	static const struct {
		const char *config;
		int64_t host_mib, vm_mib;
		const char *problem; /* NULL: it is good */
	} cases[] = {
		{ "{}", 24000, 4096, NULL },
		{ "{}", 2000, 1024, NULL },
		{ "{}", 1000000, 16384, NULL },
		{ "{\"vm-memory\": \"3g\"}", 24000, 2048, NULL },
		{ "{\"vm-memory\": \"64g\"}", 24000, 16384, NULL },
		{ "{\"vm-memory\": \"512m\"}", 24000, 1024, "vm-memory" },
		{ "{\"vm-memory\": 5}", 24000, 4096, "vm-memory" },
		{ "{\"vm-cpus\": 8}", 24000, 4096, NULL },
		{ "{\"vm-cpus\": 0}", 24000, 4096, "vm-cpus: from 1 to 256, not 0" },
		{ "{\"vm-cpus\": \"2\"}", 24000, 4096, "vm-cpus" },
		{ "{\"default-ulimits\": {\"nofile\": {\"Name\": \"nproc\"}}}", 24000, 4096, "nofile" },
		{ "{\"default-ulimits\": {\"nofile\": {\"Soft\": 9, \"Hard\": 8}}}", 24000, 4096, "9 > 8" },
		{ "{\"default-ulimits\": {\"nofile\": 5}}", 24000, 4096, "must be an object" },
	};
	autojson *config =
		json_loads("{\"default-ulimits\": {\"nofile\": {\"Soft\": 5}, \"core\": {\"Hard\": 0}}}", 0, NULL);
	autojson *host = json_loads("{\"Ulimits\": [{\"Name\": \"core\", \"Soft\": 1, \"Hard\": 2}]}", 0, NULL);

	for (size_t i = 0; i < array_len(cases); i++) {
		autojson *c = json_loads(cases[i].config, 0, NULL);
		struct err e = { 0 };

		assert_int_equal(limits_check_config(c, &e), cases[i].problem ? -1 : 0);
		if (cases[i].problem)
			assert_non_null(strstr(e.msg, cases[i].problem));
		assert_int_equal(limits_vm_memory_mib(c, cases[i].host_mib), cases[i].vm_mib);
	}
	limits_add_ulimits(config, host);
	assert_int_equal(json_array_size(json_object_get(host, "Ulimits")), 2);
	assert_string_equal(json_str(json_array_get(json_object_get(host, "Ulimits"), 1), "Name", ""), "nofile");
	assert_int_equal(json_int(json_array_get(json_object_get(host, "Ulimits"), 1), "Hard", 0), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(restarts),
		cmocka_unit_test(machine_sizes),
		cmocka_unit_test(defaults_of_the_daemon),
		cmocka_unit_test(health_turns),
		cmocka_unit_test(lists_of_numbers),
		cmocka_unit_test(life_cycle),
		cmocka_unit_test(hostile_names_are_no_format),
		cmocka_unit_test(signals),
		cmocka_unit_test(names),
		cmocka_unit_test(isolation),
		cmocka_unit_test(host_kind),
		cmocka_unit_test(filter_forms),
		cmocka_unit_test(filter_matching),
		cmocka_unit_test(event_ring),
		cmocka_unit_test(status_column),
		cmocka_unit_test(top_rows),
		cmocka_unit_test(log_tail_over_rotated_files),
		cmocka_unit_test(log_follows_rotation),
		cmocka_unit_test(log_skips_rubbish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
