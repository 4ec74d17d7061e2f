/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One more process in a running container. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own.h"
#include "isolation/process/child.h"
#include "isolation/process/files.h"
#include "isolation/process/sync.h"
#include "os/pidfd.h"
#include "os/root.h"
#include "os/sched.h"
#include "os/tty.h"

/* All namespaces of init in one call; the pid namespace was chosen by our parent. */
static int enter_namespaces(void *arg, struct err *e)
{
	const struct child *ch = arg;
	int flags = 0;

	for (size_t i = 0; i < ch->spec->n_namespaces; i++) {
		if (ch->spec->namespaces[i].flag != CLONE_NEWPID &&
		    !(ch->staged && ch->spec->namespaces[i].flag == CLONE_NEWUSER))
			flags |= (int)ch->spec->namespaces[i].flag;
	}
	if (setns(ch->c->init.pidfd, flags))
		return err_set(e, ERR_SYSTEM, errno, "join the container's namespaces");
	if (child_has_userns(ch) && (setresgid(0, 0, 0) || setresuid(0, 0, 0)))
		return err_set(e, ERR_SYSTEM, errno, "user 0 of the user namespace");
	return chdir("/") ? err_set(e, ERR_SYSTEM, errno, "chdir") : 0;
}

static bool wants_cpus(void *arg)
{
	return ((struct child *)arg)->proc->scheduling.cpus_initial;
}

/* While it is on its way into the container; set_scheduling() has the final ones. */
static int set_cpus(void *arg, struct err *e)
{
	return sched_set_cpus(((struct child *)arg)->proc->scheduling.cpus_initial, e);
}

static bool wants_terminal(void *arg)
{
	return ((struct child *)arg)->io->tty;
}

/* /dev/pts is the container's by now: tty_open_pair refuses anything but a devpts. */
static int open_terminal(void *arg, struct err *e)
{
	struct child *ch = arg;

	ch->pts = root_open(AT_FDCWD, "/dev/pts", O_RDONLY | O_DIRECTORY, 0, e);
	if (ch->pts < 0 || tty_open_pair(ch->pts, &ch->tty_master, &ch->tty_slave, e))
		return -1;
	return tty_resize(ch->tty_master, ch->io->rows, ch->io->cols, e);
}

static const struct step exec_steps[] = {
	/* name           wanted          run               undo */
	{ "initial CPUs", wants_cpus,     set_cpus,         NULL },
	{ "enter cgroup", NULL,           child_enter_cgroup, NULL },
	{ "oom score",    NULL,           child_set_oom_score, NULL },
	{ "label",        NULL,           child_set_label,  NULL },
	{ "namespaces",   NULL,           enter_namespaces, NULL },
	{ "terminal",     wants_terminal, open_terminal,    NULL },
};

static _Noreturn void exec_child(struct process *p, const struct oci_process *spec, const struct process_io *io,
				 int sync)
{
	struct child ch;

	umask(0);
	child_init(&ch, p->c, spec, io, sync);
	ch.is_exec = true;
	ch.report = p->report_end;
	ch.staged = p->in_userns;
	child_run(&ch, exec_steps, array_len(exec_steps));
}

/* An ordinary user may do so from inside his user namespace only. There is no way back from there: it is for runtimes,
 * which have nothing else to do. */
static int switch_pidns(struct process *p)
{
	const struct container *c = p->c;

	if (!setns(c->init.pidfd, CLONE_NEWPID))
		return 0;
	if (errno != EPERM || !c->runtime || !oci_spec_namespace(c->b->spec, CLONE_NEWUSER))
		return -1;
	p->in_userns = !setns(c->init.pidfd, CLONE_NEWUSER | CLONE_NEWPID);
	return p->in_userns ? 0 : -1;
}

/* A container may divide its cgroup among cgroups of its own: then none of its processes can be in the whole, and an exec
 * goes where init is. */
static pid_t clone_into_cgroup(const struct container *c, int *pidfd, struct err *e)
{
	struct err why = { 0 };
	autoclose int of_init = -1;
	pid_t pid = pidfd_clone(0, cgroup_clone_fd(c->cg), pidfd, &why);

	if (pid < 0 && why.sys == EBUSY) {
		of_init = cgroup_open_of(c->cg, c->init.pid, e);
		return of_init < 0 ? -1 : pidfd_clone(0, of_init, pidfd, e);
	}
	if (pid < 0 && e)
		*e = why;
	return pid;
}

/*
 * The new process must be born in the container's pid namespace and be our child, so that we can wait for it: our own
 * "namespace for children" is switched for the moment of the clone.
 */
static pid_t clone_exec(struct process *p, struct err *e)
{
	struct container *c = p->c;
	bool switched = oci_spec_namespace(c->b->spec, CLONE_NEWPID);
	autoclose int own = switched ? open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC) : -1;
	pid_t pid;

	if (switched && (own < 0 || switch_pidns(p)))
		return err_set(e, errno == ESRCH ? ERR_CONFLICT : ERR_SYSTEM, errno, "join the pid namespace");
	pid = clone_into_cgroup(c, &p->pidfd, e);
	if (pid != 0 && switched && !p->in_userns && setns(own, CLONE_NEWPID))
		log_error("return to the pid namespace: %s", strerror(errno));
	return pid;
}

/* Leaves a process that is either running the user's program or gone. */
static int run(struct process *p, const struct oci_process *spec, struct process_io *io, int ends[static 2],
	       struct err *e)
{
	int tty = -1;

	p->pid = clone_exec(p, e);
	if (p->pid == 0)
		exec_child(p, spec, io, ends[1]);
	close_fd(&ends[1]);
	close_fd(&p->report_end);
	if (p->pid < 0 || birth_wait_ready(p, ends[0], &tty, e))
		return -1;
	if (io->tty ? process_keep_tty(p, io, tty, e) : (close_fd(&tty), 0))
		return -1;
	return sync_send_go(ends[0], e) || sync_wait_exec(ends[0], e) || (p->c->s->loop && process_watch(p, e)) ? -1
														: 0;
}

static int start(struct process *p, const struct oci_process *spec, struct process_io *io, struct err *e)
{
	int ends[2];
	int r;

	if (process_open_report(p, spec, e) || sync_open(ends, e))
		return -1;
	r = run(p, spec, io, ends, e);
	close_fd(&ends[0]);
	close_fd(&ends[1]);
	if (!r)
		return 0;
	process_abort(p);
	close_fd(&io->tty_fd);
	return -1;
}

static int check_state(const struct container *c, struct err *e)
{
	if (c->init.ended)
		return err_set(e, ERR_CONFLICT, 0, "container %s is not running", c->b->id);
	if (cgroup_is_frozen(c->cg) && !(c->runtime && c->runtime->even_paused))
		return err_set(e, ERR_CONFLICT, 0, "container %s is paused, unpause the container before exec",
			       c->b->id);
	return 0;
}

/* Not a program but work on the container's files: see files.h. */
static struct process *start_files(struct container *c, const json_t *request, struct process_io *io, struct err *e)
{
	struct process *p = NULL;

	io->tty_fd = -1;
	if (c->init.ended)
		err_set(e, ERR_CONFLICT, 0, "container %s is not running", c->b->id);
	else
		p = files_start(c, request, io, e);
	process_io_close(io);
	if (!p)
		return NULL;
	p->next = c->execs;
	c->execs = p;
	return p;
}

struct process *process_container_exec(struct container *c, const json_t *spec, struct process_io *io, struct err *e)
{
	if (json_object_get(spec, "files"))
		return start_files(c, json_object_get(spec, "files"), io, e);
	struct process *p = xcalloc(1, sizeof(*p));
	struct oci_process proc = { 0 };
	int failed;

	*p = (struct process){ .c = c, .pidfd = -1, .tty = -1, .listener = -1, .report = -1, .report_end = -1,
				.first = -1 };
	io->tty_fd = -1;
	failed = check_state(c, e) || oci_process_parse(spec, &proc, e);
	if (!failed) {
		/* An exec inherits nothing it could hand on (CVE-2022-29162). */
		if (!proc.has_caps)
			proc.caps = c->b->spec->process.caps;
		proc.caps.inheritable = proc.caps.ambient = 0;
		proc.no_new_privs |= c->b->spec->process.no_new_privs;
		failed = start(p, &proc, io, e);
	}
	oci_process_fini(&proc);
	process_io_close(io);
	if (failed) {
		close_fd(&p->pidfd);
		close_fd(&p->tty);
		close_fd(&p->listener);
		close_fd(&p->report);
		close_fd(&p->report_end);
		free(p);
		return NULL;
	}
	p->next = c->execs;
	c->execs = p;
	return p;
}

void process_exec_free(struct process *p)
{
	struct process **link;

	if (!p)
		return;
	process_unwatch(p);
	for (link = &p->c->execs; *link; link = &(*link)->next) {
		if (*link == p) {
			*link = p->next;
			break;
		}
	}
	close_fd(&p->pidfd);
	close_fd(&p->tty);
	close_fd(&p->listener);
	close_fd(&p->report);
	free(p);
}
