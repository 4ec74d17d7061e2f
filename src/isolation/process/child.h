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
	int sync;
	int root;               /* of the container; init only until pivot */
	int proc_fs, dev, pts;  /* mounts that we made; -1 */
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

/* Steps of init.c that an exec has too. */
int child_enter_cgroup(void *arg, struct err *e);
int child_set_oom_score(void *arg, struct err *e);

/* Steps and helpers of init, by file. rootfs.c */
int child_mount_root(void *arg, struct err *e);
/* mounts.c */
int child_open_binds(void *arg, struct err *e);
int child_mount_all(void *arg, struct err *e);
int child_bind_files(void *arg, struct err *e);
/* dev.c */
int child_fill_dev(struct child *ch, int dev, struct err *e) must_check;
int child_make_devices(void *arg, struct err *e);
int child_open_terminal(void *arg, struct err *e);
/* fd of /dev/null of the container, checked to be it. */
int child_open_null(int root, int flags, struct err *e) must_check;
/* protect.c */
int child_set_sysctls(void *arg, struct err *e);
int child_mask_paths(void *arg, struct err *e);
int child_lock_paths(void *arg, struct err *e);
#endif
