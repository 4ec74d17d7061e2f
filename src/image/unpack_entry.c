/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One object of an archive in the target directory. Every path is resolved by openat2() inside the target (a symlink
 * of the archive, absolute or not, leads to where it would lead in the container), and the last component is never
 * followed. That holds even without the jail around it.
 */
#include "image/unpack_entry.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/str.h"
#include "image/beneath.h"

static int sys_failed(struct err *e, const char *what)
{
	/* A name that can't be, a link to nothing, a full disk: all but the last are the archive's fault. */
	bool host = errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == ENOMEM || errno == EROFS;

	return err_set(e, host ? ERR_SYSTEM : ERR_INVALID, errno, "%s", what);
}

void unpack_forget_parent(struct unpacker *u)
{
	close_fd(&u->parent);
}

static int open_dir(struct unpacker *u, const char *path)
{
	return beneath_open(u->root, *path ? path : ".", O_PATH | O_DIRECTORY);
}

/* Open a directory by clean path; missing ones are created as 0755 root, as Docker does. -1 with errno. */
static int make_dirs(struct unpacker *u, char *path)
{
	char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	mode_t mode = u->mode == UNPACK_LAYER ? 0755 : 0700;
	int fd = open_dir(u, path);

	if (fd >= 0 || errno != ENOENT || !*path)
		return fd;
	if (slash)
		*slash = '\0';
	autoclose int up = slash ? make_dirs(u, path) : open_dir(u, "");
	if (slash)
		*slash = '/';
	if (up < 0 || mkdirat(up, base, mode))
		return -1;
	return openat(up, base, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int unpack_place(struct unpacker *u, const char *path, struct unpack_place *out, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char dir[UNPACK_PATH_MAX];

	memcpy(dir, path, slash ? (size_t)(slash - path) : 0);
	dir[slash ? slash - path : 0] = '\0';
	if (u->parent < 0 || strcmp(dir, u->parent_path) != 0) {
		unpack_forget_parent(u);
		u->parent = make_dirs(u, dir);
		if (u->parent < 0)
			return sys_failed(e, "parent directory");
		memcpy(u->parent_path, dir, sizeof(dir));
	}
	*out = (struct unpack_place){ .parent = u->parent, .base = slash ? slash + 1 : path, .path = path };
	return 0;
}

int unpack_report_opaque(struct unpacker *u, const char *path, struct err *e)
{
	struct unpack_record head = { .type = UNPACK_OPAQUE, .length = (uint32_t)strlen(path) };

	if (u->records < 0)
		return 0;
	if (io_write_all(u->records, &head, sizeof(head)) || io_write_all(u->records, path, head.length))
		return err_set(e, ERR_SYSTEM, errno, "reporting an opaque directory");
	return 0;
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

int unpack_whiteout(struct unpacker *u, const struct unpack_place *at, const char *name, struct err *e)
{
	struct stat st;

	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return err_set(e, ERR_INVALID, 0, "invalid whiteout");
	if (!mknodat(at->parent, name, S_IFCHR, makedev(0, 0)))
		return 0;
	if (errno != EEXIST || fstatat(at->parent, name, &st, AT_SYMLINK_NOFOLLOW))
		return sys_failed(e, "whiteout");
	if (!S_ISDIR(st.st_mode))
		return 0;
	/* The layer has a directory of that name itself: only what is below it must be hidden. */
	size_t dir_len = (size_t)(at->base - at->path);
	autofree char *path = xasprintf("%.*s%s", (int)dir_len, at->path, name);

	return unpack_report_opaque(u, path, e);
}

/* Make room for an entry. A directory over a directory keeps it: *keep. A whiteout below a directory makes it opaque. */
static int clear_place(struct unpacker *u, const struct unpack_place *at, bool dir, bool *keep, struct err *e)
{
	struct stat st;

	*keep = false;
	if (fstatat(at->parent, at->base, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : sys_failed(e, "stat");
	if (dir && S_ISDIR(st.st_mode)) {
		*keep = true;
		return 0;
	}
	if (dir && is_whiteout(&st) && u->mode == UNPACK_LAYER && unpack_report_opaque(u, at->path, e))
		return -1;
	if (!S_ISDIR(st.st_mode))
		return unlinkat(at->parent, at->base, 0) ? sys_failed(e, "replace") : 0;
	return io_remove_tree(at->parent, at->base, e);
}

/* Those that change how overlayfs reads the layer, or that name another layer, must not come from an archive. */
static bool xattr_wanted(const char *name)
{
	return !strcmp(name, "security.capability") || !strcmp(name, "system.posix_acl_access") ||
	       !strcmp(name, "system.posix_acl_default") ||
	       (str_starts(name, "user.") && !str_starts(name, "user.overlay."));
}

static int set_xattrs(int fd, struct archive_entry *entry, struct err *e)
{
	const char *name;
	const void *value;
	size_t n;

	archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &value, &n) == ARCHIVE_OK) {
		if (!name || !xattr_wanted(name) || !fsetxattr(fd, name, value, n, 0))
			continue;
		/* A file system without them loses them, as with Docker; only capabilities are not optional. */
		if (errno != ENOTSUP || !strcmp(name, "security.capability"))
			return sys_failed(e, name);
	}
	return 0;
}

static struct timespec mtime_of(struct archive_entry *entry)
{
	return (struct timespec){ .tv_sec = archive_entry_mtime(entry), .tv_nsec = archive_entry_mtime_nsec(entry) };
}

static int owner_of(struct archive_entry *entry, uid_t *uid, gid_t *gid, struct err *e)
{
	int64_t u = archive_entry_uid(entry), g = archive_entry_gid(entry);

	/* (uid_t)-1 means "leave it" to chown. */
	if (u < 0 || u >= UINT32_MAX || g < 0 || g >= UINT32_MAX)
		return err_set(e, ERR_INVALID, 0, "owner %lld:%lld out of range", (long long)u, (long long)g);
	*uid = (uid_t)u;
	*gid = (gid_t)g;
	return 0;
}

/* Of an open file or directory. chown drops set-id bits and capabilities: it comes first. */
static int set_meta(int fd, struct archive_entry *entry, struct err *e)
{
	struct timespec times[2] = { mtime_of(entry), mtime_of(entry) };
	uid_t uid = 0;
	gid_t gid = 0;

	if (owner_of(entry, &uid, &gid, e))
		return -1;
	if (fchown(fd, uid, gid) || fchmod(fd, archive_entry_perm(entry) & 07777))
		return sys_failed(e, "owner and mode");
	if (set_xattrs(fd, entry, e))
		return -1;
	return futimens(fd, times) ? sys_failed(e, "time") : 0;
}

static int remember_dir(struct unpacker *u, const char *path, struct archive_entry *entry)
{
	if (u->n_dirs == u->cap_dirs) {
		u->cap_dirs = u->cap_dirs ? 2 * u->cap_dirs : 256;
		u->dirs = xrealloc(u->dirs, u->cap_dirs * sizeof(*u->dirs));
	}
	u->dirs[u->n_dirs++] = (struct unpack_dir_time){ .path = xstrdup(path), .mtime = mtime_of(entry) };
	return 0;
}

int unpack_dir_times(struct unpacker *u, struct err *e)
{
	for (size_t i = u->n_dirs; i-- > 0;) {
		struct timespec times[2] = { u->dirs[i].mtime, u->dirs[i].mtime };
		const char *path = u->dirs[i].path;
		autoclose int fd = beneath_open(u->root, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);

		/* It may have been replaced by a later entry. */
		if (fd >= 0 && futimens(fd, times))
			return sys_failed(e, "time of a directory");
	}
	return 0;
}

int unpack_root_meta(struct unpacker *u, struct archive_entry *entry, struct err *e)
{
	if (u->mode != UNPACK_LAYER)
		return 0;
	if (archive_entry_filetype(entry) != AE_IFDIR)
		return err_set(e, ERR_INVALID, 0, "the root of the archive isn't a directory");
	remember_dir(u, "", entry);
	autoclose int fd = openat(u->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? sys_failed(e, "root") : set_meta(fd, entry, e);
}

static int make_dir(struct unpacker *u, struct archive_entry *entry, const struct unpack_place *at, struct err *e)
{
	bool keep;

	if (clear_place(u, at, true, &keep, e))
		return -1;
	if (!keep && mkdirat(at->parent, at->base, 0700))
		return sys_failed(e, "mkdir");
	if (u->mode != UNPACK_LAYER)
		return 0;
	remember_dir(u, at->path, entry);
	autoclose int fd = openat(at->parent, at->base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? sys_failed(e, "open") : set_meta(fd, entry, e);
}

static int pwrite_all(int fd, const char *data, size_t n, off_t at)
{
	while (n) {
		ssize_t done = pwrite(fd, data, n, at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -1;
		data += done;
		n -= (size_t)done;
		at += done;
	}
	return 0;
}

static int write_data(struct unpacker *u, int fd, struct archive_entry *entry, struct err *e)
{
	int64_t size = archive_entry_size(entry), at, end = 0;
	const void *data;
	size_t n;
	int rc;

	while ((rc = archive_read_data_block(u->archive, &data, &n, &at)) == ARCHIVE_OK || rc == ARCHIVE_WARN) {
		if (at < end || at > size || n > (uint64_t)(size - at))
			return err_set(e, ERR_INVALID, 0, "archive/tar: invalid sparse map");
		if (pwrite_all(fd, data, n, at))
			return sys_failed(e, "write");
		end = at + (int64_t)n;
	}
	if (rc != ARCHIVE_EOF && u->stream_err->kind != ERR_NONE)
		return *e = *u->stream_err, -1;
	if (rc != ARCHIVE_EOF)
		return err_set(e, ERR_INVALID, 0, "unexpected EOF");
	/* A hole at the end. */
	return end < size && ftruncate(fd, size) ? sys_failed(e, "size") : 0;
}

static int make_file(struct unpacker *u, struct archive_entry *entry, const struct unpack_place *at, struct err *e)
{
	bool keep;

	if (clear_place(u, at, false, &keep, e))
		return -1;
	autoclose int fd = openat(at->parent, at->base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return sys_failed(e, "create");
	if (write_data(u, fd, entry, e))
		return -1;
	return u->mode == UNPACK_LAYER ? set_meta(fd, entry, e) : 0;
}

/* Owner, mode and time of what can't be opened: symlinks, devices, pipes. */
static int set_meta_at(const struct unpack_place *at, struct archive_entry *entry, struct err *e)
{
	struct timespec times[2] = { mtime_of(entry), mtime_of(entry) };
	bool is_link = archive_entry_filetype(entry) == AE_IFLNK;
	uid_t uid = 0;
	gid_t gid = 0;

	if (owner_of(entry, &uid, &gid, e))
		return -1;
	if (fchownat(at->parent, at->base, uid, gid, AT_SYMLINK_NOFOLLOW))
		return sys_failed(e, "owner");
	/* Nobody else is here: between mknod and chmod the name can't have become a symlink. */
	if (!is_link && fchmodat(at->parent, at->base, archive_entry_perm(entry) & 07777, 0))
		return sys_failed(e, "mode");
	return utimensat(at->parent, at->base, times, AT_SYMLINK_NOFOLLOW) ? sys_failed(e, "time") : 0;
}

/* A container whose /proc leads elsewhere would mount its kernel file systems there. */
static bool is_mount_point(const char *path)
{
	return !strcmp(path, "proc") || !strcmp(path, "sys") || !strcmp(path, "dev");
}

static int make_symlink(struct unpacker *u, struct archive_entry *entry, const struct unpack_place *at, struct err *e)
{
	const char *target = archive_entry_symlink(entry);
	bool keep;

	if (!target || !*target)
		return err_set(e, ERR_INVALID, 0, "symbolic link without a target");
	if (u->mode == UNPACK_LAYER && is_mount_point(at->path))
		return err_set(e, ERR_INVALID, 0, "a symbolic link at /%s is refused", at->path);
	if (clear_place(u, at, false, &keep, e))
		return -1;
	if (symlinkat(target, at->parent, at->base))
		return sys_failed(e, "symlink");
	return u->mode == UNPACK_LAYER ? set_meta_at(at, entry, e) : 0;
}

static int make_node(struct unpacker *u, struct archive_entry *entry, const struct unpack_place *at, struct err *e)
{
	mode_t type = archive_entry_filetype(entry);
	dev_t dev = makedev(archive_entry_rdevmajor(entry), archive_entry_rdevminor(entry));
	bool keep;

	if (u->mode != UNPACK_LAYER)
		return err_set(e, ERR_INVALID, 0, "not a file, directory or link");
	if (clear_place(u, at, false, &keep, e))
		return -1;
	if (mknodat(at->parent, at->base, type | 0600, type == S_IFIFO ? 0 : dev))
		return sys_failed(e, "mknod");
	return set_meta_at(at, entry, e);
}

/* The link shares the inode: it has its owner, mode and time already. */
static int make_hardlink(struct unpacker *u, const char *target, const struct unpack_place *at, struct err *e)
{
	char path[UNPACK_PATH_MAX];
	const char *base;
	char *slash;
	bool keep;

	if (unpack_clean_path(target, path, e))
		return -1;
	if (!strcmp(path, at->path))
		return err_set(e, ERR_INVALID, 0, "hard link to itself");
	slash = strrchr(path, '/');
	base = slash ? slash + 1 : path;
	if (slash)
		*slash = '\0';
	autoclose int dir = open_dir(u, slash ? path : "");

	if (dir < 0)
		return sys_failed(e, "hard link's target");
	if (clear_place(u, at, false, &keep, e))
		return -1;
	return linkat(dir, base, at->parent, at->base, 0) ? sys_failed(e, "hard link") : 0;
}

int unpack_object(struct unpacker *u, struct archive_entry *entry, const struct unpack_place *at, struct err *e)
{
	static const struct {
		mode_t type;
		int (*make)(struct unpacker *u, struct archive_entry *entry, const struct unpack_place *at,
			    struct err *e);
	} makers[] = {
		{ AE_IFREG, make_file }, { AE_IFDIR, make_dir },  { AE_IFLNK, make_symlink },
		{ AE_IFCHR, make_node }, { AE_IFBLK, make_node }, { AE_IFIFO, make_node },
	};

	if (archive_entry_hardlink(entry))
		return make_hardlink(u, archive_entry_hardlink(entry), at, e);
	for (size_t i = 0; i < array_len(makers); i++)
		if (makers[i].type == archive_entry_filetype(entry))
			return makers[i].make(u, entry, at, e);
	return err_set(e, ERR_INVALID, 0, "unknown type of entry");
}
