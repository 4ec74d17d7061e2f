/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Device nodes, /dev/null, the terminal. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/own.h"
#include "isolation/process/child.h"
#include "os/mount.h"
#include "os/root.h"
#include "os/tty.h"

/* Source: runtime-spec config-linux.md "Default Devices". */
static const struct {
	const char *name;
	unsigned major, minor;
} default_nodes[] = {
	{ "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
};

static const struct {
	const char *target, *name;
} default_links[] = {
	{ "/proc/self/fd", "fd" },	 { "/proc/self/fd/0", "stdin" }, { "/proc/self/fd/1", "stdout" },
	{ "/proc/self/fd/2", "stderr" }, { "/proc/kcore", "core" },	 { "pts/ptmx", "ptmx" },
};

static int add_links(int dev, struct err *e)
{
	for (size_t i = 0; i < array_len(default_links); i++) {
		if (symlinkat(default_links[i].target, dev, default_links[i].name))
			return err_set(e, ERR_SYSTEM, errno, "symlink %s", default_links[i].name);
	}
	return 0;
}

/* Bind the host's node at name in parent. */
static int bind_node(int parent, const char *name, const char *host_path, struct err *e)
{
	autoclose int target = openat(parent, name, O_CREAT | O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
	autoclose int mount = target < 0 ? -1 : mount_clone(AT_FDCWD, host_path, false, e);

	if (target < 0)
		return err_set(e, ERR_SYSTEM, errno, "create %s", name);
	return mount < 0 ? -1 : mount_attach(mount, target, e);
}

int child_bind_dev(struct child *ch, int dev, struct err *e)
{
	for (size_t i = 0; i < array_len(default_nodes); i++) {
		autofree char *path = xasprintf("/dev/%s", default_nodes[i].name);

		if (bind_node(dev, default_nodes[i].name, path, e))
			return -1;
	}
	return add_links(dev, e);
}

/* dev is a fresh tmpfs that nobody else sees yet. */
int child_fill_dev(struct child *ch, int dev, struct err *e)
{
	for (size_t i = 0; i < array_len(default_nodes); i++) {
		if (mknodat(dev, default_nodes[i].name, S_IFCHR | 0666,
			    makedev(default_nodes[i].major, default_nodes[i].minor)))
			return err_set(e, ERR_SYSTEM, errno, "mknod %s", default_nodes[i].name);
	}
	return add_links(dev, e);
}

static mode_t node_mode(const struct oci_device *d)
{
	return (d->type == 'b' ? S_IFBLK : d->type == 'p' ? S_IFIFO : S_IFCHR) | d->mode;
}

/* Something is there already: fine when it is that device, as the default nodes are. */
static int check_node(int parent, const char *name, const struct oci_device *d, struct err *e)
{
	struct stat st;

	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW))
		return err_set(e, ERR_SYSTEM, errno, "stat %s", d->path);
	if ((st.st_mode & S_IFMT) == (node_mode(d) & S_IFMT) &&
	    (d->type == 'p' || st.st_rdev == makedev(d->major, d->minor)))
		return 0;
	return err_set(e, ERR_INVALID, 0, "%s exists and is another device", d->path);
}

static int make_device(struct child *ch, const struct oci_device *d, struct err *e)
{
	autofree char *path = path_clean(d->path);
	autoclose int parent = -1;
	char *slash = strrchr(path, '/');
	const char *name = slash + 1;

	/* the container's own, whatever the host's is */
	if (!strcmp(path, "/dev/ptmx"))
		return 0;
	*slash = '\0';
	parent = root_mkdirs(ch->root, path, 0755, 0, e);
	if (parent < 0)
		return -1;
	if (child_has_userns(ch) && d->type != 'p')
		return faccessat(parent, name, F_OK, AT_SYMLINK_NOFOLLOW) ? bind_node(parent, name, d->path, e)
									  : check_node(parent, name, d, e);
	if (mknodat(parent, name, node_mode(d), makedev(d->major, d->minor)))
		return errno == EEXIST ? check_node(parent, name, d, e)
				       : err_set(e, ERR_SYSTEM, errno, "mknod %s", d->path);
	if (fchownat(parent, name, d->uid, d->gid, AT_SYMLINK_NOFOLLOW))
		return err_set(e, ERR_SYSTEM, errno, "chown %s", d->path);
	return 0;
}

int child_make_devices(void *arg, struct err *e)
{
	struct child *ch = arg;

	for (size_t i = 0; i < ch->spec->n_devices; i++) {
		if (make_device(ch, &ch->spec->devices[i], e))
			return -1;
	}
	return 0;
}

int child_open_null(int root, int flags, struct err *e)
{
	autoclose int fd = root_try_open(root, "/dev/null", flags, 0, 0);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return err_set(e, ERR_SYSTEM, errno, "open /dev/null");
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return err_set(e, ERR_INVALID, 0, "/dev/null of the container is not the null device");
	return take_fd(&fd);
}

/* /dev/console is the terminal, as for every program that logs there. */
static int bind_console(struct child *ch, struct err *e)
{
	autoclose int target = root_touch(ch->root, "/dev/console", 0600, e);
	autoclose int mount = target < 0 ? -1 : mount_clone(ch->tty_slave, "", false, e);

	return mount < 0 ? -1 : mount_attach(mount, target, e);
}

int child_open_terminal(void *arg, struct err *e)
{
	struct child *ch = arg;

	if (ch->pts < 0)
		ch->pts = root_open(ch->root, "/dev/pts", O_RDONLY | O_DIRECTORY, 0, e);
	if (ch->pts < 0 || tty_open_pair(ch->pts, &ch->tty_master, &ch->tty_slave, e) ||
	    tty_resize(ch->tty_master, ch->io->rows, ch->io->cols, e))
		return -1;
	return bind_console(ch, e);
}
