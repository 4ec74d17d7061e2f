/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The mounts of the spec and Silo's own small files. Every target is an fd found inside the container's root. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "isolation/process/child.h"
#include "os/mount.h"
#include "os/root.h"
#include "os/tree.h"

#define INIT_DESTINATION "/sbin/docker-init"

/* What may be mounted inside /proc: harmless views that programs like lxcfs provide. */
static const char *const proc_allowed[] = {
	"/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo",  "/proc/stat",    "/proc/swaps",
	"/proc/uptime",  "/proc/loadavg",   "/proc/slabinfo", "/proc/net/dev", "/proc/sys/kernel/ns_last_pid",
};

static bool is_bind(const struct oci_mount *m, const struct mount_options *o)
{
	return o->bind || !m->type || !strcmp(m->type, "bind") || !strcmp(m->type, "none");
}

/* By its own maps, or by those of the container. */
static int map_ids(const struct child *ch, int mount, const struct oci_mount *m, const struct mount_options *o,
		   struct err *e)
{
	const struct id_maps *maps = m->maps.n_uids || m->maps.n_gids ? &m->maps : &ch->spec->maps;

	if (!o->idmap && maps != &m->maps)
		return 0;
	if (!maps->n_uids || !maps->n_gids)
		return err_set(e, ERR_INVALID, 0, "an id-mapped mount needs uidMappings and gidMappings");
	return mount_idmap(mount, maps, o->idmap_rec, e);
}

/* Before the mounts are made private, so that a source can stay in its peer group (slave, shared). */
static int open_bind(struct child *ch, const struct oci_mount *m, const struct mount_options *o, struct err *e)
{
	autoclose int fd = -1;

	if (!m->source)
		return err_set(e, ERR_INVALID, 0, "%s: a bind needs a source", m->destination);
	fd = m->mount_ns  ? mount_clone_shm(m->mount_ns, m->source, e)
	     : m->host_ns ? mount_clone_visiting(m->host_ns, m->source, o->recursive, e)
	     : m->subpath ? mount_clone_beneath(m->source, m->subpath, o->recursive, e)
			  : mount_clone(AT_FDCWD, m->source, o->recursive, e);
	if (fd < 0)
		return -1;
	if (map_ids(ch, fd, m, o, e) || mount_change(fd, 0, 0, o->propagation ? o->propagation : MS_PRIVATE,
						     o->propagation ? o->propagation_rec : true, e))
		return -1;
	return take_fd(&fd);
}

int child_open_binds(void *arg, struct err *e)
{
	struct child *ch = arg;
	const struct oci_spec *s = ch->spec;
	struct mount_options o;

	ch->binds = xcalloc(s->n_mounts + 1, sizeof(*ch->binds));
	for (size_t i = 0; i < s->n_mounts; i++) {
		const struct oci_mount *m = &s->mounts[i];

		ch->binds[i] = -1;
		if (mount_options_parse(m->options, m->n_options, &o, e))
			return err_prefix(e, "%s", m->destination);
		if (!is_bind(m, &o))
			continue;
		ch->binds[i] = open_bind(ch, m, &o, e);
		if (ch->binds[i] < 0)
			return err_prefix(e, "%s", m->destination);
	}
	return 0;
}

/* Lexical rule for /proc; check_target() has the same rule for where symlinks really lead. */
static int check_destination(const char *path, const char *type, bool is_procfs, struct err *e)
{
	if (!strcmp(path, "/"))
		return err_set(e, ERR_INVALID, 0, "nothing can be mounted at /");
	if (!path_is_below(path, "/proc"))
		return 0;
	if (!strcmp(path, "/proc"))
		return is_procfs || (type && !strcmp(type, "proc"))
			       ? 0
			       : err_set(e, ERR_INVALID, 0,
					 "\"/proc\" cannot be mounted because it is not of type proc");
	for (size_t i = 0; i < array_len(proc_allowed); i++) {
		if (!strcmp(path, proc_allowed[i]))
			return 0;
	}
	return err_set(e, ERR_INVALID, 0, "\"%s\" cannot be mounted because it is inside /proc", path);
}

static int check_target(int target, const char *path, struct err *e)
{
	if (path_is_below(path, "/proc") || mount_fs_type(target) != PROC_SUPER_MAGIC)
		return 0;
	return err_set(e, ERR_INVALID, 0, "\"%s\" cannot be mounted because it leads into /proc", path);
}

/* /proc, /sys and /dev of an image must be real directories: what follows relies on these paths. */
static uint64_t resolve_of(const char *path)
{
	return path_is_below(path, "/proc") || path_is_below(path, "/sys") || path_is_below(path, "/dev")
		       ? RESOLVE_NO_SYMLINKS
		       : 0;
}

static int make_target(struct child *ch, const char *path, bool directory, struct err *e)
{
	autoclose int target = -1;

	if (directory)
		target = root_mkdirs(ch->root, path, 0755, resolve_of(path), e);
	else
		target = root_touch(ch->root, path, 0644, e);
	if (target < 0) {
		if (e && e->sys == ELOOP)
			err_set(e, ERR_INVALID, 0, "\"%s\" of the image is or contains a symlink", path);
		return -1;
	}
	return check_target(target, path, e) ? -1 : take_fd(&target);
}

static int attach_bind(struct child *ch, int mount, const char *path, const struct mount_options *o, struct err *e)
{
	autoclose int target = -1;
	struct stat st;

	if (fstat(mount, &st))
		return err_set(e, ERR_SYSTEM, errno, "stat source");
	target = make_target(ch, path, S_ISDIR(st.st_mode), e);
	if (target < 0 || mount_change(mount, o->set, o->clr, 0, false, e) ||
	    mount_change(mount, o->rec_set, o->rec_clr, 0, true, e))
		return -1;
	return mount_attach(mount, target, e);
}

/* A tmpfs over a directory of the image takes its mode, unless the options say another. */
static void tmpfs_mode(int target, struct mount_options *o, char text[static 16])
{
	struct stat st;

	for (size_t i = 0; i < o->n_data; i++) {
		if (!strncmp(o->data[i], "mode=", 5))
			return;
	}
	if (fstat(target, &st) || o->n_data == MOUNT_DATA_MAX)
		return;
	snprintf(text, 16, "mode=%o", st.st_mode & 07777);
	o->data[o->n_data++] = text;
}

/* Later steps need these mounts by fd. Returns true when the mount fd is kept. */
static bool keep_mount(struct child *ch, const char *type, const char *path, int mount)
{
	int *slot = !strcmp(type, "proc") && !strcmp(path, "/proc")        ? &ch->proc_fs
		    : !strcmp(type, "tmpfs") && !strcmp(path, "/dev")      ? &ch->dev
		    : !strcmp(type, "devpts") && !strcmp(path, "/dev/pts") ? &ch->pts
									   : NULL;

	if (slot) {
		close_fd(slot);
		*slot = mount;
	}
	return slot;
}

static int mount_fs(struct child *ch, const struct oci_mount *m, const char *path, struct mount_options *o,
		    struct err *e)
{
	autoclose int target = make_target(ch, path, true, e);
	autoclose int mount = -1;
	char mode[16];
	bool is_dev = !strcmp(m->type, "tmpfs") && !strcmp(path, "/dev");

	if (target < 0)
		return -1;
	if (!strcmp(m->type, "cgroup") || !strcmp(m->type, "cgroup2"))
		return cgroup_mount_view(ch->c->cg, target, o->set, oci_spec_namespace(ch->spec, CLONE_NEWCGROUP), e);
	if (!strcmp(m->type, "tmpfs"))
		tmpfs_mode(target, o, mode);
	ch->dev_readonly |= is_dev && o->set & MOUNT_ATTR_RDONLY;
	mount = fs_mount(m->type, m->source, o->data, o->n_data,
			 o->copy_up || is_dev ? o->set & ~(uint64_t)MOUNT_ATTR_RDONLY : o->set, e);
	if (mount < 0 || (is_dev && !child_has_userns(ch) && child_fill_dev(ch, mount, e)) ||
	    (o->copy_up && tree_copy(target, mount, e)) || mount_attach(mount, target, e) ||
	    (is_dev && child_has_userns(ch) && child_bind_dev(ch, mount, e)) ||
	    (o->copy_up && mount_change(mount, o->set & MOUNT_ATTR_RDONLY, 0, 0, false, e)))
		return -1;
	if (mount_change(mount, o->rec_set, o->rec_clr, o->propagation, o->propagation_rec, e))
		return -1;
	if (keep_mount(ch, m->type, path, mount))
		take_fd(&mount);
	return 0;
}

static int mount_one(struct child *ch, size_t i, struct err *e)
{
	const struct oci_mount *m = &ch->spec->mounts[i];
	autofree char *path = path_clean(m->destination);
	struct mount_options o;

	/* the caller's /proc is right where his pid namespace is */
	bool is_procfs = ch->binds[i] >= 0 && mount_fs_type(ch->binds[i]) == PROC_SUPER_MAGIC &&
			 !oci_spec_namespace(ch->spec, CLONE_NEWPID);

	if (mount_options_parse(m->options, m->n_options, &o, e) || check_destination(path, m->type, is_procfs, e))
		return -1;
	if (ch->binds[i] >= 0)
		return attach_bind(ch, ch->binds[i], path, &o, e);
	return mount_fs(ch, m, path, &o, e);
}

int child_mount_all(void *arg, struct err *e)
{
	struct child *ch = arg;

	for (size_t i = 0; i < ch->spec->n_mounts; i++) {
		if (mount_one(ch, i, e))
			return err_prefix(e, "%s", ch->spec->mounts[i].destination);
	}
	return 0;
}

/* Attach a detached mount (taken) of one file at destination. */
static int attach_file(struct child *ch, int file, const char *destination, bool readonly, struct err *e)
{
	const struct mount_options o = { .set = readonly ? MOUNT_ATTR_RDONLY : 0 };
	autofree char *path = path_clean(destination);
	autoclose int mount = file;

	if (check_destination(path, NULL, false, e) || attach_bind(ch, mount, path, &o, e))
		return err_prefix(e, "%s", destination);
	return 0;
}

/* Bind one file of the host at destination. */
static int bind_file(struct child *ch, const char *source, const char *destination, bool readonly, struct err *e)
{
	int mount = mount_clone(AT_FDCWD, source, false, e);

	return mount < 0 ? err_prefix(e, "%s", destination) : attach_file(ch, mount, destination, readonly, e);
}

static int write_data(int dir, size_t i, const char *data, char name[static 24], struct err *e)
{
	autoclose int fd = -1;

	snprintf(name, 24, "%zu", i);
	fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0 || io_write_all(fd, data, strlen(data)))
		return err_set(e, ERR_SYSTEM, errno, "write file");
	return 0;
}

/*
 * Files that come as text (in a guest) live in a small tmpfs. To be bound from, it must be attached somewhere for a
 * moment: on top of the container's root, which it leaves again before anything can see it.
 */
static int bind_data_files(struct child *ch, struct err *e)
{
	static const char *const options[] = { "mode=0755", "size=4m" };
	const struct bundle *b = ch->c->b;
	autoclose int tmp = fs_mount("tmpfs", "files", options, array_len(options), MOUNT_ATTR_NOSUID, e);
	int *clones = xcalloc(b->n_files, sizeof(*clones));
	autofree int *owner = clones;
	char name[24];

	if (tmp < 0 || mount_attach(tmp, ch->root, e))
		return -1;
	for (size_t i = 0; i < b->n_files; i++) {
		clones[i] = -1;
		if (!b->files[i].data)
			continue;
		if (write_data(tmp, i, b->files[i].data, name, e) || (clones[i] = mount_clone(tmp, name, false, e)) < 0)
			return -1;
	}
	if (fchdir(tmp) || umount2(".", MNT_DETACH))
		return err_set(e, ERR_SYSTEM, errno, "detach files");
	for (size_t i = 0; i < b->n_files; i++) {
		/* Not cloned once more: before Linux 6.15 only attached mounts can be. */
		if (clones[i] >= 0 && attach_file(ch, clones[i], b->files[i].destination, false, e))
			return -1;
	}
	(void)owner;
	return 0;
}

int child_bind_files(void *arg, struct err *e)
{
	struct child *ch = arg;
	const struct bundle *b = ch->c->b;
	bool has_data = false;

	for (size_t i = 0; i < b->n_files; i++) {
		has_data |= b->files[i].data != NULL;
		if (b->files[i].source && bind_file(ch, b->files[i].source, b->files[i].destination, false, e))
			return -1;
	}
	if (has_data && bind_data_files(ch, e))
		return -1;
	return b->init_path ? bind_file(ch, b->init_path, INIT_DESTINATION, true, e) : 0;
}
