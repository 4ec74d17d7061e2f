/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What happens to processes on its own: exits and the OOM killer, as events of the loop. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own.h"
#include "isolation/process/process.h"
#include "os/pidfd.h"
#include "os/tty.h"

#define ABORT_TIMEOUT_MS 2000

static void report_oom(struct container *c)
{
	c->oom_reported = true;
	if (c->s->ev.oom)
		c->s->ev.oom(c->s->ev.arg, c);
}

/* The kernel's notice may come after the exit of the killed process: look at the counter before telling of the exit. */
static void report_late_oom(struct process *p)
{
	struct container *c = p->c;

	if (p == &c->init && !c->oom_reported && cgroup_oom_kills(c->cg) > 0)
		report_oom(c);
}

bool container_owns_pids(const struct container *c)
{
	const struct oci_namespace *pidns = oci_spec_namespace(c->b->spec, CLONE_NEWPID);

	return pidns && !pidns->path;
}

/* In the pid namespace of the host or of another container the kernel leaves them running. */
static void kill_rest(struct process *p)
{
	struct err e;

	if (p == &p->c->init && !container_owns_pids(p->c) && cgroup_signal(p->c->cg, SIGKILL, &e))
		log_warn("container %s: %s", p->c->b->id, e.msg);
}

int process_open_report(struct process *p, const struct oci_process *proc, struct err *e)
{
	int ends[2];

	if (!proc->reports_exit || p->c->runtime)
		return 0;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return err_set(e, ERR_SYSTEM, errno, "pipe");
	p->report = ends[0];
	p->report_end = ends[1];
	return 0;
}

/* What Linux has carried is a part of it, or 1 where that part would be 0. One that was killed has said nothing. */
static void take_report(struct process *p)
{
	uint32_t code;

	if (p->report < 0 || read(p->report, &code, sizeof(code)) != sizeof(code))
		return;
	if (p->exit_code == (int)(code & 0xff) || (p->exit_code == 1 && !(code & 0xff)))
		p->exit_code = (int)code;
}

static void on_exit_of(void *arg, uint32_t events)
{
	struct process *p = arg;
	struct container *c = p->c;
	struct err e = { 0 };
	int r = pidfd_wait(p->pidfd, false, &p->exit_code, &e);

	if (r == 0)
		return;
	if (r < 0) {
		log_error("process %d: %s", p->pid, e.msg);
		p->exit_code = 255;
	}
	p->ended = true;
	take_report(p);
	loop_remove(&p->watch);
	report_late_oom(p);
	kill_rest(p);
	/* p and c may be freed by the callee */
	if (c->s->ev.process_exited)
		c->s->ev.process_exited(c->s->ev.arg, p, p->exit_code);
}

int process_watch(struct process *p, struct err *e)
{
	p->watch = loop_add(p->c->s->loop, p->pidfd, EPOLLIN, on_exit_of, p, e);
	return p->watch ? 0 : -1;
}

void process_unwatch(struct process *p)
{
	loop_remove(&p->watch);
}

static void on_oom(void *arg, uint32_t events)
{
	struct container *c = arg;

	if (cgroup_oom_drain(c->cg))
		report_oom(c);
}

int container_watch_oom(struct container *c, struct err *e)
{
	int fd = cgroup_oom_fd(c->cg, e);

	if (fd < 0)
		return -1;
	c->oom_watch = loop_add(c->s->loop, fd, EPOLLIN, on_oom, c, e);
	return c->oom_watch ? 0 : -1;
}

/* Not for ever: pid 1 of a pid namespace can't end before an exec in it has been reaped, which the loop does. */
void process_abort(struct process *p)
{
	struct pollfd poll_fd = { .fd = p->pidfd, .events = POLLIN };

	loop_remove(&p->watch);
	if (p->pidfd < 0 || p->ended)
		return;
	(void)!pidfd_signal(p->pidfd, SIGKILL, NULL);
	if (poll(&poll_fd, 1, ABORT_TIMEOUT_MS) == 1)
		p->ended = pidfd_wait(p->pidfd, false, &p->exit_code, NULL) == 1;
}

void process_io_close(struct process_io *io)
{
	if (io->tty)
		return;
	close_fd(&io->in);
	close_fd(&io->out);
	close_fd(&io->err);
}

int process_keep_tty(struct process *p, struct process_io *io, int tty, struct err *e)
{
	autoclose int master = tty;

	if (master < 0)
		return err_set(e, ERR_SYSTEM, 0, "the process sent no terminal");
	p->tty = fcntl(master, F_DUPFD_CLOEXEC, 3);
	if (p->tty < 0 || fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK))
		return err_set(e, ERR_SYSTEM, errno, "terminal");
	io->tty_fd = take_fd(&master);
	return 0;
}
