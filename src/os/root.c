/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/own.h"

/* The kernel gives EAGAIN when a rename anywhere ran against the lookup; an attacker may provoke it, so give up. */
#define EAGAIN_TRIES 128
#define SYMLINKS_MAX 8

int root_try_open(int root, const char *path, int flags, uint64_t resolve, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.mode = mode,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve,
	};
	long fd = -1;

	for (int i = 0; i < EAGAIN_TRIES; i++) {
		fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return (int)fd;
}

int root_open(int root, const char *path, int flags, uint64_t resolve, struct err *e)
{
	int fd = root_try_open(root, path, flags, resolve, 0);

	return fd >= 0 ? fd : err_set(e, ERR_SYSTEM, errno, "open %s in the container", path);
}

/* mkdir of the last component in the already open parent, then open it. */
static int mkdir_and_open(int parent, const char *name, mode_t mode, const char *path, struct err *e)
{
	int fd;

	if (mkdirat(parent, name, mode) && errno != EEXIST)
		return err_set(e, ERR_SYSTEM, errno, "mkdir %s", path);
	fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 ? fd : err_set(e, ERR_SYSTEM, errno, "mkdir %s", path);
}

int root_mkdirs(int root, const char *path, mode_t mode, uint64_t resolve, struct err *e)
{
	autofree char *clean = path_clean(path);
	autoclose int parent = -1;
	char *slash;
	int fd;

	fd = root_try_open(root, clean, O_PATH | O_DIRECTORY, resolve, 0);
	if (fd >= 0)
		return fd;
	if (errno != ENOENT || !strcmp(clean, "/"))
		return err_set(e, ERR_SYSTEM, errno, "mkdir %s", path);
	slash = strrchr(clean, '/');
	if (slash == clean) {
		parent = root_try_open(root, "/", O_PATH | O_DIRECTORY, resolve, 0);
		if (parent < 0)
			return err_set(e, ERR_SYSTEM, errno, "mkdir %s", path);
	} else {
		*slash = '\0';
		parent = root_mkdirs(root, clean, mode, resolve, e);
		if (parent < 0)
			return -1;
	}
	return mkdir_and_open(parent, slash + 1, mode, path, e);
}

/* Where the symlink name in dir (cleaned path dir_path) points to, as a path from root. NULL: no symlink. */
static char *link_target(int parent, const char *name, const char *dir_path)
{
	char target[4096];
	ssize_t n = readlinkat(parent, name, target, sizeof(target) - 1);

	if (n <= 0)
		return NULL;
	target[n] = '\0';
	return target[0] == '/' ? xstrdup(target) : xasprintf("%s/%s", dir_path, target);
}

/* depth bounds a chain of dangling symlinks, which images have for /etc/resolv.conf: their target is created. */
static int touch(int root, const char *path, mode_t mode, int depth, struct err *e)
{
	autofree char *clean = path_clean(path);
	autofree char *next = NULL;
	autoclose int parent = -1;
	autoclose int made = -1;
	char *slash = strrchr(clean, '/');
	int fd;

	fd = root_try_open(root, clean, O_PATH, 0, 0);
	if (fd >= 0)
		return fd;
	if (errno != ENOENT || !slash[1] || depth == 0)
		return err_set(e, ERR_SYSTEM, errno, "create %s", path);
	*slash = '\0';
	parent = root_mkdirs(root, clean, 0755, 0, e);
	if (parent < 0)
		return -1;
	made = openat(parent, slash + 1, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, mode);
	if (made < 0 && errno == EEXIST && (next = link_target(parent, slash + 1, clean)))
		return touch(root, next, mode, depth - 1, e);
	if (made < 0)
		return err_set(e, ERR_SYSTEM, errno, "create %s", path);
	fd = openat(parent, slash + 1, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 ? fd : err_set(e, ERR_SYSTEM, errno, "create %s", path);
}

int root_touch(int root, const char *path, mode_t mode, struct err *e)
{
	return touch(root, path, mode, SYMLINKS_MAX, e);
}

int root_read_file(int root, const char *path, struct str *out, struct err *e)
{
	/* O_NONBLOCK: a FIFO in place of the file must not hang us. */
	autoclose int fd = root_try_open(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, 0);
	char buf[4096];
	struct stat st;
	ssize_t n;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (fd < 0 || fstat(fd, &st))
		return err_set(e, ERR_SYSTEM, errno, "read %s in the container", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_INVALID, 0, "read %s in the container: not a regular file", path);
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		if (str_add(out, buf, (size_t)n))
			return err_set(e, ERR_LIMIT, 0, "read %s in the container: more than %zu bytes", path,
				       out->max);
	}
	return n == 0 ? 0 : err_set(e, ERR_SYSTEM, errno, "read %s in the container", path);
}

char *path_clean(const char *path)
{
	char *out = xmalloc(strlen(path) + 2);
	size_t len = 0;

	while (*path) {
		size_t n;

		path += strspn(path, "/");
		n = strcspn(path, "/");
		if (n == 2 && path[0] == '.' && path[1] == '.') {
			while (len && out[--len] != '/')
				;
		} else if (n && !(n == 1 && *path == '.')) {
			out[len++] = '/';
			memcpy(out + len, path, n);
			len += n;
		}
		path += n;
	}
	if (!len)
		out[len++] = '/';
	out[len] = '\0';
	return out;
}

bool path_is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	if (!strcmp(dir, "/"))
		return true;
	return !strncmp(path, dir, n) && (path[n] == '\0' || path[n] == '/');
}
