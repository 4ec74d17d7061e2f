/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* docker attach: the client's socket goes to the monitor; what was logged before comes from the log. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "engine/create.h"
#include "engine/state.h"
#include "monitor/client.h"
#include "monitor/keys.h"

int attach_check_keys(const char *keys, struct err *e)
{
	struct keys parsed;

	return keys && *keys ? keys_parse(keys, &parsed, e) : 0;
}

int engine_container_attach_check(struct engine *g, const char *ref, const char *detach_keys, bool *tty, struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	autojson *config = c ? record_config(c) : NULL;
	enum life to;

	if (!c || attach_check_keys(detach_keys, e) < 0)
		return -1;
	*tty = json_bool(config, "Tty", false);
	return record_may(c, ref, DO_ATTACH, &to, e);
}

/* Clients that have left make room. c->lock held. */
static size_t drop_gone(struct container *c)
{
	struct waiting_client **p = &c->waiting;
	size_t n = 0;

	while (*p) {
		struct waiting_client *w = *p;

		if (client_has_left(w->fd) && !w->in) {
			*p = w->next;
			waiting_client_free(w);
		} else {
			n++;
			p = &w->next;
		}
	}
	return n;
}

/* Keep the client until start. False when the container runs already. */
static int wait_for_start(struct container *c, const struct monitor_streams *s, bool *waits, struct err *e)
{
	struct waiting_client *w, **last;
	int rc = 0;

	pthread_mutex_lock(&c->lock);
	*waits = container_has_ended(c, NULL);
	if (*waits && drop_gone(c) >= WAITING_CLIENTS_MAX) {
		rc = err_set(e, ERR_LIMIT, 0, "container %s: more than %d clients wait for its start", c->id,
			     WAITING_CLIENTS_MAX);
	} else if (*waits) {
		w = xcalloc(1, sizeof(*w));
		*w = (struct waiting_client){ .in = s->in,
					      .out = s->out,
					      .err = s->err,
					      .fd = dup(s->client),
					      .detach_keys = s->detach_keys ? xstrdup(s->detach_keys) : NULL };
		fcntl(w->fd, F_SETFD, FD_CLOEXEC);
		for (last = &c->waiting; *last; last = &(*last)->next)
			;
		*last = w;
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}

static int hand_over(struct engine *g, struct container *c, const struct monitor_streams *s, struct err *e)
{
	autofree char *dir = path_run(g, c->id, NULL);
	bool waits;

	if (wait_for_start(c, s, &waits, e) < 0)
		return -1;
	return waits ? 0 : monitor_attach(dir, s, e);
}

/* --- with what was logged before -------------------------------------------------------------------------------------- */

struct replay {
	struct engine *g;
	char id[ENGINE_ID_MAX];
	struct log_options o;
	int client;
};

static int replay_sink(void *arg, const void *data, size_t n)
{
	struct replay *r = arg;

	return io_write_all(r->client, data, n);
}

static void *replay_thread(void *arg)
{
	struct replay *r = arg;
	struct err e = { 0 };

	if (engine_container_logs(r->g, r->id, &r->o, r->client, replay_sink, r, &e) < 0)
		log_debug("attach with logs: %s", e.msg);
	shutdown(r->client, SHUT_RDWR);
	close(r->client);
	free(r);
	return NULL;
}

/* Output comes from the log, from its first line on and then as it grows: nothing is lost or doubled in between. */
static int replay_start(struct engine *g, struct container *c, const struct attach_options *o, int client,
			struct err *e)
{
	struct replay *r = xcalloc(1, sizeof(*r));
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	r->g = g;
	memcpy(r->id, c->id, sizeof(r->id));
	r->o = (struct log_options){ .follow = o->stream, .out = o->out, .err = o->err, .tail = -1 };
	r->client = fcntl(client, F_DUPFD_CLOEXEC, 3);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, replay_thread, r);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		return 0;
	close_fd(&r->client);
	free(r);
	return err_set(e, ERR_SYSTEM, rc, "attach");
}

static int dump_sink(void *arg, const void *data, size_t n)
{
	return io_write_all(*(int *)arg, data, n);
}

/* Nothing runs: the log is complete, what a start will write comes as the stream. */
static int dump_logs(struct engine *g, struct container *c, const struct attach_options *o, int client, struct err *e)
{
	struct log_options all = { .out = o->out, .err = o->err, .tail = -1 };

	if (!o->out && !o->err)
		return 0;
	return engine_container_logs(g, c->id, &all, client, dump_sink, &client, e);
}

int engine_container_attach(struct engine *g, const char *ref, const struct attach_options *o, int client_fd,
			    struct err *e)
{
	autoclose int client = client_fd;
	autorecord *c = table_find(g, ref, e);
	struct monitor_streams s = { .in = o->stream && o->in,
				     .out = o->stream && o->out,
				     .err = o->stream && o->err,
				     .detach_keys = o->detach_keys,
				     .client = client };
	bool ended;

	if (!c)
		return -1;
	pthread_mutex_lock(&c->lock);
	ended = container_has_ended(c, NULL);
	pthread_mutex_unlock(&c->lock);
	if (o->logs && ended && dump_logs(g, c, o, client, e) < 0)
		return -1;
	if (o->logs && !ended) {
		if (replay_start(g, c, o, client, e) < 0)
			return -1;
		s.out = s.err = false;
	}
	if (o->stream && (s.in || s.out || s.err) && hand_over(g, c, &s, e) < 0)
		return -1;
	container_event(g, c, "attach", NULL);
	return 0;
}
