/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* template.json: what a VM must be started with so that it fits its template. */
#ifndef SILO_HYPERV_FACTS_H
#define SILO_HYPERV_FACTS_H

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"

/* Raised whenever devices, their order or the kernel's arguments change: older templates are not used any more. */
#define TEMPLATE_LAYOUT 7

/* Files of a template's directory. */
#define TEMPLATE_FACTS_FILE "template.json"
#define FACTS_BYTES_MAX (256 * KIB)
#define TEMPLATE_MEMORY_FILE "memory" /* the guest's memory, sparse, root-owned, read-only */
#define TEMPLATE_STATE_FILE "state"   /* the devices: QEMU's migration stream without the memory */
#define TEMPLATE_ROOT_DIR "root"      /* the tree that vmwp sees: QEMU, libraries, firmware, kernel, initramfs */

/* Strings are borrowed from doc. */
struct vm_facts {
	json_t *doc;
	const char *accelerator; /* "kvm" or "tcg" */
	const char *cpu;         /* argument of -cpu */
	const char *append;      /* kernel command line */
	int64_t memory_mib;
	int64_t cpus;
	int64_t translation_mib; /* of one clone, see vm.h; 0 = the usual */
};

/* Read <dir>/template.json. -1: ERR_UNAVAILABLE when there is none, ERR_INVALID when it is of another layout. */
int facts_load(const char *dir, struct vm_facts *f, struct err *e) must_check;
/* The same from a document (reference taken over on success). */
int facts_parse(json_t *doc, struct vm_facts *f, struct err *e) must_check;
void facts_fini(struct vm_facts *f);

#endif
