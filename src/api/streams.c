/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Answers that go on until the container, the time or the client's patience ends: attach, logs, stats, wait, events. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/handlers.h"
#include "api/http.h"
#include "base/io.h"
#include "base/json.h"

#define STATS_PERIOD_MS 1000

/* --- attach --------------------------------------------------------------------------------------------------- */
static int attach_run(struct request *r, int fd, struct err *e)
{
	const struct attach_options o = {
		.logs = query_bool(r, "logs", false),
		.stream = query_bool(r, "stream", false),
		.in = query_bool(r, "stdin", false),
		.out = query_bool(r, "stdout", false),
		.err = query_bool(r, "stderr", false),
		.detach_keys = query_str(r, "detachKeys"),
	};

	return engine_container_attach(r->engine, r->param[0], &o, fd, e);
}

/* A container that waits for its start says nothing yet. */
static bool is_silent(const struct request *r)
{
	struct err ignored = { 0 };
	autojson *inspect = engine_container_inspect(r->engine, r->param[0], false, &ignored);
	const json_t *state = json_object_get(inspect, "State");

	return !query_bool(r, "logs", false) && strcmp(json_str(state, "Status", ""), "created") == 0;
}

int api_container_attach(struct request *r, struct err *e)
{
	bool tty = false;

	if (engine_container_attach_check(r->engine, r->param[0], query_str(r, "detachKeys"), &tty, e) < 0)
		return -1;
	/* `docker run` sends start as soon as it has seen our head: it must not overtake the attach. */
	r->hijack.run_first = is_silent(r);
	return reply_hijack(r, tty, attach_run);
}

/* --- logs ----------------------------------------------------------------------------------------------------- */
static int container_tty(struct request *r, bool *tty, struct err *e)
{
	autojson *inspect = engine_container_inspect(r->engine, r->param[0], false, e);

	if (!inspect)
		return -1;
	*tty = json_bool(json_object_get(inspect, "Config"), "Tty", false);
	return 0;
}

static int logs_sink(void *arg, const void *data, size_t n)
{
	struct request *r = arg;

	return stream_write(r, data, n);
}

/* As Docker: "all", nonsense and negative numbers mean all of it. */
static int64_t tail_lines(const struct request *r)
{
	const char *text = query_str(r, "tail");
	char *end;
	int64_t n;

	if (!text)
		return -1;
	errno = 0;
	n = strtoll(text, &end, 10);
	return *end || errno || n < 0 ? -1 : n;
}

int api_container_logs(struct request *r, struct err *e)
{
	struct log_options o = {
		.follow = query_bool(r, "follow", false),
		.out = query_bool(r, "stdout", false),
		.err = query_bool(r, "stderr", false),
		.timestamps = query_bool(r, "timestamps", false),
		.details = query_bool(r, "details", false),
		.tail = tail_lines(r),
	};
	bool tty = false;

	if (!o.out && !o.err)
		return err_set(e, ERR_INVALID, 0, "Bad parameters: you must choose at least one stream");
	if (query_time(r, "since", &o.since, e) < 0 || query_time(r, "until", &o.until, e) < 0 ||
	    container_tty(r, &tty, e) < 0)
		return -1;
	if (stream_begin(r, stream_type(r, tty)) < 0)
		return 0;
	return engine_container_logs(r->engine, r->param[0], &o, r->client_fd, logs_sink, r, e);
}

/* --- stats ---------------------------------------------------------------------------------------------------- */
/* Wait for the next sample's time; true when the client leaves meanwhile. */
static bool pause_or_gone(int fd, int64_t until_ms)
{
	int64_t left = until_ms - time_monotonic_ms();
	struct pollfd p = { .fd = fd, .events = 0 };

	while (left > 0) {
		int n = poll(&p, 1, (int)left);

		if (n > 0 || (n < 0 && errno != EINTR))
			return true;
		left = until_ms - time_monotonic_ms();
	}
	return client_gone(fd);
}

/* Without one-shot Docker takes two samples, so that precpu_stats are filled. */
static int stats_once(struct request *r, struct err *e)
{
	autojson *previous = NULL;

	if (!query_bool(r, "one-shot", false)) {
		int64_t start_ms = time_monotonic_ms();
		autojson *first = engine_container_stats(r->engine, r->param[0], &previous, e);

		if (!first)
			return -1;
		if (pause_or_gone(r->client_fd, start_ms + STATS_PERIOD_MS))
			return err_set(e, ERR_TIMEOUT, 0, "client has left");
	}
	return reply_json(r, 200, engine_container_stats(r->engine, r->param[0], &previous, e));
}

int api_container_stats(struct request *r, struct err *e)
{
	autojson *previous = NULL;

	if (!query_bool(r, "stream", true))
		return stats_once(r, e);
	if (query_bool(r, "one-shot", false))
		return err_set(e, ERR_INVALID, 0, "cannot have stream=true and one-shot=true");
	for (;;) {
		int64_t start_ms = time_monotonic_ms();
		autojson *sample = engine_container_stats(r->engine, r->param[0], &previous, e);

		if (!sample)
			return r->streaming ? 0 : -1; /* removed meanwhile: the stream just ends */
		if (!r->streaming && stream_begin(r, "application/json") < 0)
			return 0;
		if (stream_json(r, sample) < 0 || pause_or_gone(r->client_fd, start_ms + STATS_PERIOD_MS))
			return 0;
	}
}

/* --- wait ----------------------------------------------------------------------------------------------------- */
/* The wait is registered: clients start the container only when they have seen these headers. */
static void wait_ready(void *arg)
{
	(void)stream_begin(arg, "application/json");
}

int api_container_wait(struct request *r, struct err *e)
{
	/* Before 1.30 there was no condition: it waited for "not running". */
	const char *condition = r->minor >= 30 ? query_str(r, "condition") : NULL;
	autojson *result = engine_container_wait(r->engine, r->param[0], condition, r->client_fd, wait_ready, r, e);

	if (!result)
		return -1;
	if (!r->streaming)
		return reply_json(r, 200, json_incref(result));
	(void)stream_json(r, result);
	return 0;
}

/* --- events --------------------------------------------------------------------------------------------------- */
static const char *const event_filters[] = {
	"config", "container", "daemon", "event",  "image",   "isolation", "label",  "network",
	"node",   "plugin",    "scope",  "secret", "service", "type",      "volume",
};

static int emit_event(void *arg, const json_t *event)
{
	return stream_json(arg, event);
}

int api_events(struct request *r, struct err *e)
{
	autojson *filters = NULL;
	struct timespec since, until;

	if (query_time(r, "since", &since, e) < 0 || query_time(r, "until", &until, e) < 0 ||
	    query_filters(r, &filters, e) < 0 || filters_check(filters, event_filters, array_len(event_filters), e) < 0)
		return -1;
	/* What happens between these headers and the subscription isn't lost: it comes from the past. */
	if (since.tv_sec == 0 && until.tv_sec == 0)
		since = time_now();
	if (stream_begin(r, "application/json") < 0)
		return 0;
	return engine_events(r->engine, since, until, filters, r->client_fd, emit_event, r, e);
}
