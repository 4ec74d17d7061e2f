/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * silo-vmwp.so, preloaded into QEMU. Its tree has no /proc and no device nodes, so files that QEMU opens by name and
 * takes in no other way come from descriptors that it was started with:
 *
 *	/memory    VMWP_MEMORY_FD: the template's memory. QEMU insists on opening it for writing, even to map it privately;
 *		   a clone's descriptor is read-only.
 *	/dev/kvm   VMWP_KVM_FD
 *	/dev/null  VMWP_NULL_FD: QEMU tries out there whether files can be locked
 *	/wire/...  VMWP_NULL_FD, when the wire of a network card has been changed (shim_wires.c)
 *	/trim      the same, when memory has been given back (shim_trim.c)
 *
 * And a hole punched into a file that is open read-only "succeeds": QEMU punches one into the template's memory
 * before it gives the private copy of a page back to the host (free page reporting), and stops when that fails.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/attr.h"
#include "isolation/hyperv/shim.h"
#include "isolation/hyperv/vm_args.h"

static const struct {
	const char *path, *variable;
} handed_over[] = {
	{ "/memory", "VMWP_MEMORY_FD" },
	{ "/dev/kvm", "VMWP_KVM_FD" },
	{ "/dev/null", "VMWP_NULL_FD" },
};

static int shim_open(const char *path, int flags, mode_t mode)
{
	if (!strncmp(path, VMWP_WIRES, strlen(VMWP_WIRES)))
		return shim_wire(path + strlen(VMWP_WIRES)) ? -1 : shim_open("/dev/null", flags, mode);
	if (!strcmp(path, VMWP_TRIM))
		return shim_trim() ? -1 : shim_open("/dev/null", flags, mode);
	for (size_t i = 0; i < array_len(handed_over); i++) {
		const char *fd = getenv(handed_over[i].variable);

		if (!strcmp(path, handed_over[i].path) && fd)
			return fcntl(atoi(fd), F_DUPFD_CLOEXEC, 0);
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static int shim_fallocate(int fd, int mode, off_t offset, off_t length)
{
	int flags;

	if (mode & FALLOC_FL_PUNCH_HOLE) {
		flags = fcntl(fd, F_GETFL);
		if (flags >= 0 && (flags & O_ACCMODE) == O_RDONLY)
			return 0;
	}
	return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

#define MODE_OF(flags, last) \
	({ \
		mode_t mode_ = 0; \
		va_list ap_; \
		if (((flags)&O_CREAT) || ((flags)&O_TMPFILE) == O_TMPFILE) { \
			va_start(ap_, last); \
			mode_ = va_arg(ap_, mode_t); \
			va_end(ap_); \
		} \
		mode_; \
	})

/* The C library's names for open(2) and fallocate(2), with and without large files and fortification. */
#undef open
#undef open64
#undef fallocate
#undef fallocate64
int shim_open_variadic(const char *path, int flags, ...) __asm__("open");
int shim_open64_variadic(const char *path, int flags, ...) __asm__("open64");
int shim_open_2(const char *path, int flags) __asm__("__open_2");
int shim_open64_2(const char *path, int flags) __asm__("__open64_2");
int shim_fallocate_plain(int fd, int mode, off_t offset, off_t length) __asm__("fallocate");
int shim_fallocate64(int fd, int mode, off_t offset, off_t length) __asm__("fallocate64");

int shim_open_variadic(const char *path, int flags, ...)
{
	return shim_open(path, flags, MODE_OF(flags, flags));
}

int shim_open64_variadic(const char *path, int flags, ...)
{
	return shim_open(path, flags, MODE_OF(flags, flags));
}

int shim_open_2(const char *path, int flags)
{
	return shim_open(path, flags, 0);
}

int shim_open64_2(const char *path, int flags)
{
	return shim_open(path, flags, 0);
}

int shim_fallocate_plain(int fd, int mode, off_t offset, off_t length)
{
	return shim_fallocate(fd, mode, offset, length);
}

int shim_fallocate64(int fd, int mode, off_t offset, off_t length)
{
	return shim_fallocate(fd, mode, offset, length);
}
