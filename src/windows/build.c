/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/step.h"
#include "base/str.h"
#include "image/digest.h"
#include "os/run.h"
#include "windows/base.h"
#include "windows/registry.h"
#include "windows/version.h"

#define RUN_TIMEOUT_MS (10 * 60 * 1000)
#define WORK "work"

int build_run(const char *const *argv, struct err *e)
{
	autostr out;

	str_init(&out, MIB);
	return run_capture(argv, RUN_TIMEOUT_MS, &out, e);
}

/* An archive of a directory becomes a layer: NAME.tar.gz, and the digest of what is in it for the stamp. Sorted, owned by
 * root: the same packages give the same layer. */
static int pack(struct windows_build *b, const char *directory, const char *name, struct err *e)
{
	autofree char *archive = xasprintf("%s.tar", name);
	const char *const tar[] = { "tar",
				    "--sort=name",
				    "--owner=0",
				    "--group=0",
				    "--numeric-owner",
				    "--mtime=@1700000000",
				    "--format=pax",
				    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
				    "-C",
				    directory,
				    "-cf",
				    archive,
				    ".",
				    NULL };
	const char *const gzip[] = { "gzip", "-1", "-n", archive, NULL };
	char diff_id[DIGEST_MAX];
	uint64_t bytes;

	if (build_run(tar, e))
		return -1;
	autoclose int fd = open(archive, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, errno, "%s", archive);
	if (digest_of_file(fd, diff_id, &bytes, e) || build_run(gzip, e))
		return -1;
	json_object_set_new(b->layers, name, json_string(diff_id));
	return 0;
}

static int save_version(const struct windows_version *v, bool nano, const char *from, const char *to, struct err *e)
{
	struct registry *r = registry_load(AT_FDCWD, from, e);
	int rc;

	if (!r)
		return -1;
	windows_version_apply(r, v, nano);
	rc = registry_save(r, AT_FDCWD, to, e);
	registry_free(r);
	return rc;
}

/* The base has the default version; each other one is a layer with another registry. */
static int pack_size(struct windows_build *b, bool nano, struct err *e)
{
	const char *size = nano ? "nanoserver" : "servercore";
	const struct windows_version *v;

	if (save_version(windows_version_by_build(WINDOWS_DEFAULT_BUILD), nano, BUILD_PREFIX "/system.reg",
			 BUILD_PREFIX "/system.reg", e) ||
	    pack(b, BUILD_ROOT, size, e) || io_mkdir_all("version/wine", 0755, e))
		return -1;
	for (size_t i = 0; (v = windows_version_at(i)); i++) {
		autofree char *name = xasprintf("%s-%u", size, v->build);

		if (v->build == WINDOWS_DEFAULT_BUILD)
			continue;
		if (save_version(v, nano, BUILD_PREFIX "/system.reg", "version/wine/system.reg", e) ||
		    pack(b, "version", name, e))
			return -1;
	}
	return 0;
}

static int pack_core(void *arg, struct err *e)
{
	return pack_size(arg, false, e);
}

static int pack_nano(void *arg, struct err *e)
{
	return pack_size(arg, true, e);
}

static const struct step build_steps[] = {
	/* name                                        wanted run                undo */
	{ "fetch Wine from the distribution (120 MB)", NULL,  build_fetch,       NULL },
	{ "unpack",                                    NULL,  build_unpack,      NULL },
	{ "copy the Linux side",                       NULL,  build_linux_side,  NULL },
	{ "strip the Windows side",                    NULL,  build_dlls,        NULL },
	{ "first start of Wine",                       NULL,  build_bake,        NULL },
	{ "tune the registry",                         NULL,  build_tune,        NULL },
	{ "add Silo's programs",                       NULL,  build_programs,    NULL },
	{ "link copies",                               NULL,  build_link_copies, NULL },
	{ "leave out what servercore doesn't need",    NULL,  build_prune_core,  NULL },
	{ "leave out classes without programs",        NULL,  build_prune_classes, NULL },
	{ "pack servercore",                           NULL,  pack_core,         NULL },
	{ "leave out what nanoserver doesn't need",    NULL,  build_prune_nano,  NULL },
	{ "leave out classes without programs",        NULL,  build_prune_classes, NULL },
	{ "pack nanoserver",                           NULL,  pack_nano,         NULL },
};

/* One by one, so that the user sees where it is. */
static int run_steps(struct windows_build *b, struct err *e)
{
	for (size_t i = 0; i < array_len(build_steps); i++) {
		b->progress(build_steps[i].name);
		if (steps_run(&build_steps[i], 1, b, NULL, e))
			return -1;
	}
	return 0;
}

/* The stamp comes last: with it the base is whole. */
static int publish(int dir, const json_t *layers, const char *stamp, struct err *e)
{
	autojson *doc = json_pack("{s:s, s:O}", "stamp", stamp, "layers", layers);
	autofree char *text = json_text(doc);
	const char *name;
	json_t *value;

	unlinkat(dir, WINDOWS_BASE_STAMP, 0);
	json_object_foreach((json_t *)(uintptr_t)layers, name, value) {
		autofree char *archive = xasprintf("%s.tar.gz", name);

		if (renameat(AT_FDCWD, archive, dir, archive))
			return err_set(e, ERR_SYSTEM, errno, "%s", archive);
	}
	return io_write_file(dir, WINDOWS_BASE_STAMP, text, strlen(text), 0644, true, e);
}

static int build_in(int dir, const char *lib_dir, const char *stamp, void (*progress)(const char *text), struct err *e)
{
	autojson *layers = json_object();
	struct windows_build b = { .lib_dir = lib_dir, .progress = progress, .layers = layers };
	int rc;

	if (io_remove_tree(dir, WORK, e) || mkdirat(dir, WORK, 0700) || fchdir(dir) || chdir(WORK))
		return err_set(e, ERR_SYSTEM, errno, "work directory");
	rc = run_steps(&b, e) || publish(dir, layers, stamp, e) ? -1 : 0;
	io_remove_tree(dir, WORK, NULL);
	return rc;
}

int windows_base_build(const char *path, const char *lib_dir, bool again, void (*progress)(const char *text),
		       struct err *e)
{
	autofree char *stamp = windows_base_stamp(lib_dir, e);
	autofree char *whole_lib_dir = realpath(lib_dir, NULL);
	autoclose int dir = -1, lock = -1;

	if (!stamp || !whole_lib_dir || io_mkdir_all(path, 0755, e))
		return stamp && !whole_lib_dir ? err_set(e, ERR_SYSTEM, errno, "%s", lib_dir) : -1;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	lock = dir < 0 ? -1 : openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0 || flock(lock, LOCK_EX))
		return err_set(e, ERR_SYSTEM, errno, "%s", path);
	if (!again && windows_base_ready(path, lib_dir))
		return 0;
	return build_in(dir, whole_lib_dir, stamp, progress, e);
}
