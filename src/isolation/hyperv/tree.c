/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "isolation/hyperv/initramfs.h"
#include "isolation/hyperv/libraries.h"
#include "isolation/hyperv/vm_args.h"

static const char *const firmware_dirs[] = { "/usr/share/qemu", "/usr/share/seabios", "/usr/local/share/qemu",
					     "/usr/share/qemu-kvm", "/usr/share/seabios/qemu" };
static const struct {
	const char *name;
	const char *package; /* of a file that QEMU can't do without */
} firmware_files[] = {
	{ "bios-microvm.bin", "seabios" },
	{ "pvh.bin", "qemu-system-data" },
	{ "linuxboot_dma.bin", NULL },
	{ "kvmvapic.bin", NULL },
};

/* Where distributions that split QEMU put the translator. */
static const char *const module_dirs[] = { "/usr/lib/x86_64-linux-gnu/qemu", "/usr/lib64/qemu", "/usr/lib/qemu",
					   "/usr/local/lib/x86_64-linux-gnu/qemu" };
#define TCG_MODULE "accel-tcg-x86_64.so"

/* A new file below root, its directories included. */
static int create(const char *root, const char *name, mode_t mode, struct err *e)
{
	autofree char *path = xasprintf("%s%s", root, name);
	autofree char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	int fd;

	if (io_mkdir_all(dir, 0755, e))
		return -1;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return err_set(e, ERR_SYSTEM, errno, "create %s", path);
	if (fchmod(fd, mode)) {
		close(fd);
		return err_set(e, ERR_SYSTEM, errno, "chmod %s", path);
	}
	return fd;
}

static int copy(const char *source, const char *root, const char *name, struct err *e)
{
	autoclose int in = open(source, O_RDONLY | O_CLOEXEC), out = -1;
	ssize_t n;

	if (in < 0)
		return err_set(e, ERR_SYSTEM, errno, "open %s", source);
	out = create(root, name, 0555, e);
	if (out < 0)
		return -1;
	if (!ioctl(out, FICLONE, in))
		return 0;
	while ((n = sendfile(out, in, NULL, 64 * MIB)) > 0)
		;
	return n ? err_set(e, ERR_SYSTEM, errno, "copy %s", source) : 0;
}

/* copy, and remember what was copied. */
static int copy_source(const char *source, const char *root, const char *name, json_t *sources, struct err *e)
{
	json_t *stat_of = host_stat_source(source, e);

	if (!stat_of)
		return -1;
	json_array_append_new(sources, stat_of);
	return copy(source, root, name, e);
}

static int copy_firmware(const char *root, json_t *sources, struct err *e)
{
	for (size_t i = 0; i < array_len(firmware_files); i++) {
		const char *name = firmware_files[i].name;
		autofree char *target = xasprintf(VMWP_FIRMWARE "/%s", name);
		bool found = false;

		for (size_t k = 0; k < array_len(firmware_dirs) && !found; k++) {
			autofree char *source = xasprintf("%s/%s", firmware_dirs[k], name);

			if (access(source, R_OK))
				continue;
			found = true;
			if (copy_source(source, root, target, sources, e))
				return -1;
		}
		if (!found && firmware_files[i].package)
			return err_set(e, ERR_UNAVAILABLE, 0, "QEMU's firmware %s is missing (install the package %s)",
				       name, firmware_files[i].package);
	}
	return 0;
}

static int copy_program(const char *root, const struct vm_host *h, json_t *sources, struct err *e)
{
	autojson *libraries = libraries_of(h->qemu_path, e);
	const json_t *path;
	size_t i;

	if (!libraries || copy(h->qemu_path, root, VMWP_PROGRAM, e) || copy(h->shim_path, root, VMWP_SHIM, e))
		return -1;
	json_array_foreach(libraries, i, path)
		if (copy_source(json_string_value(path), root, json_string_value(path), sources, e))
			return -1;
	for (i = 0; i < array_len(module_dirs); i++) {
		autofree char *module = xasprintf("%s/" TCG_MODULE, module_dirs[i]);

		if (!access(module, R_OK))
			return copy_source(module, root, VMWP_MODULES "/" TCG_MODULE, sources, e);
	}
	return 0; /* built into QEMU */
}

static int write_guest(const char *root, const struct vm_host *h, const char *lib_dir, struct err *e)
{
	autoclose int vmlinux = create(root, VMWP_KERNEL, 0444, e), initramfs = -1;

	if (vmlinux < 0 || kernel_extract(h->kernel.image_path, vmlinux, e))
		return -1;
	initramfs = create(root, VMWP_INITRAMFS, 0444, e);
	return initramfs < 0 ? -1 : initramfs_write(&h->kernel, lib_dir, initramfs, e);
}

/* The jail's user walks these directories, whatever umask they were made with. */
static int open_directory(const char *path, const struct stat *st, int type, struct FTW *where)
{
	return type == FTW_D && chmod(path, 0755) ? -1 : 0;
}

int tree_build(const char *root_path, const struct vm_host *h, const char *lib_dir, json_t *sources, struct err *e)
{
	autofree char *shares = xasprintf("%s" VMWP_SHARES, root_path);
	autofree char *proc = xasprintf("%s/proc", root_path);

	if (mkdir(root_path, 0755))
		return err_set(e, ERR_SYSTEM, errno, "mkdir %s", root_path);
	if (copy_program(root_path, h, sources, e) || copy_firmware(root_path, sources, e))
		return -1;
	if (write_guest(root_path, h, lib_dir, e))
		return -1;
	if (mkdir(shares, 0755) || mkdir(proc, 0755))
		return err_set(e, ERR_SYSTEM, errno, "mkdir %s", shares);
	if (nftw(root_path, open_directory, 16, FTW_PHYS))
		return err_set(e, ERR_SYSTEM, errno, "chmod below %s", root_path);
	return 0;
}
