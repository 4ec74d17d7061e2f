/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Code that runs in the forked child, between clone and execve. Everything is undone by the death of the child, so its
 * steps have no undo. finish.c is common to a container's init and to an exec.
 */
#ifndef SILO_ISOLATION_CHILD_H
#define SILO_ISOLATION_CHILD_H

#include <limits.h>

#include "base/step.h"
#include "isolation/process/process.h"
#include "os/user.h"

struct child {
	const struct container *c;
	const struct oci_spec *spec;
	const struct oci_process *proc;
	const struct process_io *io;
	int report;           /* where the program says its exit code; -1 */
	int sync, go, status; /* go, status: of runtime_wants; -1 */
	bool is_exec;         /* joins a container that runs */
	bool staged;          /* born in a user namespace by a first process, which has done the host's part */
	pid_t pid;            /* as the runtime sees it; known when there are hooks */
	int root_tree;        /* a prepared root file system as a detached clone; -1 */
	int root;               /* of the container; init only until pivot */
	int proc_fs, dev, pts;  /* mounts that we made; -1 */
	bool dev_readonly;      /* when everything is in it */
	int *binds;             /* sources of spec->mounts as detached clones; -1 where it is no bind */
	int tty_master, tty_slave;
	struct user_ids ids;
	const char **env;       /* process.env and HOME */
	char home[300];
	char path[PATH_MAX];    /* the program */
	struct err verbatim;    /* an error with a text of Docker's: no step names in front */
};

void child_init(struct child *ch, const struct container *c, const struct oci_process *proc,
		const struct process_io *io, int sync);

/* Run the steps, then those of finish.c, then wait for go and exec. */
_Noreturn void child_run(struct child *ch, const struct step *steps, size_t n);

/* Keep *e as the text for the user; returns -1. */
int child_verbatim(struct child *ch, struct err *e);

/* init.c: the whole life of a container's first process up to exec */
_Noreturn void init_child(struct container *c, const struct process_io *io, int sync);

/* The same with a user namespace: this is the first of two processes. */
_Noreturn void init_child_staged(struct container *c, const struct process_io *io, int sync, uint64_t flags);
/* birth.c: returns in the second process, which is in the user namespace and has its other new namespaces. */
int birth_in_user_namespace(struct child *ch, uint64_t flags, struct err *e) must_check;

/* The hooks of a moment in the container: as the runtime wants, or those of a guest's config.json. */
int child_run_hooks(struct child *ch, enum runtime_moment m, struct err *e) must_check;
/* Steps of init.c that an exec has too. */
int child_enter_cgroup(void *arg, struct err *e);
int child_set_oom_score(void *arg, struct err *e);
int child_set_label(void *arg, struct err *e);
/* Join those that have a path, make those that clone can't; not the user, pid and mount namespaces. */
int child_enter_namespaces(void *arg, struct err *e);
bool child_has_userns(const struct child *ch);

/* Steps and helpers of init, by file. rootfs.c */
int child_open_root(void *arg, struct err *e);
int child_mount_root(void *arg, struct err *e);
/* mounts.c */
int child_open_binds(void *arg, struct err *e);
int child_mount_all(void *arg, struct err *e);
int child_bind_files(void *arg, struct err *e);
/* dev.c */
int child_fill_dev(struct child *ch, int dev, struct err *e) must_check;
/* The same in a user namespace, which may not make nodes: the host's are bound. dev is attached. */
int child_bind_dev(struct child *ch, int dev, struct err *e) must_check;
int child_make_devices(void *arg, struct err *e);
int child_open_terminal(void *arg, struct err *e);
/* fd of /dev/null of the container, checked to be it. */
int child_open_null(int root, int flags, struct err *e) must_check;
/* protect.c */
int child_set_sysctls(void *arg, struct err *e);
int child_mask_paths(void *arg, struct err *e);
int child_lock_paths(void *arg, struct err *e);
#endif
