/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/rlimit.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#define NAME(r) [r] = #r

static const char *const rlimit_names[] = {
	NAME(RLIMIT_AS),         NAME(RLIMIT_CORE),   NAME(RLIMIT_CPU),    NAME(RLIMIT_DATA),
	NAME(RLIMIT_FSIZE),      NAME(RLIMIT_LOCKS),  NAME(RLIMIT_MEMLOCK), NAME(RLIMIT_MSGQUEUE),
	NAME(RLIMIT_NICE),       NAME(RLIMIT_NOFILE), NAME(RLIMIT_NPROC),  NAME(RLIMIT_RSS),
	NAME(RLIMIT_RTPRIO),     NAME(RLIMIT_RTTIME), NAME(RLIMIT_SIGPENDING), NAME(RLIMIT_STACK),
};

int rlimit_parse(const char *name)
{
	for (size_t i = 0; i < array_len(rlimit_names); i++) {
		if (rlimit_names[i] && !strcmp(rlimit_names[i], name))
			return (int)i;
	}
	return -1;
}

const char *rlimit_name(int resource)
{
	return resource >= 0 && (size_t)resource < array_len(rlimit_names) ? rlimit_names[resource] : "?";
}

int rlimit_set(int resource, uint64_t soft, uint64_t hard, struct err *e)
{
	struct rlimit limit = { .rlim_cur = soft, .rlim_max = hard };

	if (!setrlimit(resource, &limit))
		return 0;
	return err_set(e, ERR_SYSTEM, errno, "error setting rlimit type %d (%s) to %llu:%llu", resource,
		       rlimit_name(resource), (unsigned long long)soft, (unsigned long long)hard);
}
