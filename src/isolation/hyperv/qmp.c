/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"

int qmp_take_message(struct str *in, json_t **message, struct err *e)
{
	char *end = in->len ? memchr(in->s, '\n', in->len) : NULL;

	if (!end)
		return in->len >= QMP_LINE_MAX ? err_set(e, ERR_INVALID, 0, "QEMU: message too long") : 0;
	*message = json_parse(in->s, (size_t)(end - in->s), "QEMU's message", e);
	if (!*message)
		return -1;
	str_drop(in, (size_t)(end - in->s) + 1);
	if (!json_is_object(*message)) {
		json_decref(*message);
		return err_set(e, ERR_INVALID, 0, "QEMU: message is no object");
	}
	return 1;
}

/* Wait until the socket is ready or the deadline has come. */
static int wait_ready(struct qmp *q, short events, struct err *e)
{
	struct pollfd pfd = { .fd = q->sock, .events = events };
	int64_t left = q->deadline_ms - time_monotonic_ms();
	int n;

	if (left <= 0)
		return err_set(e, ERR_TIMEOUT, 0, "QEMU doesn't answer in time");
	n = poll(&pfd, 1, left > 3600000 ? 3600000 : (int)left);
	if (n < 0 && errno != EINTR)
		return err_set(e, ERR_SYSTEM, errno, "poll");
	return 0;
}

/* The next message; NULL with *e. */
static json_t *receive(struct qmp *q, struct err *e)
{
	json_t *message;
	int rc;

	while (!(rc = qmp_take_message(&q->in, &message, e))) {
		char buf[4096];
		ssize_t n = recv(q->sock, buf, sizeof buf, MSG_DONTWAIT);

		if (n > 0) {
			str_add(&q->in, buf, (size_t)n);
			continue;
		}
		if (!n || (errno != EAGAIN && errno != EINTR)) {
			err_set(e, ERR_SYSTEM, 0, "QEMU has ended");
			return NULL;
		}
		if (wait_ready(q, POLLIN, e))
			return NULL;
	}
	return rc > 0 ? message : NULL;
}

static int send_line(struct qmp *q, const char *line, size_t n, int fd, struct err *e)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)line, .iov_len = n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.space;
		msg.msg_controllen = sizeof control.space;
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	while (iov.iov_len) {
		ssize_t sent = sendmsg(q->sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno != EAGAIN && errno != EINTR)
			return err_set(e, ERR_SYSTEM, errno, "QEMU has ended");
		if (sent < 0) {
			if (wait_ready(q, POLLOUT, e))
				return -1;
			continue;
		}
		iov.iov_base = (char *)iov.iov_base + sent;
		iov.iov_len -= (size_t)sent;
		msg.msg_control = NULL; /* the descriptor has gone with the first byte */
		msg.msg_controllen = 0;
	}
	return 0;
}

static void keep_event(struct qmp *q, json_t *message)
{
	if (json_array_size(q->events) >= QMP_EVENTS_MAX)
		json_array_remove(q->events, 0);
	json_array_append_new(q->events, message);
}

int qmp_call(struct qmp *q, const char *command, json_t *arguments, int fd, json_t **result, struct err *e)
{
	autojson *request = json_pack("{s:s, s:o*}", "execute", command, "arguments", arguments);
	autofree char *text = json_text(request);
	autofree char *line = xasprintf("%s\n", text);

	if (q->broken)
		return err_set(e, ERR_SYSTEM, 0, "%s: QEMU doesn't answer any more", command);
	if (send_line(q, line, strlen(line), fd, e)) {
		q->broken = true;
		return err_prefix(e, "%s", command);
	}
	for (;;) {
		json_t *message = receive(q, e), *value;
		autojson *owner = message;

		if (!message) {
			q->broken = true; /* an answer that comes later would be taken for another one */
			return err_prefix(e, "%s", command);
		}
		if (json_object_get(message, "event")) {
			keep_event(q, json_incref(message));
			continue;
		}
		value = json_object_get(message, "return");
		if (!value)
			return err_set(e, ERR_SYSTEM, 0, "%s: %s", command,
				       json_str(json_object_get(message, "error"), "desc", "no answer"));
		if (result)
			*result = json_incref(value);
		return 0;
	}
}

bool qmp_drain(struct qmp *q)
{
	char buf[4096];
	ssize_t n = recv(q->sock, buf, sizeof buf, MSG_DONTWAIT);
	const char *end = n > 0 ? memrchr(buf, '\n', (size_t)n) : NULL;
	size_t from = end ? (size_t)(end + 1 - buf) : 0;

	json_array_clear(q->events);
	if (n < 0)
		return !q->broken && (errno == EAGAIN || errno == EINTR);
	if (end)
		str_drop(&q->in, q->in.len);
	/* The beginning of a message stays: a command may come before its end. */
	q->broken |= n == 0 || str_add(&q->in, buf + from, (size_t)n - from);
	return !q->broken;
}

static bool is_event(const json_t *message, const char *name)
{
	return !strcmp(json_str(message, "event", ""), name);
}

json_t *qmp_wait_event(struct qmp *q, const char *name, struct err *e)
{
	json_t *message;
	size_t i;

	json_array_foreach(q->events, i, message)
		if (is_event(message, name)) {
			json_incref(message);
			json_array_remove(q->events, i);
			return message;
		}
	while ((message = receive(q, e))) {
		if (is_event(message, name))
			return message;
		keep_event(q, message);
	}
	err_prefix(e, "waiting for %s", name);
	return NULL;
}

int qmp_open(struct qmp *q, int sock, int64_t deadline_ms, struct err *e)
{
	json_t *greeting;

	*q = (struct qmp){ .sock = sock, .deadline_ms = deadline_ms, .events = json_array() };
	str_init(&q->in, QMP_LINE_MAX + 4096);
	greeting = receive(q, e);
	if (!greeting)
		return -1;
	json_decref(greeting);
	return qmp_call(q, "qmp_capabilities", NULL, -1, NULL, e);
}

void qmp_close(struct qmp *q)
{
	close_fd(&q->sock);
	str_fini(&q->in);
	json_decref(q->events);
	q->events = NULL;
}
