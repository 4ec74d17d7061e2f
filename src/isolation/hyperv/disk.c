/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "isolation/hyperv/capture.h"
#include "isolation/hyperv/template.h"

#define DISK_BYTES_MIN (16 * MIB)

/* Format a new sparse file and give it its name when it is complete. */
static int format(const char *path, uint64_t size_bytes, struct err *e)
{
	autofree char *aside = xasprintf("%s.new", path);
	/* No journal: the file system of a container needs no more than its image has. lazy: mkfs writes little.
	 * -m 0: nothing is kept for a superuser. */
	const char *const argv[] = { "mkfs.ext4",    "-q", "-F",
				     "-m",           "0",  "-O",
				     "^has_journal", "-E", "lazy_itable_init=1,lazy_journal_init=1,discard",
				     aside,          NULL };
	const char *const envp[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL };
	autoclose int fd = open(aside, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	autostr output;

	str_init(&output, 4 * KIB);
	if (fd < 0 || ftruncate(fd, (off_t)size_bytes))
		return err_set(e, ERR_SYSTEM, errno, "create %s", aside);
	if (capture_output(argv, envp, &output, e)) {
		unlink(aside);
		return e->kind == ERR_UNAVAILABLE ? err_set(e, ERR_UNAVAILABLE, 0,
							    "mkfs.ext4 isn't installed (install the package e2fsprogs)")
						  : -1;
	}
	if (fsync(fd) || rename(aside, path))
		return err_set(e, ERR_SYSTEM, errno, "keep %s", path);
	return 0;
}

/* The formatted disk of this size, made on first use; two at once: one formats, the other waits. */
static int open_model(const char *vm_dir, uint64_t size_bytes, struct err *e)
{
	autofree char *path = xasprintf("%s/disk-%llu.ext4", vm_dir, (unsigned long long)size_bytes);
	autofree char *lock_path = xasprintf("%s/disk.lock", vm_dir);
	autoclose int lock = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (io_mkdir_all(vm_dir, 0700, e))
		return -1;
	lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0)
		return err_set(e, ERR_SYSTEM, errno, "open %s", lock_path);
	while (flock(lock, LOCK_EX))
		if (errno != EINTR)
			return err_set(e, ERR_SYSTEM, errno, "lock %s", lock_path);
	if (access(path, R_OK) && format(path, size_bytes, e))
		return -1;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_set(e, ERR_SYSTEM, errno, "open %s", path) : fd;
}

static int copy_range(int from, int to, off_t at, off_t end)
{
	while (at < end) {
		off_t out_at = at;
		ssize_t n = copy_file_range(from, &at, to, &out_at, (size_t)(end - at), 0);

		if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP)) {
			char buf[64 * KIB];
			size_t want = (size_t)(end - at) < sizeof buf ? (size_t)(end - at) : sizeof buf;

			n = pread(from, buf, want, at);
			if (n > 0 && pwrite(to, buf, (size_t)n, at) != n)
				return -1;
			at += n > 0 ? n : 0;
		}
		if (n < 0 && errno != EINTR)
			return -1;
		if (!n)
			break;
	}
	return 0;
}

/* Only what has been written: the copy is as sparse as the model. */
static int copy_sparse(int from, int to, uint64_t size_bytes)
{
	off_t at = 0;

	if (!ioctl(to, FICLONE, from))
		return 0;
	if (ftruncate(to, (off_t)size_bytes))
		return -1;
	for (;;) {
		off_t data = lseek(from, at, SEEK_DATA), hole;

		if (data < 0)
			return errno == ENXIO ? 0 : -1;
		hole = lseek(from, data, SEEK_HOLE);
		if (hole < 0 || copy_range(from, to, data, hole))
			return -1;
		at = hole;
	}
}

/* A size that somebody has asked for isn't worth a model. */
static int create_own(const char *path, uint64_t size_bytes, uid_t uid, struct err *e)
{
	if (access(path, F_OK) == 0)
		return err_set(e, ERR_CONFLICT, EEXIST, "create %s", path);
	if (format(path, size_bytes, e))
		return -1;
	if (chown(path, uid, uid)) {
		err_set(e, ERR_SYSTEM, errno, "chown %s", path);
		unlink(path);
		return -1;
	}
	return 0;
}

int disk_create(const char *vm_dir, const char *path, uint64_t size_bytes, uid_t uid, struct err *e)
{
	autoclose int model = -1, fd = -1;

	if (size_bytes < DISK_BYTES_MIN || size_bytes > (uint64_t)INT64_MAX)
		return err_set(e, ERR_INVALID, 0, "a disk must have at least %llu MiB", DISK_BYTES_MIN / MIB);
	if (size_bytes != DISK_MODEL_BYTES)
		return create_own(path, size_bytes, uid, e);
	model = open_model(vm_dir, size_bytes, e);
	if (model < 0)
		return -1;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(e, errno == EEXIST ? ERR_CONFLICT : ERR_SYSTEM, errno, "create %s", path);
	if (copy_sparse(model, fd, size_bytes) || fchown(fd, uid, uid)) {
		err_set(e, ERR_SYSTEM, errno, "write %s", path);
		unlink(path);
		return -1;
	}
	return 0;
}
