/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * silo-vmwp.so: memory that QEMU doesn't need any more goes back to the host.
 *
 * Where QEMU emulates, its largest part is the buffer of translated code. Most of what is in it has started the
 * container and will not be run again; QEMU can forget all of it, but keeps the pages. Opening /trim makes it forget
 * and gives them back, when no virtual processor is running. What the guest does then is translated once more.
 *
 * The functions of QEMU are those that it exports to its own modules; of a QEMU without them nothing is given back.
 */
#include <errno.h>
#include <malloc.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/attr.h"
#include "isolation/hyperv/shim.h"

#define PROLOGUE_BYTES (64 * KIB) /* code that is never forgotten, at the start of the buffer */

struct CPUState;
union run_on_cpu_data {
	unsigned long number;
	void *pointer;
};
typedef void run_on_cpu_fn(struct CPUState *cpu, union run_on_cpu_data data);

__attribute__((weak)) struct CPUState *qemu_get_cpu(int index);
__attribute__((weak)) void async_safe_run_on_cpu(struct CPUState *cpu, run_on_cpu_fn *fn, union run_on_cpu_data data);
__attribute__((weak)) void tb_flush(struct CPUState *cpu);

/* QEMU has no place where this could be kept for us. */
static struct {
	char *start;
	size_t size;
} translated;

/* On the thread of a virtual processor, while none of them runs. */
static void trim(struct CPUState *cpu, union run_on_cpu_data data unused_arg)
{
	tb_flush(cpu);
	(void)madvise(translated.start + PROLOGUE_BYTES, translated.size - PROLOGUE_BYTES, MADV_DONTNEED);
	(void)malloc_trim(0);
}

int shim_trim(void)
{
	struct CPUState *cpu = qemu_get_cpu ? qemu_get_cpu(0) : NULL;

	if (!cpu || !async_safe_run_on_cpu || !tb_flush || translated.size <= PROLOGUE_BYTES) {
		errno = ENOTSUP;
		return -1;
	}
	async_safe_run_on_cpu(cpu, trim, (union run_on_cpu_data){ 0 });
	return 0;
}

/* The one large piece of memory that is made executable is the buffer. */
#undef mprotect
int shim_mprotect(void *start, size_t size, int protection) __asm__("mprotect");

int shim_mprotect(void *start, size_t size, int protection)
{
	int rc = (int)syscall(SYS_mprotect, start, size, protection);

	if (!rc && protection & PROT_EXEC && size > translated.size) {
		translated.start = start;
		translated.size = size;
	}
	return rc;
}
