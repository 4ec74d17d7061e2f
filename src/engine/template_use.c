/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/template_use.h"

#include <sys/sysinfo.h>

#include "base/json.h"
#include "engine/limits.h"

#define NANO 1000000000

/* --cpus, or quota and period: how many CPUs are needed for that; or as many as a machine has without such a limit. */
static int64_t cpus_asked(const json_t *host, int64_t unlimited)
{
	int64_t nano = json_int(host, "NanoCpus", 0), quota = json_int(host, "CpuQuota", 0);
	int64_t period = json_int(host, "CpuPeriod", 0);

	if (nano > 0)
		return (nano + NANO - 1) / NANO;
	if (quota <= 0)
		return unlimited;
	if (period <= 0)
		period = 100000;
	return (quota + period - 1) / period;
}

/* Smallest power of two from `least` on that has room for n, while it isn't more than there is. */
static int64_t class_of(int64_t n, int64_t least, int64_t most)
{
	int64_t size = least;

	while (size < n && size * 2 <= most)
		size *= 2;
	return size;
}

struct vm_size vm_size_class(const json_t *host, struct vm_size unlimited, int64_t host_mib, int host_cpus)
{
	int64_t mib = (json_int(host, "Memory", 0) + (int64_t)MIB - 1) / (int64_t)MIB;

	return (struct vm_size){ .memory_mib =
					 mib ? class_of(mib, TEMPLATE_MEMORY_MIB, host_mib) : unlimited.memory_mib,
				 .cpus = class_of(cpus_asked(host, unlimited.cpus), TEMPLATE_CPUS, host_cpus) };
}

struct vm_size vm_size_here(const struct engine *g, const json_t *host)
{
	struct sysinfo s = { 0 };
	struct vm_size unlimited = { .cpus = json_int(g->config, "vm-cpus", TEMPLATE_CPUS) };
	int64_t host_mib;

	sysinfo(&s);
	host_mib = (int64_t)(s.totalram * s.mem_unit / MIB);
	unlimited.memory_mib = limits_vm_memory_mib(g->config, host_mib);
	return vm_size_class(host, unlimited, host_mib, get_nprocs());
}

char *vm_template(struct engine *g, const json_t *host, struct err *e)
{
	struct template_options o = template_options_of(g);
	struct vm_size size = vm_size_here(g, host);
	char *path;

	o.memory_mib = size.memory_mib;
	o.cpus = size.cpus;
	path = template_find(&o);
	return path ? path : template_ensure(&o, e);
}
