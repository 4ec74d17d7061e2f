/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Taking a connection over. libmicrohttpd can only say "101 Switching Protocols", and closing its side shuts the socket
 * down for everybody. So its descriptor is replaced by one end of a socket pair before it answers: it upgrades a dummy,
 * hands over the bytes that came early, and the head that Docker's clients expect is written to the real socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/exchange.h"
#include "base/io.h"
#include "base/log.h"
#include "base/own.h"

int reply_hijack(struct request *r, bool tty, hijack_fn *run)
{
	r->hijack.run = run;
	r->hijack.tty = tty;
	return 0;
}

static int write_head(const struct request *r, int fd)
{
	const char *type = stream_type(r, r->hijack.tty);
	autostr head;

	str_init(&head, 4 * KIB);
	if (request_header(r, "Upgrade"))
		str_printf(&head,
			   "HTTP/1.1 101 UPGRADED\r\nContent-Type: %s\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n",
			   type);
	else
		str_printf(&head, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n", type);
	str_printf(&head, "Api-Version: %s\r\n\r\n", API_VERSION_MAX);
	return io_write_all(fd, head.s, head.len);
}

/* The head has been sent: an error can only be told as output of the session. */
static void write_error(const struct request *r, int fd, const char *message)
{
	size_t n = strlen(message) + 2;
	unsigned char frame[8] = { 1, 0, 0, 0, 0, 0, (unsigned char)(n >> 8), (unsigned char)n };

	if (!r->hijack.tty)
		(void)io_write_all(fd, frame, sizeof(frame));
	(void)io_write_all(fd, message, strlen(message));
	(void)io_write_all(fd, "\r\n", 2);
}

/* The descriptor for the session: the client's, or a relay that begins with the early bytes. -1 with *e. */
static int session_fd(int client, const char *early, size_t n_early, struct err *e)
{
	autoclose int mine = fcntl(client, F_DUPFD_CLOEXEC, 3);
	int pair[2];

	if (mine < 0)
		return err_set(e, ERR_SYSTEM, errno, "duplicate connection");
	if (n_early == 0)
		return take_fd(&mine);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(e, ERR_SYSTEM, errno, "relay: socketpair");
	if (relay_start(take_fd(&mine), pair[0], early, n_early, e) < 0) {
		close(pair[1]);
		return -1;
	}
	return pair[1];
}

static int hand_over(struct request *r, const char *early, size_t n_early, struct err *e)
{
	int session = session_fd(r->hijack.client, early, n_early, e);

	return session < 0 ? -1 : r->hijack.run(r, session, e);
}

static void run_session(struct request *r, const char *early, size_t n_early)
{
	int client = r->hijack.client;
	struct err e = { 0 };
	int rc = 0;

	if (r->hijack.run_first)
		rc = hand_over(r, early, n_early, &e);
	if (write_head(r, client) < 0)
		return; /* the client has left */
	if (!r->hijack.run_first)
		rc = hand_over(r, early, n_early, &e);
	if (rc < 0) {
		log_debug("%s %s: %s", r->route->method, r->route->path, e.msg);
		write_error(r, client, e.msg);
		shutdown(client, SHUT_RDWR);
	}
}

static void upgraded(void *cls, struct MHD_Connection *c, void *con_cls, const char *extra_in, size_t extra_in_size,
		     MHD_socket fd, struct MHD_UpgradeResponseHandle *handle)
{
	run_session(cls, extra_in, extra_in_size);
	hijack_fini(cls);
	MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
}

static int replace_client(struct request *r)
{
	autoclose int client = fcntl(r->client_fd, F_DUPFD_CLOEXEC, 3);
	autoclose int dummy = -1;
	int pair[2];

	if (client < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -1;
	dummy = pair[0];
	r->hijack.sink = pair[1];
	if (dup3(dummy, r->client_fd, O_CLOEXEC) < 0) /* atomic: nobody else gets the number in between */
		return -1;
	r->hijack.client = take_fd(&client);
	return 0;
}

struct MHD_Response *hijack_response(struct request *r)
{
	struct MHD_Response *response = MHD_create_response_for_upgrade(upgraded, r);

	/* The library insists on the header, though its answer goes nowhere. */
	if (response && (MHD_add_response_header(response, "Upgrade", "tcp") != MHD_YES || replace_client(r) < 0)) {
		MHD_destroy_response(response);
		return NULL;
	}
	return response;
}

void hijack_fini(struct request *r)
{
	close_fd(&r->hijack.client);
	close_fd(&r->hijack.sink);
}
