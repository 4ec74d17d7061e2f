/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The container's root: a small Linux that runs Wine and nothing else, and Wine's Windows programs, stripped. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/str.h"
#include "windows/build.h"
#include "windows/layout.h"
#include "windows/resource.h"
#include "windows/version.h"

#define WINE_DIR "/" BUILD_TRIPLET "/wine"
#define UNIX_DIR "usr/lib/x86_64-linux-gnu/wine/x86_64-unix"
#define WINDOWS_DIR "usr/lib/x86_64-linux-gnu/wine/x86_64-windows"

/* Wine takes a file of its own place for its own if it has this mark behind the DOS header. */
#define BUILTIN_MARK "Wine builtin DLL"
#define BUILTIN_MARK_OFFSET 0x40
#define BUILTIN_MARK_BYTES 32

#define VERSION_STRING 1033 /* WCMD_VERSION in the resources of Wine's cmd */
#define US_ENGLISH 1033

static const char *const directories[] = { "dev",     "etc", "lib64",      "proc",  "run/user/0", "sys",
					   "tmp",     UNIX_DIR, WINDOWS_DIR,
					   "usr/lib/locale", "usr/lib/silo", "usr/lib/wine", "usr/share/wine", "wine" };

static const char *const libraries[] = { "ld-linux-x86-64.so.2", "libc.so.6",      "libm.so.6",     "libgcc_s.so.1",
					 "libresolv.so.2",       "libunwind.so.8", "liblzma.so.5" };

/* The Linux half of those DLLs that a container without screen, sound and devices can use. */
static const char *const unix_parts[] = { "ntdll",    "win32u",   "ws2_32",   "nsiproxy", "bcrypt",
					  "mountmgr", "secur32",  "crypt32",  "netapi32", "dnsapi",
					  "msv1_0",   "localspl", "winspool", "odbc32" };

static const struct {
	const char *path, *text;
} files[] = {
	/* Windows takes the user's name from the first line. */
	{ "etc/passwd", "ContainerAdministrator:x:0:0::/:/\nroot:x:0:0::/:/\n" },
	{ "etc/group", "root:x:0:\n" },
	{ "etc/hosts", "127.0.0.1 localhost\n" },
	{ "etc/nsswitch.conf", "hosts: files dns\n" },
};

int build_copy(const char *from, const char *to, unsigned mode, struct err *e)
{
	autostr data;

	str_init(&data, 512 * MIB);
	if (io_read_file(AT_FDCWD, from, &data, e))
		return -1;
	return io_write_file(AT_FDCWD, to, data.s ? data.s : "", data.len, mode, false, e);
}

/* From the unpacked packages into the root, without symbols. */
static int copy_stripped(const char *path, struct err *e)
{
	autofree char *from = xasprintf(BUILD_UNPACKED "/%s", path);
	autofree char *to = xasprintf(BUILD_ROOT "/%s", path);
	const char *const argv[] = { "strip", "--strip-unneeded", "-o", to, from, NULL };

	return build_run(argv, e);
}

static int copy_tree(const char *path, struct err *e)
{
	autofree char *from = xasprintf(BUILD_UNPACKED "/%s", path);
	autofree char *to = xasprintf(BUILD_ROOT "/%s", path);
	const char *const argv[] = { "cp", "-a", from, to, NULL };

	return build_run(argv, e);
}

static int make_directories(struct err *e)
{
	for (size_t i = 0; i < array_len(directories); i++) {
		autofree char *path = xasprintf(BUILD_ROOT "/%s", directories[i]);

		if (io_mkdir_all(path, 0755, e))
			return -1;
	}
	/* Wine refuses to use a directory that others may enter. */
	if (chmod(BUILD_ROOT "/run/user/0", 0700) || chmod(BUILD_ROOT "/tmp", 01777))
		return err_set(e, ERR_SYSTEM, errno, "chmod");
	if (symlink("usr/lib", BUILD_ROOT "/lib") ||
	    symlink("../" BUILD_TRIPLET "/ld-linux-x86-64.so.2", BUILD_ROOT "/lib64/ld-linux-x86-64.so.2"))
		return err_set(e, ERR_SYSTEM, errno, "symlink");
	return 0;
}

int build_linux_side(void *arg, struct err *e)
{
	static const char *const trees[] = { "usr/lib/locale/C.utf8", "usr/lib/wine/wine64",
					     "usr/lib/wine/wineserver64", "usr/share/wine/nls",
					     "usr/share/wine/wine.inf" };

	if (make_directories(e))
		return -1;
	for (size_t i = 0; i < array_len(libraries); i++) {
		autofree char *path = xasprintf(BUILD_TRIPLET "/%s", libraries[i]);

		if (copy_stripped(path, e))
			return -1;
	}
	for (size_t i = 0; i < array_len(unix_parts); i++) {
		autofree char *path = xasprintf(BUILD_TRIPLET "/wine/x86_64-unix/%s.so", unix_parts[i]);

		if (copy_stripped(path, e))
			return -1;
	}
	for (size_t i = 0; i < array_len(trees); i++)
		if (copy_tree(trees[i], e))
			return -1;
	for (size_t i = 0; i < array_len(files); i++) {
		autofree char *path = xasprintf(BUILD_ROOT "/%s", files[i].path);

		if (io_write_file(AT_FDCWD, path, files[i].text, strlen(files[i].text), 0644, false, e))
			return -1;
	}
	return 0;
}

/* What `ver` and the prompt say: Wine's words, in Windows' form. */
static int name_version(struct err *e)
{
	static const char path[] = BUILD_DLLS "/cmd.exe";
	autofree char *text = xasprintf("\nMicrosoft Windows [Version %%1!S!.%d]\n", WINDOWS_REVISION);
	autostr file;

	str_init(&file, 16 * MIB);
	if (io_read_file(AT_FDCWD, path, &file, e) ||
	    resource_replace_string((unsigned char *)file.s, file.len, VERSION_STRING, US_ENGLISH,
				    "Microsoft Windows %1!S!\n", text, e))
		return err_prefix(e, "the version in cmd.exe");
	return io_write_file(AT_FDCWD, path, file.s, file.len, 0644, false, e);
}

/* One file a call: of several, strip aligns the later ones to 512 bytes, and Wine can't map those. What isn't a program
 * (type libraries, styles) can't be stripped and is copied. */
static int copy_dll(const char *name, struct err *e)
{
	autofree char *from = xasprintf(BUILD_UNPACKED WINE_DIR "/x86_64-windows/%s", name);
	autofree char *to = xasprintf(BUILD_DLLS "/%s", name);
	const char *const argv[] = { "x86_64-w64-mingw32-strip", "-o", to, from, NULL };

	return build_run(argv, NULL) ? build_copy(from, to, 0644, e) : 0;
}

static int mark_builtin(const char *path, struct err *e)
{
	static const char mark[BUILTIN_MARK_BYTES] = BUILTIN_MARK;
	autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || pwrite(fd, mark, sizeof(mark), BUILTIN_MARK_OFFSET) != sizeof(mark))
		return err_set(e, ERR_SYSTEM, errno, "%s", path);
	return 0;
}

int build_dlls(void *arg, struct err *e)
{
	DIR *dir = opendir(BUILD_UNPACKED WINE_DIR "/x86_64-windows");
	int failed = 0;

	if (!dir)
		return err_set(e, ERR_SYSTEM, errno, "the package libwine has changed its layout");
	for (struct dirent *d; !failed && (d = readdir(dir));)
		if (d->d_name[0] != '.' && !str_ends(d->d_name, ".a"))
			failed = copy_dll(d->d_name, e);
	closedir(dir);
	if (failed)
		return -1;
	return build_copy(BUILD_UNPACKED "/usr/x86_64-w64-mingw32/lib/zlib1.dll", BUILD_DLLS "/zlib1.dll", 0644, e) ||
			       mark_builtin(BUILD_DLLS "/zlib1.dll", e) || name_version(e)
		       ? -1
		       : 0;
}

/* Silo's own: pid 1, and the Windows programs, which take the place of Wine's where it has one of that name. */
int build_programs(void *arg, struct err *e)
{
	const struct windows_build *b = arg;
	autofree char *winit = xasprintf("%s/silo-winit", b->lib_dir);
	autofree char *freetype = xasprintf("%s/guest/libfreetype.so.6", b->lib_dir);
	autofree char *limits = xasprintf("%s/guest/silo-limits.so", b->lib_dir);
	autofree char *guest = xasprintf("%s/guest", b->lib_dir);
	DIR *dir = opendir(guest);
	int failed = 0;

	if (!dir)
		return err_set(e, ERR_SYSTEM, errno, "%s", guest);
	for (struct dirent *d; !failed && (d = readdir(dir));) {
		autofree char *from = xasprintf("%s/%s", guest, d->d_name);
		autofree char *to = xasprintf(BUILD_DLLS "/%s", d->d_name);

		if (str_ends(d->d_name, ".exe") || str_ends(d->d_name, ".com"))
			failed = build_copy(from, to, 0644, e);
	}
	closedir(dir);
	if (failed || build_copy(winit, BUILD_ROOT "/usr/lib/silo/silo-winit", 0755, e))
		return -1;
	if (build_copy(limits, BUILD_ROOT WINDOWS_LIMITS, 0644, e))
		return -1;
	return build_copy(freetype, BUILD_ROOT "/" BUILD_TRIPLET "/libfreetype.so.6", 0644, e);
}
