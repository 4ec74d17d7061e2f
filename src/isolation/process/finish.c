/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The last part of every process of a container, init or exec: standard streams, user, working directory, credentials,
 * filter, exec. We are inside the container's root; nothing of the host is open any more after "close".
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/own.h"
#include "isolation/process/child.h"
#include "isolation/process/sync.h"
#include "os/lookup.h"
#include "os/rlimit.h"
#include "os/root.h"
#include "os/sched.h"
#include "os/seccomp.h"
#include "os/tty.h"

#define FIRST_FD 3
#define HIGH_FD 10
#define PASSWD_BYTES_MAX (4 * MIB)

void child_init(struct child *ch, const struct container *c, const struct oci_process *proc,
		const struct process_io *io, int sync)
{
	memset(ch, 0, sizeof(*ch));
	ch->c = c;
	ch->spec = c->b->spec;
	ch->proc = proc;
	ch->io = io;
	ch->report = c->init.report_end;
	ch->sync = sync;
	ch->go = c->runtime ? c->runtime->go : -1;
	ch->status = c->runtime ? c->runtime->status : -1;
	ch->root_tree = ch->root = ch->proc_fs = ch->dev = ch->pts = ch->tty_master = ch->tty_slave = -1;
}

int child_verbatim(struct child *ch, struct err *e)
{
	ch->verbatim = *e;
	return -1;
}

/* An end of the process given by the caller, or the container's /dev/null. Above 2, so that the dup2s can't collide. */
static int stdio_end(int given, struct err *e)
{
	autoclose int null = -1;
	int fd;

	if (given < 0) {
		null = child_open_null(AT_FDCWD, O_RDWR, e);
		if (null < 0)
			return -1;
	}
	fd = fcntl(given < 0 ? null : given, F_DUPFD_CLOEXEC, HIGH_FD);
	return fd >= 0 ? fd : err_set(e, ERR_SYSTEM, errno, "duplicate stream");
}

static int use_stdio(void *arg, struct err *e)
{
	struct child *ch = arg;
	const int given[] = { ch->io->in, ch->io->out, ch->io->err };
	int ends[3];

	if (ch->io->tty && tty_make_controlling(ch->tty_slave, e))
		return -1;
	if (!ch->io->tty && setsid() < 0 && errno != EPERM)
		return err_set(e, ERR_SYSTEM, errno, "setsid");
	for (int i = 0; i < 3; i++) {
		ends[i] = stdio_end(ch->io->tty ? ch->tty_slave : given[i], e);
		if (ends[i] < 0)
			return -1;
	}
	for (int i = 0; i < 3; i++) {
		if (dup2(ends[i], i) < 0)
			return err_set(e, ERR_SYSTEM, errno, "dup2");
	}
	return 0;
}

/* The talk with the supervisor moves to fd 3, or behind what the process inherits by wish; every other fd is closed now,
 * not at exec: a working directory of /proc/self/fd/N has nothing left to reach (CVE-2024-21626). The terminal's master
 * was needed until here. */
static int close_others(void *arg, struct err *e)
{
	struct child *ch = arg;
	int *const kept[] = { &ch->report, &ch->sync, &ch->go, &ch->status, &ch->tty_master };
	int next = FIRST_FD + (ch->c->runtime ? (int)ch->c->runtime->preserve_fds : 0);

	/* out of the way first, so that none takes the place of another */
	for (size_t i = 0; i < array_len(kept); i++) {
		if (*kept[i] >= 0 && (*kept[i] = fcntl(*kept[i], F_DUPFD_CLOEXEC, next + HIGH_FD)) < 0)
			return err_set(e, ERR_SYSTEM, errno, "duplicate descriptor");
	}
	for (size_t i = 0; i < array_len(kept); i++) {
		if (*kept[i] < 0)
			continue;
		if (dup3(*kept[i], next, kept[i] == &ch->report ? 0 : O_CLOEXEC) < 0)
			return err_set(e, ERR_SYSTEM, errno, "dup3");
		*kept[i] = next++;
	}
	if (close_range((unsigned)next, ~0u, 0))
		return err_set(e, ERR_SYSTEM, errno, "close_range");
	ch->root_tree = ch->root = ch->proc_fs = ch->dev = ch->pts = ch->tty_slave = -1;
	return 0;
}

/* Reads the host's limits, so it comes before the credentials. */
static int set_rlimits(void *arg, struct err *e)
{
	struct child *ch = arg;
	/* an exec without limits has those of its container */
	const struct oci_process *p = ch->proc->n_rlimits ? ch->proc : &ch->spec->process;

	for (size_t i = 0; i < p->n_rlimits; i++) {
		const struct oci_rlimit *r = &p->rlimits[i];

		if (rlimit_set(r->resource, r->soft, r->hard, e))
			return child_verbatim(ch, e);
	}
	return 0;
}

static int copy_ids(struct child *ch, const struct oci_user *u, const char *passwd)
{
	struct user_ids *ids = &ch->ids;

	ids->uid = u->uid;
	ids->gid = u->gid;
	user_find_home(u->uid, passwd, ids->home, sizeof(ids->home));
	return 0;
}

static int add_groups(struct child *ch, const struct oci_user *u, const char *group, struct err *e)
{
	struct user_ids *ids = &ch->ids;

	for (size_t i = 0; i < u->n_groups; i++) {
		if (ids->n_groups == USER_GROUPS_MAX)
			return err_set(e, ERR_LIMIT, 0, "more than %d supplementary groups", USER_GROUPS_MAX);
		ids->groups[ids->n_groups++] = u->groups[i];
	}
	for (size_t i = 0; i < u->n_group_names; i++) {
		if (user_add_group(u->group_names[i], group, ids, e))
			return -1;
	}
	return 0;
}

static void set_home(struct child *ch)
{
	const struct oci_process *p = ch->proc;

	ch->env = xcalloc(p->n_env + 2, sizeof(*ch->env));
	memcpy(ch->env, p->env, p->n_env * sizeof(*ch->env));
	if (lookup_env(p->env, "HOME"))
		return;
	snprintf(ch->home, sizeof(ch->home), "HOME=%s", ch->ids.home[0] ? ch->ids.home : "/");
	ch->env[p->n_env] = ch->home;
}

/* The primary group is one of the supplementary ones too, or a program that drops those would gain what a file denies to
 * that group (CVE-2022-36109). */
static int resolve_user(struct child *ch, const char *username, const char *passwd, const char *group, struct err *e)
{
	struct user_ids *ids = &ch->ids;

	if (user_resolve(username, passwd, group, ids, e))
		return -1;
	for (size_t i = 0; i < ids->n_groups; i++) {
		if (ids->groups[i] == ids->gid)
			return 0;
	}
	if (ids->n_groups == USER_GROUPS_MAX)
		ids->n_groups--;
	memmove(ids->groups + 1, ids->groups, ids->n_groups * sizeof(ids->groups[0]));
	ids->groups[0] = ids->gid;
	ids->n_groups++;
	return 0;
}

static int find_user(void *arg, struct err *e)
{
	struct child *ch = arg;
	const struct oci_user *u = &ch->proc->user;
	autoclose int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	autostr passwd, group;
	int failed;

	str_init(&passwd, PASSWD_BYTES_MAX);
	str_init(&group, PASSWD_BYTES_MAX);
	if (root_read_file(root, "/etc/passwd", &passwd, e) || root_read_file(root, "/etc/group", &group, e))
		return -1;
	failed = u->username ? resolve_user(ch, u->username, passwd.s ? passwd.s : "", group.s ? group.s : "", e)
			     : copy_ids(ch, u, passwd.s ? passwd.s : "");
	if (failed || add_groups(ch, u, group.s ? group.s : "", e))
		return child_verbatim(ch, e);
	set_home(ch);
	return 0;
}

/* /dev/stdout and its kin must be usable by the user: pipes, sockets and the terminal become his. */
static int own_stdio(void *arg, struct err *e)
{
	struct child *ch = arg;

	for (int fd = 0; fd < 3; fd++) {
		struct stat st;

		if (fstat(fd, &st))
			return err_set(e, ERR_SYSTEM, errno, "stat stream");
		if (st.st_uid == ch->ids.uid || (!ch->io->tty && !S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode)))
			continue;
		if (fchown(fd, ch->ids.uid, (gid_t)-1) && errno != EPERM && errno != EROFS && errno != EINVAL)
			return err_set(e, ERR_SYSTEM, errno, "chown stream");
	}
	return 0;
}

static int cwd_error(struct child *ch, int sys, struct err *e)
{
	char text[128];

	lookup_go_error(sys, text);
	err_set(e, ERR_INVALID, 0, "chdir to cwd (\"%s\") set in config.json failed: %s", ch->proc->cwd, text);
	return child_verbatim(ch, e);
}

/* A missing directory is made for a container, not for an exec, as Docker does. Magic links are refused, and the result must have a path inside the
 * root: getcwd(2) gives "(unreachable)" for anything else. */
static int enter_cwd(void *arg, struct err *e)
{
	struct child *ch = arg;
	autoclose int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	autoclose int dir = root_try_open(root, ch->proc->cwd, O_PATH | O_DIRECTORY, 0, 0);
	char path[PATH_MAX];

	if (dir < 0 && errno == ENOENT && !ch->is_exec) {
		dir = root_mkdirs(root, ch->proc->cwd, 0755, 0, e);
		if (dir < 0)
			return child_verbatim(ch, e);
	}
	if (dir < 0 || fchdir(dir))
		return cwd_error(ch, errno, e);
	if (syscall(SYS_getcwd, path, sizeof(path)) < 0 || path[0] != '/')
		return cwd_error(ch, ENOENT, e);
	return 0;
}

/* Capabilities that the process is to have, within what we have ourselves. A user other than root keeps none over exec
 * unless they are ambient, so none are given. */
static struct caps wanted_caps(const struct child *ch, const struct caps *own)
{
	struct caps c = ch->proc->caps;

	c.bounding &= own->bounding;
	c.permitted &= own->permitted & own->bounding;
	if (ch->proc->user.username && ch->ids.uid != 0)
		c.permitted = c.ambient & c.permitted;
	c.effective &= c.permitted;
	c.inheritable &= c.bounding & own->permitted;
	c.ambient &= c.permitted & c.inheritable;
	return c;
}

static int take_identity(struct child *ch, struct err *e)
{
	const struct user_ids *ids = &ch->ids;

	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
		return err_set(e, ERR_SYSTEM, errno, "keep capabilities");
	/* a user namespace of an ordinary user's making has no groups to give */
	if (setgroups(ids->n_groups, ids->groups) && (errno != EPERM || ids->n_groups || !child_has_userns(ch)))
		return err_set(e, ERR_SYSTEM, errno, "setgroups");
	if (setresgid(ids->gid, ids->gid, ids->gid))
		return err_set(e, ERR_SYSTEM, errno, "setgid %u", ids->gid);
	if (setresuid(ids->uid, ids->uid, ids->uid))
		return err_set(e, ERR_SYSTEM, errno, "setuid %u", ids->uid);
	return 0;
}

/* The program is looked for with the user's own rights: after the identity, before the capabilities. */
static int find_program(struct child *ch, struct err *e)
{
	if (lookup_command(ch->proc->args[0], ch->env, ch->path, sizeof(ch->path), e))
		return child_verbatim(ch, e);
	return 0;
}

static int load_filter(struct child *ch, struct err *e)
{
	const struct bundle *b = ch->c->b;
	int listener, ignored;

	if (!b->seccomp)
		return 0;
	if (seccomp_install(b->seccomp, b->seccomp_bytes, b->seccomp_flags, b->seccomp_asks ? &listener : NULL, e))
		return -1;
	return b->seccomp_asks ? sync_ask(ch->sync, SYNC_LISTENER, listener, &ignored, e) : 0;
}

/*
 * Without no_new_privs loading the filter needs CAP_SYS_ADMIN, so it comes before the capabilities are reduced, and the
 * filter must allow capset, as Docker's does. With it the filter is the very last thing.
 */
static int set_privileges(struct child *ch, const struct caps *own, const struct caps *wanted, struct err *e)
{
	const struct bundle *b = ch->c->b;
	struct caps all = { .effective = own->permitted, .permitted = own->permitted, .inheritable = own->inheritable };

	if (ch->proc->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return err_set(e, ERR_SYSTEM, errno, "no_new_privs");
	if (b->seccomp && !ch->proc->no_new_privs) {
		if (caps_set(&all, e) || load_filter(ch, e))
			return -1;
		return caps_set(wanted, e);
	}
	if (caps_set(wanted, e))
		return -1;
	return load_filter(ch, e);
}

/* The death signal is forgotten at every change of credentials, so it is set as late as possible: the container must
 * not outlive its supervisor. */
static int drop_privileges(void *arg, struct err *e)
{
	struct child *ch = arg;
	struct caps own, wanted;

	if (caps_get(&own, e))
		return -1;
	wanted = wanted_caps(ch, &own);
	umask(ch->proc->user.umask == OCI_UMASK_UNSET ? 022 : (mode_t)ch->proc->user.umask);
	if (caps_limit_bounding(wanted.bounding, e) || take_identity(ch, e) || find_program(ch, e))
		return -1;
	if (!ch->c->runtime && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		return err_set(e, ERR_SYSTEM, errno, "death signal");
	return set_privileges(ch, &own, &wanted, e);
}

/* Handlers go at exec, but ignored signals and the mask would be inherited. */
static int reset_signals(void *arg, struct err *e)
{
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	return 0;
}

static int set_scheduling(void *arg, struct err *e)
{
	struct child *ch = arg;
	const struct oci_scheduling *s = &ch->proc->scheduling;
	bool is_exec = ch->proc != &ch->spec->process;
	const struct sched_wish w = { s->policy,     s->priority,    s->nice,     s->flags,
				      s->runtime_ns, s->deadline_ns, s->period_ns };

	if ((s->has_policy && sched_set_policy(&w, e)) ||
	    (s->has_io && sched_set_io_priority(s->io_class, s->io_priority, e)) ||
	    (is_exec && s->cpus_final && sched_set_cpus(s->cpus_final, e)))
		return -1;
	if (ch->spec->has_personality && personality(ch->spec->personality) < 0)
		return err_set(e, ERR_SYSTEM, errno, "personality");
	return 0;
}

/* A session keyring of its own: the caller's keys stay with the caller. A kernel without keys needs none. */
static int join_keyring(void *arg, struct err *e)
{
	const struct child *ch = arg;
	autofree char *name = xasprintf("_ses.%s", ch->c->b->id);

	if (!ch->c->runtime || !ch->c->runtime->keyring)
		return 0;
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name) < 0 && errno != ENOSYS && errno != EPERM)
		return err_set(e, ERR_SYSTEM, errno, "join a session keyring");
	return 0;
}

/* Where only files are wanted (bundle.h) nothing will be executed: no user or program need be there. */
static bool runs_program(void *arg)
{
	return !((struct child *)arg)->c->b->files_only;
}

static const struct step finish_steps[] = {
	/* name              wanted run              undo */
	{ "signals",         NULL,  reset_signals,   NULL },
	{ "streams",         NULL,  use_stdio,       NULL },
	{ "close",           NULL,  close_others,    NULL },
	{ "limits",          runs_program,  set_rlimits,     NULL },
	{ "scheduling",      runs_program,  set_scheduling,  NULL },
	{ "keyring",         runs_program,  join_keyring,    NULL },
	{ "user",            runs_program,  find_user,       NULL },
	{ "owner of stdio",  runs_program,  own_stdio,       NULL },
	{ "working directory", runs_program, enter_cwd,      NULL },
	{ "credentials",     runs_program,  drop_privileges, NULL },
};

static _Noreturn void fail(struct child *ch, const struct err *e)
{
	sync_send_error(ch->sync, ch->verbatim.kind != ERR_NONE ? &ch->verbatim : e);
	_exit(127);
}

/* From its supervisor, or from another process later: the FIFO is open for both directions, so that it has no end of
 * file. What was inherited of the maker's socket is closed: the maker may end. False: nobody will start it. */
static bool wait_for_go(struct child *ch, struct err *e)
{
	if (ch->go >= 0) {
		close_fd(&ch->sync);
		ch->sync = ch->status;
	}
	if (!sync_wait_go(ch->go >= 0 ? ch->go : ch->sync))
		return false;
	if (ch->proc == &ch->spec->process)
		(void)!child_run_hooks(ch, MOMENT_STARTING, e);
	return true;
}

_Noreturn void child_run(struct child *ch, const struct step *steps, size_t n)
{
	struct err e = { 0 };

	/* Until exec nobody in the container may look into this copy of the supervisor. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)) {
		err_set(&e, ERR_SYSTEM, errno, "set non-dumpable");
		fail(ch, &e);
	}
	if (steps_run(steps, n, ch, NULL, &e) || steps_run(finish_steps, array_len(finish_steps), ch, NULL, &e) ||
	    sync_send_ready(ch->sync, ch->tty_master, &e))
		fail(ch, &e);
	close_fd(&ch->tty_master);
	if (!wait_for_go(ch, &e))
		_exit(0);
	if (e.kind != ERR_NONE)
		fail(ch, &e);
	execve(ch->path, (char *const *)ch->proc->args, (char *const *)ch->env);
	lookup_exec_error(ch->path, errno, &e);
	fail(ch, &e);
}
