/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Housekeeping of templates, for `silo template`. */
#ifndef SILO_HYPERV_TEMPLATE_LIST_H
#define SILO_HYPERV_TEMPLATE_LIST_H

#include <jansson.h>

#include "base/err.h"
#include "isolation/hyperv/template.h"

/* Every template: its template.json with "path" and "current" (would a VM be cloned from it now?). New reference. */
json_t *template_list(const struct template_options *o);

/* Remove one by its name ("template-<16 hex digits>", the prefix may be left out). VMs cloned from it live on. */
int template_remove(const struct template_options *o, const char *name, struct err *e) must_check;

/* Take the lock under which templates are made and removed; fd to be closed, or -1. Makes vm_dir. */
int template_lock(const char *vm_dir, struct err *e) must_check;

#endif
