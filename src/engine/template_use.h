/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SILO_ENGINE_TEMPLATE_USE_H
#define SILO_ENGINE_TEMPLATE_USE_H

#include "engine/state.h"
#include "isolation/hyperv/template.h"

static inline struct template_options template_options_of(const struct engine *g)
{
	return (struct template_options){ .vm_dir = g->vm_dir, .lib_dir = g->lib_dir, .kernel_dir = g->kernel_dir };
}

/**
 * vm_template - the template that a VM of this HostConfig's size is cloned from; made where it is missing.
 *
 * @host  canonical HostConfig, or NULL = the default size.
 * Heap string, or NULL with what is missing.
 */
char *vm_template(struct engine *g, const json_t *host, struct err *e) must_check;

struct vm_size {
	int64_t memory_mib, cpus;
};
/* The size class for a HostConfig on a host of this size: powers of two, not below the smallest template's; `unlimited`
 * where it has no limit. Pure. */
struct vm_size vm_size_class(const json_t *host, struct vm_size unlimited, int64_t host_mib, int host_cpus);
/* Of this host. */
struct vm_size vm_size_here(const struct engine *g, const json_t *host);

#endif
