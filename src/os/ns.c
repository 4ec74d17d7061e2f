/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/ns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/own.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

static const struct {
	const char *name;
	uint64_t flag;
} ns_table[] = {
	{ "pid",    CLONE_NEWPID    }, { "network", CLONE_NEWNET  }, { "mount", CLONE_NEWNS   },
	{ "ipc",    CLONE_NEWIPC    }, { "uts",     CLONE_NEWUTS  }, { "user",  CLONE_NEWUSER },
	{ "cgroup", CLONE_NEWCGROUP }, { "time",    CLONE_NEWTIME },
};

uint64_t ns_flag(const char *name)
{
	for (size_t i = 0; i < array_len(ns_table); i++) {
		if (!strcmp(ns_table[i].name, name))
			return ns_table[i].flag;
	}
	return 0;
}

int ns_enter_path(const char *path, uint64_t flag, struct err *e)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, (int)flag))
		return err_set(e, ERR_SYSTEM, errno, "join namespace %s", path);
	return 0;
}
