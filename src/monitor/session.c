/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "monitor/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own.h"
#include "monitor/attach.h"

#define SESSION_DRAIN_MS 2000 /* as long as Docker waits for streams that outlive their process */

static int set_nonblock(int fd, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_set(e, ERR_SYSTEM, errno, "O_NONBLOCK");
	return 0;
}

/* A pipe between the process (blocking end) and us (non-blocking end). */
static int pipe_for(bool process_reads, int *theirs, int *ours, struct err *e)
{
	int fd[2];

	if (pipe2(fd, O_CLOEXEC) < 0)
		return err_set(e, ERR_SYSTEM, errno, "pipe2");
	*theirs = fd[process_reads ? 0 : 1];
	*ours = fd[process_reads ? 1 : 0];
	return set_nonblock(*ours, e);
}

static int session_pipes(struct session *s, const struct session_options *o, struct process_io *io, struct err *e)
{
	if (o->in && pipe_for(true, &io->in, &s->in, e))
		return -1;
	if (o->out && pipe_for(false, &io->out, &s->out[STREAM_STDOUT].fd, e))
		return -1;
	if (o->err && pipe_for(false, &io->err, &s->out[STREAM_STDERR].fd, e))
		return -1;
	return 0;
}

struct session *session_new(struct loop *l, const struct session_options *o, const struct session_owner *owner,
			    struct process_io *io, struct err *e)
{
	struct session *s = xcalloc(1, sizeof(*s));

	*s = (struct session){ .id = o->id ? xstrdup(o->id) : NULL,
			       .loop = l,
			       .owner = *owner,
			       .tty = o->tty,
			       .stdin_once = o->stdin_once && !o->tty,
			       .log = o->log,
			       .in = -1 };
	for (int i = 0; i < STREAM_COUNT; i++)
		s->out[i] = (struct stream){ .session = s, .which = i, .fd = -1 };
	str_init(&s->in_rest, SESSION_CHUNK);
	*io = (struct process_io){
		.tty = o->tty, .rows = o->rows, .cols = o->cols, .in = -1, .out = -1, .err = -1, .tty_fd = -1
	};
	if (!o->tty && session_pipes(s, o, io, e)) {
		session_abandon_io(io);
		session_free(s);
		return NULL;
	}
	return s;
}

void session_abandon_io(struct process_io *io)
{
	close_fd(&io->in);
	close_fd(&io->out);
	close_fd(&io->err);
}

int session_bind(struct session *s, struct process *p, const struct process_io *io, struct err *e)
{
	s->process = p;
	if (!s->tty)
		return 0;
	s->out[STREAM_STDOUT].fd = io->tty_fd;
	/* A second descriptor, so that reading and writing are watched apart. */
	s->in = fcntl(io->tty_fd, F_DUPFD_CLOEXEC, 3);
	if (s->in < 0)
		return err_set(e, ERR_SYSTEM, errno, "copy of the tty");
	return set_nonblock(s->in, e);
}

/* --- input ------------------------------------------------------------------------------------------------------ */

bool session_wants_input(const struct session *s)
{
	return s->in >= 0 && !s->in_closing && s->in_rest.len == 0 && !s->exited;
}

static void clients_rearm(struct session *s)
{
	for (struct attach *a = s->clients; a; a = a->next)
		attach_rearm(a);
}

static void in_close(struct session *s)
{
	loop_remove(&s->in_io);
	close_fd(&s->in);
	str_fini(&s->in_rest);
}

/* Returns false when the process will never read again. */
static bool in_write(struct session *s, const char *data, size_t n, size_t *written)
{
	ssize_t w;

	*written = 0;
	while (*written < n) {
		w = write(s->in, data + *written, n - *written);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return errno == EAGAIN;
		*written += (size_t)w;
	}
	return true;
}

static void in_ready(void *arg, uint32_t events unused_arg)
{
	struct session *s = arg;
	size_t written;

	if (!in_write(s, s->in_rest.s, s->in_rest.len, &written)) {
		in_close(s);
		return;
	}
	str_drop(&s->in_rest, written);
	if (s->in_rest.len > 0)
		return;
	str_fini(&s->in_rest);
	loop_remove(&s->in_io);
	if (s->in_closing)
		in_close(s);
	clients_rearm(s);
}

void session_input(struct session *s, const void *data, size_t n)
{
	size_t written;
	struct err err;

	if (s->in < 0)
		return;
	if (!in_write(s, data, n, &written)) {
		in_close(s);
		clients_rearm(s);
		return;
	}
	if (written == n)
		return;
	str_add(&s->in_rest, (const char *)data + written, n - written);
	s->in_io = loop_add(s->loop, s->in, EPOLLOUT, in_ready, s, &err);
	if (!s->in_io) {
		log_warn("stdin: %s", err.msg);
		in_close(s);
	}
	clients_rearm(s);
}

void session_input_end(struct session *s)
{
	if (s->in < 0 || s->tty)
		return;
	s->in_closing = true;
	if (s->in_rest.len == 0)
		in_close(s);
	clients_rearm(s);
}

/* --- output ----------------------------------------------------------------------------------------------------- */

static void session_over(struct session *s)
{
	if (s->over)
		return;
	s->over = true;
	loop_remove(&s->drain);
	for (int i = 0; i < STREAM_COUNT; i++) {
		loop_remove(&s->out[i].io);
		close_fd(&s->out[i].fd);
	}
	in_close(s);
	s->owner.ended(s->owner.arg, s);
}

/* All streams at their end? Returns whether that was so. */
static bool session_check_over(struct session *s)
{
	if (!s->exited || s->out[STREAM_STDOUT].fd >= 0 || s->out[STREAM_STDERR].fd >= 0)
		return false;
	session_over(s);
	return true;
}

static void stream_give(struct stream *st, const char *data, size_t n)
{
	struct session *s = st->session;

	jsonlog_write(s->log, st->which, data, n);
	for (struct attach *a = s->clients; a; a = a->next)
		attach_output(a, st->which, data, n);
}

enum stream_result { STREAM_GAVE, STREAM_EMPTY, STREAM_ENDED };

static enum stream_result stream_read(struct stream *st)
{
	char chunk[SESSION_CHUNK];
	ssize_t n;

	do
		n = read(st->fd, chunk, sizeof(chunk));
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		stream_give(st, chunk, (size_t)n);
		return STREAM_GAVE;
	}
	if (n < 0 && errno == EAGAIN)
		return STREAM_EMPTY;
	/* End of file; of a tty also EIO. */
	loop_remove(&st->io);
	close_fd(&st->fd);
	return STREAM_ENDED;
}

static void stream_ready(void *arg, uint32_t events unused_arg)
{
	struct stream *st = arg;
	struct session *s = st->session;

	if (stream_read(st) != STREAM_ENDED)
		session_rearm(s);
	else
		session_check_over(s);
}

static bool stream_may_read(const struct stream *st)
{
	const struct session *s = st->session;

	if (st->fd < 0 || !s->watched || s->over)
		return false;
	for (const struct attach *a = s->clients; a && !s->exited; a = a->next)
		if (attach_is_full(a, st->which))
			return false;
	return true;
}

void session_rearm(struct session *s)
{
	struct err err;

	for (int i = 0; i < STREAM_COUNT; i++) {
		struct stream *st = &s->out[i];
		bool may = stream_may_read(st);

		/* Not just without EPOLLIN: a hang-up would be reported again and again. */
		if (!may && st->io)
			loop_remove(&st->io);
		if (!may || st->io)
			continue;
		st->io = loop_add(s->loop, st->fd, EPOLLIN, stream_ready, st, &err);
		if (!st->io) {
			log_error("output: %s", err.msg);
			close_fd(&st->fd);
		}
	}
}

void session_watch(struct session *s)
{
	s->watched = true;
	session_rearm(s);
}

/* --- clients ---------------------------------------------------------------------------------------------------- */

int session_attach(struct session *s, int sock, const struct attach_wants *w, struct err *e)
{
	autoclose int owned = sock;
	const char *text = w->detach_keys && *w->detach_keys ? w->detach_keys : KEYS_DEFAULT;
	struct keys keys = { 0 };

	if (s->tty && !w->no_keys && keys_parse(text, &keys, e))
		return -1;
	struct attach *a = attach_new(s, take_fd(&owned), w, &keys, e);

	if (!a)
		return -1;
	struct attach **last = &s->clients;

	while (*last)
		last = &(*last)->next;
	*last = a;
	attach_rearm(a);
	return 0;
}

void session_finish(struct session *s)
{
	for (struct attach *a = s->clients; a; a = a->next)
		attach_finish(a);
}

bool session_sweep(struct session *s)
{
	for (struct attach **at = &s->clients; *at;) {
		struct attach *a = *at;

		if (a->sock >= 0) {
			at = &a->next;
			continue;
		}
		*at = a->next;
		attach_free(a);
	}
	return s->clients != NULL;
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

/* What is in the pipes now; a process that goes on writing is left to the loop and its time limit. */
static void session_read_rest(struct session *s)
{
	for (int i = 0; i < STREAM_COUNT; i++)
		for (int round = 0; round < 64 && s->out[i].fd >= 0; round++)
			if (stream_read(&s->out[i]) != STREAM_GAVE)
				break;
}

static void drain_expired(void *arg, uint32_t events unused_arg)
{
	struct session *s = arg;

	s->drain = NULL;
	session_over(s);
}

void session_exited(struct session *s, int exit_code)
{
	struct err err;

	if (s->exited)
		return;
	s->exited = true;
	s->exit_code = exit_code;
	session_read_rest(s);
	if (session_check_over(s))
		return;
	s->watched = true;
	session_rearm(s);
	s->drain = loop_timer(s->loop, SESSION_DRAIN_MS, drain_expired, s, &err);
	if (!s->drain)
		session_over(s);
}

void session_lost(struct session *s, int exit_code)
{
	if (!s->exited) {
		s->exited = true;
		s->exit_code = exit_code;
		session_read_rest(s);
	}
	session_over(s);
}

void session_free(struct session *s)
{
	if (!s)
		return;
	for (struct attach *a = s->clients; a; a = a->next)
		attach_drop(a, false);
	session_sweep(s);
	loop_remove(&s->drain);
	for (int i = 0; i < STREAM_COUNT; i++) {
		loop_remove(&s->out[i].io);
		close_fd(&s->out[i].fd);
	}
	in_close(s);
	free(s->id);
	free(s);
}
