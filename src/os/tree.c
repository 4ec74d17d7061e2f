/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"

#define DEPTH_MAX 64

static int copy_level(int from, int to, int depth, struct err *e);

static int copy_file(int from, int to, const char *name, const struct stat *st, struct err *e)
{
	autoclose int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	autoclose int out = openat(to, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
	ssize_t n;

	if (in < 0 || out < 0)
		return err_set(e, ERR_SYSTEM, errno, "copy %s", name);
	while ((n = sendfile(out, in, NULL, 1 * MIB)) > 0)
		;
	if (n < 0 || fchown(out, st->st_uid, st->st_gid) || fchmod(out, st->st_mode & 07777))
		return err_set(e, ERR_SYSTEM, errno, "copy %s", name);
	return 0;
}

static int copy_link(int from, int to, const char *name, const struct stat *st, struct err *e)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

	if (n < 0)
		return err_set(e, ERR_SYSTEM, errno, "copy %s", name);
	target[n] = '\0';
	if (symlinkat(target, to, name) || fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW))
		return err_set(e, ERR_SYSTEM, errno, "copy %s", name);
	return 0;
}

static int copy_directory(int from, int to, const char *name, const struct stat *st, int depth, struct err *e)
{
	autoclose int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	autoclose int out = -1;

	if (mkdirat(to, name, 0700))
		return err_set(e, ERR_SYSTEM, errno, "copy %s", name);
	out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (in < 0 || out < 0 || fchown(out, st->st_uid, st->st_gid) || fchmod(out, st->st_mode & 07777))
		return err_set(e, ERR_SYSTEM, errno, "copy %s", name);
	return copy_level(in, out, depth + 1, e);
}

static int copy_one(int from, int to, const char *name, int depth, struct err *e)
{
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW))
		return err_set(e, ERR_SYSTEM, errno, "stat %s", name);
	if (S_ISDIR(st.st_mode))
		return copy_directory(from, to, name, &st, depth, e);
	if (S_ISLNK(st.st_mode))
		return copy_link(from, to, name, &st, e);
	return S_ISREG(st.st_mode) ? copy_file(from, to, name, &st, e) : 0;
}

static int copy_level(int from, int to, int depth, struct err *e)
{
	int copy = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	int r = 0;

	if (!d) {
		close_fd(&copy);
		return err_set(e, ERR_SYSTEM, errno, "read directory");
	}
	if (depth > DEPTH_MAX)
		r = err_set(e, ERR_LIMIT, 0, "more than %d levels of directories", DEPTH_MAX);
	while (!r && (entry = readdir(d))) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = copy_one(from, to, entry->d_name, depth, e);
	}
	closedir(d);
	return r;
}

int tree_copy(int from, int to, struct err *e)
{
	return copy_level(from, to, 0, e);
}
