/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries of a tar archive as objects of a file system. Every path is resolved by openat2(RESOLVE_IN_ROOT): a symlink,
 * of the archive or found there, absolute or not, leads to where it would lead in the container, and the last component
 * is never followed. What overlayfs or the kernel would understand as more than content (trusted.*, user.overlay.*) isn't
 * taken from an archive. The process has umask 0.
 */
#ifndef SILO_OS_EXTRACT_H
#define SILO_OS_EXTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/err.h"
#include "base/tar.h"

struct extract_dir;

struct extract {
	int root;           /* borrowed: where "/" is */
	const char *base;   /* directory below root into which it goes, "" = root itself; borrowed */
	bool plain;         /* regular files, directories and links only, owned by us: no owners, modes, xattrs, times */
	bool one_fs;        /* mount points are not crossed */
	bool no_overwrite;  /* a directory isn't replaced by something else, nor the other way round */
	bool is_image;      /* /proc, /sys and /dev must not be symlinks: a container's mounts would follow them.
			     * The directory was empty: what is found there has come from the archive */
	bool has_owner;     /* everything belongs to uid:gid, whatever the archive says */
	bool default_acl;   /* a directory may have an access list for what is made in it */
	uid_t uid;
	gid_t gid;
	/* A directory takes the place of a whiteout (a character device 0:0): it hides the layers below. NULL = no matter. */
	int (*on_opaque)(void *arg, const char *path, struct err *e);
	/* Content of regular files, as it is written; holes aren't told of. NULL = no matter. */
	void (*on_data)(void *arg, const void *data, size_t n, uint64_t at);
	void *arg;
	/* --- private; zero, but for parent = -1 --- */
	int parent;
	bool inherits; /* what is made in parent isn't root's, or not of the mode it is made with */
	char parent_path[TAR_NAME_MAX];
	struct extract_dir *dirs;
	size_t n_dirs, cap_dirs;
};

/* Where an entry goes: its directory (borrowed fd), last component, whole clean path. */
struct extract_place {
	int parent;
	const char *name;
	const char *path;
};

/**
 * extract_clean_path - normal form of a name in an archive: no leading "/", no "." and no empty components. Pure.
 *
 * @out  "" is the root itself.
 * ERR_INVALID for "..", empty names, and names that are too long.
 */
int extract_clean_path(const char *name, char out[static TAR_NAME_MAX], struct err *e) must_check;

/* Open the directory of a clean path that isn't "", creating what is missing. */
int extract_place(struct extract *x, const char *path, struct extract_place *out, struct err *e) must_check;
/* Make the object of the reader's current entry, replacing what is there. */
int extract_object(struct extract *x, const struct tar_entry *t, struct tar_reader *r, const struct extract_place *at,
		   struct err *e) must_check;
/* An entry of the path "": the directory into which all goes. */
int extract_root(struct extract *x, const struct tar_entry *t, struct err *e) must_check;
/* After the last entry: times of directories, which every entry in them has changed. */
int extract_finish(struct extract *x, struct err *e) must_check;
void extract_fini(struct extract *x);

#endif
