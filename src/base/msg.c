/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/msg.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"

#define SEND_WAIT_MS 10000

static int address(const char *path, struct sockaddr_un *a, struct err *e)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof a->sun_path)
		return err_set(e, ERR_INVALID, 0, "socket path %s is longer than %zu bytes", path,
			       sizeof a->sun_path - 1);
	memcpy(a->sun_path, path, strlen(path));
	return 0;
}

static int message_socket(struct err *e)
{
	int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int size = MSG_BYTES_MAX + 4096;

	if (s < 0)
		return err_set(e, ERR_SYSTEM, errno, "socket");
	/* A packet must fit the buffer as a whole; FORCE needs CAP_NET_ADMIN, plain is cut at the host's maximum. */
	if (setsockopt(s, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size))
		setsockopt(s, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	return s;
}

int msg_listen(const char *path, unsigned mode, struct err *e)
{
	struct sockaddr_un a;
	autoclose int s = -1;

	if (address(path, &a, e) || (s = message_socket(e)) < 0)
		return -1;
	unlink(path);
	if (bind(s, (struct sockaddr *)&a, sizeof a) || chmod(path, mode) || listen(s, 64))
		return err_set(e, ERR_SYSTEM, errno, "listen on %s", path);
	return take_fd(&s);
}

int msg_connect(const char *path, struct err *e)
{
	struct sockaddr_un a;
	autoclose int s = -1;

	if (address(path, &a, e) || (s = message_socket(e)) < 0)
		return -1;
	if (connect(s, (struct sockaddr *)&a, sizeof a))
		return err_set(e, errno == ENOENT || errno == ECONNREFUSED ? ERR_NOT_FOUND : ERR_SYSTEM, errno,
			       "connect to %s", path);
	return take_fd(&s);
}

static int send_packet(int sock, const struct msghdr *m, struct err *e)
{
	int64_t deadline = time_monotonic_ms() + SEND_WAIT_MS;

	for (;;) {
		if (sendmsg(sock, m, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return 0;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return err_set(e, errno == EPIPE ? ERR_NOT_FOUND : ERR_SYSTEM, errno, "send message");
		int64_t left = deadline - time_monotonic_ms();
		struct pollfd p = { .fd = sock, .events = POLLOUT };

		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return err_set(e, ERR_TIMEOUT, 0, "send message: the peer doesn't read");
	}
}

int msg_send(int sock, const json_t *body, const int *fds, size_t n_fds, struct err *e)
{
	autofree char *text = json_text(body);
	size_t n = strlen(text);
	union {
		char room[CMSG_SPACE(sizeof(int) * MSG_FDS_MAX)];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { text, n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n > MSG_BYTES_MAX)
		return err_set(e, ERR_LIMIT, 0, "message of %zu bytes is larger than %llu", n, MSG_BYTES_MAX);
	if (n_fds > MSG_FDS_MAX)
		return err_set(e, ERR_LIMIT, 0, "%zu descriptors in one message", n_fds);
	if (n_fds) {
		m.msg_control = control.room;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}
	return send_packet(sock, &m, e);
}

/* Descriptors of one control message go to fds (room for MSG_FDS_MAX), or are closed. */
static void take_fds(struct cmsghdr *c, int *fds, size_t *n_fds)
{
	size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < n; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
		if (fds && *n_fds < MSG_FDS_MAX)
			fds[(*n_fds)++] = fd;
		else
			close(fd);
	}
}

static void close_fds(int *fds, size_t *n_fds)
{
	while (fds && *n_fds)
		close(fds[--*n_fds]);
}

/* Size of the next packet, waiting for it; 0 = end of file, -1 with *e. */
static ssize_t next_size(int sock, int timeout_ms, struct err *e)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	int64_t deadline = time_monotonic_ms() + timeout_ms;

	for (;;) {
		int left = timeout_ms < 0 ? -1 : (int)(deadline - time_monotonic_ms());
		int ready = poll(&p, 1, timeout_ms >= 0 && left < 0 ? 0 : left);

		if (ready == 0)
			return err_set(e, ERR_TIMEOUT, 0, "no message within %d ms", timeout_ms);
		if (ready < 0 && errno == EINTR)
			continue;
		ssize_t n = recv(sock, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0 && errno == ECONNRESET)
			return 0;
		if (n < 0)
			return err_set(e, ERR_SYSTEM, errno, "receive message");
		return n;
	}
}

json_t *msg_recv(int sock, int timeout_ms, int *fds, size_t *n_fds, struct err *e)
{
	size_t none = 0;
	ssize_t n = next_size(sock, timeout_ms, e);

	if (!n_fds)
		n_fds = &none;
	*n_fds = 0;
	if (n < 0)
		return NULL;
	if (n == 0 || n > (ssize_t)MSG_BYTES_MAX) {
		err_set(e, n ? ERR_LIMIT : ERR_NOT_FOUND, 0, n ? "message is too large" : "connection closed");
		return NULL;
	}
	autofree char *text = xmalloc((size_t)n);
	union {
		char room[CMSG_SPACE(sizeof(int) * MSG_FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = { text, (size_t)n };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control
	};
	ssize_t got = recvmsg(sock, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (got <= 0) {
		err_set(e, got ? ERR_SYSTEM : ERR_NOT_FOUND, got ? errno : 0,
			got ? "receive message" : "connection closed");
		return NULL;
	}
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			take_fds(c, fds, n_fds);
	json_t *body = json_parse(text, (size_t)got, "message", e);

	if (!body)
		close_fds(fds, n_fds);
	return body;
}

json_t *msg_call(int sock, const json_t *body, const int *fds, size_t n_fds, int timeout_ms, struct err *e)
{
	if (msg_send(sock, body, fds, n_fds, e))
		return NULL;
	json_t *answer = msg_recv(sock, timeout_ms, NULL, NULL, e);

	if (answer && msg_check_error(answer, e)) {
		json_decref(answer);
		return NULL;
	}
	return answer;
}

json_t *msg_error(const struct err *e)
{
	autostr text;

	/* Through str_add_json: a message may quote bytes that are no UTF-8, which jansson refuses. */
	str_init(&text, 8192);
	str_printf(&text, "{\"error\":{\"kind\":\"%s\",\"sys\":%d,\"msg\":", err_kind_name(e->kind), e->sys);
	str_add_json(&text, e->msg, strlen(e->msg));
	str_puts(&text, "}}");
	return json_parse(text.s, text.len, "error", NULL);
}

int msg_check_error(const json_t *body, struct err *e)
{
	const json_t *error = json_object_get(body, "error");

	if (!json_is_object(error))
		return 0;
	err_set(e, err_kind_parse(json_str(error, "kind", "system")), 0, "%s", json_str(error, "msg", "unknown error"));
	if (e)
		e->sys = (int)json_int(error, "sys", 0);
	return -1;
}
