/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * silo-limits.so, preloaded into Wine's processes (on the Linux side): a Windows program asks Wine how much memory and how
 * many processors there are, Wine asks the kernel, and the kernel tells of the machine. Here the answer is what the
 * container may have, as its cgroup has it at the moment; without a limit it is the kernel's.
 */
#undef _FILE_OFFSET_BITS /* else fopen here would be fopen64 */
#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define CGROUP "/sys/fs/cgroup/"
#define MEMINFO "/proc/meminfo"

typedef long sysconf_fn(int name);
typedef FILE *fopen_fn(const char *path, const char *mode);

int sysinfo(struct sysinfo *info);
long sysconf(int name);
FILE *fopen(const char *path, const char *mode);

/* The first n numbers of a file of the kernel's: how many there are. */
static int read_numbers(const char *path, long long *out, int n)
{
	char text[128], *at = text;
	int fd = open(path, O_RDONLY | O_CLOEXEC), found = 0;
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	text[got > 0 ? got : 0] = '\0';
	for (char *end; found < n; at = end) {
		out[found] = strtoll(at, &end, 10);
		if (end == at)
			break;
		found++;
	}
	return found;
}

static long long read_number(const char *v2, const char *v1)
{
	long long n;

	return read_numbers(v2, &n, 1) == 1 || read_numbers(v1, &n, 1) == 1 ? n : -1;
}

/* CPUs that the quota is worth, rounded up; 0 = there is none. */
static long quota_cpus(void)
{
	long long v2[2], quota, period;

	if (read_numbers(CGROUP "cpu.max", v2, 2) == 2) {
		quota = v2[0];
		period = v2[1];
	} else {
		quota = read_number(CGROUP "cpu/cpu.cfs_quota_us", "");
		period = read_number(CGROUP "cpu/cpu.cfs_period_us", "");
	}
	return quota > 0 && period > 0 ? (long)((quota + period - 1) / period) : 0;
}

/* What the container may have instead of what the machine has; 0: that is the same. */
static int limit_memory(struct sysinfo *info)
{
	long long limit = read_number(CGROUP "memory.max", CGROUP "memory/memory.limit_in_bytes");
	long long used = read_number(CGROUP "memory.current", CGROUP "memory/memory.usage_in_bytes");

	if (limit <= 0 || (unsigned long long)limit >= (unsigned long long)info->totalram * info->mem_unit)
		return 0;
	info->totalram = (unsigned long)limit;
	info->freeram = used > 0 && used < limit ? (unsigned long)(limit - used) : 0;
	info->sharedram = info->bufferram = info->totalswap = info->freeswap = info->totalhigh = info->freehigh = 0;
	info->mem_unit = 1;
	return 1;
}

int sysinfo(struct sysinfo *info)
{
	int failed = (int)syscall(SYS_sysinfo, info);

	if (!failed)
		limit_memory(info);
	return failed;
}

long sysconf(int name)
{
	sysconf_fn *next = (sysconf_fn *)dlsym(RTLD_NEXT, "sysconf");
	long n = next(name), quota;
	cpu_set_t set;

	if (name != _SC_NPROCESSORS_ONLN && name != _SC_NPROCESSORS_CONF)
		return n;
	if (!sched_getaffinity(0, sizeof(set), &set) && CPU_COUNT(&set) < n)
		n = CPU_COUNT(&set);
	quota = quota_cpus();
	return quota && quota < n ? quota : n;
}

/* In the kernel's form, as far as Wine reads it. */
static FILE *limited_meminfo(const struct sysinfo *info)
{
	FILE *f = fmemopen(NULL, 1024, "w+");

	if (!f)
		return NULL;
	fprintf(f,
		"MemTotal: %llu kB\nMemFree: %llu kB\nMemAvailable: %llu kB\nBuffers: 0 kB\nCached: 0 kB\n"
		"SwapTotal: 0 kB\nSwapFree: 0 kB\n",
		(unsigned long long)info->totalram / 1024, (unsigned long long)info->freeram / 1024,
		(unsigned long long)info->freeram / 1024);
	rewind(f);
	return f;
}

FILE *fopen(const char *path, const char *mode)
{
	struct sysinfo info;

	if (!strcmp(path, MEMINFO) && !syscall(SYS_sysinfo, &info) && limit_memory(&info))
		return limited_meminfo(&info);
	return ((fopen_fn *)dlsym(RTLD_NEXT, "fopen"))(path, mode);
}
