/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Containers of process isolation: init is the caller's own child or grandchild, nothing stays behind but it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "isolation/process/runtime.h"
#include "oci/hooks.h"
#include "os/cgroup.h"
#include "os/pidfd.h"
#include "runtime/runtime.h"

#define DEATH_TIMEOUT_MS 10000

/* What a container needs while this process is its maker. */
struct creation {
	struct record *r;
	struct bundle *bundle;
	struct runtime_wants wants;
	struct container *c;
};

/* ---- hooks ---- */

static int hooks_at(void *arg, enum runtime_moment m, pid_t pid, struct err *e)
{
	struct creation *cr = arg;
	struct record *r = cr->r;
	autojson *state = NULL;

	/* init has a copy of the record, and learns its pid here */
	r->pid = pid;
	/* a hook may ask for the state */
	if (m == MOMENT_CREATED && record_save(r, pid, e))
		return -1;
	state = record_state(r, STATUS_CREATED);
	/* "creating" until the operation create is through */
	if (m != MOMENT_STARTING)
		json_object_set_new(state, "status", json_string("creating"));
	switch (m) {
	case MOMENT_CREATED:
		return hooks_run(r->config, "prestart", state, -1, e) ||
				       hooks_run(r->config, "createRuntime", state, -1, e)
			       ? -1
			       : 0;
	case MOMENT_INSIDE:
		return hooks_run(r->config, "createContainer", state, -1, e);
	case MOMENT_STARTING:
		return hooks_run(r->config, "startContainer", state, -1, e);
	}
	return 0;
}

/* ---- create ---- */

/* Both ends are open in init: neither waits for the other, and there is no early end of file. */
static int open_fifo(const struct record *r, const char *name, struct err *e)
{
	int fd;

	if (mkfifoat(r->dir_fd, name, 0600))
		return err_set(e, ERR_SYSTEM, errno, "create %s/%s", r->dir, name);
	fd = openat(r->dir_fd, name, O_RDWR | O_CLOEXEC);
	return fd >= 0 ? fd : err_set(e, ERR_SYSTEM, errno, "open %s/%s", r->dir, name);
}

/* Copies of the caller's streams: what create closes must not be its own stderr. */
static void own_streams(struct process_io *io)
{
	io->in = fcntl(0, F_DUPFD_CLOEXEC, 3);
	io->out = fcntl(1, F_DUPFD_CLOEXEC, 3);
	io->err = fcntl(2, F_DUPFD_CLOEXEC, 3);
}

static void creation_free(struct creation *cr)
{
	close_fd(&cr->wants.go);
	close_fd(&cr->wants.status);
	bundle_free(cr->bundle);
	free(cr);
}

static struct creation *creation_new(struct record *r, const struct launch_options *o, bool started, struct err *e)
{
	static const char *const kinds[] = { "prestart", "createRuntime", "createContainer", "startContainer" };
	struct creation *cr = xcalloc(1, sizeof(*cr));

	cr->r = r;
	cr->wants = (struct runtime_wants){ .go = -1,
					    .status = -1,
					    .preserve_fds = (unsigned)o->preserve_fds,
					    .no_pivot = o->no_pivot,
					    .keyring = !o->no_new_keyring,
					    .cgroup_given = json_object_get(r->doc, "scope"),
					    .moment = hooks_any(r->config, kinds, array_len(kinds)) ? hooks_at : NULL,
					    .arg = cr };
	cr->bundle = record_bundle(r, e);
	if (cr->bundle && !started) {
		cr->wants.go = open_fifo(r, "go", e);
		cr->wants.status = cr->wants.go < 0 ? -1 : open_fifo(r, "status", e);
	}
	if (cr->bundle && (started || cr->wants.status >= 0))
		return cr;
	creation_free(cr);
	return NULL;
}

static int hand_over(struct creation *cr, const struct launch_options *o, int tty, struct launched *out, struct err *e)
{
	struct process *init = isolation_process.container_init(cr->c);
	int listener = process_seccomp_listener(init);

	if (listener >= 0 && seccomp_send_listener(cr->r, cr->r->config, out->pid, listener, e))
		return -1;
	if (tty < 0 || !o->console_socket)
		return 0;
	return console_send(o->console_socket, tty, e);
}

static void process_destroy_created(struct record *r, struct launched *l)
{
	struct creation *cr = l->container;

	isolation_process.container_delete(cr->c);
	close_fd(&l->tty);
	creation_free(cr);
}

static int process_create(struct record *r, const struct launch_options *o, bool started, struct launched *out,
			  struct err *e)
{
	struct creation *cr = creation_new(r, o, started, e);
	struct process_io io = { .in = -1, .out = -1, .err = -1, .tty_fd = -1 };

	if (!cr)
		return -1;
	io.tty = cr->bundle->spec->process.terminal;
	io.rows = cr->bundle->spec->process.rows;
	io.cols = cr->bundle->spec->process.cols;
	if (!io.tty)
		own_streams(&io);
	cr->c = process_runtime_create(cr->bundle, &cr->wants, &io, e);
	if (!cr->c) {
		creation_free(cr);
		return -1;
	}
	*out = (struct launched){ .pid = isolation_process.process_pid(isolation_process.container_init(cr->c)),
				  .pidfd = process_pidfd(isolation_process.container_init(cr->c)),
				  .tty = io.tty ? io.tty_fd : -1,
				  .container = cr };
	if (!process_has_cgroup(cr->c))
		json_object_set_new(r->doc, "cgroup", json_string(""));
	if (record_save(r, out->pid, e) || hand_over(cr, o, out->tty, out, e)) {
		process_destroy_created(r, out);
		return -1;
	}
	return 0;
}

static int process_start_created(struct record *r, struct launched *l, struct err *e)
{
	return isolation_process.container_start(((struct creation *)l->container)->c, e);
}

static int process_wait(struct launched *l, struct err *e)
{
	return process_wait_end(isolation_process.container_init(((struct creation *)l->container)->c), e);
}

static void process_leave(struct launched *l)
{
	struct creation *cr = l->container;

	process_runtime_close(cr->c);
	close_fd(&l->tty);
	creation_free(cr);
}

/* ---- start ---- */

/* End of file: init has closed its end, and that by exec. */
static int wait_status(int status, struct err *e)
{
	struct err failure;
	ssize_t n;

	do {
		n = read(status, &failure, sizeof(failure));
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return 0;
	if (n != sizeof(failure))
		return err_set(e, ERR_SYSTEM, n < 0 ? errno : 0, "wait for exec");
	failure.msg[sizeof(failure.msg) - 1] = '\0';
	*e = failure;
	return -1;
}

static int process_start(struct record *r, struct err *e)
{
	/* without waiting for an end of the other kind: init has both open, or is gone */
	autoclose int status = openat(r->dir_fd, "status", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	autoclose int go = openat(r->dir_fd, "go", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	int rc;

	if (status < 0 || go < 0 || fcntl(status, F_SETFL, O_RDONLY))
		return err_set(e, ERR_CONFLICT, errno == ENXIO ? 0 : errno, "the first process is gone");
	if (write(go, "G", 1) != 1)
		return err_set(e, ERR_SYSTEM, errno, "start the first process");
	rc = wait_status(status, e);
	unlinkat(r->dir_fd, "go", 0);
	unlinkat(r->dir_fd, "status", 0);
	return rc;
}

/* ---- exec ---- */

static int signal_process(void *arg, int signo)
{
	return pidfd_signal(*(const int *)arg, signo, NULL);
}

/* Of a running container: free with process_runtime_close() and bundle_free(). */
static struct container *open_running(struct record *r, struct runtime_wants *w, struct bundle **b, struct err *e)
{
	struct cgroup *cg;

	*b = record_bundle(r, e);
	if (!*b)
		return NULL;
	cg = record_cgroup(r, e);
	return cg ? process_runtime_open(*b, w, r->pid, r->pidfd, cg, e) : NULL;
}

static int watch_exec(struct record *r, struct process *p, const struct launch_options *o, int tty, int signals,
		      struct err *e)
{
	pid_t pid = isolation_process.process_pid(p);
	int pidfd = process_pidfd(p);
	const struct foreground f = {
		.pidfd = pidfd, .tty = o->console_socket ? -1 : tty, .signal = signal_process, .arg = &pidfd
	};
	int listener = process_seccomp_listener(p);

	if ((listener >= 0 && seccomp_send_listener(r, r->config, pid, listener, e)) ||
	    (tty >= 0 && o->console_socket && console_send(o->console_socket, tty, e)) ||
	    write_pid_file(o->pid_file, pid, e)) {
		(void)!pidfd_signal(pidfd, SIGKILL, NULL);
		return -1;
	}
	if (o->detach)
		return 0;
	foreground_run(&f, signals);
	return process_wait_end(p, e);
}

static int process_exec(struct record *r, const json_t *process, const struct launch_options *o, struct err *e)
{
	bool terminal = json_bool(process, "terminal", false);
	struct runtime_wants w = {
		.go = -1, .status = -1, .preserve_fds = (unsigned)o->preserve_fds, .keyring = !o->no_new_keyring,
		.even_paused = o->ignore_paused,
	};
	struct process_io io = { .tty = terminal, .in = -1, .out = -1, .err = -1, .tty_fd = -1 };
	autoclose int signals = o->detach ? -1 : foreground_begin(e);
	struct bundle *b = NULL;
	struct container *c = open_running(r, &w, &b, e);
	struct process *p = NULL;
	int rc = -1;

	if (c && !terminal)
		own_streams(&io);
	console_size(process, &io.rows, &io.cols);
	if (c)
		p = isolation_process.container_exec(c, process, &io, e);
	close_fd(&r->dir_fd); /* the lock: what follows takes as long as the process */
	if (p)
		rc = watch_exec(r, p, o, io.tty_fd, signals, e);
	close_fd(&io.tty_fd);
	process_runtime_close(c);
	bundle_free(b);
	return rc;
}

/* ---- the rest ---- */

/* For what is done to all processes of a container. */
static struct cgroup *open_cgroup(struct record *r, struct err *e)
{
	struct cgroup *cg = record_cgroup(r, e);

	if (!cg || !cgroup_is_none(cg))
		return cg;
	cgroup_close(cg);
	err_set(e, ERR_UNSUPPORTED, 0, "the container has no cgroup, as its user may not make one");
	return NULL;
}

static int process_kill(struct record *r, int signo, bool all, struct err *e)
{
	struct cgroup *cg;
	int rc;

	if (!all)
		return pidfd_signal(r->pidfd, signo, e);
	cg = open_cgroup(r, e);
	rc = cg ? cgroup_signal(cg, signo, e) : -1;
	cgroup_close(cg);
	return rc;
}

/* All processes and the cgroup; also where init has ended and left others behind. */
static int process_clean(struct record *r, struct err *e)
{
	struct pollfd p = { .fd = r->pidfd, .events = POLLIN };
	struct err why = { 0 };
	struct cgroup *cg = record_cgroup(r, &why);

	if (!cg && why.kind != ERR_NOT_FOUND) {
		*e = why;
		return -1;
	}
	if (r->pidfd >= 0)
		(void)!pidfd_signal(r->pidfd, SIGKILL, NULL);
	if (cg) {
		if (cgroup_is_frozen(cg) && cgroup_freeze(cg, false, &why))
			log_warn("thaw: %s", why.msg);
		if (cgroup_signal(cg, SIGKILL, &why))
			log_warn("kill: %s", why.msg);
	}
	if (r->pidfd >= 0 && poll(&p, 1, DEATH_TIMEOUT_MS) != 1) {
		cgroup_close(cg);
		return err_set(e, ERR_TIMEOUT, 0, "process %d doesn't die", r->pid);
	}
	cgroup_remove(cg);
	return 0;
}

static int process_pause(struct record *r, bool paused, struct err *e)
{
	struct cgroup *cg = open_cgroup(r, e);
	int rc = cg ? cgroup_freeze(cg, paused, e) : -1;

	cgroup_close(cg);
	return rc;
}

static int process_update(struct record *r, const json_t *resources, struct err *e)
{
	autofree struct cgroup_limits *l = xcalloc(1, sizeof(*l));
	struct cgroup *cg;
	int rc;

	if (oci_resources_parse(resources, l, e))
		return -1;
	cg = open_cgroup(r, e);
	rc = cg ? cgroup_update(cg, l, e) : -1;
	cgroup_close(cg);
	return rc;
}

static json_t *process_pids(struct record *r, struct err *e)
{
	struct cgroup *cg = open_cgroup(r, e);
	json_t *pids = cg ? cgroup_pids(cg, e) : NULL;

	cgroup_close(cg);
	return pids;
}

static json_t *process_stats(struct record *r, struct err *e)
{
	struct runtime_wants w = { .go = -1, .status = -1 };
	struct bundle *b = NULL;
	struct container *c = open_running(r, &w, &b, e);
	json_t *stats = c ? isolation_process.container_stats(c, e) : NULL;

	process_runtime_close(c);
	bundle_free(b);
	return stats;
}

const struct mode process_mode = {
	.create = process_create,
	.start_created = process_start_created,
	.start = process_start,
	.wait = process_wait,
	.leave = process_leave,
	.destroy = process_destroy_created,
	.exec = process_exec,
	.kill = process_kill,
	.clean = process_clean,
	.pause = process_pause,
	.update = process_update,
	.pids = process_pids,
	.stats = process_stats,
};
