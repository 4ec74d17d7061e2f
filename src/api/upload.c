/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/exchange.h"
#include "base/io.h"
#include "base/own.h"

#define UPLOAD_STACK_BYTES (1 * MIB)

static void *run_handler(void *arg)
{
	struct request *r = arg;

	r->upload.result = r->route->handler(r, &r->err);
	close_fd(&r->upload_fd);
	return NULL;
}

static int start_thread(struct request *r, struct err *e)
{
	pthread_attr_t attr;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, UPLOAD_STACK_BYTES);
	rc = pthread_create(&r->upload.thread, &attr, run_handler, r);
	pthread_attr_destroy(&attr);
	return rc ? err_set(e, ERR_SYSTEM, rc, "start upload thread") : 0;
}

/*
 * A socket pair instead of a pipe, because a pipe can't tell "complete" from "cut off": the byte that waits unread on
 * our side makes a plain close() give the reader ECONNRESET. Only upload_finish() reads it first.
 */
int upload_start(struct request *r, struct err *e)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(e, ERR_SYSTEM, errno, "upload: socketpair");
	r->upload.writer = pair[0];
	r->upload_fd = pair[1];
	if (io_write_all(pair[1], "x", 1) < 0 || start_thread(r, e) < 0) {
		close_fd(&r->upload.writer);
		close_fd(&r->upload_fd);
		return e->kind ? -1 : err_set(e, ERR_SYSTEM, errno, "upload");
	}
	r->upload.started = true;
	return 0;
}

void upload_data(struct request *r, const char *data, size_t n)
{
	if (!r->upload.discard && io_write_all(r->upload.writer, data, n) < 0)
		r->upload.discard = true; /* the handler has seen enough: the rest is drained, then it answers */
}

static void join(struct request *r)
{
	close_fd(&r->upload.writer);
	pthread_join(r->upload.thread, NULL);
	r->upload.started = false;
}

int upload_finish(struct request *r)
{
	char mark;

	(void)io_read_full(r->upload.writer, &mark, 1);
	join(r);
	return r->upload.result;
}

void upload_abort(struct request *r)
{
	if (r->upload.started)
		join(r);
}
