/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/seccomp.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

bool seccomp_is_filter(size_t bytes)
{
	return bytes && bytes % sizeof(struct sock_filter) == 0 && bytes / sizeof(struct sock_filter) <= BPF_MAXINSNS;
}

int seccomp_install(const void *filter, size_t bytes, unsigned flags, int *listener, struct err *e)
{
	long r;
	struct sock_fprog prog = {
		.len = (unsigned short)(bytes / sizeof(struct sock_filter)),
		.filter = (struct sock_filter *)filter,
	};

	if (!seccomp_is_filter(bytes))
		return err_set(e, ERR_INVALID, 0, "seccomp filter of %zu bytes", bytes);
	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | (listener ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0),
		    &prog);
	if (r < 0 || (r && !listener))
		return err_set(e, ERR_SYSTEM, errno, "load seccomp filter");
	if (listener)
		*listener = (int)r;
	return 0;
}
