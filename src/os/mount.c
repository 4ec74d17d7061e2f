/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/mount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"

enum option_kind { O_ATTR, O_ATTR_REC, O_PROPAGATION, O_BIND, O_IDMAP, O_COPY_UP, O_IGNORED, O_REFUSED };

/* One line per word of runtime-spec 1.2 config.md "Linux mount options". atime modes are values of one field: the old
 * value must be cleared. */
static const struct option {
	const char *name;
	enum option_kind kind;
	uint64_t set, clr;
} options_table[] = {
	{ "ro",            O_ATTR,        MOUNT_ATTR_RDONLY,      0                       },
	{ "rw",            O_ATTR,        0,                      MOUNT_ATTR_RDONLY       },
	{ "nosuid",        O_ATTR,        MOUNT_ATTR_NOSUID,      0                       },
	{ "suid",          O_ATTR,        0,                      MOUNT_ATTR_NOSUID       },
	{ "nodev",         O_ATTR,        MOUNT_ATTR_NODEV,       0                       },
	{ "dev",           O_ATTR,        0,                      MOUNT_ATTR_NODEV        },
	{ "noexec",        O_ATTR,        MOUNT_ATTR_NOEXEC,      0                       },
	{ "exec",          O_ATTR,        0,                      MOUNT_ATTR_NOEXEC       },
	{ "noatime",       O_ATTR,        MOUNT_ATTR_NOATIME,     MOUNT_ATTR__ATIME       },
	{ "atime",         O_ATTR,        MOUNT_ATTR_RELATIME,    MOUNT_ATTR__ATIME       },
	{ "relatime",      O_ATTR,        MOUNT_ATTR_RELATIME,    MOUNT_ATTR__ATIME       },
	{ "norelatime",    O_IGNORED,     0,                      0                       },
	{ "strictatime",   O_ATTR,        MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME       },
	{ "nostrictatime", O_IGNORED,     0,                      0                       },
	{ "nodiratime",    O_ATTR,        MOUNT_ATTR_NODIRATIME,  0                       },
	{ "diratime",      O_ATTR,        0,                      MOUNT_ATTR_NODIRATIME   },
	{ "nosymfollow",   O_ATTR,        MOUNT_ATTR_NOSYMFOLLOW, 0                       },
	{ "symfollow",     O_ATTR,        0,                      MOUNT_ATTR_NOSYMFOLLOW  },
	{ "rro",           O_ATTR_REC,    MOUNT_ATTR_RDONLY,      0                       },
	{ "rrw",           O_ATTR_REC,    0,                      MOUNT_ATTR_RDONLY       },
	{ "rnosuid",       O_ATTR_REC,    MOUNT_ATTR_NOSUID,      0                       },
	{ "rsuid",         O_ATTR_REC,    0,                      MOUNT_ATTR_NOSUID       },
	{ "rnodev",        O_ATTR_REC,    MOUNT_ATTR_NODEV,       0                       },
	{ "rdev",          O_ATTR_REC,    0,                      MOUNT_ATTR_NODEV        },
	{ "rnoexec",       O_ATTR_REC,    MOUNT_ATTR_NOEXEC,      0                       },
	{ "rexec",         O_ATTR_REC,    0,                      MOUNT_ATTR_NOEXEC       },
	{ "rnoatime",      O_ATTR_REC,    MOUNT_ATTR_NOATIME,     MOUNT_ATTR__ATIME       },
	{ "rrelatime",     O_ATTR_REC,    MOUNT_ATTR_RELATIME,    MOUNT_ATTR__ATIME       },
	{ "rstrictatime",  O_ATTR_REC,    MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME       },
	{ "private",       O_PROPAGATION, MS_PRIVATE,             0                       },
	{ "rprivate",      O_PROPAGATION, MS_PRIVATE | MS_REC,    0                       },
	{ "slave",         O_PROPAGATION, MS_SLAVE,               0                       },
	{ "rslave",        O_PROPAGATION, MS_SLAVE | MS_REC,      0                       },
	{ "shared",        O_PROPAGATION, MS_SHARED,              0                       },
	{ "rshared",       O_PROPAGATION, MS_SHARED | MS_REC,     0                       },
	{ "unbindable",    O_PROPAGATION, MS_UNBINDABLE,          0                       },
	{ "runbindable",   O_PROPAGATION, MS_UNBINDABLE | MS_REC, 0                       },
	{ "bind",          O_BIND,        0,                      0                       },
	{ "rbind",         O_BIND,        MS_REC,                 0                       },
	{ "defaults",      O_IGNORED,     0,                      0                       },
	{ "",              O_IGNORED,     0,                      0                       },
	{ "remount",       O_REFUSED,     0,                      0                       },
	{ "idmap",         O_IDMAP,       0,                      0                       },
	{ "ridmap",        O_IDMAP,       MS_REC,                 0                       },
	{ "tmpcopyup",     O_COPY_UP,     0,                      0                       },
};

static const struct option *option_find(const char *name)
{
	for (size_t i = 0; i < array_len(options_table); i++) {
		if (!strcmp(options_table[i].name, name))
			return &options_table[i];
	}
	return NULL;
}

/* A later word overrides an earlier one that says the opposite. */
static void attr_merge(uint64_t *set, uint64_t *clr, const struct option *o)
{
	if (o->clr == MOUNT_ATTR__ATIME)
		*set &= ~(uint64_t)MOUNT_ATTR__ATIME;
	*set = (*set & ~o->clr) | o->set;
	*clr = (*clr & ~o->set) | o->clr;
}

static int option_apply(const struct option *o, struct mount_options *out, struct err *e)
{
	switch (o->kind) {
	case O_ATTR:
		attr_merge(&out->set, &out->clr, o);
		return 0;
	case O_ATTR_REC:
		attr_merge(&out->rec_set, &out->rec_clr, o);
		return 0;
	case O_PROPAGATION:
		out->propagation = o->set & ~(uint64_t)MS_REC;
		out->propagation_rec = o->set & MS_REC;
		return 0;
	case O_BIND:
		out->bind = true;
		out->recursive = o->set & MS_REC;
		return 0;
	case O_IDMAP:
		out->idmap = true;
		out->idmap_rec = o->set & MS_REC;
		return 0;
	case O_COPY_UP:
		out->copy_up = true;
		return 0;
	case O_IGNORED:
		return 0;
	case O_REFUSED:
		break;
	}
	return err_set(e, ERR_UNSUPPORTED, 0, "mount option \"%s\" is not supported", o->name);
}

int mount_options_parse(const char *const *options, size_t n, struct mount_options *out, struct err *e)
{
	*out = (struct mount_options){ 0 };
	for (size_t i = 0; i < n; i++) {
		const struct option *o = option_find(options[i]);

		if (o) {
			if (option_apply(o, out, e))
				return -1;
			continue;
		}
		if (out->n_data == MOUNT_DATA_MAX)
			return err_set(e, ERR_INVALID, 0, "more than %d mount options", MOUNT_DATA_MAX);
		out->data[out->n_data++] = options[i];
	}
	return 0;
}

/* "key=value" or "flag". fsconfig takes them apart; a value of the kernel is at most 255 bytes. */
static int fs_set(int fs, const char *option)
{
	char key[64];
	const char *eq = strchr(option, '=');

	if (!eq)
		return (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, option, NULL, 0);
	if ((size_t)(eq - option) >= sizeof(key)) {
		errno = EINVAL;
		return -1;
	}
	memcpy(key, option, (size_t)(eq - option));
	key[eq - option] = '\0';
	return (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, eq + 1, 0);
}

/* The reason that the kernel left in the file system context ("e overlay: ..."), or nothing. */
static int fs_fail(int fs, const char *type, const char *what, struct err *e)
{
	int sys = errno;
	char log[160];
	ssize_t n = read(fs, log, sizeof(log) - 1);

	if (n <= 2)
		return err_set(e, ERR_SYSTEM, sys, "mount %s: %s", type, what);
	log[n] = '\0';
	log[strcspn(log, "\n")] = '\0';
	return err_set(e, ERR_SYSTEM, sys, "mount %s: %s: %s", type, what, log + 2);
}

int fs_mount(const char *type, const char *source, const char *const *data, size_t n_data, uint64_t attr, struct err *e)
{
	autoclose int fs = fsopen(type, FSOPEN_CLOEXEC);
	int mount;

	if (fs < 0)
		return err_set(e, ERR_SYSTEM, errno, "mount %s", type);
	if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "source", source ? source : type, 0))
		return fs_fail(fs, type, "source", e);
	for (size_t i = 0; i < n_data; i++) {
		if (fs_set(fs, data[i]))
			return fs_fail(fs, type, data[i], e);
	}
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return fs_fail(fs, type, "create", e);
	mount = fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)attr);
	return mount >= 0 ? mount : fs_fail(fs, type, "mount", e);
}

int mount_clone(int dirfd, const char *path, bool recursive, struct err *e)
{
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0u);
	int fd = open_tree(dirfd, path, flags | (*path ? 0u : AT_EMPTY_PATH));

	return fd >= 0 ? fd : err_set(e, ERR_SYSTEM, errno, "bind %s", path);
}

int mount_clone_beneath(const char *source, const char *subpath, bool recursive, struct err *e)
{
	autoclose int dir = open(source, O_PATH | O_CLOEXEC), inside = -1;
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };

	if (dir < 0)
		return err_set(e, ERR_SYSTEM, errno, "%s", source);
	inside = (int)syscall(SYS_openat2, dir, subpath, &how, sizeof(how));
	if (inside < 0)
		return err_set(e, ERR_INVALID, errno, "cannot access path %s of the volume", subpath);
	return mount_clone(inside, "", recursive, e);
}

/* As its processes see it. */
static int open_there(const char *path)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
	autoclose int dir = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

	if (dir >= 0 && mount_fs_type(dir) != TMPFS_MAGIC) {
		errno = ENOTSUP;
		return -1;
	}
	return dir < 0 ? -1 : open_tree(dir, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
}

/* Go to a mount namespace for one open. */
static int open_visiting(const char *mount_ns, const char *path, unsigned flags, bool shm, struct err *e)
{
	autoclose int own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	autoclose int there = open(mount_ns, O_RDONLY | O_CLOEXEC), mount = -1;
	int sys;

	if (own < 0 || there < 0 || setns(there, CLONE_NEWNS))
		return err_set(e, ERR_SYSTEM, errno, "join mount namespace %s", mount_ns);
	mount = shm ? open_there(path) : open_tree(AT_FDCWD, path, flags);
	sys = errno;
	if (setns(own, CLONE_NEWNS))
		return err_set(e, ERR_SYSTEM, errno, "return to the mount namespace");
	if (mount >= 0)
		return take_fd(&mount);
	return shm ? err_set(e, ERR_SYSTEM, sys, "share %s of the other container", path)
		   : err_set(e, ERR_SYSTEM, sys, "bind %s", path);
}

int mount_clone_shm(const char *mount_ns, const char *path, struct err *e)
{
	return open_visiting(mount_ns, path, 0, true, e);
}

int mount_clone_visiting(const char *mount_ns, const char *path, bool recursive, struct err *e)
{
	return open_visiting(mount_ns, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0u),
			     false, e);
}

struct visit {
	int mount_ns;
	int (*fn)(void *arg, struct err *e);
	void *arg;
	int result;
	struct err *e;
};

static void *visit_thread(void *arg)
{
	struct visit *v = arg;

	if (unshare(CLONE_FS) || setns(v->mount_ns, CLONE_NEWNS))
		v->result = err_set(v->e, ERR_SYSTEM, errno, "join a mount namespace");
	else
		v->result = v->fn(v->arg, v->e);
	return NULL;
}

/* Call fn in a thread of its own that has gone there: its result. */
static int visit(int mount_ns, int (*fn)(void *arg, struct err *e), void *arg, struct err *e)
{
	struct visit v = { .mount_ns = mount_ns, .fn = fn, .arg = arg, .result = -1, .e = e };
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, visit_thread, &v);

	if (rc)
		return err_set(e, ERR_SYSTEM, rc, "start a thread");
	pthread_join(thread, NULL);
	return v.result;
}

static int clone_mounted(void *arg, struct err *e)
{
	const char *path = arg;
	struct statx st;

	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, 0, &st))
		return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM, errno, "%s", path);
	if (!(st.stx_attributes & STATX_ATTR_MOUNT_ROOT))
		return err_set(e, ERR_NOT_FOUND, 0, "%s: nothing is mounted there", path);
	return mount_clone(AT_FDCWD, path, true, e);
}

int mount_clone_in(int mount_ns, const char *path, struct err *e)
{
	return visit(mount_ns, clone_mounted, (void *)(uintptr_t)path, e);
}

static int read_info(void *arg, struct err *e)
{
	return io_read_file(AT_FDCWD, "/proc/thread-self/mountinfo", arg, e);
}

int mount_info_in(int mount_ns, struct str *out, struct err *e)
{
	return visit(mount_ns, read_info, out, e);
}

int mount_change(int mount, uint64_t set, uint64_t clr, uint64_t propagation, bool recursive, struct err *e)
{
	struct mount_attr attr = { .attr_set = set, .attr_clr = clr, .propagation = propagation };

	if (!set && !clr && !propagation)
		return 0;
	/* Setting an atime mode needs the field cleared in the same call. */
	if (set & MOUNT_ATTR__ATIME)
		attr.attr_clr |= MOUNT_ATTR__ATIME;
	if (mount_setattr(mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0u), &attr, sizeof(attr)))
		return err_set(e, ERR_SYSTEM, errno, "change mount attributes");
	return 0;
}

int mount_attach(int mount, int target, struct err *e)
{
	if (move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH))
		return err_set(e, ERR_SYSTEM, errno, "attach mount");
	return 0;
}

int mount_all_private(struct err *e)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return err_set(e, ERR_SYSTEM, errno, "make mounts private");
	return 0;
}

/* Detach what is mounted on the directories of an initramfs, so that nothing but the bare root stays under the cover. */
static void detach_children(dev_t keep)
{
	DIR *d = opendir("/");
	struct dirent *entry;
	struct stat top, st;

	if (!d)
		return;
	if (fstat(dirfd(d), &top))
		top.st_dev = 0;
	while ((entry = readdir(d))) {
		if (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode) ||
		    st.st_dev == top.st_dev || st.st_dev == keep)
			continue;
		if (fchdir(dirfd(d)) == 0)
			umount2(entry->d_name, MNT_DETACH | UMOUNT_NOFOLLOW);
	}
	closedir(d);
}

/* The way of switch_root: the bottom of a mount namespace (initramfs) can't be moved, only covered. ".." of the cover
 * ends at the cover itself, because it is mounted on a root that has no parent. */
int mount_cover(int root, struct err *e)
{
	struct stat st;

	if (fstat(root, &st))
		return err_set(e, ERR_SYSTEM, errno, "stat root");
	detach_children(st.st_dev);
	if (fchdir(root) || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		return err_set(e, ERR_SYSTEM, errno, "move root");
	return 0;
}

int mount_pivot(int root, struct err *e)
{
	if (fchdir(root))
		return err_set(e, ERR_SYSTEM, errno, "chdir to root");
	if (syscall(SYS_pivot_root, ".", ".")) {
		if (errno == EINVAL)
			return mount_cover(root, e);
		return err_set(e, ERR_SYSTEM, errno, "pivot_root");
	}
	/* "." is now the old root, stacked on the new one. */
	if (umount2(".", MNT_DETACH) || chdir("/"))
		return err_set(e, ERR_SYSTEM, errno, "detach old root");
	return 0;
}

long mount_fs_type(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) ? 0 : (long)fs.f_type;
}
