/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A hostile peer on the agent channel: any bytes, in two pieces, while the other directions carry data. */
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"
#include "isolation/hyperv/channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct end {
	struct channel *channel;
	bool broken;
};

static void on_request(void *arg, int64_t id, const char *op, const json_t *body)
{
	struct end *end = arg;

	channel_reply(end->channel, id, body, NULL);
}

static void on_event(void *arg, const char *name, const json_t *body)
{
	struct end *end = arg;

	if (name[0] == 'f') /* an owner that has had enough */
		channel_free(take_ptr(&end->channel));
}

static void on_broken(void *arg, const struct err *why)
{
	struct end *end = arg;

	if (end->broken)
		abort();
	end->broken = true;
}

static void run_until_idle(struct loop *l)
{
	struct err e;

	while (loop_once(l, 0, &e) > 0)
		;
}

static void feed(struct loop *l, int fd, const uint8_t *data, size_t n)
{
	while (n) {
		size_t chunk = n < 16384 ? n : 16384;
		ssize_t w = write(fd, data, chunk);
		char drop[65536];

		while (read(fd, drop, sizeof drop) > 0)
			;
		run_until_idle(l);
		if (w <= 0)
			return;
		data += w;
		n -= (size_t)w;
	}
}

static void open_streams(struct channel *c, int outer[3])
{
	int in[2], out[2], tty[2];
	struct err e;

	if (pipe2(in, O_CLOEXEC | O_NONBLOCK) || pipe2(out, O_CLOEXEC | O_NONBLOCK) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, tty))
		abort();
	const struct stream_options o[] = {
		{ .id = 1, .from = -1, .to = in[1] },
		{ .id = 2, .from = out[0], .to = -1 },
		{ .id = 3, .from = tty[0], .to = tty[0], .tty = true },
	};

	outer[0] = in[0];
	outer[1] = out[1];
	outer[2] = tty[1];
	for (size_t i = 0; i < 3; i++)
		if (!stream_new(c, &o[i], &e))
			abort();
	if (write(out[1], "output", 6) != 6 || write(tty[1], "typed", 5) != 5)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct err e;
	struct end end = { 0 };
	const struct channel_handlers h = { &end, on_request, on_event, on_broken };
	struct loop *l = loop_new(&e);
	int fd[2], outer[3];

	signal(SIGPIPE, SIG_IGN);
	if (!l || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd))
		abort();
	end.channel = channel_new(l, fd[0], &h, &e);
	open_streams(end.channel, outer);
	size_t cut = n ? data[0] % n : 0;

	feed(l, fd[1], data, cut);
	feed(l, fd[1], data + cut, n - cut);
	close_fd(&fd[1]);
	run_until_idle(l);
	if (end.channel && !end.broken)
		abort();
	channel_free(end.channel);
	for (int i = 0; i < 3; i++)
		close_fd(&outer[i]);
	close_fd(&fd[0]);
	run_until_idle(l);
	loop_free(l);
	return 0;
}
