/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/container.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"

#define OUTPUT_WAIT_MS 10000 /* so long the end of a process waits for a host that doesn't take its output */

static const char *const stream_names[STREAM_COUNT] = { "stdin", "stdout", "stderr", "tty" };

/* ---- streams ---- */

void streams_close(struct guest_streams *s)
{
	for (int i = 0; i < STREAM_COUNT; i++)
		close_fd(&s->ours[i]);
	close_fd(&s->io.in);
	close_fd(&s->io.out);
	close_fd(&s->io.err);
}

static int make_pipe(int *reader, int *writer, struct err *e)
{
	int fd[2];

	if (pipe2(fd, O_CLOEXEC))
		return err_set(e, ERR_SYSTEM, errno, "pipe");
	*reader = fd[0];
	*writer = fd[1];
	return 0;
}

int streams_prepare(const json_t *request, struct guest_streams *s, struct err *e)
{
	const json_t *ids = json_object_get(request, "streams");

	*s = (struct guest_streams){ .ours = { -1, -1, -1, -1 } };
	s->io = (struct process_io){
		.tty = json_bool(request, "tty", false),
		.rows = (uint16_t)json_int(request, "rows", 0),
		.cols = (uint16_t)json_int(request, "cols", 0),
		.in = -1,
		.out = -1,
		.err = -1,
		.tty_fd = -1,
	};
	for (int i = 0; i < STREAM_COUNT; i++)
		s->id[i] = (uint32_t)json_int(ids, stream_names[i], 0);
	if (s->io.tty)
		return 0;
	if ((s->id[STREAM_IN] && make_pipe(&s->io.in, &s->ours[STREAM_IN], e)) ||
	    (s->id[STREAM_OUT] && make_pipe(&s->ours[STREAM_OUT], &s->io.out, e)) ||
	    (s->id[STREAM_ERR] && make_pipe(&s->ours[STREAM_ERR], &s->io.err, e))) {
		streams_close(s);
		return -1;
	}
	return 0;
}

static void tell_if_over(struct guest_process *p);

static void on_moved(void *arg, struct stream *s)
{
	tell_if_over(arg);
}

int streams_connect(struct guest_process *p, struct guest_streams *s, struct err *e)
{
	if (s->io.tty)
		s->ours[STREAM_TTY] = take_fd(&s->io.tty_fd);
	for (int i = 0; i < STREAM_COUNT; i++) {
		if (s->ours[i] < 0)
			continue;
		int fd = take_fd(&s->ours[i]);
		const struct stream_options o = {
			.id = s->id[i],
			.from = i == STREAM_IN ? -1 : fd,
			.to = i == STREAM_IN || i == STREAM_TTY ? fd : -1,
			.tty = i == STREAM_TTY,
			.moved = on_moved,
			.arg = p,
		};

		p->streams[i] = stream_new(p->container->agent->channel, &o, e);
		if (!p->streams[i])
			return -1;
	}
	return 0;
}

/* ---- processes ---- */

struct guest_process *guest_process_new(struct guest_container *g, const json_t *request, struct process *p)
{
	struct guest_process *gp = xcalloc(1, sizeof *gp);

	*gp = (struct guest_process){
		.container = g, .next = g->processes, .key = json_int(request, "process", 0), .p = p
	};
	g->processes = gp;
	return gp;
}

void guest_process_free(struct guest_process *p)
{
	for (struct guest_process **at = &p->container->processes; *at; at = &(*at)->next)
		if (*at == p) {
			*at = p->next;
			break;
		}
	for (int i = 0; i < STREAM_COUNT; i++)
		stream_free(p->streams[i]);
	loop_remove(&p->give_up);
	if (p->p && !p->is_init)
		isolation_process.process_free(p->p);
	free(p);
}

struct guest_process *guest_process_find(struct agent *a, const json_t *request, struct err *e)
{
	struct guest_container *g = guest_container_find(a, request, e);
	int64_t key = json_int(request, "process", 0);

	for (struct guest_process *p = g ? g->processes : NULL; p; p = p->next)
		if (p->key == key)
			return p;
	if (g)
		err_set(e, ERR_NOT_FOUND, 0, "the process has ended");
	return NULL;
}

static void tell_exit(struct guest_process *p)
{
	autojson *body = json_pack("{s:I, s:i}", "process", (json_int_t)p->key, "exit_code", p->exit_code);

	p->told = true;
	loop_remove(&p->give_up);
	channel_event(p->container->agent->channel, "process_exited", body);
}

static void on_give_up(void *arg, uint32_t events)
{
	struct guest_process *p = arg;

	p->give_up = NULL;
	if (!p->told)
		tell_exit(p);
}

/* The exit is told after all the output, which goes the same way. */
static void tell_if_over(struct guest_process *p)
{
	if (!p->exited || p->told)
		return;
	for (int i = STREAM_OUT; i < STREAM_COUNT; i++)
		if (p->streams[i] && !stream_drained(p->streams[i]))
			return;
	tell_exit(p);
}

void guest_process_exited(struct guest_process *p, int exit_code)
{
	struct err e;

	p->exited = true;
	p->exit_code = exit_code;
	for (int i = STREAM_OUT; i < STREAM_COUNT; i++)
		if (p->streams[i])
			stream_drain(p->streams[i]);
	tell_if_over(p);
	if (p->told)
		return;
	p->give_up = loop_timer(p->container->agent->loop, OUTPUT_WAIT_MS, on_give_up, p, &e);
	if (!p->give_up)
		log_error("%s", e.msg);
}

/* ---- requests ---- */

int op_exec(struct agent *a, const json_t *request, json_t **answer, struct err *e)
{
	struct guest_container *g = guest_container_find(a, request, e);
	struct guest_streams streams;

	if (!g || streams_prepare(request, &streams, e))
		return -1;
	struct process *p =
		isolation_process.container_exec(g->container, json_object_get(request, "spec"), &streams.io, e);

	streams.io.in = streams.io.out = streams.io.err = -1; /* taken in any case */
	if (!p) {
		streams_close(&streams);
		return -1;
	}
	struct guest_process *gp = guest_process_new(g, request, p);

	if (streams_connect(gp, &streams, e)) {
		struct err ignored;

		/* It runs, but nobody could talk with it. */
		streams_close(&streams);
		(void)isolation_process.process_signal(p, SIGKILL, false, &ignored);
		return -1;
	}
	*answer = json_pack("{s:i}", "pid", (int)isolation_process.process_pid(p));
	return 0;
}

int op_signal(struct agent *a, const json_t *request, json_t **answer, struct err *e)
{
	struct guest_process *p = guest_process_find(a, request, e);

	if (!p)
		return -1;
	return isolation_process.process_signal(p->p, (int)json_int(request, "signal", 0),
						json_bool(request, "all", false), e);
}

int op_resize(struct agent *a, const json_t *request, json_t **answer, struct err *e)
{
	struct guest_process *p = guest_process_find(a, request, e);

	if (!p)
		return -1;
	return isolation_process.process_resize(p->p, (uint16_t)json_int(request, "rows", 0),
						(uint16_t)json_int(request, "cols", 0), e);
}
