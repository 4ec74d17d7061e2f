/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Both ends of the agent channel over a socketpair: streams, flow control, calls, and a peer that misbehaves. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/own.h"
#include "isolation/hyperv/channel.h"
#include "isolation/hyperv/wire.h"

/* What the handlers of one end have seen. */
struct seen {
	unsigned events, requests, broken, moved;
	char last_event[64];
	struct err why;
	struct channel *channel;
	bool free_in_handler;
};

static void on_event(void *arg, const char *name, const json_t *body)
{
	struct seen *s = arg;

	s->events++;
	snprintf(s->last_event, sizeof s->last_event, "%s", name);
	if (s->free_in_handler)
		channel_free(take_ptr(&s->channel));
}

static void on_request(void *arg, int64_t id, const char *op, const json_t *body)
{
	struct seen *s = arg;
	struct err e;

	s->requests++;
	if (!strcmp(op, "fail")) {
		err_set(&e, ERR_NOT_FOUND, 0, "no such thing");
		channel_reply(s->channel, id, NULL, &e);
	} else if (!strcmp(op, "echo")) {
		channel_event(s->channel, "before", NULL);
		channel_reply(s->channel, id, json_object_get(body, "body"), NULL);
	}
}

static void on_broken(void *arg, const struct err *why)
{
	struct seen *s = arg;

	s->broken++;
	s->why = *why;
}

static void on_moved(void *arg, struct stream *st)
{
	((struct seen *)arg)->moved++;
}

struct pair {
	struct loop *loop;
	int fd[2];
	struct channel *end[2];
	struct seen seen[2];
};

static struct channel_handlers handlers_of(struct seen *s)
{
	return (struct channel_handlers){ s, on_request, on_event, on_broken };
}

static void pair_open(struct pair *p, bool both)
{
	struct err e;

	*p = (struct pair){ .loop = loop_new(&e) };
	assert_non_null(p->loop);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p->fd), 0);
	for (int i = 0; i < (both ? 2 : 1); i++) {
		struct channel_handlers h = handlers_of(&p->seen[i]);

		p->seen[i].channel = p->end[i] = channel_new(p->loop, p->fd[i], &h, &e);
		assert_non_null(p->end[i]);
	}
}

static void pair_close(struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		if (p->seen[i].channel)
			channel_free(p->end[i]);
		close_fd(&p->fd[i]);
	}
	loop_free(p->loop);
}

static void run_round(struct pair *p)
{
	struct err e;

	assert_true(loop_once(p->loop, 2000, &e) > 0);
}

/* Everything that can happen without anything from outside. */
static void run_until_idle(struct pair *p)
{
	struct err e;

	while (loop_once(p->loop, 0, &e) > 0)
		;
}

static void make_pipe(int *reader, int *writer)
{
	int fd[2];

	assert_int_equal(pipe2(fd, O_CLOEXEC | O_NONBLOCK), 0);
	*reader = fd[0];
	*writer = fd[1];
}

/* A stream from end 0 to end 1; the test holds the outer ends of two pipes. */
struct bridge {
	struct stream *sender, *receiver;
	int in, out;
};

static void bridge_open(struct pair *p, struct bridge *b)
{
	struct err e;
	int from, to;

	make_pipe(&from, &b->in);
	make_pipe(&b->out, &to);
	uint32_t id = channel_stream_id(p->end[0]);
	struct stream_options recv = { .id = id, .from = -1, .to = to, .moved = on_moved, .arg = &p->seen[1] };
	struct stream_options send = { .id = id, .from = from, .to = -1, .moved = on_moved, .arg = &p->seen[0] };

	b->receiver = stream_new(p->end[1], &recv, &e);
	b->sender = stream_new(p->end[0], &send, &e);
	assert_non_null(b->sender);
	assert_non_null(b->receiver);
}

static unsigned char pattern(size_t at)
{
	return (unsigned char)(at * 31 + (at >> 10));
}

static void feed(int fd, size_t *at, size_t total)
{
	unsigned char buf[16384];

	while (*at < total) {
		size_t n = total - *at < sizeof buf ? total - *at : sizeof buf;

		for (size_t i = 0; i < n; i++)
			buf[i] = pattern(*at + i);
		ssize_t w = write(fd, buf, n);

		if (w <= 0)
			return;
		*at += (size_t)w;
	}
}

/* Read at most limit bytes and check them. False at end of file. */
static bool check(int fd, size_t *at, size_t limit)
{
	unsigned char buf[4096];
	ssize_t n = read(fd, buf, limit < sizeof buf ? limit : sizeof buf);

	if (n < 0) {
		assert_int_equal(errno, EAGAIN);
		return true;
	}
	for (ssize_t i = 0; i < n; i++)
		assert_int_equal(buf[i], pattern(*at + (size_t)i));
	*at += (size_t)n;
	return n > 0;
}

static void test_slow_reader(void **state)
{
	enum { TOTAL = 10 << 20 };
	struct pair p;
	struct bridge b;
	size_t fed = 0, got = 0;

	pair_open(&p, true);
	bridge_open(&p, &b);
	/* A reader that doesn't read: what moves is bounded by pipes, windows and sockets, then all stands still. */
	for (size_t before = 1; before != fed;) {
		before = fed;
		feed(b.in, &fed, TOTAL);
		run_until_idle(&p);
	}
	assert_in_range(fed, STREAM_WINDOW_BYTES, STREAM_WINDOW_BYTES + (1 << 20));
	/* Another stream isn't held up by it. */
	struct bridge other;
	size_t other_at = 0, other_got = 0;

	bridge_open(&p, &other);
	feed(other.in, &other_at, 5000);
	while (other_got < 5000) {
		run_until_idle(&p);
		assert_true(check(other.out, &other_got, 4096));
	}
	while (got < TOTAL) {
		feed(b.in, &fed, TOTAL);
		if (fed == TOTAL)
			close_fd(&b.in);
		run_until_idle(&p);
		assert_true(check(b.out, &got, 3000));
	}
	run_until_idle(&p);
	assert_false(check(b.out, &got, 1));
	assert_true(stream_ended(b.sender));
	assert_true(stream_ended(b.receiver));
	assert_int_equal(p.seen[0].broken + p.seen[1].broken, 0);
	close_fd(&b.out);
	close_fd(&other.in);
	close_fd(&other.out);
	pair_close(&p);
}

static void test_reader_leaves(void **state)
{
	struct pair p;
	struct bridge b;
	size_t fed = 0;

	pair_open(&p, true);
	bridge_open(&p, &b);
	close_fd(&b.out);
	feed(b.in, &fed, 1000);
	run_until_idle(&p);
	assert_true(stream_ended(b.sender));
	assert_int_equal(write(b.in, "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	stream_free(b.receiver);
	stream_free(b.sender);
	run_until_idle(&p);
	assert_int_equal(p.seen[0].broken + p.seen[1].broken, 0);
	close_fd(&b.in);
	pair_close(&p);
}

static void test_drain(void **state)
{
	struct pair p;
	struct bridge b;
	size_t fed = 0, got = 0;

	pair_open(&p, true);
	bridge_open(&p, &b);
	feed(b.in, &fed, 60000);
	stream_drain(b.sender); /* the pipe stays open, as by a process in the background */
	while (!stream_drained(b.sender))
		run_round(&p);
	run_until_idle(&p);
	while (got < 60000) {
		assert_true(check(b.out, &got, 4096));
		run_until_idle(&p);
	}
	assert_true(stream_flushed(b.receiver));
	assert_true(p.seen[0].moved > 0);
	assert_true(p.seen[1].moved > 0);
	assert_false(stream_ended(b.sender));
	close_fd(&b.in);
	close_fd(&b.out);
	pair_close(&p);
}

/* A tty: one stream both ways over sockets; the end of one direction is the end of both. */
static void test_tty(void **state)
{
	struct pair p;
	struct err e;
	int a[2], b[2];
	char buf[8];

	pair_open(&p, true);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, b), 0);
	uint32_t id = channel_stream_id(p.end[0]);
	struct stream *near =
		stream_new(p.end[0], &(struct stream_options){ .id = id, .from = a[1], .to = a[1], .tty = true }, &e);
	struct stream *far =
		stream_new(p.end[1], &(struct stream_options){ .id = id, .from = b[1], .to = b[1], .tty = true }, &e);

	assert_non_null(near);
	assert_non_null(far);
	assert_int_equal(write(a[0], "hi", 2), 2);
	assert_int_equal(write(b[0], "ho", 2), 2);
	run_until_idle(&p);
	assert_int_equal(read(b[0], buf, sizeof buf), 2);
	assert_int_equal(read(a[0], buf, sizeof buf), 2);
	close_fd(&b[0]);
	run_until_idle(&p);
	assert_true(stream_ended(near));
	assert_true(stream_ended(far));
	assert_int_equal(read(a[0], buf, sizeof buf), 0);
	close_fd(&a[0]);
	pair_close(&p);
}

/* Held streams read nothing; freeing one that the peer never opened is no crime. */
static void test_held(void **state)
{
	struct pair p;
	struct err e;
	int reader, writer;

	pair_open(&p, true);
	make_pipe(&reader, &writer);
	assert_int_equal(write(writer, "x", 1), 1);
	struct stream_options o = { .id = channel_stream_id(p.end[0]), .from = reader, .to = -1, .held = true };
	struct stream *s = stream_new(p.end[0], &o, &e);

	assert_non_null(s);
	run_until_idle(&p);
	assert_false(stream_ended(s));
	stream_free(s);
	run_until_idle(&p);
	assert_int_equal(p.seen[1].broken, 0);
	assert_int_equal(write(writer, "x", 1), -1);
	close_fd(&writer);
	pair_close(&p);
}

/* One connection at each end: out[0] is the client's, out[1] the server's. */
static void sockets_open(struct pair *p, struct stream *s[2], int out[2])
{
	struct err e;

	for (int i = 0; i < 2; i++) {
		int ends[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
		out[i] = ends[0];
		const struct stream_options o = {
			.id = 7, .from = ends[1], .to = ends[1], .moved = on_moved, .arg = &p->seen[i]
		};

		s[i] = stream_new(p->end[i], &o, &e);
		assert_non_null(s[i]);
	}
}

static void expect(int fd, const char *text)
{
	char buf[64];
	ssize_t n = read(fd, buf, sizeof buf);

	assert_int_equal(n, strlen(text));
	assert_memory_equal(buf, text, strlen(text));
}

/* The last word of one side is not the end of the other's. */
static void test_socket_half_close(void **state)
{
	struct stream *s[2];
	struct pair p;
	int out[2];

	pair_open(&p, true);
	sockets_open(&p, s, out);
	assert_int_equal(write(out[0], "ask", 3), 3);
	shutdown(out[0], SHUT_WR);
	run_until_idle(&p);
	expect(out[1], "ask");
	expect(out[1], "");
	assert_int_equal(write(out[1], "answer", 6), 6);
	run_until_idle(&p);
	expect(out[0], "answer");
	assert_false(stream_ended(s[0]) || stream_ended(s[1]));
	close(out[1]);
	run_until_idle(&p);
	expect(out[0], "");
	assert_true(stream_ended(s[0]) && stream_ended(s[1]));
	close(out[0]);
	pair_close(&p);
}

/* A client that has gone, at once or after its last word, takes the server's connection with it. */
static void test_socket_leaves(void **state)
{
	for (int late = 0; late < 2; late++) {
		struct stream *s[2];
		struct pair p;
		int out[2];

		pair_open(&p, true);
		sockets_open(&p, s, out);
		assert_int_equal(write(out[0], "x", 1), 1);
		if (late) {
			shutdown(out[0], SHUT_WR);
			run_until_idle(&p);
			assert_false(stream_ended(s[0]) || stream_ended(s[1]));
		}
		close(out[0]);
		run_until_idle(&p);
		expect(out[1], "x");
		expect(out[1], "");
		assert_int_equal(write(out[1], "y", 1), -1);
		assert_int_equal(errno, EPIPE);
		assert_true(stream_ended(s[0]) && stream_ended(s[1]));
		close(out[1]);
		pair_close(&p);
	}
}

static void test_plain_file(void **state)
{
	struct pair p;
	struct bridge b;
	struct err e;
	char path[] = "/tmp/test-channel-XXXXXX";
	int file = mkstemp(path);
	size_t at = 0, got = 0;

	assert_true(file >= 0);
	unlink(path);
	feed(file, &at, 1000000);
	lseek(file, 0, SEEK_SET);
	pair_open(&p, true);
	bridge_open(&p, &b);
	stream_free(b.sender);
	stream_free(b.receiver);
	close_fd(&b.in);
	close_fd(&b.out);
	int to;

	make_pipe(&b.out, &to);
	uint32_t id = channel_stream_id(p.end[0]);

	b.receiver = stream_new(p.end[1], &(struct stream_options){ .id = id, .from = -1, .to = to }, &e);
	b.sender = stream_new(p.end[0], &(struct stream_options){ .id = id, .from = file, .to = -1 }, &e);
	assert_non_null(b.sender);
	while (got < 1000000) {
		run_until_idle(&p);
		assert_true(check(b.out, &got, 4096));
	}
	run_until_idle(&p);
	assert_true(stream_ended(b.sender));
	close_fd(&b.out);
	pair_close(&p);
}

/* ---- calls: the peer in a thread of its own ---- */

struct server {
	int fd;
	struct seen seen;
};

static void *serve(void *arg)
{
	struct server *s = arg;
	struct err e;
	struct loop *l = loop_new(&e);
	struct channel_handlers h = handlers_of(&s->seen);

	s->seen.channel = channel_new(l, s->fd, &h, &e);
	while (!s->seen.broken && loop_once(l, -1, &e) >= 0)
		;
	channel_free(s->seen.channel);
	loop_free(l);
	return NULL;
}

static void test_calls(void **state)
{
	struct pair p;
	struct server server = { 0 };
	struct err e;
	pthread_t thread;

	pair_open(&p, false);
	server.fd = p.fd[1];
	assert_int_equal(pthread_create(&thread, NULL, serve, &server), 0);
	/* Larger than a frame: goes in pieces. */
	size_t n = 1000000;
	char *big = xmalloc(n);

	memset(big, 'a', n);
	autojson *request = json_pack("{s:{s:s%}}", "body", "text", big, n);
	autojson *answer = channel_call(p.end[0], "echo", request, 10000, &e);

	assert_non_null(answer);
	assert_int_equal(strlen(json_str(answer, "text", "")), n);
	free(big);
	/* The event came before the answer, but not from inside the call. */
	assert_int_equal(p.seen[0].events, 0);
	run_until_idle(&p);
	assert_int_equal(p.seen[0].events, 1);
	assert_string_equal(p.seen[0].last_event, "before");

	autojson *plain = json_object();

	assert_null(channel_call(p.end[0], "fail", plain, 10000, &e));
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	assert_string_equal(e.msg, "no such thing");
	assert_null(channel_call(p.end[0], "silence", plain, 20, &e));
	assert_int_equal(e.kind, ERR_TIMEOUT);

	channel_free(p.end[0]);
	p.seen[0].channel = NULL;
	shutdown(p.fd[0], SHUT_RDWR);
	pthread_join(thread, NULL);
	assert_int_equal(server.seen.requests, 3);
	assert_int_equal(server.seen.why.kind, ERR_NOT_FOUND);
	pair_close(&p);
}

static void test_free_in_handler(void **state)
{
	struct pair p;

	pair_open(&p, true);
	p.seen[1].free_in_handler = true;
	channel_event(p.end[0], "one", NULL);
	channel_event(p.end[0], "two", NULL);
	run_until_idle(&p);
	assert_int_equal(p.seen[1].events, 1);
	pair_close(&p);
}

/* ---- a peer that misbehaves ---- */

#define HEAD(len, stream, type, flags) \
	{ (len) & 255, (len) >> 8 & 255, (len) >> 16 & 255, (unsigned)(len) >> 24, stream, 0, 0, 0, type, 0, flags, 0 }

static const struct bad {
	const char *what;
	unsigned char head[FRAME_HEADER_BYTES];
	const char *payload;
	const char *msg;
} bad[] = {
	{ "type 0", HEAD(0, 0, 0, 0), "", "unknown frame type 0" },
	{ "type 8", HEAD(0, 0, 8, 0), "", "unknown frame type 8" },
	{ "long", HEAD(262145, 0, FRAME_EVENT, 0), "", "frame type 3 with 262145 bytes" },
	{ "4 GiB", HEAD(0xffffffff, 1, FRAME_DATA, 0), "", "frame type 4 with 4294967295 bytes" },
	{ "empty event", HEAD(0, 0, FRAME_EVENT, 0), "", "frame type 3 with 0 bytes" },
	{ "flags", HEAD(2, 0, FRAME_EVENT, 4), "{}", "frame type 3 with flags 0x4" },
	{ "event on a stream", HEAD(2, 1, FRAME_EVENT, 0), "{}", "frame type 3 on stream 1" },
	{ "data on control", HEAD(2, 0, FRAME_DATA, 0), "xx", "frame type 4 on stream 0" },
	{ "no JSON", HEAD(2, 0, FRAME_EVENT, 0), "xx", NULL },
	{ "no object", HEAD(2, 0, FRAME_EVENT, 0), "[]", "a message is not an object" },
	{ "no name", HEAD(2, 0, FRAME_EVENT, 0), "{}", "a message has no name" },
	{ "answer without call", HEAD(8, 0, FRAME_REPLY, 0), "{\"id\":1}", "an answer that nobody asked for" },
	{ "unknown stream", HEAD(1, 9, FRAME_DATA, 0), "x", "frame type 4 for stream 9 that isn't" },
	{ "credit to a receiver", HEAD(4, 1, FRAME_CREDIT, 0), "\1\1\1\1", "stream 1: credit beyond the window" },
	{ "credit beyond", HEAD(4, 2, FRAME_CREDIT, 0), "\1\1\1\1", "stream 2: credit beyond the window" },
	{ "data to a sender", HEAD(1, 2, FRAME_DATA, 0), "x", "stream 2: more data than allowed" },
	{ "end to a sender", HEAD(0, 2, FRAME_EOF, 0), "", "stream 2: an end of what never was" },
	{ "mixed pieces", HEAD(2, 0, FRAME_EVENT, FRAME_MORE), "{\"\x2\0\0\0\0\0\0\0\1\0\0\0{}", NULL },
};

static void test_misbehaviour(void **state)
{
	for (size_t i = 0; i < array_len(bad); i++) {
		struct pair p;
		struct err e;
		int reader[2], writer[2];
		const struct bad *b = &bad[i];
		size_t n = b->head[1] || b->head[3] ? 0 : b->head[0];

		if (!strcmp(b->what, "mixed pieces"))
			n = 2 + FRAME_HEADER_BYTES + 2;
		pair_open(&p, false);
		make_pipe(&reader[0], &writer[0]);
		make_pipe(&reader[1], &writer[1]);
		/* stream 1 takes, stream 2 sends */
		assert_non_null(
			stream_new(p.end[0], &(struct stream_options){ .id = 1, .from = -1, .to = writer[0] }, &e));
		assert_non_null(
			stream_new(p.end[0], &(struct stream_options){ .id = 2, .from = reader[1], .to = -1 }, &e));
		assert_int_equal(write(p.fd[1], b->head, sizeof b->head), sizeof b->head);
		assert_int_equal(write(p.fd[1], b->payload, n), n);
		run_until_idle(&p);
		if (p.seen[0].broken != 1 || p.seen[0].why.kind != ERR_INVALID || p.seen[0].events)
			fail_msg("%s: broken %u: %s", b->what, p.seen[0].broken, p.seen[0].why.msg);
		if (b->msg)
			assert_string_equal(p.seen[0].why.msg, b->msg);
		autojson *request = json_object();

		assert_null(channel_call(p.end[0], "x", request, 1000, &e));
		close_fd(&reader[0]);
		close_fd(&writer[1]);
		pair_close(&p);
	}
}

/* More DATA than the window, and more messages than anyone sends. */
static void test_floods(void **state)
{
	struct pair p;
	struct err e;
	int reader, writer;
	unsigned char frame[FRAME_HEADER_BYTES + 4096] = HEAD(4096, 1, FRAME_DATA, 0);

	pair_open(&p, false);
	make_pipe(&reader, &writer);
	assert_non_null(stream_new(p.end[0], &(struct stream_options){ .id = 1, .from = -1, .to = writer }, &e));
	for (int i = 0; i < 1000 && !p.seen[0].broken; i++) {
		if (write(p.fd[1], frame, sizeof frame) != sizeof frame)
			break;
		run_until_idle(&p);
	}
	assert_int_equal(p.seen[0].broken, 1);
	assert_string_equal(p.seen[0].why.msg, "stream 1: more data than allowed");
	close_fd(&reader);
	pair_close(&p);

	/* Never answered pieces of a message: the sum is bounded. */
	unsigned char piece[FRAME_HEADER_BYTES + 65536] = HEAD(65536, 0, FRAME_EVENT, FRAME_MORE);

	pair_open(&p, false);
	for (int i = 0; i < 1000 && !p.seen[0].broken; i++) {
		if (write(p.fd[1], piece, sizeof piece) != sizeof piece)
			break;
		run_until_idle(&p);
	}
	assert_int_equal(p.seen[0].broken, 1);
	pair_close(&p);
}

static void test_frame_symmetry(void **state)
{
	for (unsigned type = FRAME_REQUEST; type < FRAME_TYPES; type++) {
		struct frame f = { 4, type < FRAME_DATA ? 0 : 0x01020304, (uint16_t)type, 0 }, g;
		unsigned char bytes[FRAME_HEADER_BYTES];
		struct err e;

		if (type == FRAME_EOF || type == FRAME_CLOSE)
			f.length = 0;
		frame_pack(bytes, &f);
		assert_int_equal(frame_parse(bytes, &g, &e), 0);
		assert_int_equal(f.length, g.length);
		assert_int_equal(f.stream, g.stream);
		assert_int_equal(f.type, g.type);
		assert_int_equal(bytes[8], type);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame_symmetry),  cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_reader_leaves),   cmocka_unit_test(test_drain),
		cmocka_unit_test(test_tty),             cmocka_unit_test(test_held),
		cmocka_unit_test(test_plain_file),      cmocka_unit_test(test_calls),
		cmocka_unit_test(test_free_in_handler), cmocka_unit_test(test_misbehaviour),
		cmocka_unit_test(test_floods),          cmocka_unit_test(test_socket_half_close),
		cmocka_unit_test(test_socket_leaves),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
