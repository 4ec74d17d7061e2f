/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * process-driver - run one bundle with process isolation, without monitor or engine. For tests and measurements.
 *
 *	process-driver [OPTION...] BUNDLE
 *	--exec JSON     run this OCI process in the container too, before its init is started; may be repeated
 *	--top, --stats  print what the operation gives after the start
 *	--freeze        freeze and thaw after the start
 *	--kill N        send signal N to the container after the start
 *	--all N         send signal N to all its processes after the start
 *	--update JSON   change resources after the start
 *	--no-start      create and delete only
 *
 * Exit code: the container's; 125 with the error on stderr when it could not be run.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "isolation/isolation.h"

struct run {
	struct loop *loop;
	struct container *c;
	int exit_code, tty;
	bool oom;
};

static void on_exit_event(void *arg, struct process *p, int exit_code)
{
	struct run *r = arg;

	if (p != isolation_process.container_init(r->c)) {
		fprintf(stderr, "exec exit %d\n", exit_code);
		isolation_process.process_free(p);
		return;
	}
	r->exit_code = exit_code;
	loop_stop(r->loop);
}

static void on_oom(void *arg, struct container *c)
{
	((struct run *)arg)->oom = true;
}

static void on_tty(void *arg, uint32_t events)
{
	struct run *r = arg;
	char buf[4096];
	ssize_t n = read(r->tty, buf, sizeof(buf));

	if (n > 0)
		(void)!write(1, buf, (size_t)n);
}

static int fail(const struct err *e)
{
	fprintf(stderr, "%s: %s\n", err_kind_name(e->kind), e->msg);
	return -1;
}

static struct process_io own_stdio(bool tty)
{
	if (tty)
		return (struct process_io){ .tty = true, .rows = 24, .cols = 80, .in = -1, .out = -1, .err = -1 };
	return (struct process_io){ .in = dup(0), .out = dup(1), .err = dup(2) };
}

static int print(json_t *j, const struct err *e)
{
	if (!j)
		return fail(e);
	json_dumpf(j, stderr, JSON_INDENT(1));
	fputc('\n', stderr);
	json_decref(j);
	return 0;
}

static int do_exec(struct run *r, const char *text)
{
	struct err e;
	autojson *spec = json_parse(text, strlen(text), "--exec", &e);
	struct process_io io;

	if (!spec)
		return fail(&e);
	io = own_stdio(json_bool(spec, "terminal", false));
	if (!isolation_process.container_exec(r->c, spec, &io, &e))
		return fail(&e);
	if (io.tty && !loop_add(r->loop, r->tty = io.tty_fd, EPOLLIN, on_tty, r, &e))
		return fail(&e);
	return 0;
}

static int do_option(struct run *r, const char *option, const char *value)
{
	const struct isolation *iso = &isolation_process;
	autojson *none = json_array();
	autojson *resources = NULL;
	struct err e = { 0 };

	if (!strcmp(option, "--top"))
		return print(iso->container_top(r->c, none, &e), &e);
	if (!strcmp(option, "--stats"))
		return print(iso->container_stats(r->c, &e), &e);
	if (!strcmp(option, "--freeze"))
		return iso->container_freeze(r->c, true, &e) || iso->container_freeze(r->c, false, &e) ? fail(&e) : 0;
	if (!strcmp(option, "--kill") || !strcmp(option, "--all"))
		return iso->process_signal(iso->container_init(r->c), atoi(value), option[2] == 'a', &e) ? fail(&e) : 0;
	if (!strcmp(option, "--update")) {
		resources = json_parse(value, strlen(value), option, &e);
		return !resources || iso->container_update(r->c, resources, &e) ? fail(&e) : 0;
	}
	return 0;
}

static bool has_value(const char *option)
{
	return strcmp(option, "--top") && strcmp(option, "--stats") && strcmp(option, "--freeze") &&
	       strcmp(option, "--no-start");
}

static int run(struct run *r, struct sandbox *s, const struct bundle *b, char **argv, int n)
{
	struct process_io io = own_stdio(b->spec->process.terminal);
	struct err e = { 0 };
	bool start = true;

	r->c = isolation_process.container_create(s, b, &io, &e);
	if (!r->c)
		return fail(&e);
	if (io.tty && !loop_add(r->loop, r->tty = io.tty_fd, EPOLLIN, on_tty, r, &e))
		return fail(&e);
	for (int i = 1; i < n; i++)
		start &= strcmp(argv[i], "--no-start") != 0;
	for (int i = 1; start && i + 1 < n; i++) {
		if (!strcmp(argv[i], "--exec") && do_exec(r, argv[i + 1]))
			return -1;
	}
	if (!start)
		return 0;
	if (isolation_process.container_start(r->c, &e))
		return fail(&e);
	for (int i = 1; i < n; i++) {
		if (do_option(r, argv[i], argv[i + 1]))
			return -1;
		i += has_value(argv[i]);
	}
	return loop_run(r->loop, &e) ? fail(&e) : 0;
}

int main(int argc, char **argv)
{
	struct run r = { .exit_code = 0 };
	struct isolation_events ev = { .arg = &r, .process_exited = on_exit_event, .oom = on_oom };
	struct err e = { 0 };
	struct bundle *b;
	struct sandbox *s;
	int failed;

	log_init("process-driver", LOG_LEVEL_DEBUG);
	if (argc < 2)
		return 125;
	r.loop = loop_new(&e);
	b = bundle_load(argv[argc - 1], &e);
	s = b && r.loop ? isolation_process.sandbox_open(b, r.loop, &ev, &e) : NULL;
	if (!s) {
		fail(&e);
		return 125;
	}
	failed = run(&r, s, b, argv, argc - 1);
	isolation_process.container_delete(r.c);
	isolation_process.sandbox_close(s);
	bundle_free(b);
	loop_free(r.loop);
	if (r.oom)
		fprintf(stderr, "oom\n");
	return failed ? 125 : r.exit_code;
}
