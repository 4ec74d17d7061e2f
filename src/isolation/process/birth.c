/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The birth of a process as its parent sees it, and the longer way of an init with a user namespace: what needs the
 * host's rights (sources of binds, namespaces of others, cgroup) is done by a first process in front of the namespace;
 * the second one, born in it and the same parent's child, is init. So its other namespaces belong to the new user
 * namespace. Source: user_namespaces(7), clone(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "isolation/process/child.h"
#include "isolation/process/sync.h"
#include "os/caps.h"
#include "os/ns.h"
#include "os/pidfd.h"
#include "os/userns.h"

/* ---- parent ---- */

static int follow(struct process *p, pid_t pid, struct err *e)
{
	autoclose int first = p->pidfd;

	p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p->pidfd < 0)
		return err_set(e, ERR_SYSTEM, errno, "open process %d", pid);
	p->pid = pid;
	p->first = take_fd(&first);
	return 0;
}

static int take_listener(struct process *p, int number, struct err *e)
{
	p->listener = (int)syscall(SYS_pidfd_getfd, p->pidfd, number, 0);
	return p->listener < 0 ? err_set(e, ERR_SYSTEM, errno, "take the seccomp listener") : 0;
}

static int serve(struct process *p, enum sync_request what, int value, struct err *e)
{
	const struct container *c = p->c;

	switch (what) {
	case SYNC_READY:
		break;
	case SYNC_HOOKS:
		return c->runtime ? c->runtime->moment(c->runtime->arg, MOMENT_CREATED, p->pid, e) : 0;
	case SYNC_MAPS:
		return userns_write_maps(p->pid, &c->b->spec->maps, e);
	case SYNC_PID:
		return follow(p, (pid_t)value, e);
	case SYNC_LISTENER:
		return take_listener(p, value, e);
	}
	return 0;
}

static void reap_first(struct process *p)
{
	int code;

	if (p->first >= 0)
		(void)!pidfd_wait(p->first, true, &code, NULL);
	close_fd(&p->first);
}

int birth_wait_ready(struct process *p, int sync, int *tty, struct err *e)
{
	enum sync_request what;
	int value;

	for (;;) {
		if (sync_wait(sync, &what, &value, tty, e))
			return -1;
		if (what == SYNC_READY)
			return 0;
		if (serve(p, what, value, e))
			return -1;
		if (what == SYNC_PID)
			reap_first(p);
		else if (sync_answer(sync, p->pid, e))
			return -1;
	}
}

/* ---- the first process ---- */

static int enter_user_namespace(struct child *ch, struct err *e)
{
	const struct oci_namespace *user = oci_spec_namespace(ch->spec, CLONE_NEWUSER);
	int ignored;

	if (user->path) {
		if (ns_enter_path(user->path, CLONE_NEWUSER, e))
			return -1;
	} else if (unshare(CLONE_NEWUSER)) {
		return err_set(e, ERR_SYSTEM, errno, "unshare user namespace");
	} else if (sync_ask(ch->sync, SYNC_MAPS, 0, &ignored, e)) {
		return -1;
	}
	/* where the runtime itself is no root, setgroups is forbidden: those groups stay */
	if (setgroups(0, NULL) && errno != EPERM)
		return err_set(e, ERR_SYSTEM, errno, "setgroups");
	if (setresgid(0, 0, 0) || setresuid(0, 0, 0))
		return err_set(e, ERR_INVALID, errno, "user 0 of the user namespace (is it mapped?)");
	return 0;
}

static int enter_pid_namespace(struct child *ch, struct err *e)
{
	const struct oci_namespace *pid = oci_spec_namespace(ch->spec, CLONE_NEWPID);

	return pid && pid->path ? ns_enter_path(pid->path, CLONE_NEWPID, e) : 0;
}

/* Both have the same socket: the second one is silent until the first has spoken and ended. */
static int give_birth(struct child *ch, uint64_t flags, struct err *e)
{
	int pidfd = -1, turn[2];
	pid_t pid;
	char byte;

	if (pipe2(turn, O_CLOEXEC))
		return err_set(e, ERR_SYSTEM, errno, "pipe");
	pid = pidfd_clone(flags | CLONE_PARENT, -1, &pidfd, e);
	if (pid < 0)
		return -1;
	if (pid > 0)
		_exit(sync_tell(ch->sync, SYNC_PID, pid, e) ? 1 : 0);
	close(turn[1]);
	while (read(turn[0], &byte, 1) < 0 && errno == EINTR)
		;
	close(turn[0]);
	return 0;
}

static int open_of_host(struct child *ch, struct err *e)
{
	return child_open_root(ch, e) || child_open_binds(ch, e) || child_enter_namespaces(ch, e) ||
			       enter_pid_namespace(ch, e)
		       ? -1
		       : 0;
}

/* Who has no rights on the host has those of his user namespace only: there the second process opens root and binds. */
static int enter_unprivileged(struct child *ch, struct err *e)
{
	return enter_user_namespace(ch, e) || child_enter_namespaces(ch, e) || enter_pid_namespace(ch, e) ? -1 : 0;
}

int birth_in_user_namespace(struct child *ch, uint64_t flags, struct err *e)
{
	struct caps own;

	if (caps_get(&own, e) || child_enter_cgroup(ch, e) || child_set_oom_score(ch, e))
		return -1;
	if (own.effective & 1ull << CAP_SYS_ADMIN ? open_of_host(ch, e) || enter_user_namespace(ch, e)
						  : enter_unprivileged(ch, e))
		return -1;
	if (give_birth(ch, flags, e))
		return -1;
	ch->staged = true;
	return 0;
}
