/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "monitor/memory.h"

#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/attr.h"

/* Only segments that were never writable: dropping a page of another one would lose data. */
static int drop_segments(struct dl_phdr_info *info, size_t size unused_arg, void *arg)
{
	uintptr_t page = *(const uintptr_t *)arg;

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + ph->p_vaddr;
		uintptr_t end = (start + ph->p_memsz) & ~(page - 1);

		start = (start + page - 1) & ~(page - 1);
		if (ph->p_type == PT_LOAD && !(ph->p_flags & PF_W) && start < end)
			madvise((void *)start, end - start, MADV_DONTNEED);
	}
	return 0;
}

void memory_trim(void)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	malloc_trim(0);
	dl_iterate_phdr(drop_segments, &page);
}
