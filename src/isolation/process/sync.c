/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/process/sync.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"

/* The child's messages differ by their size: one byte, two numbers, or a struct err. */
union message {
	char ready;
	int request[2];
	struct err failure;
};

int sync_open(int ends[static 2], struct err *e)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return err_set(e, ERR_SYSTEM, errno, "socketpair");
	return 0;
}

int sync_send_ready(int sync, int tty, struct err *e)
{
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char byte = 'R';
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	/* plain write where that does: a seccomp filter may be in force */
	if (tty < 0)
		return write(sync, &byte, 1) == 1 ? 0 : err_set(e, ERR_SYSTEM, errno, "tell the supervisor");
	msg.msg_control = &control;
	msg.msg_controllen = sizeof(control);
	control.h.cmsg_level = SOL_SOCKET;
	control.h.cmsg_type = SCM_RIGHTS;
	control.h.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.h), &tty, sizeof(int));
	return sendmsg(sync, &msg, MSG_NOSIGNAL) == 1 ? 0 : err_set(e, ERR_SYSTEM, errno, "tell the supervisor");
}

bool sync_wait_go(int sync)
{
	char byte;
	ssize_t n;

	do {
		n = read(sync, &byte, 1);
	} while (n < 0 && errno == EINTR);
	return n == 1;
}

void sync_send_error(int sync, const struct err *failure)
{
	(void)!write(sync, failure, sizeof(*failure));
}

/* One message and perhaps one fd. Returns its size, 0 at end of file, -1. */
static ssize_t receive(int sync, union message *m, int *fd)
{
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *h;
	ssize_t n;

	*fd = -1;
	do {
		n = recvmsg(sync, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	h = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS && h->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(h), sizeof(int));
	return n;
}

static int take_failure(union message *m, struct err *e)
{
	m->failure.msg[sizeof(m->failure.msg) - 1] = '\0';
	if (e)
		*e = m->failure;
	return -1;
}

int sync_wait(int sync, enum sync_request *what, int *value, int *tty, struct err *e)
{
	union message m;
	ssize_t n = receive(sync, &m, tty);

	*what = SYNC_READY;
	if (n == 1)
		return 0;
	close_fd(tty);
	if (n == sizeof(m.request)) {
		*what = (enum sync_request)m.request[0];
		*value = m.request[1];
		return 0;
	}
	if (n == sizeof(m.failure))
		return take_failure(&m, e);
	return err_set(e, ERR_SYSTEM, n < 0 ? errno : 0, "the first process died before it was ready");
}

int sync_wait_ready(int sync, int *tty, struct err *e)
{
	enum sync_request what;
	int value;

	if (sync_wait(sync, &what, &value, tty, e))
		return -1;
	return what == SYNC_READY ? 0 : err_set(e, ERR_SYSTEM, 0, "unexpected request of the first process");
}

int sync_answer(int sync, int value, struct err *e)
{
	if (send(sync, &value, sizeof(value), MSG_NOSIGNAL) == sizeof(value))
		return 0;
	return err_set(e, ERR_SYSTEM, errno, "the first process is gone");
}

int sync_tell(int sync, enum sync_request what, int value, struct err *e)
{
	int request[2] = { (int)what, value };

	if (write(sync, request, sizeof(request)) != sizeof(request))
		return err_set(e, ERR_SYSTEM, errno, "ask the runtime");
	return 0;
}

int sync_ask(int sync, enum sync_request what, int value, int *answer, struct err *e)
{
	ssize_t n;

	if (sync_tell(sync, what, value, e))
		return -1;
	do {
		n = read(sync, answer, sizeof(*answer));
	} while (n < 0 && errno == EINTR);
	return n == sizeof(*answer) ? 0 : err_set(e, ERR_SYSTEM, 0, "the runtime is gone");
}

int sync_send_go(int sync, struct err *e)
{
	if (send(sync, "G", 1, MSG_NOSIGNAL) == 1)
		return 0;
	return err_set(e, ERR_SYSTEM, errno, "the first process is gone");
}

int sync_wait_exec(int sync, struct err *e)
{
	union message m;
	int fd;
	ssize_t n = receive(sync, &m, &fd);

	close_fd(&fd);
	if (n == 0)
		return 0;
	if (n == sizeof(m.failure))
		return take_failure(&m, e);
	return err_set(e, ERR_SYSTEM, n < 0 ? errno : 0, "wait for exec");
}
