/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The whole monitor over its real socket. Only the isolation is replaced: here a "container" is a plain child process
 * of the monitor, so that this runs without root and under the sanitizers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/msg.h"
#include "base/own.h"
#include "isolation/isolation.h"
#include "monitor/client.h"
#include "monitor/frame.h"
#include "monitor/jsonlog.h"
#include "monitor/monitor.h"

/* --- the replaced isolation ------------------------------------------------------------------------------------- */

struct process {
	struct container *c;
	pid_t pid;
	int go; /* init waits until this pipe is closed */
	int pidfd;
	struct loop_io *io;
	int tty; /* the slave is held until the exec, as the parked init of a real one does */
};

struct sandbox {
	struct loop *loop;
	struct isolation_events ev;
};

struct container {
	struct sandbox *s;
	struct process init;
};

struct bundle *bundle_load(const char *dir, struct err *e)
{
	struct bundle *b = xcalloc(1, sizeof(*b));
	autofree char *config = xasprintf("%s/config.json", dir);
	autofree char *silo = xasprintf("%s/silo.json", dir);

	b->config = json_parse_file(AT_FDCWD, config, 65536, e);
	b->silo = json_parse_file(AT_FDCWD, silo, 65536, e);
	b->isolation = "process";
	strcpy(b->id, "c1");
	if (b->config && b->silo)
		return b;
	bundle_free(b);
	return NULL;
}

void bundle_free(struct bundle *b)
{
	json_decref(b->config);
	json_decref(b->silo);
	free(b);
}

static struct sandbox *fake_sandbox_open(const struct bundle *b, struct loop *l, const struct isolation_events *ev,
					 struct err *e)
{
	struct sandbox *s = xcalloc(1, sizeof(*s));

	s->loop = l;
	s->ev = *ev;
	return s;
}

static void fake_sandbox_close(struct sandbox *s)
{
	free(s);
}

static pid_t fake_sandbox_pid(const struct sandbox *s)
{
	return 0;
}

static void fake_ended(void *arg, uint32_t events)
{
	struct process *p = arg;
	siginfo_t si = { 0 };

	waitid(P_PIDFD, (id_t)p->pidfd, &si, WEXITED);
	loop_remove(&p->io);
	p->pid = 0;
	p->c->s->ev.process_exited(p->c->s->ev.arg, p, si.si_code == CLD_EXITED ? si.si_status : 128 + si.si_status);
}

static void fake_child(const json_t *process, const struct process_io *io, int tty, int go)
{
	const char *command = json_string_value(json_array_get(json_object_get(process, "args"), 0));
	int null = open("/dev/null", O_RDWR);
	char byte;

	while (read(go, &byte, 1) < 0)
		continue;
	signal(SIGTERM, SIG_DFL);
	if (tty >= 0) {
		setsid();
		ioctl(tty, TIOCSCTTY, 0);
	}
	dup2(tty >= 0 ? tty : io->in >= 0 ? io->in : null, 0);
	dup2(tty >= 0 ? tty : io->out >= 0 ? io->out : null, 1);
	dup2(tty >= 0 ? tty : io->err >= 0 ? io->err : null, 2);
	close_range(3, ~0u, 0);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

static void fake_spawn(struct container *c, struct process *p, const json_t *process, struct process_io *io)
{
	int go[2], tty = -1;

	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	if (io->tty) {
		io->tty_fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
		grantpt(io->tty_fd);
		unlockpt(io->tty_fd);
		tty = open(ptsname(io->tty_fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
	}
	p->c = c;
	p->pid = fork();
	if (p->pid == 0) {
		close(go[1]);
		fake_child(process, io, tty, go[0]);
	}
	close(go[0]);
	close_fd(&tty);
	close_fd(&io->in);
	close_fd(&io->out);
	close_fd(&io->err);
	p->go = go[1];
	p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	p->io = loop_add(c->s->loop, p->pidfd, EPOLLIN, fake_ended, p, NULL);
}

static struct container *fake_container_create(struct sandbox *s, const struct bundle *b, struct process_io *io,
					       struct err *e)
{
	const json_t *process = json_object_get(b->config, "process");
	struct container *c;

	if (json_bool(process, "fails", false)) {
		err_set(e, ERR_NO_COMMAND, 0, "exec: \"nosuch\": executable file not found in $PATH");
		close_fd(&io->in);
		close_fd(&io->out);
		close_fd(&io->err);
		return NULL;
	}
	c = xcalloc(1, sizeof(*c));
	c->s = s;
	fake_spawn(c, &c->init, process, io);
	return c;
}

static struct process *fake_container_init(struct container *c)
{
	return &c->init;
}

static int fake_container_start(struct container *c, struct err *e)
{
	close_fd(&c->init.go);
	return 0;
}

static struct process *fake_container_exec(struct container *c, const json_t *process, struct process_io *io,
					   struct err *e)
{
	struct process *p = xcalloc(1, sizeof(*p));

	fake_spawn(c, p, process, io);
	close_fd(&p->go);
	return p;
}

static void fake_process_end(struct process *p)
{
	loop_remove(&p->io);
	close_fd(&p->go);
	if (p->pid) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
	}
	close_fd(&p->pidfd);
}

static void fake_process_free(struct process *p)
{
	fake_process_end(p);
	free(p);
}

static pid_t fake_process_pid(const struct process *p)
{
	return p->pid;
}

static int fake_process_signal(struct process *p, int signo, bool all, struct err *e)
{
	/* SIGUSR2 stands for the death of the sandbox. */
	if (signo == SIGUSR2) {
		struct err why;

		err_set(&why, ERR_SYSTEM, 0, "the virtual machine has died");
		p->c->s->ev.sandbox_lost(p->c->s->ev.arg, &why);
		return 0;
	}
	return kill(p->pid, signo) ? err_set(e, ERR_NOT_FOUND, errno, "kill") : 0;
}

static int fake_process_resize(struct process *p, uint16_t rows, uint16_t cols, struct err *e)
{
	return 0;
}

static int fake_container_freeze(struct container *c, bool frozen, struct err *e)
{
	kill(c->init.pid, frozen ? SIGSTOP : SIGCONT);
	return 0;
}

static json_t *fake_container_top(struct container *c, const json_t *args, struct err *e)
{
	/* Larger than a socket's default buffer. */
	autofree char *big = xmalloc(500001);

	memset(big, 'x', 500000);
	big[500000] = 0;
	return json_pack("{s:s, s:[i]}", "output", big, "pids", (int)c->init.pid);
}

static json_t *fake_container_stats(struct container *c, struct err *e)
{
	return json_object();
}

static int fake_container_update(struct container *c, const json_t *resources, struct err *e)
{
	return 0;
}

static void fake_container_delete(struct container *c)
{
	fake_process_end(&c->init);
	free(c);
}

#define FAKE(its_name) \
	{ \
		.name = its_name, .sandbox_open = fake_sandbox_open, .sandbox_close = fake_sandbox_close, \
		.sandbox_pid = fake_sandbox_pid, .container_create = fake_container_create, \
		.container_init = fake_container_init, .container_start = fake_container_start, \
		.container_exec = fake_container_exec, .process_free = fake_process_free, \
		.process_pid = fake_process_pid, .process_signal = fake_process_signal, \
		.process_resize = fake_process_resize, .container_freeze = fake_container_freeze, \
		.container_top = fake_container_top, .container_stats = fake_container_stats, \
		.container_update = fake_container_update, .container_delete = fake_container_delete, \
	}

const struct isolation isolation_process = FAKE("process");
const struct isolation isolation_hyperv = FAKE("hyperv");

/* --- a run ------------------------------------------------------------------------------------------------------ */

struct run {
	char dir[64];
	pid_t monitor;
	int watch;
	struct err e;
};

static void write_file(const char *dir, const char *name, const char *text)
{
	autofree char *path = xasprintf("%s/%s", dir, name);
	struct err e;

	assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0600, false, &e), 0);
}

/* command as JSON text without quotes; more: further members of "process"; silo: further members of silo.json */
static void run_spawn(struct run *r, const char *command, const char *more, const char *silo)
{
	strcpy(r->dir, "/tmp/silo-test-mon.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	autofree char *config = xasprintf("{\"process\":{\"args\":[\"%s\"]%s}}", command, more);
	autofree char *silo_json =
		xasprintf("{\"exit_path\":\"%s/exit.json\",\"log\":{\"path\":\"%s/log\"}%s}", r->dir, r->dir, silo);
	autofree char *socket = xasprintf("%s/monitor.sock", r->dir);
	int listener = msg_listen(socket, 0600, &r->e);

	write_file(r->dir, "config.json", config);
	write_file(r->dir, "silo.json", silo_json);
	assert_true(listener >= 0);
	r->monitor = fork();
	if (r->monitor == 0) {
		struct monitor_options o = {
			.bundle_dir = r->dir, .listener = listener, .stop_fd = -1, .socket_path = socket
		};
		int rc = monitor_run(&o, &r->e);

		free(config);
		free(silo_json);
		free(socket);
		exit(rc ? 1 : 0); /* with the leak checker's verdict */
	}
	close(listener);
}

static void run_begin(struct run *r, const char *command, const char *more, const char *silo)
{
	json_t *state = NULL;

	run_spawn(r, command, more, silo);
	r->watch = monitor_watch(r->dir, &state, &r->e);
	assert_true(r->watch >= 0);
	assert_string_equal(json_str(state, "status", ""), "created");
	json_decref(state);
}

static void run_start(struct run *r)
{
	autojson *answer = monitor_start(r->dir, &r->e);

	assert_non_null(answer);
	assert_true(json_int(answer, "pid", 0) > 0);
}

/* Next event of this name; others are skipped. */
static json_t *run_event(struct run *r, const char *name)
{
	for (;;) {
		json_t *event = msg_recv(r->watch, 20000, NULL, NULL, &r->e);

		if (!event)
			fail_msg("no event %s: %s", name, r->e.msg);
		if (!strcmp(json_str(event, "event", ""), name))
			return event;
		json_decref(event);
	}
}

static json_t *run_exit_record(struct run *r)
{
	autofree char *path = xasprintf("%s/exit.json", r->dir);

	return json_parse_file(AT_FDCWD, path, 4096, &r->e);
}

/* The monitor must end by itself, leave no socket, and (sanitizers) no leak. */
static void run_end(struct run *r)
{
	struct err e;
	int status;

	autofree char *socket = xasprintf("%s/monitor.sock", r->dir);

	assert_int_equal(waitpid(r->monitor, &status, 0), r->monitor);
	assert_int_equal(status, 0);
	assert_int_equal(access(socket, F_OK), -1);
	close_fd(&r->watch);
	assert_int_equal(io_remove_tree(AT_FDCWD, r->dir, &e), 0);
}

static void run_expect_exit(struct run *r, int code)
{
	autojson *event = run_event(r, "exit");
	autojson *record = run_exit_record(r);

	assert_int_equal(json_int(event, "exit_code", -1), code);
	assert_non_null(record); /* written before the event */
	assert_int_equal(json_int(record, "exit_code", -1), code);
	assert_string_equal(json_str(record, "finished_at", "?"), json_str(event, "finished_at", "!"));
}

static int run_attach(struct run *r, bool in, const char *keys)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	struct monitor_streams s = { .in = in, .out = true, .err = true, .detach_keys = keys, .client = pair[1] };

	assert_int_equal(monitor_attach(r->dir, &s, &r->e), 0);
	close(pair[1]);
	return pair[0];
}

/* Everything until the monitor hangs up; frames are unwrapped per stream unless raw. */
static void read_all(int sock, struct str *out)
{
	char buf[4096];
	ssize_t n;
	struct pollfd p = { .fd = sock, .events = POLLIN };

	while (poll(&p, 1, 20000) > 0 && (n = read(sock, buf, sizeof(buf))) > 0)
		str_add(out, buf, (size_t)n);
	str_puts(out, "");
}

static void unwrap(const struct str *in, struct str out[STREAM_COUNT])
{
	for (size_t at = 0; at < in->len;) {
		const unsigned char *h = (const unsigned char *)in->s + at;

		assert_true(at + FRAME_HEAD <= in->len);
		size_t n = (size_t)h[4] << 24 | (size_t)h[5] << 16 | (size_t)h[6] << 8 | h[7];

		assert_true(h[0] == 1 || h[0] == 2);
		assert_true(at + FRAME_HEAD + n <= in->len);
		str_add(&out[h[0] - 1], h + FRAME_HEAD, n);
		at += FRAME_HEAD + n;
	}
}

/* Client's view of a stream without tty. */
static void expect_streams(int sock, const char *out_text, const char *err_text)
{
	struct str out[STREAM_COUNT];
	autostr all;

	str_init(&all, 4 * MIB);
	for (int i = 0; i < STREAM_COUNT; i++) {
		str_init(&out[i], 4 * MIB);
		str_puts(&out[i], "");
	}
	read_all(sock, &all);
	unwrap(&all, out);
	assert_string_equal(out[STREAM_STDOUT].s, out_text);
	assert_string_equal(out[STREAM_STDERR].s, err_text);
	str_fini(&out[0]);
	str_fini(&out[1]);
}

static void expect_raw(int sock, const char *text)
{
	autostr all;

	str_init(&all, MIB);
	read_all(sock, &all);
	assert_string_equal(all.s, text);
}

/* --- cases ------------------------------------------------------------------------------------------------------ */

static void output_goes_to_log_and_client(void **state)
{
	struct run r;

	run_begin(&r, "echo out; echo err >&2; exit 7", "", "");
	int a = run_attach(&r, false, NULL), b = run_attach(&r, false, NULL);

	run_start(&r);
	expect_streams(a, "out\n", "err\n");
	expect_streams(b, "out\n", "err\n");
	run_expect_exit(&r, 7);
	autofree char *path = xasprintf("%s/log", r.dir);
	autostr log;

	str_init(&log, 4096);
	assert_int_equal(io_read_file(AT_FDCWD, path, &log, &r.e), 0);
	assert_non_null(strstr(log.s, "{\"log\":\"out\\n\",\"stream\":\"stdout\",\"time\":\"2"));
	assert_non_null(strstr(log.s, "{\"log\":\"err\\n\",\"stream\":\"stderr\",\"time\":\"2"));
	close(a);
	close(b);
	run_end(&r);
}

static void half_close_ends_stdin_once(void **state)
{
	struct run r;

	run_begin(&r, "cat; echo end", "", ",\"stdin\":{\"open\":true,\"once\":true}");
	int a = run_attach(&r, true, NULL);

	assert_int_equal(write(a, "hello\n", 6), 6); /* before start: waits in the pipe */
	run_start(&r);
	shutdown(a, SHUT_WR);
	expect_streams(a, "hello\nend\n", "");
	run_expect_exit(&r, 0);
	close(a);
	run_end(&r);
}

static void stdin_survives_without_once(void **state)
{
	struct run r;

	run_begin(&r, "read a; read b; echo $a$b", "", ",\"stdin\":{\"open\":true}");
	run_start(&r);
	int a = run_attach(&r, true, NULL);

	assert_int_equal(write(a, "one\n", 4), 4);
	close(a); /* gone at once: its input counts */
	json_decref(run_event(&r, "attach_closed"));
	int b = run_attach(&r, true, NULL);

	assert_int_equal(write(b, "two\n", 4), 4);
	expect_streams(b, "onetwo\n", "");
	run_expect_exit(&r, 0);
	close(b);
	run_end(&r);
}

/* More than all buffers on the way, both directions at once. */
static void much_input_comes_back(void **state)
{
	struct run r;
	size_t n = 3 * MIB, sent = 0, got = 0;
	autofree char *data = xmalloc(n);
	autostr all;
	bool shut = false;

	memset(data, 'd', n);
	str_init(&all, 8 * MIB);
	run_begin(&r, "cat", "", ",\"stdin\":{\"open\":true,\"once\":true}");
	int a = run_attach(&r, true, NULL);

	run_start(&r);
	for (;;) {
		struct pollfd p = { .fd = a, .events = (short)(POLLIN | (sent < n ? POLLOUT : 0)) };
		char buf[65536];
		ssize_t k;

		assert_true(poll(&p, 1, 20000) > 0);
		if (p.revents & POLLOUT) {
			k = send(a, data + sent, n - sent, MSG_DONTWAIT);
			sent += k > 0 ? (size_t)k : 0;
		}
		if (sent == n && !shut)
			shut = shutdown(a, SHUT_WR) == 0;
		if (!(p.revents & (POLLIN | POLLHUP)))
			continue;
		k = read(a, buf, sizeof(buf));
		if (k <= 0)
			break;
		str_add(&all, buf, (size_t)k);
	}
	struct str out[STREAM_COUNT];

	str_init(&out[0], 8 * MIB);
	str_init(&out[1], 8 * MIB);
	unwrap(&all, out);
	got = out[0].len;
	str_fini(&out[0]);
	str_fini(&out[1]);
	assert_int_equal(got, n);
	run_expect_exit(&r, 0);
	close(a);
	run_end(&r);
}

/* A client that doesn't read stops the stream, as with Docker; when it leaves, the container goes on. */
static void stuck_client_holds_only_until_it_leaves(void **state)
{
	struct run r;

	run_begin(&r, "dd if=/dev/zero bs=65536 count=64 2>/dev/null; exit 3", "", "");
	int stuck = run_attach(&r, false, NULL);

	run_start(&r);
	struct pollfd p = { .fd = r.watch, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 300), 0); /* 4 MiB don't fit anywhere: it waits */
	close(stuck);
	run_expect_exit(&r, 3);
	run_end(&r);
}

static void tty_is_raw_and_detaches(void **state)
{
	struct run r;

	run_begin(&r, "stty -echo raw; echo ready; read x; echo got $x", ",\"terminal\":true",
		  ",\"stdin\":{\"open\":true}");
	run_start(&r);
	int a = run_attach(&r, true, "ctrl-a,x");
	char buf[64];

	(void)!read(a, buf, sizeof(buf)); /* "ready" */
	assert_int_equal(write(a, "\x01x", 2), 2);
	autojson *event = run_event(&r, "attach_closed");

	assert_true(json_bool(event, "detached", false));
	expect_raw(a, "");
	close(a);
	int b = run_attach(&r, true, NULL);

	assert_int_equal(write(b, "b\n", 2), 2);
	expect_raw(b, "got b\n");
	run_expect_exit(&r, 0);
	close(b);
	run_end(&r);
}

static pid_t start_exec(struct run *r, const char *id, const char *command, bool tty, bool in, int client)
{
	autojson *process = json_pack("{s:[s]}", "args", command);
	struct monitor_streams s = { .in = in, .out = true, .err = true, .client = client };
	struct monitor_exec x = { .id = id, .process = process, .tty = tty, .streams = client >= 0 ? &s : NULL };

	return monitor_exec(r->dir, &x, &r->e);
}

static void exec_has_streams_and_code(void **state)
{
	struct run r;
	int pair[2];

	run_begin(&r, "read x", "", ",\"stdin\":{\"open\":true}");
	assert_int_equal(start_exec(&r, "e0", "true", false, false, -1), -1);
	assert_int_equal(r.e.kind, ERR_CONFLICT); /* not started yet */
	run_start(&r);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_true(start_exec(&r, "e1", "cat; echo e >&2; exit 5", false, true, pair[1]) > 0);
	close(pair[1]);
	assert_int_equal(write(pair[0], "data\n", 5), 5);
	shutdown(pair[0], SHUT_WR);
	expect_streams(pair[0], "data\n", "e\n");
	close(pair[0]);
	autojson *event = run_event(&r, "exec_exit");

	assert_string_equal(json_str(event, "id", ""), "e1");
	assert_int_equal(json_int(event, "exit_code", 0), 5);
	assert_int_equal(start_exec(&r, "e1", "true", false, false, -1), -1);
	assert_int_equal(r.e.kind, ERR_CONFLICT);
	assert_int_equal(monitor_signal(r.dir, "e1", SIGTERM, false, &r.e), -1);
	assert_int_equal(r.e.kind, ERR_NOT_FOUND);
	/* One nobody looks at, ended with its container. */
	assert_true(start_exec(&r, "e2", "sleep 100", false, false, -1) > 0);
	autojson *now = monitor_state(r.dir, &r.e);

	assert_int_equal(json_array_size(json_object_get(now, "execs")), 2);
	assert_int_equal(monitor_signal(r.dir, NULL, SIGKILL, false, &r.e), 0);
	autojson *second = run_event(&r, "exec_exit");

	assert_int_equal(json_int(second, "exit_code", 0), 137);
	run_expect_exit(&r, 137);
	run_end(&r);
}

static void pause_and_signals(void **state)
{
	struct run r;
	autojson *top = NULL;

	run_begin(&r, "sleep 100", "", "");
	assert_int_equal(monitor_signal(r.dir, NULL, SIGTERM, false, &r.e), -1);
	assert_int_equal(r.e.kind, ERR_CONFLICT);
	assert_string_equal(r.e.msg, "container c1 is not running");
	run_start(&r);
	assert_int_equal(monitor_pause(r.dir, true, &r.e), 0);
	assert_int_equal(monitor_pause(r.dir, true, &r.e), -1);
	assert_int_equal(r.e.kind, ERR_CONFLICT);
	top = monitor_top(r.dir, NULL, &r.e);
	assert_non_null(top);
	assert_int_equal(strlen(json_str(top, "output", "")), 500000);
	assert_int_equal(monitor_signal(r.dir, NULL, SIGTERM, false, &r.e), 0);
	assert_int_equal(monitor_pause(r.dir, false, &r.e), 0);
	run_expect_exit(&r, 143);
	run_end(&r);
}

static void failed_create_is_told_by_start(void **state)
{
	struct run r;

	run_begin(&r, "true", ",\"fails\":true", "");
	int a;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	struct monitor_streams s = { .out = true, .client = pair[1] };

	assert_int_equal(monitor_attach(r.dir, &s, &r.e), -1);
	close(pair[1]);
	a = pair[0];
	expect_raw(a, "");
	close(a);
	assert_null(monitor_start(r.dir, &r.e));
	assert_int_equal(r.e.kind, ERR_NO_COMMAND);
	assert_string_equal(r.e.msg, "exec: \"nosuch\": executable file not found in $PATH");
	autojson *record = run_exit_record(&r);

	assert_int_equal(json_int(record, "exit_code", 0), 127);
	assert_string_equal(json_str(record, "error", ""), r.e.msg);
	assert_null(msg_recv(r.watch, 20000, NULL, NULL, &r.e)); /* no event, just the end */
	assert_int_equal(r.e.kind, ERR_NOT_FOUND);
	run_end(&r);
}

static void created_ends_with_its_last_connection(void **state)
{
	struct run r;

	run_begin(&r, "true", "", "");
	close_fd(&r.watch);
	int status;

	assert_int_equal(waitpid(r.monitor, &status, 0), r.monitor);
	assert_int_equal(status, 0);
	assert_null(run_exit_record(&r)); /* it has never run */
	assert_int_equal(io_remove_tree(AT_FDCWD, r.dir, &r.e), 0);
}

static void shutdown_kills(void **state)
{
	struct run r;

	run_begin(&r, "trap '' TERM; echo up; while :; do sleep 100; done", "", "");
	run_start(&r);
	assert_int_equal(monitor_end(r.dir, &r.e), 0);
	run_expect_exit(&r, 137);
	run_end(&r);
}

static void lost_sandbox_is_137(void **state)
{
	struct run r;

	run_begin(&r, "echo before; sleep 100", "", "");
	int a = run_attach(&r, false, NULL);
	char buf[15];

	run_start(&r);
	assert_int_equal(recv(a, buf, sizeof(buf), MSG_WAITALL), 15); /* the frame of "before" */
	assert_int_equal(monitor_signal(r.dir, NULL, SIGUSR2, false, &r.e), 0);
	expect_raw(a, "");
	run_expect_exit(&r, 137);
	autojson *record = run_exit_record(&r);

	assert_string_equal(json_str(record, "error", ""), "the virtual machine has died");
	close(a);
	run_end(&r);
}

static void rubbish_is_answered(void **state)
{
	static const char *const rubbish[] = { "{",
					       "[]",
					       "\"x\"",
					       "{\"op\":1}",
					       "{\"op\":\"nosuch\"}",
					       "{}",
					       "\xff",
					       "{\"op\":\"signal\",\"signal\":\"x\"}",
					       "{\"op\":\"exec\",\"id\":[]}" };
	struct run r;

	run_begin(&r, "sleep 100", "", "");
	run_start(&r);
	int sock = monitor_connect(r.dir, &r.e);

	for (size_t i = 0; i < array_len(rubbish); i++) {
		struct err e;

		assert_true(send(sock, rubbish[i], strlen(rubbish[i]), 0) > 0);
		autojson *answer = msg_recv(sock, 20000, NULL, NULL, &e);

		assert_non_null(answer);
		assert_int_equal(msg_check_error(answer, &e), -1);
		assert_int_equal(e.kind, ERR_INVALID);
	}
	close(sock);
	assert_int_equal(monitor_end(r.dir, &r.e), 0);
	run_expect_exit(&r, 137);
	run_end(&r);
}

/* A watcher that never reads must not stop anything. */
static void deaf_watcher_is_harmless(void **state)
{
	struct run r;

	run_begin(&r, "read x", "", ",\"stdin\":{\"open\":true}");
	run_start(&r);
	int deaf = monitor_watch(r.dir, NULL, &r.e);

	for (int i = 0; i < 600; i++) {
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		struct monitor_streams s = { .out = true, .client = pair[1] };

		assert_int_equal(monitor_attach(r.dir, &s, &r.e), 0);
		close(pair[0]);
		close(pair[1]);
		json_decref(run_event(&r, "attach_closed"));
	}
	assert_int_equal(monitor_end(r.dir, &r.e), 0);
	run_expect_exit(&r, 137);
	close(deaf);
	run_end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_goes_to_log_and_client),
		cmocka_unit_test(half_close_ends_stdin_once),
		cmocka_unit_test(stdin_survives_without_once),
		cmocka_unit_test(much_input_comes_back),
		cmocka_unit_test(stuck_client_holds_only_until_it_leaves),
		cmocka_unit_test(tty_is_raw_and_detaches),
		cmocka_unit_test(exec_has_streams_and_code),
		cmocka_unit_test(pause_and_signals),
		cmocka_unit_test(failed_create_is_told_by_start),
		cmocka_unit_test(created_ends_with_its_last_connection),
		cmocka_unit_test(shutdown_kills),
		cmocka_unit_test(lost_sandbox_is_137),
		cmocka_unit_test(rubbish_is_answered),
		cmocka_unit_test(deaf_watcher_is_harmless),
	};

	return cmocka_run_group_tests_name("monitor-run", tests, NULL, NULL);
}
