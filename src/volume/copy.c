/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A tree copied by descriptors, so that no symlink in it leads anywhere. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/own.h"
#include "base/str.h"
#include "volume/volume.h"

#define DEPTH_MAX 512
#define NAMES_BYTES_MAX (64 * KIB)
#define VALUE_BYTES_MAX (64 * KIB)

/* Attributes of overlayfs and of the host's security module say nothing about the copy. */
static bool is_copied(const char *name)
{
	return str_starts(name, "user.") || strcmp(name, "security.capability") == 0 ||
	       str_starts(name, "system.posix_acl_");
}

static void copy_xattrs(int from, int to)
{
	autofree char *names = xmalloc(NAMES_BYTES_MAX);
	autofree char *value = xmalloc(VALUE_BYTES_MAX);
	ssize_t n = flistxattr(from, names, NAMES_BYTES_MAX);

	for (char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
		ssize_t bytes = is_copied(name) ? fgetxattr(from, name, value, VALUE_BYTES_MAX) : -1;

		/* The other file system may not have them: the content counts. */
		if (bytes >= 0 && fsetxattr(to, name, value, (size_t)bytes, 0) < 0 && errno != EOPNOTSUPP)
			return;
	}
}

static int copy_attributes(int from, int to, const struct stat *st, struct err *e)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };

	if (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0)
		return err_set(e, ERR_SYSTEM, errno, "set owner and mode");
	copy_xattrs(from, to); /* after the owner: a change of it drops capabilities */
	if (futimens(to, times) < 0)
		return err_set(e, ERR_SYSTEM, errno, "set times");
	return 0;
}

static int copy_bytes(int in, int out, struct err *e)
{
	ssize_t n;

	if (ioctl(out, FICLONE, in) == 0)
		return 0;
	while ((n = sendfile(out, in, NULL, 64 * MIB)) > 0)
		;
	return n < 0 ? err_set(e, ERR_SYSTEM, errno, "copy") : 0;
}

static int copy_file(int from, int to, const char *name, const struct stat *st, struct err *e)
{
	autoclose int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), out = -1;

	if (in < 0)
		return err_set(e, ERR_SYSTEM, errno, "open");
	out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return err_set(e, ERR_SYSTEM, errno, "create");
	return copy_bytes(in, out, e) < 0 ? -1 : copy_attributes(in, out, st, e);
}

static int copy_symlink(int from, int to, const char *name, const struct stat *st, struct err *e)
{
	char target[4096];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

	if (n < 0)
		return err_set(e, ERR_SYSTEM, errno, "readlink");
	target[n] = '\0';
	if (symlinkat(target, to, name) < 0 || fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(e, ERR_SYSTEM, errno, "symlink");
	return 0;
}

static int copy_node(int to, const char *name, const struct stat *st, struct err *e)
{
	if (S_ISSOCK(st->st_mode)) /* means nothing without its server */
		return 0;
	if (mknodat(to, name, st->st_mode, st->st_rdev) < 0 ||
	    fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(to, name, st->st_mode & 07777, 0) < 0)
		return err_set(e, ERR_SYSTEM, errno, "mknod");
	return 0;
}

static int copy_dir(int from, int to, int depth, struct err *e);

static int copy_subdir(int from, int to, const char *name, int depth, struct err *e)
{
	autoclose int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), out = -1;

	if (in < 0 || mkdirat(to, name, 0700) < 0)
		return err_set(e, ERR_SYSTEM, errno, "directory");
	out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (out < 0)
		return err_set(e, ERR_SYSTEM, errno, "open");
	return copy_dir(in, out, depth - 1, e);
}

static int copy_entry(int from, int to, const char *name, int depth, struct err *e)
{
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(e, ERR_SYSTEM, errno, "stat");
	if (S_ISDIR(st.st_mode))
		return copy_subdir(from, to, name, depth, e);
	if (S_ISREG(st.st_mode))
		return copy_file(from, to, name, &st, e);
	return S_ISLNK(st.st_mode) ? copy_symlink(from, to, name, &st, e) : copy_node(to, name, &st, e);
}

static int copy_dir(int from, int to, int depth, struct err *e)
{
	int again = depth > 0 ? openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	DIR *d = again >= 0 ? fdopendir(again) : NULL;
	struct dirent *entry;
	struct stat st;
	int rc = 0;

	if (!d) {
		close_fd(&again);
		return err_set(e, ERR_SYSTEM, depth > 0 ? errno : ELOOP, "open directory");
	}
	while (rc == 0 && (entry = readdir(d))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		rc = copy_entry(from, to, entry->d_name, depth, e);
		if (rc < 0)
			err_prefix(e, "%.100s", entry->d_name);
	}
	closedir(d);
	if (rc == 0 && fstat(from, &st) < 0)
		rc = err_set(e, ERR_SYSTEM, errno, "stat");
	return rc ? -1 : copy_attributes(from, to, &st, e);
}

int copy_tree(int from, int to, struct err *e)
{
	return copy_dir(from, to, DEPTH_MAX, e);
}
