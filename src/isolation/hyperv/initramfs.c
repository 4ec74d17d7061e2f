/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/initramfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "isolation/hyperv/cpio.h"
#include "isolation/hyperv/libraries.h"

#define ARCHIVE_BYTES_MAX (128 * MIB)
#define FILE_BYTES_MAX (64 * MIB)
#define DEP_BYTES_MAX (4 * MIB)

enum module_list { LIST_BOOT, LIST_LATE, LIST_COUNT };

/*
 * What the guest loads. Everything that may be loaded before the snapshot is: it then costs a clone nothing. Only the
 * driver of the disks comes late, because it reads a disk's size when it binds, and a clone has other disks.
 */
static const struct guest_module {
	const char *name;
	enum module_list list;
	bool required;
	const char *parameters;
} guest_modules[] = {
	{ "virtio_mmio", LIST_BOOT, true, NULL },
	{ "virtio_console", LIST_BOOT, true, NULL }, /* the agent channel */
	{ "virtio_balloon", LIST_BOOT, false, NULL },
	{ "virtio_rng", LIST_BOOT, false, NULL },
	{ "virtio_net", LIST_BOOT, true, NULL },
	{ "crc32c_generic", LIST_BOOT, false, NULL }, /* libcrc32c asks for it by name: must be there before */
	{ "crc32c_intel", LIST_BOOT, false, NULL },
	{ "erofs", LIST_BOOT, true, NULL },
	{ "ext4", LIST_BOOT, true, NULL },
	{ "overlay", LIST_BOOT, true, NULL },
	{ "9pnet_virtio", LIST_BOOT, false, NULL }, /* volumes */
	{ "9p", LIST_BOOT, false, NULL },
	{ "tun", LIST_BOOT, false, NULL }, /* --device /dev/net/tun, /dev/fuse: the guest's own */
	{ "fuse", LIST_BOOT, false, NULL },
	{ "scsi_mod", LIST_BOOT, false, "scan=manual" }, /* nothing is there before the agent looks */
	{ "virtio_scsi", LIST_BOOT, false, NULL }, /* disks of containers that join */
	{ "sd_mod", LIST_BOOT, false, NULL },
	{ "virtio_blk", LIST_LATE, true, NULL },
};

static const char *const guest_dirs[] = {
	"dev", "proc", "sys", "run", "tmp", "root", "mnt", "etc", "var", "usr", "bin"
};

static const struct {
	const char *name, *text;
} guest_files[] = {
	{ "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n" },
	{ "etc/group", "root:x:0:\ntty:x:5:\n" },
};

struct builder {
	struct cpio cpio;
	const struct kernel *kernel;
	struct str lists[LIST_COUNT];
	const struct guest_module *current;
	char **loaded; /* paths of modules.dep that are in the archive */
	size_t n_loaded;
	struct err *e;
};

/* Copy a file of the host into the archive, following symlinks. */
static int add_host_file(struct builder *b, const char *source, const char *name, struct err *e)
{
	autostr data;

	str_init(&data, FILE_BYTES_MAX);
	if (io_read_file(AT_FDCWD, source, &data, e))
		return -1;
	if (cpio_add_dirs(&b->cpio, name, e))
		return -1;
	return cpio_add(&b->cpio, name, S_IFREG | 0755, data.s, data.len, e);
}

/* Length of a module's name without what its compression appends: "a/b.ko.xz" -> "a/b.ko". */
static int plain_length(const char *path)
{
	const char *end = strstr(path, ".ko");

	return end ? (int)(end + 3 - path) : (int)strlen(path);
}

static bool is_loaded(const struct builder *b, const char *path)
{
	for (size_t i = 0; i < b->n_loaded; i++)
		if (!strcmp(b->loaded[i], path))
			return true;
	return false;
}

/* modules_closure() tells a file to load: put it, decompressed, into the archive and into the current list. */
static int add_module_file(void *arg, const char *path)
{
	struct builder *b = arg;
	const struct kernel *k = b->kernel;
	autofree char *source = xasprintf("%s/%s", k->modules_dir, path);
	autofree char *name = xasprintf("lib/modules/%s/%.*s", k->release, plain_length(path), path);
	struct str *list = &b->lists[b->current->list];
	autostr data;

	str_init(&data, FILE_BYTES_MAX);
	if (is_loaded(b, path))
		return 0;
	if (strstr(path, ".."))
		return err_set(b->e, ERR_INVALID, 0, "modules.dep: %s", path);
	if (kernel_inflate_file(source, &data, b->e) || cpio_add_dirs(&b->cpio, name, b->e) ||
	    cpio_add(&b->cpio, name, S_IFREG | 0644, data.s, data.len, b->e))
		return -1;
	b->loaded = xrealloc(b->loaded, (b->n_loaded + 1) * sizeof *b->loaded);
	b->loaded[b->n_loaded++] = xstrdup(path);
	return b->current->parameters ? str_printf(list, "/%s %s\n", name, b->current->parameters)
				      : str_printf(list, "/%s\n", name);
}

static int add_modules(struct builder *b, struct err *e)
{
	autofree char *dep_path = xasprintf("%s/modules.dep", b->kernel->modules_dir);
	autofree char *builtin_path = xasprintf("%s/modules.builtin", b->kernel->modules_dir);
	autostr dep, builtin;

	str_init(&dep, DEP_BYTES_MAX);
	str_init(&builtin, DEP_BYTES_MAX);
	if (io_read_file(AT_FDCWD, dep_path, &dep, e) || io_read_file(AT_FDCWD, builtin_path, &builtin, e))
		return -1;
	b->e = e;
	for (size_t i = 0; i < array_len(guest_modules); i++) {
		const struct guest_module *m = &guest_modules[i];
		int rc;

		b->current = m;
		rc = modules_closure(dep.s, builtin.s, m->name, add_module_file, b);
		if (rc < 0)
			return -1;
		if (rc && m->required)
			return err_set(e, ERR_UNAVAILABLE, 0, "the guest kernel %s has no module %s",
				       b->kernel->release, m->name);
	}
	if (cpio_add(&b->cpio, "modules", S_IFREG | 0644, b->lists[LIST_BOOT].s, b->lists[LIST_BOOT].len, e))
		return -1;
	return cpio_add(&b->cpio, "modules.late", S_IFREG | 0644, b->lists[LIST_LATE].s, b->lists[LIST_LATE].len, e);
}

/* Programs of the host that the agent runs. A host without one only loses what it is for. */
static const struct {
	const char *paths[2], *name;
} guest_programs[] = {
	{ { "/usr/bin/ps", "/bin/ps" }, "usr/bin/ps" },                /* docker top */
	{ { "/usr/sbin/e2fsck", "/sbin/e2fsck" }, "usr/sbin/e2fsck" }, /* a disk whose VM was killed */
};

static bool has_string(const json_t *strings, const char *s)
{
	const json_t *one;
	size_t i;

	json_array_foreach(strings, i, one)
		if (!strcmp(json_string_value(one), s))
			return true;
	return false;
}

/* The program and those of its libraries that are not in the archive yet. */
static int add_program(struct builder *b, const char *program, const char *name, json_t *added, struct err *e)
{
	autojson *libraries = libraries_of(program, e);
	json_t *path;
	size_t i;

	if (!libraries)
		return -1;
	json_array_foreach(libraries, i, path) {
		if (has_string(added, json_string_value(path)))
			continue;
		if (add_host_file(b, json_string_value(path), json_string_value(path) + 1, e))
			return -1;
		json_array_append(added, path);
	}
	return add_host_file(b, program, name, e);
}

static int add_programs(struct builder *b, struct err *e)
{
	autojson *added = json_array();

	for (size_t i = 0; i < array_len(guest_programs); i++) {
		const char *const *paths = guest_programs[i].paths;
		const char *program = access(paths[0], X_OK) ? paths[1] : paths[0];

		if (!access(program, X_OK) && add_program(b, program, guest_programs[i].name, added, e))
			return -1;
	}
	return 0;
}

static int add_skeleton(struct builder *b, const char *lib_dir, struct err *e)
{
	static const struct {
		const char *program, *name;
	} programs[] = { { "silo-agent", "init" }, { "silo-init", "silo-init" } };

	for (size_t i = 0; i < array_len(guest_dirs); i++)
		if (cpio_add(&b->cpio, guest_dirs[i], S_IFDIR | 0755, NULL, 0, e))
			return -1;
	/* The kernel opens it for init's standard streams before anything is mounted. */
	if (cpio_add_device(&b->cpio, "dev/console", S_IFCHR | 0600, 5, 1, e))
		return -1;
	for (size_t i = 0; i < array_len(guest_files); i++)
		if (cpio_add(&b->cpio, guest_files[i].name, S_IFREG | 0644, guest_files[i].text,
			     strlen(guest_files[i].text), e))
			return -1;
	for (size_t i = 0; i < array_len(programs); i++) {
		autofree char *source = xasprintf("%s/%s", lib_dir, programs[i].program);

		if (access(source, X_OK))
			return err_set(e, ERR_UNAVAILABLE, errno, "%s", source);
		if (add_host_file(b, source, programs[i].name, e))
			return -1;
	}
	return 0;
}

int initramfs_write(const struct kernel *k, const char *lib_dir, int fd, struct err *e)
{
	struct builder b = { .kernel = k };
	int rc;

	cpio_init(&b.cpio, ARCHIVE_BYTES_MAX);
	for (size_t i = 0; i < LIST_COUNT; i++)
		str_init(&b.lists[i], 64 * KIB);
	rc = add_skeleton(&b, lib_dir, e) || add_modules(&b, e) || add_programs(&b, e) || cpio_end(&b.cpio, e) ? -1 : 0;
	if (!rc && io_write_all(fd, b.cpio.out.s, b.cpio.out.len))
		rc = err_set(e, ERR_SYSTEM, errno, "write initramfs");
	for (size_t i = 0; i < b.n_loaded; i++)
		own_free(&b.loaded[i]);
	own_free(&b.loaded);
	for (size_t i = 0; i < LIST_COUNT; i++)
		str_fini(&b.lists[i]);
	cpio_fini(&b.cpio);
	return rc;
}
