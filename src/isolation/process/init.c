/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The child that becomes pid 1 of a container: namespaces, root file system, everything up to finish.c. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "isolation/process/child.h"
#include "isolation/process/sync.h"
#include "oci/hooks.h"
#include "os/mount.h"
#include "os/netlink.h"
#include "os/ns.h"
#include "os/root.h"

static const struct oci_namespace *namespace_of(const struct child *ch, uint64_t flag)
{
	return oci_spec_namespace(ch->spec, flag);
}

/* v1: this process is single-threaded, so "0" into tasks moves all of it without the grace period of cgroup.procs. */
int child_enter_cgroup(void *arg, struct err *e)
{
	return cgroup_attach_self(((struct child *)arg)->c->cg, e);
}

bool child_has_userns(const struct child *ch)
{
	return namespace_of(ch, CLONE_NEWUSER);
}

/* Through the /proc of outside. Before Linux 6.3 only setns takes a process into what it has unshared. */
static int make_time_namespace(const struct child *ch, struct err *e)
{
	uint64_t flag = ns_flag("time");
	autostr text;

	if (unshare((int)flag))
		return err_set(e, ERR_SYSTEM, errno, "unshare time namespace");
	str_init(&text, 256);
	for (size_t i = 0; i < ch->spec->n_time_offsets; i++) {
		const struct oci_time_offset *o = &ch->spec->time_offsets[i];

		str_printf(&text, "%s %lld %lld\n", o->clock, (long long)o->seconds, (long long)o->nanoseconds);
	}
	if (text.len && io_write_kernel(AT_FDCWD, "/proc/self/timens_offsets", text.s, e))
		return -1;
	return ns_enter_path("/proc/self/ns/time_for_children", flag, e);
}

static bool has_new(const struct child *ch, uint64_t flag)
{
	const struct oci_namespace *n = namespace_of(ch, flag);

	return n && !n->path;
}

/* The cgroup namespace comes after the cgroup: its root is where its maker is at that moment. */
int child_enter_namespaces(void *arg, struct err *e)
{
	struct child *ch = arg;
	const uint64_t later = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUSER;

	for (size_t i = 0; i < ch->spec->n_namespaces; i++) {
		const struct oci_namespace *n = &ch->spec->namespaces[i];

		if (n->path && !(n->flag & later) && ns_enter_path(n->path, n->flag, e))
			return -1;
	}
	return has_new(ch, ns_flag("time")) ? make_time_namespace(ch, e) : 0;
}

static bool wants_cgroupns(void *arg)
{
	return has_new(arg, CLONE_NEWCGROUP);
}

/* In its user namespace, which it then belongs to. */
static int make_cgroup_namespace(void *arg, struct err *e)
{
	return unshare(CLONE_NEWCGROUP) ? err_set(e, ERR_SYSTEM, errno, "unshare cgroup namespace") : 0;
}

/* What a first process has done where there is a user namespace. */
static bool is_first(void *arg)
{
	return !((struct child *)arg)->staged;
}

static bool lacks_binds(void *arg)
{
	return !((struct child *)arg)->binds;
}

static bool wants_network(void *arg)
{
	return has_new(arg, CLONE_NEWNET);
}

static int start_network(void *arg, struct err *e)
{
	return netlink_lo_up(e);
}

static bool wants_hostname(void *arg)
{
	return has_new(arg, CLONE_NEWUTS);
}

static int set_hostname(void *arg, struct err *e)
{
	const struct oci_spec *s = ((struct child *)arg)->spec;

	if (s->hostname && sethostname(s->hostname, strlen(s->hostname)))
		return err_set(e, ERR_INVALID, errno, "sethostname \"%s\"", s->hostname);
	if (s->domainname && setdomainname(s->domainname, strlen(s->domainname)))
		return err_set(e, ERR_INVALID, errno, "setdomainname \"%s\"", s->domainname);
	return 0;
}

/* Through the /proc of outside: the container's own may be missing or replaced by the spec. */
int child_set_oom_score(void *arg, struct err *e)
{
	const struct child *ch = arg;
	/* an exec is judged as its container is */
	const struct oci_process *p = ch->proc->has_oom_score_adj ? ch->proc : &ch->spec->process;
	bool given = p->has_oom_score_adj;
	struct err why = { 0 };
	char text[16];

	/* Without one 0: the monitor protects itself from the OOM killer, its container must not inherit that. */
	snprintf(text, sizeof(text), "%d", given ? p->oom_score_adj : 0);
	if (!io_write_kernel(AT_FDCWD, "/proc/self/oom_score_adj", text, &why) || !given)
		return 0;
	/* an exec of an ordinary user may not say: it has his own */
	if (why.sys == EACCES && ch->staged)
		return 0;
	*e = why;
	return -1;
}

static bool lacks_cwd(void *arg)
{
	const struct child *ch = arg;
	autoclose int dir = root_try_open(ch->root, ch->proc->cwd ? ch->proc->cwd : "/", O_PATH | O_DIRECTORY, 0, 0);

	return dir < 0;
}

/* While a read-only root can still be written to. What went wrong is said when it is entered. */
static int make_cwd(void *arg, struct err *e)
{
	struct child *ch = arg;
	autoclose int dir = root_mkdirs(ch->root, ch->proc->cwd, 0755, 0, NULL);

	return 0;
}

static bool wants_terminal(void *arg)
{
	return ((struct child *)arg)->io->tty;
}

/* In a guest, where there is no runtime: the kinds that run in the container. */
static const char *const inner_hooks[] = { "createContainer", "startContainer" };

static bool wants_hooks(void *arg)
{
	const struct container *c = ((struct child *)arg)->c;

	return c->runtime ? c->runtime->moment != NULL : hooks_any(c->b->config, inner_hooks, array_len(inner_hooks));
}

static json_t *guest_state(const struct child *ch, bool starting)
{
	const struct bundle *b = ch->c->b;
	json_t *state = json_pack("{s:s, s:s, s:s, s:i, s:s}", "ociVersion", OCI_VERSION, "id", b->id, "status",
				  starting ? "created" : "creating", "pid", (int)ch->pid, "bundle",
				  json_str(b->silo, "bundle", ""));

	if (json_object_get(b->config, "annotations"))
		json_object_set(state, "annotations", json_object_get(b->config, "annotations"));
	return state;
}

/* The programs of the host aren't in the guest: those of the container's root are. */
int child_run_hooks(struct child *ch, enum runtime_moment m, struct err *e)
{
	const struct runtime_wants *w = ch->c->runtime;
	bool starting = m == MOMENT_STARTING;
	autojson *state = NULL;

	if (!wants_hooks(ch))
		return 0;
	if (w)
		return w->moment(w->arg, m, ch->pid, e);
	state = guest_state(ch, starting);
	return hooks_run(ch->c->b->config, inner_hooks[starting], state, starting ? -1 : ch->root, e);
}

/* Those of the runtime first; it tells us our pid, too. */
static int run_hooks(void *arg, struct err *e)
{
	struct child *ch = arg;
	int pid;

	if (sync_ask(ch->sync, SYNC_HOOKS, 0, &pid, e))
		return -1;
	ch->pid = pid;
	return child_run_hooks(ch, MOMENT_INSIDE, e);
}

static int pivot(void *arg, struct err *e)
{
	struct child *ch = arg;
	bool covers = ch->c->runtime && ch->c->runtime->no_pivot;

	if (covers ? mount_cover(ch->root, e) : mount_pivot(ch->root, e))
		return -1;
	return mount_change(ch->root, 0, 0, ch->spec->rootfs_propagation & ~(uint64_t)MS_REC,
			    ch->spec->rootfs_propagation & MS_REC, e);
}

static const struct step init_steps[] = {
	/* name             wanted          run                  undo */
	{ "enter cgroup",   is_first,       child_enter_cgroup,  NULL },
	{ "oom score",      is_first,       child_set_oom_score, NULL },
	{ "namespaces",     is_first,       child_enter_namespaces, NULL },
	{ "cgroup namespace", wants_cgroupns, make_cgroup_namespace, NULL },
	{ "network",        wants_network,  start_network,       NULL },
	{ "hostname",       wants_hostname, set_hostname,        NULL },
	{ "bind sources",   lacks_binds,    child_open_binds,    NULL },
	{ "root",           NULL,           child_mount_root,    NULL },
	{ "mounts",         NULL,           child_mount_all,     NULL },
	{ "files",          NULL,           child_bind_files,    NULL },
	{ "devices",        NULL,           child_make_devices,  NULL },
	{ "terminal",       wants_terminal, child_open_terminal, NULL },
	{ "sysctls",        NULL,           child_set_sysctls,   NULL },
	{ "masked paths",   NULL,           child_mask_paths,    NULL },
	{ "working directory", lacks_cwd,   make_cwd,            NULL },
	{ "readonly paths", NULL,           child_lock_paths,    NULL },
	{ "hooks",          wants_hooks,    run_hooks,           NULL },
	{ "label",          NULL,           child_set_label,     NULL },
	{ "pivot",          NULL,           pivot,               NULL },
};

_Noreturn void init_child(struct container *c, const struct process_io *io, int sync)
{
	struct child ch;

	umask(0);
	close_fd(&c->sync); /* our parent's end: while we have a copy, there is no end of file */
	child_init(&ch, c, &c->b->spec->process, io, sync);
	child_run(&ch, init_steps, array_len(init_steps));
}

_Noreturn void init_child_staged(struct container *c, const struct process_io *io, int sync, uint64_t flags)
{
	struct err e = { 0 };
	struct child ch;

	umask(0);
	close_fd(&c->sync); /* our parent's end: while we have a copy, there is no end of file */
	child_init(&ch, c, &c->b->spec->process, io, sync);
	if (birth_in_user_namespace(&ch, flags, &e)) {
		sync_send_error(sync, &e);
		_exit(127);
	}
	child_run(&ch, init_steps, array_len(init_steps));
}
