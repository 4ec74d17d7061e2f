/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What of this host a template depends on. When one of these changes, the template doesn't fit any more. */
#ifndef SILO_HYPERV_HOST_H
#define SILO_HYPERV_HOST_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "isolation/hyperv/kernel.h"
#include "isolation/hyperv/template.h"

struct vm_host {
	struct kernel kernel;
	char *qemu_path;
	char *agent_path, *init_path, *shim_path;
	char *cpu_model; /* vendor, family, model, stepping, microcode, flags (hashed) */
	char *kvm;       /* identity of the module behind /dev/kvm, "" when it can't be opened */
};

/* Find all of it. -1: ERR_UNAVAILABLE that names the missing part and how to get it. */
int host_find(const struct template_options *o, struct vm_host *h, struct err *e) must_check;
void host_fini(struct vm_host *h);

/* Path of QEMU ($SILO_QEMU, or where distributions put it); heap string, or NULL. */
char *host_find_qemu(void);
/* Identity of KVM: host kernel, module, version; "" without a /dev/kvm that can be opened. Heap string. */
char *host_kvm_identity(void);

/* {"cpu", "kvm", "layout"}: compared as a whole. New reference. */
json_t *host_facts(const struct vm_host *h);
/* Files that the template is made of: [{"path", "size", "mtime_ns"}], libraries of QEMU not among them. */
json_t *host_sources(const struct vm_host *h, struct err *e) must_check;

/* {"path", "size", "mtime_ns"} of a file (symlinks followed), or NULL with *e. */
json_t *host_stat_source(const char *path, struct err *e) must_check;
/* Are all files of such an array as they were? */
bool host_sources_unchanged(const json_t *sources);

/* Frequency of the time stamp counter, rounded to MHz; measured in 10 ms. */
unsigned host_tsc_khz(void);

/* 64-bit FNV-1a: names things, protects nothing. */
uint64_t host_hash(const char *text);

#endif
