/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SILO_ENGINE_TEMPLATE_USE_H
#define SILO_ENGINE_TEMPLATE_USE_H

#include "engine/state.h"
#include "isolation/hyperv/template.h"

static inline struct template_options template_options_of(const struct engine *g)
{
	return (struct template_options){ .vm_dir = g->vm_dir, .lib_dir = g->lib_dir, .kernel_dir = g->kernel_dir };
}

/* The template that VMs of this host are cloned from; made where it is missing. Heap string, or NULL with what is
 * missing. */
char *vm_template(struct engine *g, struct err *e) must_check;

#endif
