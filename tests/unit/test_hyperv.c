/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * isolation_hyperv against guests that behave, lie, fall silent or die. A child process speaks the agent channel in
 * place of a virtual machine: vm_clone() and its siblings are defined here.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "isolation/hyperv/allowance.h"
#include "isolation/hyperv/channel.h"
#include "isolation/hyperv/vm.h"
#include "isolation/isolation.h"

#define LOST "The virtual machine or container exited unexpectedly"

/* ---- the guest ---- */

struct guest {
	struct channel *channel;
	int fd;
	const char *manners; /* template_dir of the test's bundle */
	struct stream *out;
};

/* 200 KB of output at once, then the news of the end: all of it fits into a stream's window. */
static void speak_and_end(struct guest *g, const json_t *streams)
{
	static const char line[] = "0123456789abcde\n";
	int file = memfd_create("output", 0);
	struct err e;

	for (int i = 0; i < 200 * 64; i++)
		if (write(file, line, 16) != 16)
			_exit(9);
	lseek(file, 0, SEEK_SET);
	const struct stream_options o = { .id = (uint32_t)json_int(streams, "stdout", 0), .from = file, .to = -1 };

	g->out = stream_new(g->channel, &o, &e);
	autojson *body = json_pack("{s:i, s:i}", "process", 1, "exit_code", 42);

	channel_event(g->channel, "process_exited", body);
}

static void guest_request(void *arg, int64_t id, const char *op, const json_t *body)
{
	struct guest *g = arg;
	bool target = !strcmp(op, "start");
	struct err e;

	if (target && !strcmp(g->manners, "silent"))
		return;
	if (target && !strcmp(g->manners, "garbage") && write(g->fd, "GET / HTTP/1.1\r\n\r\n", 18) == 18)
		return;
	if (target && !strcmp(g->manners, "dies"))
		_exit(1);
	if (target && !strcmp(g->manners, "refuses")) {
		err_set(&e, ERR_NO_COMMAND, 0, "exec: \"x\x1b[2J\": executable file not found in $PATH");
		channel_reply(g->channel, id, NULL, &e);
		return;
	}
	autojson *answer = json_pack("{s:i}", "pid", !strcmp(g->manners, "pid") ? -1 : 7);

	channel_reply(g->channel, id, answer, NULL);
	if (!strcmp(op, "create") && !strcmp(g->manners, "speaks"))
		speak_and_end(g, json_object_get(body, "streams"));
	if (target && !strcmp(g->manners, "dies later")) {
		channel_flush(g->channel, 1000);
		_exit(1);
	}
}

static void guest_broken(void *arg, const struct err *why)
{
	_exit(0);
}

static _Noreturn void guest_main(int fd, const char *manners)
{
	struct err e;
	struct guest g = { .fd = fd, .manners = manners };
	const struct channel_handlers h = { &g, guest_request, NULL, guest_broken };
	struct loop *l = loop_new(&e);

	g.channel = channel_new(l, fd, &h, &e);
	_exit(loop_run(l, &e) ? 1 : 0);
}

/* ---- vm.h ---- */

struct vm {
	pid_t pid;
	int pidfd, channel;
	int qmp; /* nothing ever comes */
};

struct vm *vm_clone(const struct vm_options *o, struct err *e)
{
	struct vm *v = xcalloc(1, sizeof *v);
	int fd[2];

	if (!strcmp(o->template_dir, "none")) {
		free(v);
		err_set(e, ERR_UNAVAILABLE, 0, "nothing runs here");
		return NULL;
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
	v->pid = fork();
	if (!v->pid) {
		close(fd[0]);
		guest_main(fd[1], o->template_dir);
	}
	close(fd[1]);
	v->channel = fd[0];
	v->pidfd = (int)syscall(SYS_pidfd_open, v->pid, 0);
	v->qmp = eventfd(0, EFD_CLOEXEC);
	return v;
}

int vm_plug_disk(struct vm *v, int target, const struct vm_disk *disk, struct err *e)
{
	return 0;
}

int vm_unplug_disk(struct vm *v, int target, struct err *e)
{
	return 0;
}

int vm_open_disk(const char *path, int flags, int *fd, struct err *e)
{
	return 0;
}

int vm_share(struct vm *v, const int *mounts, size_t n, unsigned first, struct err *e)
{
	return 0;
}

int vm_unshare(struct vm *v, size_t n, unsigned first, struct err *e)
{
	return 0;
}

int vm_plug_card(struct vm *v, int card, int tap, struct err *e)
{
	return 0;
}

int vm_unplug_card(struct vm *v, int card, struct err *e)
{
	return 0;
}

int vm_trim(struct vm *v, struct err *e)
{
	return 0;
}

int vm_qmp_fd(const struct vm *v)
{
	return v->qmp;
}

bool vm_drain(struct vm *v)
{
	return false;
}

int vm_attach_disks(struct vm *v, const char *image_path, const char *disk_path, struct err *e)
{
	return 0;
}

int vm_channel(const struct vm *v)
{
	return v->channel;
}

pid_t vm_pid(const struct vm *v)
{
	return v->pid;
}

int vm_pidfd(const struct vm *v)
{
	return v->pidfd;
}

const char *vm_last_words(struct vm *v)
{
	return "qemu: out of\nluck";
}

/* No cgroups without root. */
int allowance_open(struct allowance *a, const struct bundle *b, const char *template_dir, struct err *e)
{
	*a = (struct allowance){ .cpus = 1 };
	return 0;
}

int allowance_move(struct allowance *a, pid_t pid, struct err *e)
{
	return 0;
}

int allowance_moved(struct allowance *a, struct err *e)
{
	return 0;
}

int allowance_hold(struct allowance *a, struct err *e)
{
	return 0;
}

int allowance_release(struct allowance *a, struct err *e)
{
	return 0;
}

int allowance_update(struct allowance *a, const json_t *resources, struct err *e)
{
	return 0;
}

bool allowance_exceeded(const struct allowance *a)
{
	return false;
}

void allowance_close(struct allowance *a)
{
}

void vm_free(struct vm *v)
{
	if (!v)
		return;
	kill(v->pid, SIGKILL);
	waitpid(v->pid, NULL, 0);
	close(v->pidfd);
	close(v->channel);
	close(v->qmp);
	free(v);
}

/* ---- the host ---- */

struct host {
	struct loop *loop;
	struct bundle bundle;
	struct sandbox *sandbox;
	struct container *container;
	int out; /* where the caller reads the container's output */
	unsigned exits, losses;
	int exit_code;
	struct err why;
	bool clean_up_in_handler;
};

static void clean_up(struct host *h)
{
	if (h->container)
		isolation_hyperv.container_delete(take_ptr(&h->container));
	if (h->sandbox)
		isolation_hyperv.sandbox_close(take_ptr(&h->sandbox));
}

static void on_exited(void *arg, struct process *p, int exit_code)
{
	struct host *h = arg;

	h->exits++;
	h->exit_code = exit_code;
	if (h->clean_up_in_handler)
		clean_up(h);
}

static void on_lost(void *arg, const struct err *why)
{
	struct host *h = arg;

	h->losses++;
	h->why = *why;
	if (h->clean_up_in_handler)
		clean_up(h);
}

static int open_host(struct host *h, const char *manners, struct err *e)
{
	const struct isolation_events ev = { h, on_exited, NULL, on_lost };

	*h = (struct host){ .loop = loop_new(e), .out = -1 };
	h->bundle = (struct bundle){ .id = "0123456789abcdef0123456789abcdef", .isolation = "hyperv" };
	h->bundle.rootfs.image = "/nowhere/image";
	h->bundle.rootfs.disk = "/nowhere/disk";
	h->bundle.config = json_pack("{s:{s:[s]}}", "process", "args", "true");
	h->bundle.silo = json_pack("{s:{s:s, s:i}}", "vm", "template", manners, "timeout_ms",
				   !strcmp(manners, "silent") ? 300 : 20000);
	h->sandbox = isolation_hyperv.sandbox_open(&h->bundle, h->loop, &ev, e);
	return h->sandbox ? 0 : -1;
}

static int open_container(struct host *h, struct err *e)
{
	struct process_io io = { .in = -1, .err = -1 };
	int fd[2];

	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	h->out = fd[0];
	io.out = fd[1];
	h->container = isolation_hyperv.container_create(h->sandbox, &h->bundle, &io, e);
	return h->container ? 0 : -1;
}

static void close_host(struct host *h)
{
	clean_up(h);
	close_fd(&h->out);
	json_decref(h->bundle.config);
	json_decref(h->bundle.silo);
	loop_free(h->loop);
}

static void run_until(struct host *h, const unsigned *count)
{
	struct err e;

	while (!*count)
		assert_true(loop_once(h->loop, 5000, &e) > 0);
}

/* ---- cases ---- */

static const struct {
	const char *manners;
	enum err_kind kind;
	const char *msg; /* of container_start */
	unsigned losses;
} starts[] = {
	{ "good", ERR_NONE, NULL, 0 },
	{ "refuses", ERR_NO_COMMAND, "exec: \"x?[2J\": executable file not found in $PATH", 0 },
	{ "silent", ERR_TIMEOUT,
	  "The operation timed out because a response was not received from the virtual machine or container", 0 },
	{ "garbage", ERR_SYSTEM, LOST ": its agent broke the protocol: unknown frame type 20564", 1 },
	{ "dies", ERR_SYSTEM, LOST ": qemu: out of luck", 1 },
	{ "dies later", ERR_NONE, NULL, 1 },
};

static void test_starts(void **state)
{
	for (size_t i = 0; i < array_len(starts); i++) {
		for (int in_handler = 0; in_handler < 2; in_handler++) {
			struct host h;
			struct err e = { 0 };

			assert_int_equal(open_host(&h, starts[i].manners, &e), 0);
			h.clean_up_in_handler = in_handler;
			assert_int_equal(open_container(&h, &e), 0);
			assert_int_equal(isolation_hyperv.process_pid(isolation_hyperv.container_init(h.container)), 7);
			int rc = isolation_hyperv.container_start(h.container, &e);

			assert_int_equal(rc, starts[i].kind ? -1 : 0);
			if (rc) {
				assert_int_equal(e.kind, starts[i].kind);
				assert_string_equal(e.msg, starts[i].msg);
			}
			assert_int_equal(h.losses, 0); /* never from inside a call */
			if (starts[i].losses)
				run_until(&h, &h.losses);
			assert_int_equal(h.losses, starts[i].losses);
			close_host(&h);
		}
	}
}

static void test_bad_pid(void **state)
{
	struct host h;
	struct err e;

	assert_int_equal(open_host(&h, "pid", &e), 0);
	assert_int_equal(open_container(&h, &e), -1);
	assert_string_equal(e.msg, "the virtual machine answered rubbish");
	close_host(&h);
}

static void test_no_vm(void **state)
{
	struct host h;
	struct err e;

	assert_int_equal(open_host(&h, "none", &e), -1);
	assert_int_equal(e.kind, ERR_UNAVAILABLE);
	close_host(&h);
}

/* The exit is told only when the reader has, or could have, all of the output. */
static void test_output_before_exit(void **state)
{
	for (int in_handler = 0; in_handler < 2; in_handler++) {
		struct host h;
		struct err e;
		char buf[4096];
		size_t got = 0;

		assert_int_equal(open_host(&h, "speaks", &e), 0);
		h.clean_up_in_handler = in_handler;
		assert_int_equal(open_container(&h, &e), 0);
		assert_int_equal(isolation_hyperv.container_start(h.container, &e), 0);
		while (!h.exits) {
			struct pollfd p = { .fd = h.out, .events = POLLIN };

			if (poll(&p, 1, 0) > 0)
				got += (size_t)read(h.out, buf, sizeof buf);
			assert_true(loop_once(h.loop, 20, &e) >= 0);
		}
		assert_int_equal(h.exit_code, 42);
		assert_true(got >= 200 * 1024 - 65536); /* the rest is in the pipe */
		close_fd(&h.out);
		close_host(&h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_starts),
		cmocka_unit_test(test_bad_pid),
		cmocka_unit_test(test_no_vm),
		cmocka_unit_test(test_output_before_exit),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
