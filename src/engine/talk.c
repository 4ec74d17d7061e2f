/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/talk.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/msg.h"
#include "base/own.h"
#include "engine/state.h"
#include "monitor/client.h"
#include "monitor/frame.h"

#define HEAD_MAX (64 * KIB)
#define RESULT_MAX (8 * KIB)
#define CHUNK_BYTES (128 * KIB)

/* The container runs, or it is ours until talk_close(), prepared. */
static int secure(struct talk *t, struct err *e)
{
	struct container *c = t->c;
	bool removing;

	if (!t->held && record_is_running(c))
		return 0;
	if (!t->held)
		pthread_mutex_lock(&c->op);
	t->held = true;
	if (record_is_running(c)) {
		pthread_mutex_unlock(&c->op);
		t->held = false;
		return 0;
	}
	pthread_mutex_lock(&c->lock);
	removing = c->removing || c->removed;
	pthread_mutex_unlock(&c->lock);
	if (removing)
		return err_set(e, ERR_CONFLICT, 0, "container %s is marked for removal", c->id);
	return run_park_files(t->g, c, e);
}

/* --- frames ---------------------------------------------------------------------------------------------------- */
/* Head of the next frame. 1, 0 at the end, -1. */
static int next_frame(struct talk *t, struct err *e)
{
	unsigned char head[FRAME_HEAD];

	errno = 0;
	if (io_read_full(t->sock, head, sizeof(head)))
		return errno && errno != ECONNRESET ? err_set(e, ERR_SYSTEM, errno, "read") : 0;
	t->left = (size_t)head[4] << 24 | (size_t)head[5] << 16 | (size_t)head[6] << 8 | head[7];
	t->is_result = head[0] == 2;
	return 1;
}

static int read_result(struct talk *t, struct err *e)
{
	char buf[512];

	while (t->left) {
		size_t n = t->left < sizeof(buf) ? t->left : sizeof(buf);

		if (io_read_full(t->sock, buf, n))
			return err_set(e, ERR_SYSTEM, errno, "the end of the answer is missing");
		str_add(&t->result, buf, n); /* more than a result may have: it isn't one then */
		t->left -= n;
	}
	return 0;
}

/* The end is the end only with a result. */
static int check_result(struct talk *t, struct err *e)
{
	autojson *result = t->result.len ? json_parse(t->result.s, t->result.len, "result", NULL) : NULL;

	t->ended = true;
	if (!result)
		return err_set(e, ERR_SYSTEM, 0, "container %s: the work on its files was interrupted", t->c->id);
	return msg_check_error(result, e);
}

/* As talk_read(), past what came with the head. */
static ssize_t read_data(struct talk *t, void *data, size_t n, struct err *e)
{
	ssize_t got;
	int rc;

	while (!t->left || t->is_result) {
		if (t->ended)
			return 0;
		if (t->left && read_result(t, e))
			return -1;
		rc = next_frame(t, e);
		if (rc <= 0)
			return rc < 0 ? -1 : check_result(t, e);
	}
	do
		got = read(t->sock, data, n < t->left ? n : t->left);
	while (got < 0 && errno == EINTR);
	if (got <= 0)
		return err_set(e, ERR_SYSTEM, errno, "container %s: the work on its files was interrupted", t->c->id);
	t->left -= (size_t)got;
	return got;
}

ssize_t talk_read(struct talk *t, void *data, size_t n, struct err *e)
{
	size_t take = t->rest.len < n ? t->rest.len : n;

	if (!take)
		return read_data(t, data, n, e);
	memcpy(data, t->rest.s, take);
	str_drop(&t->rest, take);
	return (ssize_t)take;
}

/* --- head ------------------------------------------------------------------------------------------------------ */
/* The first line of the data. */
static json_t *read_head(struct talk *t, struct err *e)
{
	autostr text;
	char buf[4096], *end = NULL;

	str_init(&text, HEAD_MAX);
	while (!end) {
		ssize_t n = read_data(t, buf, sizeof(buf), e);

		if (n < 0)
			return NULL;
		if (!n || str_add(&text, buf, (size_t)n)) {
			err_set(e, ERR_SYSTEM, 0, "container %s: no answer about its files", t->c->id);
			return NULL;
		}
		end = memchr(text.s, '\n', text.len);
	}
	str_add(&t->rest, end + 1, text.len - (size_t)(end + 1 - text.s));
	autojson *head = json_parse(text.s, (size_t)(end - text.s), "answer", e);

	return head && !msg_check_error(head, e) ? json_incref(head) : NULL;
}

static int begin(struct talk *t, const json_t *request, bool input, struct err *e)
{
	autofree char *dir = path_run(t->g, t->c->id, NULL);
	autojson *process = json_pack("{s:O}", "files", request);
	struct monitor_streams s = { .in = input, .out = true, .err = true };
	char id[40] = "files-";
	struct monitor_exec x = { .id = id, .process = process, .streams = &s, .is_files = true };
	autoclose int client = -1;
	int ends[2];

	random_hex(id + strlen(id), 8);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return err_set(e, ERR_SYSTEM, errno, "socketpair");
	close_fd(&t->sock);
	t->sock = ends[0];
	client = s.client = ends[1];
	return monitor_exec(dir, &x, e) < 0 ? -1 : 0;
}

/* One that was prepared to be started can't be, without its program or user: its files are there all the same. One that
 * was running may have ended since. */
static int begin_again(struct talk *t, const json_t *request, bool input, struct err *e)
{
	struct err first = { 0 };

	if (!begin(t, request, input, &first))
		return 0;
	if (!t->held && record_is_running(t->c)) {
		*e = first;
		return -1;
	}
	if (t->held)
		run_unpark(t->g, t->c);
	return secure(t, e) || begin(t, request, input, e) ? -1 : 0;
}

int talk_open(struct talk *t, struct engine *g, struct container *c, const json_t *request, bool input, json_t **head,
	      struct err *e)
{
	*t = (struct talk){ .g = g, .c = c, .sock = -1 };
	str_init(&t->result, RESULT_MAX);
	str_init(&t->rest, HEAD_MAX);
	*head = NULL;
	if (secure(t, e) || begin_again(t, request, input, e)) {
		talk_close(t);
		return -1;
	}
	*head = read_head(t, e);
	if (*head)
		return 0;
	talk_close(t);
	return -1;
}

void talk_close(struct talk *t)
{
	close_fd(&t->sock);
	str_fini(&t->result);
	str_fini(&t->rest);
	if (!t->held)
		return;
	t->held = false;
	run_linger(t->g, t->c);
	pthread_mutex_unlock(&t->c->op);
}

int talk_send(struct talk *t, int fd, struct err *e)
{
	autofree char *buf = xmalloc(CHUNK_BYTES);
	ssize_t n;

	while ((n = read(fd, buf, CHUNK_BYTES)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, ERR_SYSTEM, errno, "reading the archive");
		/* It has ended early: why, its result says. */
		if (io_write_all(t->sock, buf, (size_t)n))
			break;
	}
	if (shutdown(t->sock, SHUT_WR) && errno != ENOTCONN)
		return err_set(e, ERR_SYSTEM, errno, "send archive");
	while ((n = talk_read(t, buf, CHUNK_BYTES, e)) > 0)
		;
	return n < 0 ? -1 : 0;
}
