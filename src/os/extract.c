/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/str.h"
#include "os/root.h"

#define CREATE_FLAGS (O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC)
#define HOLE_BYTES 4096 /* so many zeros at least become a hole */

/* A directory gets its time last: every entry created in it changes it. */
struct extract_dir {
	char *path;
	struct timespec mtime;
};

static int sys_failed(struct err *e, const char *what)
{
	/* A name that can't be, a link to nothing, a full disk: all but the last are the archive's fault. */
	bool host = errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == ENOMEM || errno == EROFS;

	return err_set(e, host ? ERR_SYSTEM : ERR_INVALID, errno, "%s", what);
}

/* --- paths ----------------------------------------------------------------------------------------------------- */
/* Append one component of a name to out. */
static int add_component(const char *name, const char *part, size_t n, char *out, size_t *len, struct err *e)
{
	if (n == 2 && part[0] == '.' && part[1] == '.')
		return err_set(e, ERR_INVALID, 0, "\"%.200s\" is outside of the archive", name);
	if (*len + n + 2 > TAR_NAME_MAX)
		return err_set(e, ERR_INVALID, ENAMETOOLONG, "\"%.200s...\"", name);
	if (*len)
		out[(*len)++] = '/';
	memcpy(out + *len, part, n);
	*len += n;
	return 0;
}

int extract_clean_path(const char *name, char out[static TAR_NAME_MAX], struct err *e)
{
	size_t len = 0;

	if (!name || !*name)
		return err_set(e, ERR_INVALID, 0, "an entry of the archive has no usable name");
	for (const char *p = name; *p;) {
		size_t n = strcspn(p, "/");

		if (n && !(n == 1 && *p == '.') && add_component(name, p, n, out, &len, e))
			return -1;
		p += n + (p[n] == '/');
	}
	out[len] = '\0';
	return 0;
}

/* Open what is at a clean path below base. -1 with errno. */
static int open_below(const struct extract *x, const char *path, int flags)
{
	autofree char *whole = *x->base ? xasprintf("%s/%s", x->base, path) : NULL;
	const char *where = whole ? whole : *path ? path : ".";

	return root_try_open(x->root, where, flags, x->one_fs ? RESOLVE_NO_XDEV : 0, 0);
}

/* Open a directory by clean path; missing ones are created as 0755 root, as Docker does. -1 with errno. */
static int make_dirs(const struct extract *x, char *path)
{
	char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	int fd = open_below(x, path, O_PATH | O_DIRECTORY);

	if (fd >= 0 || errno != ENOENT || !*path)
		return fd;
	if (slash)
		*slash = '\0';
	autoclose int up = slash ? make_dirs(x, path) : open_below(x, "", O_PATH | O_DIRECTORY);
	if (slash)
		*slash = '/';
	if (up < 0 || mkdirat(up, name, x->plain ? 0700 : 0755))
		return -1;
	return openat(up, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Whether what is made in the parent directory belongs to somebody else than root, or has another mode than it is made
 * with: set-gid directories and access lists for what will be made in them are rare, but they are there. */
static bool parent_inherits(const struct extract *x)
{
	struct stat st;

	return !x->is_image || x->default_acl || geteuid() || getegid() || fstat(x->parent, &st) ||
	       st.st_mode & S_ISGID;
}

/* Archives are sorted, so most entries find their directory open. It never goes stale: an entry only replaces what is
 * below its own directory. */
int extract_place(struct extract *x, const char *path, struct extract_place *out, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char dir[TAR_NAME_MAX];

	memcpy(dir, path, slash ? (size_t)(slash - path) : 0);
	dir[slash ? slash - path : 0] = '\0';
	if (x->parent < 0 || strcmp(dir, x->parent_path) != 0) {
		close_fd(&x->parent);
		x->parent = make_dirs(x, dir);
		if (x->parent < 0)
			return sys_failed(e, "parent directory");
		memcpy(x->parent_path, dir, sizeof(dir));
		x->inherits = parent_inherits(x);
	}
	*out = (struct extract_place){ .parent = x->parent, .name = slash ? slash + 1 : path, .path = path };
	return 0;
}

static int check_overwrite(const struct extract *x, const struct extract_place *at, bool dir, bool was_dir,
			   struct err *e)
{
	if (!x->no_overwrite || dir == was_dir)
		return 0;
	return err_set(e, ERR_INVALID, 0,
		       was_dir ? "cannot overwrite directory \"%s%s%.300s\" with non-directory \"%.100s\""
			       : "cannot overwrite non-directory \"%s%s%.300s\" with directory \"%.100s\"",
		       x->base, *x->base ? "/" : "", at->path, x->base);
}

/* Make room for an entry. A directory over a directory keeps it: *keep. A whiteout below a directory makes it opaque. */
static int clear_place(const struct extract *x, const struct extract_place *at, bool dir, bool *keep, struct err *e)
{
	struct stat st;

	*keep = false;
	if (fstatat(at->parent, at->name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : sys_failed(e, "stat");
	if (check_overwrite(x, at, dir, S_ISDIR(st.st_mode), e))
		return -1;
	if (dir && S_ISDIR(st.st_mode)) {
		*keep = true;
		return 0;
	}
	if (dir && S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0) && x->on_opaque &&
	    x->on_opaque(x->arg, at->path, e))
		return -1;
	if (!S_ISDIR(st.st_mode))
		return unlinkat(at->parent, at->name, 0) ? sys_failed(e, "replace") : 0;
	return io_remove_tree(at->parent, at->name, e);
}

/* --- owner, mode, time ----------------------------------------------------------------------------------------- */
/* Those that change how overlayfs reads the layer, or that name another layer, must not come from an archive. */
static bool xattr_wanted(const char *name)
{
	return !strcmp(name, "security.capability") || !strcmp(name, "system.posix_acl_access") ||
	       !strcmp(name, "system.posix_acl_default") ||
	       (str_starts(name, "user.") && !str_starts(name, "user.overlay."));
}

static int set_xattrs(struct extract *x, int fd, const struct tar_entry *t, struct err *e)
{
	for (size_t i = 0; i < t->n_xattrs; i++) {
		const struct tar_xattr *a = &t->xattrs[i];

		if (!xattr_wanted(a->name))
			continue;
		x->default_acl |= !strcmp(a->name, "system.posix_acl_default");
		if (!fsetxattr(fd, a->name, a->value, a->n, 0))
			continue;
		/* A file system without them loses them, as with Docker; only capabilities are not optional. */
		if (errno != ENOTSUP || !strcmp(a->name, "security.capability"))
			return sys_failed(e, a->name);
	}
	return 0;
}

static struct timespec mtime_of(const struct tar_entry *t)
{
	return (struct timespec){ .tv_sec = t->mtime, .tv_nsec = t->mtime_ns };
}

static int owner_of(const struct extract *x, const struct tar_entry *t, uid_t *uid, gid_t *gid, struct err *e)
{
	*uid = x->uid;
	*gid = x->gid;
	if (x->has_owner)
		return 0;
	/* (uid_t)-1 means "leave it" to chown. */
	if (t->uid >= UINT32_MAX || t->gid >= UINT32_MAX)
		return err_set(e, ERR_INVALID, 0, "owner %lld:%lld out of range", (long long)t->uid, (long long)t->gid);
	*uid = (uid_t)t->uid;
	*gid = (gid_t)t->gid;
	return 0;
}

/* Whether what is made in the parent directory has the right owner and, made with the right mode, that too. Most have:
 * each change of an inode costs as much as its making. */
static bool is_born_right(const struct extract *x, const struct tar_entry *t)
{
	return !x->inherits && !x->has_owner && !t->uid && !t->gid && !(t->mode & ~(mode_t)ACCESSPERMS);
}

/* Of an open file or directory. chown drops set-id bits and capabilities: it comes first. */
static int set_meta(struct extract *x, int fd, const struct tar_entry *t, bool born_right, struct err *e)
{
	struct timespec times[2] = { mtime_of(t), mtime_of(t) };
	uid_t uid = 0;
	gid_t gid = 0;

	if (owner_of(x, t, &uid, &gid, e))
		return -1;
	if (!born_right && (fchown(fd, uid, gid) || fchmod(fd, t->mode)))
		return sys_failed(e, "owner and mode");
	if (set_xattrs(x, fd, t, e))
		return -1;
	return futimens(fd, times) ? sys_failed(e, "time") : 0;
}

/* Owner and time of what can't be opened: symlinks, devices, pipes. These have got their mode from mknod(). */
static int set_meta_at(const struct extract *x, const struct extract_place *at, const struct tar_entry *t,
		       struct err *e)
{
	struct timespec times[2] = { mtime_of(t), mtime_of(t) };
	uid_t uid = 0;
	gid_t gid = 0;

	if (owner_of(x, t, &uid, &gid, e))
		return -1;
	if (!is_born_right(x, t) && fchownat(at->parent, at->name, uid, gid, AT_SYMLINK_NOFOLLOW))
		return sys_failed(e, "owner");
	return utimensat(at->parent, at->name, times, AT_SYMLINK_NOFOLLOW) ? sys_failed(e, "time") : 0;
}

static void remember_dir(struct extract *x, const char *path, const struct tar_entry *t)
{
	if (x->n_dirs == x->cap_dirs) {
		x->cap_dirs = x->cap_dirs ? 2 * x->cap_dirs : 256;
		x->dirs = xrealloc(x->dirs, x->cap_dirs * sizeof(*x->dirs));
	}
	x->dirs[x->n_dirs++] = (struct extract_dir){ .path = xstrdup(path), .mtime = mtime_of(t) };
}

int extract_finish(struct extract *x, struct err *e)
{
	for (size_t i = x->n_dirs; i-- > 0;) {
		struct timespec times[2] = { x->dirs[i].mtime, x->dirs[i].mtime };
		autoclose int fd = open_below(x, x->dirs[i].path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);

		/* It may have been replaced by a later entry. */
		if (fd >= 0 && futimens(fd, times))
			return sys_failed(e, "time of a directory");
	}
	return 0;
}

void extract_fini(struct extract *x)
{
	for (size_t i = 0; i < x->n_dirs; i++)
		free(x->dirs[i].path);
	free(x->dirs);
	close_fd(&x->parent);
}

int extract_root(struct extract *x, const struct tar_entry *t, struct err *e)
{
	if (x->plain)
		return 0;
	if (t->type != S_IFDIR)
		return err_set(e, ERR_INVALID, 0, "the root of the archive isn't a directory");
	remember_dir(x, "", t);
	close_fd(&x->parent); /* what is known of it, if it is the root, may change */
	autoclose int fd = open_below(x, "", O_RDONLY | O_DIRECTORY);

	return fd < 0 ? sys_failed(e, "root") : set_meta(x, fd, t, false, e);
}

/* --- objects --------------------------------------------------------------------------------------------------- */
static int make_dir(struct extract *x, const struct tar_entry *t, const struct extract_place *at, struct err *e)
{
	bool keep, right = !x->plain && is_born_right(x, t);

	if (clear_place(x, at, true, &keep, e))
		return -1;
	if (!keep && mkdirat(at->parent, at->name, right ? t->mode : 0700))
		return sys_failed(e, "mkdir");
	if (x->plain)
		return 0;
	remember_dir(x, at->path, t);
	if (!keep && right && !t->n_xattrs)
		return 0;
	autoclose int fd = openat(at->parent, at->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? sys_failed(e, "open") : set_meta(x, fd, t, right && !keep, e);
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

static bool is_zero(const char *data, size_t n)
{
	return !data[0] && !memcmp(data, data + 1, n - 1);
}

/* The archive's holes, and long runs of zeros, become holes. */
static int write_data(const struct extract *x, int fd, const struct tar_entry *t, struct tar_reader *r, struct err *e)
{
	uint64_t at, end = 0;
	const void *data;
	ssize_t n;

	while ((n = tar_data(r, &data, &at, e)) > 0) {
		if (x->on_data)
			x->on_data(x->arg, data, (size_t)n, at);
		if (n >= HOLE_BYTES && is_zero(data, (size_t)n))
			continue;
		if (pwrite_all(fd, data, (size_t)n, (off_t)at))
			return sys_failed(e, "write");
		end = at + (uint64_t)n;
	}
	if (n < 0)
		return -1;
	return end < t->size && ftruncate(fd, (off_t)t->size) ? sys_failed(e, "size") : 0;
}

static int make_file(struct extract *x, const struct tar_entry *t, struct tar_reader *r, const struct extract_place *at,
		     struct err *e)
{
	bool keep, right = !x->plain && is_born_right(x, t);
	mode_t mode = right ? t->mode : 0600;

	/* Most names are new: they need no look before. */
	autoclose int fd = openat(at->parent, at->name, CREATE_FLAGS, mode);

	if (fd < 0 && errno == EEXIST) {
		if (clear_place(x, at, false, &keep, e))
			return -1;
		fd = openat(at->parent, at->name, CREATE_FLAGS, mode);
	}
	if (fd < 0)
		return sys_failed(e, "create");
	if (write_data(x, fd, t, r, e))
		return -1;
	return x->plain ? 0 : set_meta(x, fd, t, right, e);
}

/* A container whose /proc leads elsewhere would mount its kernel file systems there. */
static bool is_mount_point(const char *path)
{
	return !strcmp(path, "proc") || !strcmp(path, "sys") || !strcmp(path, "dev");
}

static int make_symlink(struct extract *x, const struct tar_entry *t, const struct extract_place *at, struct err *e)
{
	bool keep;

	if (!t->link || !*t->link)
		return err_set(e, ERR_INVALID, 0, "symbolic link without a target");
	if (x->is_image && is_mount_point(at->path))
		return err_set(e, ERR_INVALID, 0, "a symbolic link at /%s is refused", at->path);
	if (clear_place(x, at, false, &keep, e))
		return -1;
	if (symlinkat(t->link, at->parent, at->name))
		return sys_failed(e, "symlink");
	return x->plain ? 0 : set_meta_at(x, at, t, e);
}

static int make_node(struct extract *x, const struct tar_entry *t, const struct extract_place *at, struct err *e)
{
	bool keep;

	if (x->plain)
		return err_set(e, ERR_INVALID, 0, "not a file, directory or link");
	if (clear_place(x, at, false, &keep, e))
		return -1;
	if (mknodat(at->parent, at->name, t->type | t->mode, t->type == S_IFIFO ? 0 : makedev(t->major, t->minor)))
		return sys_failed(e, "mknod");
	return set_meta_at(x, at, t, e);
}

/* The link shares the inode: it has its owner, mode and time already. */
static int make_hardlink(struct extract *x, const struct tar_entry *t, const struct extract_place *at, struct err *e)
{
	char path[TAR_NAME_MAX];
	const char *name;
	char *slash;
	bool keep;

	if (extract_clean_path(t->link, path, e))
		return -1;
	if (!strcmp(path, at->path))
		return err_set(e, ERR_INVALID, 0, "hard link to itself");
	slash = strrchr(path, '/');
	name = slash ? slash + 1 : path;
	if (slash)
		*slash = '\0';
	autoclose int dir = open_below(x, slash ? path : "", O_PATH | O_DIRECTORY);

	if (dir < 0)
		return sys_failed(e, "hard link's target");
	if (clear_place(x, at, false, &keep, e))
		return -1;
	return linkat(dir, name, at->parent, at->name, 0) ? sys_failed(e, "hard link") : 0;
}

int extract_object(struct extract *x, const struct tar_entry *t, struct tar_reader *r, const struct extract_place *at,
		   struct err *e)
{
	switch (t->type) {
	case 0:
		return make_hardlink(x, t, at, e);
	case S_IFREG:
		return make_file(x, t, r, at, e);
	case S_IFDIR:
		return make_dir(x, t, at, e);
	case S_IFLNK:
		return make_symlink(x, t, at, e);
	default:
		return make_node(x, t, at, e);
	}
}
