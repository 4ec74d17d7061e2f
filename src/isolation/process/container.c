/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Life of a container as its supervisor sees it: create, start, delete. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "base/step.h"
#include "isolation/process/child.h"
#include "isolation/process/sync.h"
#include "os/ns.h"
#include "os/pidfd.h"
#include "os/userns.h"

#define DEATH_TIMEOUT_MS 10000

/* What one container_create works on. */
struct creation {
	struct container *c;
	struct process_io *io;
	int child_sync;
	struct err child_error; /* as the child worded it: the texts are Docker's */
};

/* An ordinary user may run what asks for no limits. */
static bool may_lack_cgroup(const struct container *c, struct err *why)
{
	bool denied = why->sys == EACCES || why->sys == EPERM || why->sys == EROFS;

	if (!c->runtime || !denied || (!geteuid() && userns_is_initial()))
		return false;
	if (!cgroup_limits_any(&c->b->spec->limits))
		return true;
	err_prefix(why, "linux.resources: limits need a cgroup");
	return false;
}

static int make_cgroup(void *arg, struct err *e)
{
	struct container *c = ((struct creation *)arg)->c;
	autofree char *fallback = xasprintf("/silo/%s", c->b->id);
	const char *path = c->b->spec->cgroups_path ? c->b->spec->cgroups_path : fallback;
	const struct cgroup_limits *limits = &c->b->spec->limits;
	struct err why = { 0 };

	c->cg = c->runtime && c->runtime->cgroup_given ? cgroup_adopt(path, limits, &why)
						       : cgroup_new(path, limits, &why);
	if (!c->cg && may_lack_cgroup(c, &why)) {
		log_warn("%s: the container has no cgroup: no limits, no pause, no statistics", why.msg);
		c->cg = cgroup_none();
	}
	if (!c->cg && e)
		*e = why;
	return c->cg ? 0 : -1;
}

static void remove_cgroup(void *arg)
{
	struct container *c = ((struct creation *)arg)->c;

	cgroup_remove(c->cg);
	c->cg = NULL;
}

static bool wants_overlay(void *arg)
{
	return ((struct creation *)arg)->c->b->rootfs.n_layers;
}

/* A volatile overlay leaves a mark that forbids its second use: we know that nothing was lost, or don't care. */
static int prepare_overlay(void *arg, struct err *e)
{
	const struct rootfs *r = &((struct creation *)arg)->c->b->rootfs;
	autoclose int work = -1;

	if (io_mkdir_all(r->upper, 0755, e) || io_mkdir_all(r->work, 0700, e))
		return -1;
	work = open(r->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (work < 0)
		return err_set(e, ERR_SYSTEM, errno, "open %s", r->work);
	if (unlinkat(work, "work/incompat/volatile/dirty", 0) == 0)
		unlinkat(work, "work/incompat/volatile", AT_REMOVEDIR);
	return 0;
}

/* The cgroup namespace is made later by the child, when it is in its cgroup. */
static uint64_t clone_flags(const struct oci_spec *s)
{
	uint64_t flags = CLONE_NEWNS;

	for (size_t i = 0; i < s->n_namespaces; i++) {
		if (!s->namespaces[i].path && s->namespaces[i].flag != CLONE_NEWCGROUP)
			flags |= s->namespaces[i].flag;
	}
	/* unshared by the child: the offsets are to be written before anybody is in it */
	return flags & ~ns_flag("time");
}

/* See birth.c. */
static pid_t clone_first(struct creation *cr, struct err *e)
{
	struct container *c = cr->c;
	pid_t pid = pidfd_clone(0, cgroup_clone_fd(c->cg), &c->init.pidfd, e);

	if (pid == 0)
		init_child_staged(c, cr->io, cr->child_sync, clone_flags(c->b->spec) & ~(uint64_t)CLONE_NEWUSER);
	return pid;
}

/* Joining an existing pid namespace concerns only children: switch, clone, switch back. */
static pid_t clone_in_pidns(struct container *c, const char *path, struct err *e)
{
	autoclose int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	pid_t pid;

	if (own < 0)
		return err_set(e, ERR_SYSTEM, errno, "open /proc/self/ns/pid");
	if (path && ns_enter_path(path, CLONE_NEWPID, e))
		return -1;
	pid = pidfd_clone(clone_flags(c->b->spec), cgroup_clone_fd(c->cg), &c->init.pidfd, e);
	if (pid != 0 && path && setns(own, CLONE_NEWPID))
		log_error("return to the pid namespace: %s", strerror(errno));
	return pid;
}

static int clone_init(void *arg, struct err *e)
{
	struct creation *cr = arg;
	struct container *c = cr->c;
	const struct oci_namespace *pidns = oci_spec_namespace(c->b->spec, CLONE_NEWPID);
	int ends[2];

	if (process_open_report(&c->init, &c->b->spec->process, e) || sync_open(ends, e))
		return -1;
	c->sync = ends[0];
	cr->child_sync = ends[1];
	c->init.pid = oci_spec_namespace(c->b->spec, CLONE_NEWUSER) ? clone_first(cr, e)
								    : clone_in_pidns(c, pidns ? pidns->path : NULL, e);
	if (c->init.pid == 0)
		init_child(c, cr->io, cr->child_sync);
	close_fd(&cr->child_sync);
	close_fd(&c->init.report_end);
	return c->init.pid < 0 ? -1 : 0;
}

static void kill_init(void *arg)
{
	struct container *c = ((struct creation *)arg)->c;

	process_abort(&c->init);
	close_fd(&c->init.pidfd);
	close_fd(&c->init.tty);
	close_fd(&c->init.first);
	close_fd(&c->init.report);
	close_fd(&c->init.listener);
	close_fd(&c->sync);
}

static int wait_ready(void *arg, struct err *e)
{
	struct creation *cr = arg;
	struct container *c = cr->c;
	int tty;

	if (birth_wait_ready(&c->init, c->sync, &tty, &cr->child_error)) {
		if (e)
			*e = cr->child_error;
		return -1;
	}
	if (!cr->io->tty) {
		close_fd(&tty);
		return 0;
	}
	return process_keep_tty(&c->init, cr->io, tty, e);
}

/* A kernel without memory cgroup has no OOM events; that is no reason not to run. */
static int watch(void *arg, struct err *e)
{
	struct container *c = ((struct creation *)arg)->c;
	struct err why;

	if (container_watch_oom(c, &why))
		log_debug("%s", why.msg);
	return process_watch(&c->init, e);
}

static bool wants_watch(void *arg)
{
	return ((struct creation *)arg)->c->s->loop;
}

static const struct step create_steps[] = {
	/* name        wanted         run              undo          */
	{ "cgroup",    NULL,          make_cgroup,     remove_cgroup },
	{ "overlay",   wants_overlay, prepare_overlay, NULL          },
	{ "clone",     NULL,          clone_init,      kill_init     },
	{ "setup",     NULL,          wait_ready,      NULL          },
	{ "watch",     wants_watch,   watch,           NULL          },
};

static int check_spec(const struct bundle *b, struct err *e)
{
	if (!b->spec->has_process)
		return err_set(e, ERR_INVALID, 0, "config.json: process: is needed");
	if (!oci_spec_namespace(b->spec, CLONE_NEWNS))
		return err_set(e, ERR_UNSUPPORTED, 0, "linux.namespaces: a mount namespace is needed");
	return 0;
}

struct container *process_container_new(struct sandbox *s, const struct bundle *b, const struct runtime_wants *w)
{
	struct container *c = xcalloc(1, sizeof(*c));

	c->s = s;
	c->b = b;
	c->runtime = w;
	c->sync = -1;
	c->init = (struct process){
		.c = c, .pidfd = -1, .tty = -1, .listener = -1, .report = -1, .report_end = -1, .first = -1
	};
	return c;
}

struct container *process_container_make(struct container *c, struct process_io *io, struct err *e)
{
	struct creation cr = { .c = c, .io = io, .child_sync = -1 };
	const struct bundle *b = c->b;
	int failed;

	io->tty_fd = -1;
	failed = check_spec(b, e) || steps_run(create_steps, array_len(create_steps), &cr, NULL, e);
	process_io_close(io);
	if (!failed)
		return c;
	close_fd(&io->tty_fd);
	if (e && cr.child_error.kind != ERR_NONE)
		*e = cr.child_error;
	free(c);
	return NULL;
}

struct container *process_container_create(struct sandbox *s, const struct bundle *b, struct process_io *io,
					   struct err *e)
{
	return process_container_make(process_container_new(s, b, NULL), io, e);
}

int process_container_start(struct container *c, struct err *e)
{
	int r;

	if (c->sync < 0)
		return err_set(e, ERR_CONFLICT, 0, "the container has been started already");
	r = sync_send_go(c->sync, e) || sync_wait_exec(c->sync, e) ? -1 : 0;
	close_fd(&c->sync);
	/* Nothing of the user has run: there is no exit to tell of. */
	if (r)
		process_abort(&c->init);
	return r;
}

/* Wait for the end of everything that we are the parent of. pid 1 ends only after the execs have been reaped. */
static void reap_all(struct container *c)
{
	int64_t deadline = time_monotonic_ms() + DEATH_TIMEOUT_MS;

	for (struct process *p = c->execs; p; p = p->next) {
		struct pollfd poll_fd = { .fd = p->pidfd, .events = POLLIN };
		int64_t left = deadline - time_monotonic_ms();

		if (!p->ended && poll(&poll_fd, 1, left > 0 ? (int)left : 0) == 1)
			p->ended = pidfd_wait(p->pidfd, false, &p->exit_code, NULL) == 1;
	}
	if (!c->init.ended) {
		struct pollfd poll_fd = { .fd = c->init.pidfd, .events = POLLIN };
		int64_t left = deadline - time_monotonic_ms();

		if (poll(&poll_fd, 1, left > 0 ? (int)left : 0) == 1)
			c->init.ended = pidfd_wait(c->init.pidfd, false, &c->init.exit_code, NULL) == 1;
	}
	if (!c->init.ended)
		log_error("container %s: process %d doesn't die", c->b->id, c->init.pid);
}

void process_container_delete(struct container *c)
{
	struct err e;

	if (!c)
		return;
	loop_remove(&c->oom_watch);
	process_unwatch(&c->init);
	for (struct process *p = c->execs; p; p = p->next) {
		process_unwatch(p);
		if (!p->ended) /* work on files isn't in the cgroup */
			(void)!pidfd_signal(p->pidfd, SIGKILL, NULL);
	}
	if (!c->init.ended)
		(void)!pidfd_signal(c->init.pidfd, SIGKILL, NULL);
	if (cgroup_is_frozen(c->cg) && cgroup_freeze(c->cg, false, &e))
		log_warn("container %s: %s", c->b->id, e.msg);
	/* Also what isn't in the pid namespace of init, or has outlived it in a shared one. */
	if ((!c->init.ended || !container_owns_pids(c) || c->execs) && cgroup_signal(c->cg, SIGKILL, &e))
		log_warn("container %s: %s", c->b->id, e.msg);
	reap_all(c);
	while (c->execs)
		process_exec_free(c->execs);
	cgroup_remove(c->cg);
	close_fd(&c->init.report);
	close_fd(&c->init.pidfd);
	close_fd(&c->init.tty);
	close_fd(&c->init.listener);
	close_fd(&c->sync);
	free(c);
}
