/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The launcher of vmwp: a program in namespaces of its own, whose root is a read-only directory tree with nothing in
 * it but the program and its libraries, as an unprivileged user without any capability.
 */
#ifndef SILO_HYPERV_JAIL_H
#define SILO_HYPERV_JAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "os/cgroup.h"

struct jail_options {
	const char *root_path; /* becomes "/", read-only, no devices, no set-uid */
	const char *program;   /* path below it */
	char *const *argv;
	char *const *envp;
	uid_t uid;      /* also the gid; not 0 */
	uint64_t file_bytes; /* no file grows beyond it */
	const struct cgroup *cgroup; /* it starts in it; or NULL */
	int oom_score_adj;           /* as far as the caller may set it */
	const int *fds; /* descriptor i of the program; all others are closed. -1 = not open */
	size_t n_fds;   /* at most JAIL_FDS_MAX */
	/*
	 * It serves what jail_share() attaches while it runs. For that the program is in a user namespace that has all
	 * users of the host, and there in command over the files that it can reach: nothing but these.
	 */
	bool shares;
};

#define JAIL_FDS_MAX 32
#define JAIL_SHARES_MAX 64
#define JAIL_SHARES "/share" /* an empty directory of the tree */

/**
 * jail_spawn - start it. The program dies with the calling thread.
 *
 * Returns 0 with *pid (as seen by the caller) and *pidfd (owned by the caller) after a successful exec(2); or -1, and
 * nothing is left: ERR_FORBIDDEN without the rights to make namespaces.
 */
int jail_spawn(const struct jail_options *o, pid_t *pid, int *pidfd, struct err *e) must_check;

/**
 * jail_share - attach detached mounts (borrowed) in a running jail as JAIL_SHARES/first, first + 1, ...
 *
 * For programs with one thread. On failure none of them is there.
 */
int jail_share(pid_t pid, const int *mounts, size_t n, unsigned first, struct err *e) must_check;
/* Take them away again. A file that the program has open stays open. */
int jail_unshare(pid_t pid, size_t n, unsigned first, struct err *e) must_check;

/* SIGKILL and wait; *pidfd is closed. Nothing happens when it is -1. */
void jail_kill(int *pidfd);

#endif
