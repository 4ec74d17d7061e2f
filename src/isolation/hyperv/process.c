/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Processes of a guest as the host sees them: a key, streams, and an exit code that comes after all output. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "isolation/hyperv/backend.h"

#define OUTPUT_WAIT_MS 10000
#define GUEST_PID_MAX (1 << 22)

static const char *const stream_names[PROCESS_STREAMS] = { "stdin", "stdout", "stderr", "tty" };

static void tell_if_over(struct process *p)
{
	if (!p->exited || p->told)
		return;
	for (int i = PROCESS_OUT; i < PROCESS_STREAMS; i++)
		if (p->streams[i] && !stream_flushed(p->streams[i]))
			return;
	process_tell_exit(p);
}

static void on_moved(void *arg, struct stream *s)
{
	tell_if_over(arg);
}

/* One end for the guest's tty, one for the caller. */
static int open_tty(struct process_io *io, int *ours, struct err *e)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends))
		return err_set(e, ERR_SYSTEM, errno, "socketpair");
	io->tty_fd = ends[0];
	*ours = ends[1];
	return 0;
}

static int open_stream(struct process *p, int i, int fd, json_t *ids, struct err *e)
{
	struct channel *channel = p->container->sandbox->channel;
	const struct stream_options o = {
		.id = channel_stream_id(channel),
		.from = i == PROCESS_IN || i == PROCESS_TTY ? fd : -1,
		.to = i == PROCESS_IN ? -1 : fd,
		.tty = i == PROCESS_TTY,
		.held = true,
		.moved = on_moved,
		.arg = p,
	};

	p->streams[i] = stream_new(channel, &o, e);
	return p->streams[i] ? json_object_set_new(ids, stream_names[i], json_integer(o.id)) : -1;
}

struct process *process_new(struct container *c, struct process_io *io, json_t *request, struct err *e)
{
	int fd[PROCESS_STREAMS] = { io->in, io->out, io->err, -1 };
	struct process *p = xcalloc(1, sizeof *p);
	autojson *ids = json_object();
	int failed;

	*p = (struct process){ .container = c, .next = c->processes, .key = ++c->sandbox->next_key };
	c->processes = p;
	io->tty_fd = -1;
	failed = io->tty && open_tty(io, &fd[PROCESS_TTY], e);
	for (int i = 0; i < PROCESS_STREAMS && !failed; i++)
		if (fd[i] >= 0)
			failed = open_stream(p, i, take_fd(&fd[i]), ids, e);
	for (int i = 0; i < PROCESS_STREAMS; i++)
		close_fd(&fd[i]);
	if (failed) {
		close_fd(&io->tty_fd);
		process_destroy(p);
		return NULL;
	}
	json_object_set_new(request, "process", json_integer(p->key));
	json_object_set_new(request, "tty", json_boolean(io->tty));
	json_object_set_new(request, "rows", json_integer(io->rows));
	json_object_set_new(request, "cols", json_integer(io->cols));
	json_object_set(request, "streams", ids);
	return p;
}

int process_made(struct process *p, const json_t *answer, struct err *e)
{
	int64_t pid = json_int(answer, "pid", 0);

	if (pid <= 0 || pid > GUEST_PID_MAX)
		return err_set(e, ERR_SYSTEM, 0, "the virtual machine answered rubbish");
	p->pid = (pid_t)pid;
	for (int i = 0; i < PROCESS_STREAMS; i++)
		if (p->streams[i])
			stream_release(p->streams[i]);
	return 0;
}

void process_destroy(struct process *p)
{
	for (struct process **at = &p->container->processes; *at; at = &(*at)->next)
		if (*at == p) {
			*at = p->next;
			break;
		}
	for (int i = 0; i < PROCESS_STREAMS; i++)
		stream_free(p->streams[i]);
	loop_remove(&p->give_up);
	free(p);
}

void process_tell_exit(struct process *p)
{
	const struct isolation_events *ev = &p->container->sandbox->events;

	p->told = true;
	loop_remove(&p->give_up);
	ev->process_exited(ev->arg, p, p->exit_code);
}

static void on_give_up(void *arg, uint32_t events)
{
	struct process *p = arg;

	p->give_up = NULL;
	if (!p->told)
		process_tell_exit(p);
}

/* All its output came before this, but may still wait for its reader. */
void process_note_exit(struct process *p, int exit_code)
{
	struct err e;

	if (p->exited)
		return;
	p->exited = true;
	p->exit_code = exit_code;
	p->give_up = loop_timer(p->container->sandbox->loop, OUTPUT_WAIT_MS, on_give_up, p, &e);
	if (!p->give_up)
		log_error("%s", e.msg);
	tell_if_over(p);
}
