/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Only for clients that send bytes behind an upgrade request without waiting for its answer: those bytes are already in
 * the HTTP library's buffer and can't be put back into the socket, so this one session goes through silod.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/exchange.h"
#include "base/io.h"
#include "base/own.h"

#define RELAY_BYTES 16384
#define RELAY_STACK_BYTES (256 * KIB)

struct relay {
	int client, session;
	size_t n_early;
	char early[];
};

/* Move what is there. false when this direction has ended: the other end has then been told. */
static bool copy_once(int from, int to)
{
	char buf[RELAY_BYTES];
	ssize_t n = read(from, buf, sizeof(buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n > 0 && io_write_all(to, buf, (size_t)n) == 0)
		return true;
	shutdown(to, SHUT_WR);
	return false;
}

static void relay_copy(struct relay *r)
{
	struct pollfd p[2] = { { .fd = r->client, .events = POLLIN }, { .fd = r->session, .events = POLLIN } };

	while (p[1].fd >= 0 && poll(p, 2, -1) >= 0) {
		if (p[1].revents && !copy_once(r->session, r->client))
			p[1].fd = -1;
		if (p[0].revents && !copy_once(r->client, r->session)) {
			if (p[0].revents & POLLHUP)
				break; /* not a half-close: the client is gone, and so is the session's input */
			p[0].fd = -1;
		}
	}
}

static void *relay_run(void *arg)
{
	struct relay *r = arg;

	if (io_write_all(r->session, r->early, r->n_early) == 0)
		relay_copy(r);
	shutdown(r->client, SHUT_RDWR);
	close(r->client);
	close(r->session);
	free(r);
	return NULL;
}

int relay_start(int client, int session, const void *early, size_t n_early, struct err *e)
{
	struct relay *r = xmalloc(sizeof(*r) + n_early);
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	r->client = client;
	r->session = session;
	r->n_early = n_early;
	memcpy(r->early, early, n_early);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, RELAY_STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, relay_run, r);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		return 0;
	close(client);
	close(session);
	free(r);
	return err_set(e, ERR_SYSTEM, rc, "start relay thread");
}
