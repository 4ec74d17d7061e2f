/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* docker top and docker stats: what the isolation backend counts, in the Engine API's form. */
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/state.h"
#include "engine/top.h"
#include "monitor/client.h"

#define NO_TIME "0001-01-01T00:00:00Z"
#define PS_ARGS_MAX 64

/* --- top -------------------------------------------------------------------------------------------------------------- */

json_t *top_split_args(const char *text, struct err *e)
{
	autofree char *copy = xstrdup(text && *text ? text : "-ef");
	autojson *args = json_array();
	char *rest = copy, *word;

	while ((word = strsep(&rest, " \t\n"))) {
		if (*word)
			json_array_append_new(args, json_string(word));
	}
	if (json_array_size(args) > PS_ARGS_MAX) {
		err_set(e, ERR_INVALID, 0, "too many arguments for ps");
		return NULL;
	}
	return take_ptr(&args);
}

/* n columns; what is left of the line belongs to the last one. */
static json_t *split_columns(char *line, size_t n)
{
	json_t *row = json_array();
	char *p = line;

	while (json_array_size(row) + 1 < n) {
		size_t len;

		p += strspn(p, " \t");
		len = strcspn(p, " \t");
		json_array_append_new(row, json_stringn_nocheck(p, len));
		p += len;
	}
	p += strspn(p, " \t");
	for (size_t len = strlen(p); len > 0 && p[len - 1] == ' '; len--)
		p[len - 1] = '\0';
	json_array_append_new(row, json_string(p));
	return row;
}

static json_t *split_titles(const char *line)
{
	autofree char *copy = xstrdup(line);
	json_t *titles = json_array();
	char *rest = copy, *word;

	while ((word = strsep(&rest, " \t"))) {
		if (*word)
			json_array_append_new(titles, json_string(word));
	}
	return titles;
}

static bool listed(const json_t *pids, long pid)
{
	json_t *entry;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)pids, i, entry) {
		if (json_integer_value(entry) == pid)
			return true;
	}
	return false;
}

static int pid_column(const json_t *titles)
{
	json_t *title;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)titles, i, title) {
		if (strcmp(json_string_value(title), "PID") == 0)
			return (int)i;
	}
	return -1;
}

json_t *top_table(const char *output, const json_t *pids, struct err *e)
{
	autofree char *copy = xstrdup(output);
	char *rest = copy, *line = strsep(&rest, "\n");
	autojson *titles = split_titles(line);
	json_t *rows = json_array();
	int column = pid_column(titles);

	while (column >= 0 && (line = strsep(&rest, "\n"))) {
		json_t *row = *line ? split_columns(line, json_array_size(titles)) : NULL;

		if (row && listed(pids, strtol(json_string_value(json_array_get(row, (size_t)column)), NULL, 10)))
			json_array_append(rows, row);
		json_decref(row);
	}
	if (column < 0) {
		json_decref(rows);
		err_set(e, ERR_SYSTEM, 0, "Couldn't find PID field in ps output");
		return NULL;
	}
	return json_pack("{s:O, s:o}", "Titles", titles, "Processes", rows);
}

json_t *engine_container_top(struct engine *g, const char *ref, const char *ps_args, struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	autojson *args = c ? top_split_args(ps_args, e) : NULL;
	autofree char *dir = args ? path_run(g, c->id, NULL) : NULL;
	autojson *answer = NULL;
	enum life to;
	json_t *out;

	if (!args)
		return NULL;
	if (record_may_soon(c, ref, DO_TOP, &to, e) == 0)
		answer = monitor_top(dir, args, e);
	out = answer ? top_table(json_str(answer, "output", ""), json_object_get(answer, "pids"), e) : NULL;
	if (out)
		container_event(g, c, "top", NULL);
	return out;
}

/* --- stats -------------------------------------------------------------------------------------------------------------- */

static json_t *cpu_stats(const json_t *s)
{
	return json_pack("{s:{s:I, s:[], s:I, s:I}, s:I, s:I, s:{s:i, s:i, s:i}}", "cpu_usage", "total_usage",
			 (json_int_t)json_int(s, "cpu_ns", 0), "percpu_usage", "usage_in_kernelmode",
			 (json_int_t)json_int(s, "cpu_system_ns", 0), "usage_in_usermode",
			 (json_int_t)json_int(s, "cpu_user_ns", 0), "system_cpu_usage",
			 (json_int_t)json_int(s, "system_cpu_ns", 0), "online_cpus",
			 (json_int_t)json_int(s, "online_cpus", 1), "throttling_data", "periods", 0,
			 "throttled_periods", 0, "throttled_time", 0);
}

static json_t *zero_cpu(void)
{
	return json_pack("{s:{s:i, s:i, s:i}, s:{s:i, s:i, s:i}}", "cpu_usage", "total_usage", 0, "usage_in_kernelmode",
			 0, "usage_in_usermode", 0, "throttling_data", "periods", 0, "throttled_periods", 0,
			 "throttled_time", 0);
}

/* Without a limit of its own a container is limited by the machine. */
static int64_t memory_limit(const json_t *s)
{
	int64_t limit = json_int(s, "memory_limit_bytes", 0), all = INT64_MAX;
	struct sysinfo host;

	if (sysinfo(&host) == 0)
		all = (int64_t)host.totalram * host.mem_unit;
	return limit <= 0 || limit > all ? all : limit;
}

static json_t *memory_stats(const json_t *s)
{
	json_t *out = json_pack("{s:I, s:I}", "usage", (json_int_t)json_int(s, "memory_bytes", 0), "limit",
				(json_int_t)memory_limit(s));
	json_t *detail = json_object_get(s, "memory_stats");

	if (json_int(s, "memory_max_bytes", 0))
		json_object_set(out, "max_usage", json_object_get(s, "memory_max_bytes"));
	json_object_set_new(out, "stats", json_is_object(detail) ? json_incref(detail) : json_object());
	return out;
}

static json_t *blkio_stats(const json_t *s)
{
	static const char *const empty[] = { "io_serviced_recursive",     "io_queue_recursive",
					     "io_service_time_recursive", "io_wait_time_recursive",
					     "io_merged_recursive",       "io_time_recursive",
					     "sectors_recursive" };
	json_t *out = json_object(), *bytes = json_object_get(s, "blkio");

	json_object_set_new(out, "io_service_bytes_recursive",
			    json_is_array(bytes) ? json_incref(bytes) : json_array());
	for (size_t i = 0; i < array_len(empty); i++)
		json_object_set_new(out, empty[i], json_null());
	return out;
}

/* A container that doesn't run: only its name, as Docker. */
static void set_zero(json_t *out)
{
	json_object_set_new(out, "pids_stats", json_object());
	json_object_set_new(out, "blkio_stats", json_pack("{s:n}", "io_service_bytes_recursive"));
	json_object_set_new(out, "cpu_stats", zero_cpu());
	json_object_set_new(out, "precpu_stats", zero_cpu());
	json_object_set_new(out, "memory_stats", json_object());
}

static void set_stats(json_t *out, const json_t *s, const json_t *previous)
{
	json_t *pids = json_pack("{s:I}", "current", (json_int_t)json_int(s, "pids", 0));
	json_t *networks = json_object_get(s, "networks"), *before = json_object_get(previous, "cpu_stats");

	if (json_int(s, "pids_limit", 0) > 0)
		json_object_set(pids, "limit", json_object_get(s, "pids_limit"));
	json_object_set_new(out, "pids_stats", pids);
	json_object_set_new(out, "blkio_stats", blkio_stats(s));
	json_object_set_new(out, "cpu_stats", cpu_stats(s));
	json_object_set_new(out, "precpu_stats", before ? json_incref(before) : zero_cpu());
	json_object_set_new(out, "memory_stats", memory_stats(s));
	if (json_object_size(networks) > 0)
		json_object_set(out, "networks", networks);
}

json_t *engine_container_stats(struct engine *g, const char *ref, json_t **previous, struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	autofree char *dir = c ? path_run(g, c->id, NULL) : NULL;
	autojson *counters = NULL;
	char now[TIME_TEXT_MAX];
	struct timespec t = time_now();
	bool running;
	json_t *out;

	if (!c)
		return NULL;
	pthread_mutex_lock(&c->lock);
	running = !container_has_ended(c, NULL);
	out = json_pack("{s:o, s:s}", "name", json_sprintf("/%s", c->name), "id", c->id);
	pthread_mutex_unlock(&c->lock);
	/* It may end meanwhile: then it counts as stopped. */
	counters = running ? monitor_stats(dir, NULL) : NULL;
	time_format(&t, now);
	json_object_set_new(out, "read", json_string(counters ? now : NO_TIME));
	json_object_set_new(out, "preread", json_string(*previous ? json_str(*previous, "read", NO_TIME) : NO_TIME));
	json_object_set_new(out, "num_procs", json_integer(0));
	json_object_set_new(out, "storage_stats", json_object());
	if (counters)
		set_stats(out, counters, *previous);
	else
		set_zero(out);
	json_decref(*previous);
	*previous = json_incref(out);
	return out;
}
