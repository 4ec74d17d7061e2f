/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* silo state | list | ps | events */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "cmd/oci.h"
#include "os/run.h"

#define PS_TIMEOUT_MS 10000
#define PS_OUTPUT_MAX (4 * MIB)
#define PS_ARGS_MAX 64
#define INTERVAL_MS 5000

static void print_json(const json_t *j, bool indent)
{
	char *text = json_dumps(j, indent ? JSON_INDENT(2) : JSON_COMPACT);

	puts(text ? text : "null");
	free(text);
}

int oci_state(const struct runtime *rt, int argc, char **argv, struct err *e)
{
	int first = cli_parse(argc, argv, NULL, 0, NULL, e);
	const char *id = first < 0 ? NULL : cli_id(argc, argv, first, e);
	struct record *r = id ? record_open(rt, id, false, e) : NULL;
	autojson *state = r ? record_state(r, record_status(r)) : NULL;

	record_close(r);
	if (!state)
		return -1;
	print_json(state, true);
	return 0;
}

/* ---- list ---- */

struct list_options {
	const char *format;
	bool quiet;
};

static void print_row(const json_t *s)
{
	printf("%-12s %-11lld %-11s %-30s %-30s %s\n", json_str(s, "id", ""), (long long)json_int(s, "pid", 0),
	       json_str(s, "status", ""), json_str(s, "bundle", ""), json_str(s, "created", ""),
	       json_str(s, "owner", ""));
}

static json_t *list_states(const struct runtime *rt)
{
	autojson *ids = record_list(rt);
	json_t *states = json_array(), *id;
	size_t i;

	json_array_foreach(ids, i, id) {
		struct err ignored;
		struct record *r = record_open(rt, json_string_value(id), false, &ignored);

		if (r)
			json_array_append_new(states, record_state(r, record_status(r)));
		record_close(r);
	}
	return states;
}

int oci_list(const struct runtime *rt, int argc, char **argv, struct err *e)
{
	static const struct cli_option options[] = {
		{ "format", 'f', CLI_STRING, offsetof(struct list_options, format) },
		{ "quiet", 'q', CLI_FLAG, offsetof(struct list_options, quiet) },
	};
	struct list_options o = { .format = "table" };
	autojson *states = NULL;
	json_t *s;
	size_t i;

	if (cli_parse(argc, argv, options, array_len(options), &o, e) < 0)
		return -1;
	if (strcmp(o.format, "table") != 0 && strcmp(o.format, "json") != 0)
		return err_set(e, ERR_INVALID, 0, "invalid format option");
	states = list_states(rt);
	if (!o.quiet && !strcmp(o.format, "json")) {
		/* runc has null where there is none */
		print_json(json_array_size(states) ? states : json_null(), false);
		return 0;
	}
	if (!o.quiet)
		printf("%-12s %-11s %-11s %-30s %-30s %s\n", "ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER");
	json_array_foreach(states, i, s) {
		if (o.quiet)
			puts(json_str(s, "id", ""));
		else
			print_row(s);
	}
	return 0;
}

/* ---- ps ---- */

static bool has_pid(const json_t *pids, long long pid)
{
	json_t *j;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)pids, i, j)
		if (json_integer_value(j) == pid)
			return true;
	return false;
}

/* Position of the column PID in the header; -1 = none. */
static int pid_column(const char *header)
{
	char copy[1024], *save = NULL;
	int column = 0;

	snprintf(copy, sizeof(copy), "%s", header);
	for (char *word = strtok_r(copy, " \t", &save); word; word = strtok_r(NULL, " \t", &save), column++) {
		if (!strcmp(word, "PID"))
			return column;
	}
	return -1;
}

static long long row_pid(const char *row, int column)
{
	for (; column > 0; column--) {
		row += strspn(row, " \t");
		row += strcspn(row, " \t");
	}
	return strtoll(row, NULL, 10);
}

static int print_table(const json_t *pids, char **args, struct err *e)
{
	const char *argv[PS_ARGS_MAX + 2] = { "ps", "-ef" };
	char *save = NULL;
	autostr out;
	int column = -1, n = 1;

	str_init(&out, PS_OUTPUT_MAX);
	for (; *args && n < PS_ARGS_MAX; args++)
		argv[n++] = *args;
	if (run_capture(argv, PS_TIMEOUT_MS, &out, e))
		return -1;
	for (char *line = strtok_r(out.s, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (column < 0) {
			column = pid_column(line);
			if (column < 0)
				return err_set(e, ERR_INVALID, 0, "couldn't find PID field in ps output");
			puts(line);
		} else if (has_pid(pids, row_pid(line, column))) {
			puts(line);
		}
	}
	return 0;
}

int oci_ps(const struct runtime *rt, int argc, char **argv, struct err *e)
{
	static const struct cli_option options[] = { { "format", 'f', CLI_STRING, 0 } };
	const char *format = "table";
	int first = cli_parse_front(argc, argv, options, 1, &format, e);
	autojson *pids = NULL;

	if (first < 0)
		return -1;
	if (first == argc)
		return err_set(e, ERR_INVALID, 0, "ps: container id is needed");
	pids = runtime_pids(rt, argv[first], e);
	if (!pids)
		return -1;
	if (!strcmp(format, "json")) {
		print_json(pids, false);
		return 0;
	}
	if (strcmp(format, "table") != 0)
		return err_set(e, ERR_INVALID, 0, "invalid format option");
	return print_table(pids, argv + first + 1, e);
}

/* ---- events ---- */

static json_t *blkio_json(const json_t *stats)
{
	json_t *list = json_array(), *j;
	size_t i;

	json_array_foreach(json_object_get(stats, "blkio"), i, j)
		json_array_append(list, j);
	return json_pack("{s:o}", "ioServiceBytesRecursive", list);
}

static json_t *networks_json(const json_t *stats)
{
	json_t *list = json_array(), *j;
	const char *name;

	json_object_foreach(json_object_get(stats, "networks"), name, j) {
		json_t *one = json_deep_copy(j);

		json_object_set_new(one, "name", json_string(name));
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *event_of(const char *id, const json_t *s)
{
	json_t *raw = json_object_get(s, "memory_stats");
	json_t *data = json_pack(
		"{s:{s:{s:I, s:I, s:I}, s:{}}, s:{s:I, s:I}, s:{s:{s:I, s:I, s:I, s:i}, s:O?}, s:o, s:o}", "cpu",
		"usage", "total", (json_int_t)json_int(s, "cpu_ns", 0), "kernel",
		(json_int_t)json_int(s, "cpu_system_ns", 0), "user", (json_int_t)json_int(s, "cpu_user_ns", 0),
		"throttling", "pids", "current", (json_int_t)json_int(s, "pids", 0), "limit",
		(json_int_t)json_int(s, "pids_limit", 0), "memory", "usage", "limit",
		(json_int_t)json_int(s, "memory_limit_bytes", 0), "usage", (json_int_t)json_int(s, "memory_bytes", 0),
		"max", (json_int_t)json_int(s, "memory_max_bytes", 0), "failcnt", 0, "raw", raw, "blkio", blkio_json(s),
		"network_interfaces", networks_json(s));

	return json_pack("{s:s, s:s, s:o}", "type", "stats", "id", id, "data", data);
}

static void print_event(json_t *event)
{
	print_json(event, false);
	fflush(stdout);
	json_decref(event);
}

struct events_options {
	bool stats;
	const char *interval;
};

/* "5s", "100ms" or "1m". */
static int parse_interval(const char *text, int64_t *ms, struct err *e)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "", 1000 }, { "m", 60000 }, { "h", 3600000 } };
	char *end;
	long n = strtol(text, &end, 10);

	for (size_t i = 0; i < array_len(units) && end != text && n > 0 && n <= 86400; i++) {
		if (!strcmp(units[i].unit, end)) {
			*ms = n * units[i].ms;
			return 0;
		}
	}
	return err_set(e, ERR_INVALID, 0, "invalid value \"%s\" for --interval", text);
}

static int print_stats(const struct runtime *rt, const char *id, struct err *e)
{
	autojson *stats = runtime_stats(rt, id, e);

	if (!stats)
		return -1;
	print_event(event_of(id, stats));
	return 0;
}

/* OOM kills, until it is time for the counters again. False: the container has ended. */
static bool print_events(struct runtime_watch *w, const char *id, int64_t deadline_ms)
{
	for (;;) {
		switch (runtime_watch_next(w, deadline_ms)) {
		case EVENT_TIME:
			return true;
		case EVENT_END:
			return false;
		case EVENT_OOM:
			print_event(json_pack("{s:s, s:s}", "type", "oom", "id", id));
			break;
		case EVENT_OTHER:
			break;
		}
	}
}

static int show_until_end(const struct runtime *rt, const char *id, struct runtime_watch *w, int64_t interval_ms,
			  struct err *e)
{
	struct err why;

	do {
		if (!print_stats(rt, id, &why))
			continue;
		if (why.kind == ERR_CONFLICT || why.kind == ERR_NOT_FOUND)
			return 0; /* it has ended meanwhile */
		*e = why;
		return -1;
	} while (print_events(w, id, time_monotonic_ms() + interval_ms));
	return 0;
}

int oci_events(const struct runtime *rt, int argc, char **argv, struct err *e)
{
	static const struct cli_option options[] = {
		{ "stats", 0, CLI_FLAG, offsetof(struct events_options, stats) },
		{ "interval", 0, CLI_STRING, offsetof(struct events_options, interval) },
	};
	struct events_options o = { 0 };
	int first = cli_parse(argc, argv, options, array_len(options), &o, e);
	const char *id = first < 0 ? NULL : cli_id(argc, argv, first, e);
	int64_t interval_ms = INTERVAL_MS;
	struct runtime_watch *w;
	int rc;

	if (!id || (o.interval && parse_interval(o.interval, &interval_ms, e)))
		return -1;
	if (o.stats)
		return print_stats(rt, id, e);
	w = runtime_watch_open(rt, id, e);
	if (!w)
		return -1;
	rc = show_until_end(rt, id, w, interval_ms, e);
	runtime_watch_close(w);
	return rc;
}
