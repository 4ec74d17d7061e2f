/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hyperv-driver VM_DIR LIB_DIR KERNEL_DIR|- BUNDLE_DIR [exec ARG...]: run a bundle in hyperv isolation with the standard
 * streams inherited (a tty where config.json asks for one). With "exec", one more process is run beside init and its
 * exit code is the driver's. Not installed: for trying and for tests.
 *
 * A missing vm.template in silo.json is made and filled in.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "isolation/hyperv/template.h"
#include "isolation/isolation.h"

struct driver {
	struct loop *loop;
	struct process *init, *exec;
	pid_t vm;
	int exit_code;
	bool lost;
};

static void on_exited(void *arg, struct process *p, int exit_code)
{
	struct driver *d = arg;

	fprintf(stderr, "driver: %s exited %d\n", p == d->init ? "init" : "exec", exit_code);
	if (p == d->exec || !d->exec) {
		d->exit_code = exit_code;
		loop_stop(d->loop);
	}
}

static void on_oom(void *arg, struct container *c)
{
	fprintf(stderr, "driver: oom\n");
}

static void on_lost(void *arg, const struct err *why)
{
	struct driver *d = arg;

	fprintf(stderr, "driver: lost: %s\n", why->msg);
	d->exit_code = 125;
	d->lost = true;
	loop_stop(d->loop);
}

static struct process_io inherit(bool tty)
{
	struct process_io io = { .tty = tty, .rows = 24, .cols = 80, .in = -1, .out = -1, .err = -1, .tty_fd = -1 };

	if (!tty) {
		io.in = fcntl(0, F_DUPFD_CLOEXEC, 3);
		io.out = fcntl(1, F_DUPFD_CLOEXEC, 3);
		io.err = fcntl(2, F_DUPFD_CLOEXEC, 3);
	}
	return io;
}

/* CPU time of vmwp so far: unlike the wall clock it hardly depends on what else the host does. */
static long long cpu_ms(pid_t pid)
{
	struct timespec t = { 0 };
	clockid_t clock;

	if (!pid || clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
		return 0;
	return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void note(const char *what, int64_t since, pid_t vm)
{
	fprintf(stderr, "driver: %s %lld ms, vmwp's CPU so far %lld ms\n", what,
		(long long)(time_monotonic_ms() - since), cpu_ms(vm));
}

static int run_exec(struct driver *d, struct container *c, const json_t *init_process, char **argv, struct err *e)
{
	autojson *process = json_deep_copy(init_process);
	json_t *args = json_array();
	struct process_io io = inherit(false);
	int64_t start = time_monotonic_ms();

	for (; *argv; argv++)
		json_array_append_new(args, json_string(*argv));
	json_object_set_new(process, "args", args);
	json_object_set_new(process, "terminal", json_false());
	d->exec = isolation_hyperv.container_exec(c, process, &io, e);
	note("exec", start, d->vm);
	return d->exec ? 0 : -1;
}

static void show(const char *what, json_t *answer, const struct err *e)
{
	autofree char *text = answer ? json_text(answer) : xstrdup(e->msg);

	fprintf(stderr, "driver: %s: %s\n", what, text);
	json_decref(answer);
}

static void on_tty(void *arg, uint32_t events)
{
	int *fd = arg;
	char buf[4096];
	ssize_t n = read(*fd, buf, sizeof buf);

	if (n > 0)
		(void)io_write_all(1, buf, (size_t)n);
}

static void run(struct driver *d, const struct bundle *b, char **exec_argv, struct err *e)
{
	const struct isolation_events ev = { d, on_exited, on_oom, on_lost };
	const json_t *init = json_object_get(b->config, "process");
	struct process_io io = inherit(json_bool(init, "terminal", false));
	int64_t start = time_monotonic_ms();
	struct sandbox *s = isolation_hyperv.sandbox_open(b, d->loop, &ev, e);
	struct loop_io *tty = NULL;

	d->vm = s ? isolation_hyperv.sandbox_pid(s) : 0;
	note("sandbox_open", start, d->vm);
	if (!s)
		return;
	start = time_monotonic_ms();
	struct container *c = isolation_hyperv.container_create(s, b, &io, e);

	note("container_create", start, d->vm);
	if (c) {
		if (io.tty)
			tty = loop_add(d->loop, io.tty_fd, EPOLLIN, on_tty, &io.tty_fd, e);
		d->init = isolation_hyperv.container_init(c);
		start = time_monotonic_ms();
		int failed = isolation_hyperv.container_start(c, e);

		note("container_start", start, d->vm);
		if (!failed && exec_argv)
			failed = run_exec(d, c, init, exec_argv, e);
		if (!failed && getenv("DRIVER_TOP")) {
			autojson *args = json_array();

			show("top", isolation_hyperv.container_top(c, args, e), e);
			show("stats", isolation_hyperv.container_stats(c, e), e);
			fprintf(stderr, "driver: freeze %d", isolation_hyperv.container_freeze(c, true, e));
			fprintf(stderr, " thaw %d pid %d vm %d\n", isolation_hyperv.container_freeze(c, false, e),
				(int)isolation_hyperv.process_pid(d->init), (int)isolation_hyperv.sandbox_pid(s));
		}
		if (!failed)
			failed = loop_run(d->loop, e);
		loop_remove(&tty);
		start = time_monotonic_ms();
		isolation_hyperv.container_delete(c);
		note("container_delete", start, d->vm);
	}
	start = time_monotonic_ms();
	isolation_hyperv.sandbox_close(s);
	note("sandbox_close", start, 0);
}

int main(int argc, char **argv)
{
	struct err e = { 0 };
	struct driver d = { .exit_code = 125 };

	if (argc < 5) {
		fprintf(stderr, "usage: hyperv-driver VM_DIR LIB_DIR KERNEL_DIR|- BUNDLE_DIR [exec ARG...]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	log_init("hyperv-driver", LOG_LEVEL_INFO);
	d.loop = loop_new(&e);
	const struct template_options o = { argv[1], argv[2], strcmp(argv[3], "-") ? argv[3] : NULL };
	struct bundle *b = bundle_load(argv[4], &e);
	autofree char *template = b ? template_ensure(&o, &e) : NULL;

	if (template) {
		json_t *vm = json_object_get(b->silo, "vm");

		if (!vm)
			json_object_set_new(b->silo, "vm", vm = json_pack("{s:i}", "uid", 65000));
		json_object_set_new(vm, "template", json_string(template));
		run(&d, b, argc > 6 && !strcmp(argv[5], "exec") ? argv + 6 : NULL, &e);
	}
	if (e.kind)
		fprintf(stderr, "driver: %s: %s\n", err_kind_name(e.kind), e.msg);
	bundle_free(b);
	loop_free(d.loop);
	return d.exit_code;
}
