/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A probe is an exec in the container, whose output comes back over a socket pair: so it is the same in both isolation
 * modes. One thread starts what is due and reads what runs, at most PROBES_MAX at a time.
 */
#include "engine/health.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/health_config.h"
#include "monitor/client.h"

#define PROBES_MAX 64
#define FRAME_HEADER 8 /* Docker's multiplexed stream: type, 0, 0, 0, length */

struct checked {
	struct checked *next;
	struct container *c;
	char run[TIME_TEXT_MAX]; /* started_at of the run that is checked: another one is another entry */
	struct health_config config;
	int64_t due_ms; /* monotonic: next probe, or the deadline of the one that runs */
	int sock;       /* of the running probe, or -1 */
	char exec[ENGINE_ID_MAX];
	struct timespec began;
	unsigned char header[FRAME_HEADER];
	size_t n_header, frame_left;
	struct str output;
};

struct health_checker {
	struct engine *g;
	pthread_t thread;
	pthread_mutex_t lock; /* the list `added` */
	int wake;
	atomic_bool stop;
	struct checked *added; /* by others, to be taken over by the thread */
	struct checked *all;   /* the thread's own */
};

static void checked_free(struct checked *x)
{
	close_fd(&x->sock);
	str_fini(&x->output);
	json_decref(x->config.cmd);
	record_put(x->c);
	free(x);
}

/* "running" and still the run that this entry belongs to; paused: not now, but later. */
static bool is_current(struct checked *x, bool *paused)
{
	bool yes;

	pthread_mutex_lock(&x->c->lock);
	*paused = x->c->state == LIFE_PAUSED;
	yes = (x->c->state == LIFE_RUNNING || *paused) && !x->c->removing && !strcmp(x->run, x->c->started_at);
	pthread_mutex_unlock(&x->c->lock);
	return yes;
}

static bool in_start_period(const struct checked *x)
{
	struct timespec started, now = time_now();

	if (x->config.start_period_ms <= 0 || time_parse(x->run, &started) < 0)
		return false;
	return (now.tv_sec - started.tv_sec) * 1000 + (now.tv_nsec - started.tv_nsec) / 1000000 <
	       x->config.start_period_ms;
}

static void plan_next(struct checked *x)
{
	bool starting;

	pthread_mutex_lock(&x->c->lock);
	starting = strcmp(health_status(x->c), "starting") == 0;
	pthread_mutex_unlock(&x->c->lock);
	x->due_ms = time_monotonic_ms() +
		    (starting && in_start_period(x) ? x->config.start_interval_ms : x->config.interval_ms);
}

static void record_result(struct engine *g, struct checked *x, int exit_code, const char *output)
{
	char began[TIME_TEXT_MAX], ended[TIME_TEXT_MAX], action[64];
	struct timespec now = time_now();
	bool changed, waiting = in_start_period(x);
	json_t *text = json_string(output); /* NULL when it isn't UTF-8 */

	time_format(&x->began, began);
	time_format(&now, ended);
	pthread_mutex_lock(&x->c->lock);
	changed = health_result(x->c->health,
				json_pack("{s:s, s:s, s:i, s:o}", "Start", began, "End", ended, "ExitCode", exit_code,
					  "Output", text ? text : json_string("")),
				waiting, x->config.retries);
	snprintf(action, sizeof(action), "health_status: %s", health_status(x->c));
	record_save_state(g->db, x->c, NULL);
	pthread_mutex_unlock(&x->c->lock);
	if (changed)
		container_event(g, x->c, action, NULL);
}

/* --- one probe ------------------------------------------------------------------------------------------------------ */

static void end_probe(struct engine *g, struct checked *x, int exit_code, const char *output)
{
	bool paused;

	close_fd(&x->sock);
	if (is_current(x, &paused))
		record_result(g, x, exit_code, output);
	plan_next(x);
}

static void begin_probe(struct engine *g, struct checked *x)
{
	autojson *body = json_pack("{s:O, s:b, s:b}", "Cmd", x->config.cmd, "AttachStdout", 1, "AttachStderr", 1);
	struct err e = { 0 };
	autojson *made = engine_exec_create(g, x->c->id, body, &e);
	int ends[2] = { -1, -1 };

	x->began = time_now();
	x->n_header = x->frame_left = 0;
	str_fini(&x->output);
	str_init(&x->output, HEALTH_OUTPUT_MAX + 1);
	snprintf(x->exec, sizeof(x->exec), "%s", json_str(made, "Id", ""));
	if (made && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		err_set(&e, ERR_SYSTEM, errno, "socketpair");
	x->sock = ends[0];
	if (ends[0] < 0 || engine_exec_start(g, x->exec, NULL, ends[1], &e) < 0)
		end_probe(g, x, -1, e.msg);
	else
		x->due_ms = time_monotonic_ms() + x->config.timeout_ms;
}

/* Frames in, at most HEALTH_OUTPUT_MAX bytes of text kept. */
static void take_output(struct checked *x, const unsigned char *data, size_t n)
{
	while (n > 0) {
		size_t take, room = HEALTH_OUTPUT_MAX - x->output.len;

		if (x->frame_left == 0) {
			x->header[x->n_header++] = *data++;
			n--;
			if (x->n_header < FRAME_HEADER)
				continue;
			x->n_header = 0;
			x->frame_left = (size_t)x->header[4] << 24 | (size_t)x->header[5] << 16 |
					(size_t)x->header[6] << 8 | x->header[7];
			continue;
		}
		take = n < x->frame_left ? n : x->frame_left;
		str_add(&x->output, data, take < room ? take : room);
		x->frame_left -= take;
		data += take;
		n -= take;
	}
}

static void finish_probe(struct engine *g, struct checked *x)
{
	autojson *state = engine_exec_inspect(g, x->exec, NULL);
	autojson *text = NULL;
	autostr quoted;

	/* Any bytes: as JSON text it is valid UTF-8. */
	str_init(&quoted, 16 * HEALTH_OUTPUT_MAX);
	str_add_json(&quoted, x->output.s ? x->output.s : "", x->output.len);
	text = json_loads(quoted.s, JSON_DECODE_ANY, NULL);
	end_probe(g, x, (int)json_int(state, "ExitCode", -1), json_is_string(text) ? json_string_value(text) : "");
}

static void read_probe(struct engine *g, struct checked *x)
{
	unsigned char data[4096];
	ssize_t n;

	while ((n = read(x->sock, data, sizeof(data))) > 0)
		take_output(x, data, (size_t)n);
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		finish_probe(g, x);
}

static void expire_probe(struct engine *g, struct checked *x)
{
	autofree char *dir = path_run(g, x->c->id, NULL);
	char text[96];

	snprintf(text, sizeof(text), "Health check exceeded timeout (%gs)", (double)x->config.timeout_ms / 1000);
	if (monitor_signal(dir, x->exec, SIGKILL, false, NULL) < 0)
		log_debug("container %.12s: its health check has just ended", x->c->id);
	end_probe(g, x, -1, text);
}

/* --- the thread ------------------------------------------------------------------------------------------------------- */

static void take_added(struct health_checker *h)
{
	struct checked *x;

	pthread_mutex_lock(&h->lock);
	while ((x = h->added)) {
		h->added = x->next;
		x->next = h->all;
		h->all = x;
	}
	pthread_mutex_unlock(&h->lock);
}

static void handle_due(struct health_checker *h, struct checked *x, size_t *n_running)
{
	bool paused;

	is_current(x, &paused);
	if (x->sock >= 0) {
		expire_probe(h->g, x);
	} else if (paused) {
		plan_next(x);
	} else if (*n_running < PROBES_MAX) {
		begin_probe(h->g, x);
		*n_running += x->sock >= 0;
	} else {
		x->due_ms = time_monotonic_ms() + 100; /* when one of the others has ended */
	}
}

/* Drop the entries of runs that are over. */
static void sweep(struct health_checker *h)
{
	for (struct checked **p = &h->all; *p;) {
		struct checked *x = *p;
		bool paused;

		if (is_current(x, &paused)) {
			p = &x->next;
		} else {
			*p = x->next;
			checked_free(x);
		}
	}
}

/* Wait for output, for somebody who adds, or until something is due. */
static void wait_for_work(struct health_checker *h)
{
	struct pollfd fds[PROBES_MAX + 1] = { { .fd = h->wake, .events = POLLIN } };
	struct checked *owners[PROBES_MAX + 1];
	int64_t now = time_monotonic_ms(), wake = INT64_MAX;
	eventfd_t ignored;
	size_t n = 1;

	for (struct checked *x = h->all; x; x = x->next) {
		if (x->due_ms < wake)
			wake = x->due_ms;
		if (x->sock >= 0 && n <= PROBES_MAX) {
			fds[n] = (struct pollfd){ .fd = x->sock, .events = POLLIN };
			owners[n++] = x;
		}
	}
	if (poll(fds, n,
		 wake == INT64_MAX    ? -1
		 : wake <= now        ? 0
		 : wake - now > 60000 ? 60000
				      : (int)(wake - now)) <= 0)
		return;
	if (fds[0].revents)
		eventfd_read(h->wake, &ignored);
	for (size_t i = 1; i < n; i++) {
		if (fds[i].revents)
			read_probe(h->g, owners[i]);
	}
}

static void *health_thread(void *arg)
{
	struct health_checker *h = arg;

	while (!h->stop && !h->g->closing) {
		int64_t now = time_monotonic_ms();
		size_t n_running = 0;

		take_added(h);
		sweep(h);
		for (struct checked *x = h->all; x; x = x->next)
			n_running += x->sock >= 0;
		for (struct checked *x = h->all; x && !h->g->closing; x = x->next) {
			if (x->due_ms <= now)
				handle_due(h, x, &n_running);
		}
		wait_for_work(h);
	}
	return NULL;
}

void health_watch(struct engine *g, struct container *c, bool fresh)
{
	struct health_checker *h = g->health;
	autojson *config = record_config(c);
	struct checked *x = xcalloc(1, sizeof(*x));

	x->sock = -1;
	x->c = record_get(c);
	if (!health_config_parse(config, &x->config)) {
		checked_free(x);
		return;
	}
	pthread_mutex_lock(&c->lock);
	if (fresh || !c->health) {
		json_decref(c->health);
		c->health = json_pack("{s:s, s:i, s:[]}", "Status", "starting", "FailingStreak", 0, "Log");
		record_save_state(g->db, c, NULL);
	}
	snprintf(x->run, sizeof(x->run), "%s", c->started_at);
	pthread_mutex_unlock(&c->lock);
	plan_next(x);
	pthread_mutex_lock(&h->lock);
	x->next = h->added;
	h->added = x;
	pthread_mutex_unlock(&h->lock);
	eventfd_write(h->wake, 1);
}

struct health_checker *health_new(struct engine *g, struct err *e)
{
	struct health_checker *h = xcalloc(1, sizeof(*h));

	h->g = g;
	h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&h->lock, NULL);
	if (h->wake >= 0 && (errno = pthread_create(&h->thread, NULL, health_thread, h)) == 0)
		return h;
	err_set(e, ERR_SYSTEM, errno, "start the health checker");
	close_fd(&h->wake);
	free(h);
	return NULL;
}

void health_free(struct health_checker *h)
{
	struct checked *x;

	if (!h)
		return;
	h->stop = true;
	eventfd_write(h->wake, 1);
	pthread_join(h->thread, NULL);
	take_added(h);
	while ((x = h->all)) {
		h->all = x->next;
		checked_free(x);
	}
	close_fd(&h->wake);
	pthread_mutex_destroy(&h->lock);
	free(h);
}
