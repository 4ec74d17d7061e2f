/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mounts by file descriptor: a file system or a clone of an existing mount is made detached, gets its attributes, and is
 * then attached at a directory that is open already. No path of a container is ever handed to mount(2).
 * Source: fsopen(2), open_tree(2), mount_setattr(2), move_mount(2).
 */
#ifndef SILO_OS_MOUNT_H
#define SILO_OS_MOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define MOUNT_DATA_MAX 64

/* Options of one mount of a runtime-spec, sorted by what they act on. Strings are borrowed. */
struct mount_options {
	uint64_t set, clr;         /* MOUNT_ATTR_* of the mount itself */
	uint64_t rec_set, rec_clr; /* the same for the whole tree (rro, rnosuid, ...) */
	uint64_t propagation;      /* MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE or 0 */
	bool propagation_rec;
	bool bind, recursive;
	bool idmap, idmap_rec;     /* "idmap", "ridmap" */
	bool copy_up;              /* "tmpcopyup": a tmpfs begins with what it covers */
	const char *data[MOUNT_DATA_MAX]; /* for the file system: "key=value" or "flag" */
	size_t n_data;
};

/* Sort options; unknown words go to the file system. Pure. ERR_INVALID: too many, or not supported. */
int mount_options_parse(const char *const *options, size_t n, struct mount_options *out, struct err *e) must_check;

/**
 * fs_mount - new instance of a file system, not attached anywhere.
 *
 * @source  device, or NULL = the type's name.
 * @data    "key=value" or "flag" strings.
 * @attr    MOUNT_ATTR_*.
 * Returns the mount's fd. The kernel's own explanation is part of the error text where it gives one.
 */
int fs_mount(const char *type, const char *source, const char *const *data, size_t n_data, uint64_t attr,
	     struct err *e) must_check;

/* Detached copy (bind) of the mount at path below dirfd; path "" means dirfd itself. Returns its fd. */
int mount_clone(int dirfd, const char *path, bool recursive, struct err *e) must_check;
/* The same of what lies at subpath beneath source: a symlink that leads out of the source is an error (ERR_INVALID). */
int mount_clone_beneath(const char *source, const char *subpath, bool recursive, struct err *e) must_check;
/* The same of a directory of another mount namespace, which must be a tmpfs and no symlink. For a process with one thread. */
int mount_clone_shm(const char *mount_ns, const char *path, struct err *e) must_check;
/* As mount_clone() in another mount namespace: the copy stays a peer of what is shared there. One thread, too. */
int mount_clone_visiting(const char *mount_ns, const char *path, bool recursive, struct err *e) must_check;
/**
 * mount_clone_in - detached copy of what is mounted at path in another mount namespace (an fd of nsfs).
 *
 * For programs with threads: only a thread of its own goes there. ERR_NOT_FOUND: path is no mount point there.
 */
int mount_clone_in(int mount_ns, const char *path, struct err *e) must_check;
/* Text of mountinfo of another mount namespace. For programs with threads, too. */
int mount_info_in(int mount_ns, struct str *out, struct err *e) must_check;
/* Change attributes / propagation of the mount that fd is the root of. */
int mount_change(int mount, uint64_t set, uint64_t clr, uint64_t propagation, bool recursive, struct err *e) must_check;
/* Attach a detached mount, or move an attached one, on top of what target refers to. Both fds stay open. */
int mount_attach(int mount, int target, struct err *e) must_check;

/* Make every mount of this mount namespace private. */
int mount_all_private(struct err *e) must_check;

/**
 * mount_pivot - make the attached mount `root` the root of this mount namespace and drop all others.
 *
 * Where the present root can't be pivoted (initramfs), it is covered instead and its other mounts are detached.
 * The working directory is "/" afterwards.
 */
int mount_pivot(int root, struct err *e) must_check;

/* The same by moving the root over what is there (--no-pivot): the old root stays underneath, out of reach. */
int mount_cover(int root, struct err *e) must_check;

/* f_type of statfs(2), 0 on error. */
long mount_fs_type(int fd);

#endif
