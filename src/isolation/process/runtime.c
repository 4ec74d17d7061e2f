/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/process/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/own.h"
#include "isolation/process/process.h"
#include "os/pidfd.h"

/* A sandbox of process isolation is nothing but its record; without a loop nobody is told of events. */
static struct sandbox *sandbox_of(const struct bundle *b)
{
	struct sandbox *s = xcalloc(1, sizeof(*s));

	s->b = b;
	return s;
}

struct container *process_runtime_create(const struct bundle *b, const struct runtime_wants *w, struct process_io *io,
					 struct err *e)
{
	struct sandbox *s = sandbox_of(b);
	struct container *c = process_container_make(process_container_new(s, b, w), io, e);

	if (!c)
		free(s);
	return c;
}

struct container *process_runtime_open(const struct bundle *b, const struct runtime_wants *w, pid_t pid, int pidfd,
				       struct cgroup *cg, struct err *e)
{
	struct container *c = process_container_new(sandbox_of(b), b, w);

	c->cg = cg;
	c->init.pid = pid;
	c->init.pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 3);
	if (c->init.pidfd >= 0)
		return c;
	err_set(e, ERR_SYSTEM, errno, "duplicate pidfd");
	process_runtime_close(c);
	return NULL;
}

void process_runtime_close(struct container *c)
{
	if (!c)
		return;
	while (c->execs)
		process_exec_free(c->execs);
	cgroup_close(c->cg);
	close_fd(&c->init.pidfd);
	close_fd(&c->init.tty);
	close_fd(&c->init.listener);
	close_fd(&c->sync);
	free(c->s);
	free(c);
}

bool process_has_cgroup(const struct container *c)
{
	return !cgroup_is_none(c->cg);
}

int process_pidfd(const struct process *p)
{
	return p->pidfd;
}

int process_seccomp_listener(const struct process *p)
{
	return p->listener;
}

int process_wait_end(struct process *p, struct err *e)
{
	if (!p->ended && pidfd_wait(p->pidfd, true, &p->exit_code, e) < 0)
		return -1;
	p->ended = true;
	return p->exit_code;
}
