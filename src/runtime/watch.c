/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waiting for what happens to a container: OOM kills and its end. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/msg.h"
#include "base/own.h"
#include "monitor/client.h"
#include "os/cgroup.h"
#include "runtime/runtime.h"

#define MESSAGE_TIMEOUT_MS 10000

struct runtime_watch {
	struct record *r;
	struct cgroup *cg; /* process: its kernel tells */
	int events;        /* descriptor of the cgroup's, or hyperv: the connection to the monitor */
};

/* A host without memory cgroup has no OOM events, but a container's end. */
static int watch_process(struct runtime_watch *w)
{
	struct err why;

	w->cg = record_cgroup(w->r, &why);
	w->events = w->cg ? cgroup_oom_fd(w->cg, &why) : -1;
	if (w->events < 0)
		log_debug("%s", why.msg);
	return 0;
}

static int watch_monitor(struct runtime_watch *w, struct err *e)
{
	w->events = monitor_watch(w->r->dir, NULL, e);
	return w->events < 0 ? -1 : 0;
}

struct runtime_watch *runtime_watch_open(const struct runtime *rt, const char *id, struct err *e)
{
	struct runtime_watch *w = xcalloc(1, sizeof(*w));

	w->events = -1;
	w->r = record_open(rt, id, false, e);
	if (w->r && record_status(w->r) == STATUS_STOPPED)
		err_set(e, ERR_CONFLICT, 0, "container not running");
	else if (w->r && !(w->r->hyperv ? watch_monitor(w, e) : watch_process(w)))
		return w;
	runtime_watch_close(w);
	return NULL;
}

/* The removal of a v1 cgroup is told in the same way as an OOM kill in it. */
static enum runtime_event read_cgroup(struct runtime_watch *w)
{
	bool killed = cgroup_oom_drain(w->cg);
	struct cgroup *still = record_cgroup(w->r, NULL);

	cgroup_close(still);
	if (!still)
		return EVENT_END;
	return killed ? EVENT_OOM : EVENT_OTHER;
}

static enum runtime_event read_monitor(struct runtime_watch *w)
{
	struct err ignored;
	autojson *message = msg_recv(w->events, MESSAGE_TIMEOUT_MS, NULL, NULL, &ignored);
	const char *event = json_str(message, "event", "");

	if (!message || !strcmp(event, "exit"))
		return EVENT_END;
	return !strcmp(event, "oom") ? EVENT_OOM : EVENT_OTHER;
}

enum runtime_event runtime_watch_next(struct runtime_watch *w, int64_t deadline_ms)
{
	struct pollfd p[] = {
		{ .fd = w->events, .events = POLLIN },
		{ .fd = w->r->pidfd, .events = POLLIN },
	};
	int64_t left = deadline_ms - time_monotonic_ms();
	int n = poll(p, array_len(p), left > 0 ? (int)left : 0);

	if (n <= 0)
		return n < 0 && errno == EINTR ? EVENT_OTHER : EVENT_TIME;
	if (p[0].revents)
		return w->cg ? read_cgroup(w) : read_monitor(w);
	return EVENT_END;
}

void runtime_watch_close(struct runtime_watch *w)
{
	if (!w)
		return;
	if (w->cg)
		cgroup_close(w->cg);
	else
		close_fd(&w->events);
	record_close(w->r);
	free(w);
}
