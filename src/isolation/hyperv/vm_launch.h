/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between vm.c and the making of templates: a VM that has been started but whose QMP is still open. */
#ifndef SILO_HYPERV_VM_LAUNCH_H
#define SILO_HYPERV_VM_LAUNCH_H

#include "isolation/hyperv/qmp.h"
#include "isolation/hyperv/vm.h"
#include "isolation/hyperv/vm_args.h"

struct vm_launch {
	const struct vm_facts *facts;
	enum vm_mode mode;
	const char *template_dir;
	const char *id;
	uid_t uid;
	const char *image_path, *disk_path; /* or NULL */
	const struct vm_disk *more;         /* see vm.h */
	size_t n_more;
	uint64_t later_bytes;               /* see vm.h */
	int memory;                         /* VM_MODE_TEMPLATE: the memory file, borrowed */
	const struct cgroup *cgroup;        /* see vm.h */
	int oom_score_adj;
	int64_t deadline_ms;                /* monotonic: bound of every answer on QMP */
};

/* Start QEMU and shake hands over QMP; the guest is not running yet with VM_MODE_CLONE. NULL with *e. */
struct vm *vm_launch(const struct vm_launch *l, struct err *e) must_check;
struct qmp *vm_qmp(struct vm *v); /* borrowed */

/* Have QEMU open a file by name: the shim knows some that are orders. */
int vm_order(struct vm *v, const char *path, struct err *e) must_check;

/* Migration capabilities of both sides: the memory stays out of the stream, changes of state are told. */
int vm_migration_capabilities(struct qmp *q, struct err *e) must_check;
/* Wait until the migration has been completed (or has failed: ERR_SYSTEM). */
int vm_migration_wait(struct qmp *q, struct err *e) must_check;

#endif
