/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Work on a container's files: cp, diff, commit, export. It is done by a child of the supervisor that looks like an exec
 * to everybody else (streams, signals, end), but executes nothing: it enters a private copy of the container's mounts
 * (root and binds only: what Docker shows), gives up all rights that files don't need, and reads or writes tar.
 *
 * Asked for by the member "files" of the process object, all strings: {"op", "path", "owner", "no_overwrite", "windows": bool}.
 *	stat    head: {"stat": {"name", "size", "mode" (Go's FileMode), "mtime", "linkTarget"}}
 *	get     head as stat, then a tar of the object at path, as GET /containers/ID/archive gives it
 *	put     head: {"resolved": path of the directory}, then a tar is read from stdin. owner: USER[:GROUP] to whom
 *	        everything shall belong
 *	export  a tar of the root file system, without binds
 *	diff    lines {"Path", "Kind"} of GET /containers/ID/changes
 *	layer   the writable layer as a tar of an image layer
 * stdout begins with the head, one line of JSON, or {"error": ...} (base/msg.h); the tar or the lines follow. stderr is
 * one line at the end: {} or {"error": ...}. Without that line the work wasn't finished.
 */
#ifndef SILO_ISOLATION_FILES_H
#define SILO_ISOLATION_FILES_H

#include <jansson.h>
#include <stdbool.h>

#include "base/str.h"
#include "base/tar.h"
#include "isolation/process/process.h"
#include "oci/bundle.h"

struct files {
	const struct container *c;
	const char *path, *owner;
	bool no_overwrite;
	bool windows; /* names are those of Windows */
	int proc_fs; /* /proc of the supervisor: the container's has other numbers */
	int root;    /* get, put, export: the container's root; diff, layer: its writable layer */
	int *layers; /* diff, layer: the layers below, topmost first */
	size_t n_layers;
};

/* The child that works on c as `request` says. -1 with *e: it couldn't be started; io is the caller's then. */
struct process *files_start(struct container *c, const json_t *request, struct process_io *io,
			    struct err *e) must_check;

/* --- inside of the child --------------------------------------------------------------------------------------- */
/* Enter a private copy of the container's mounts with root and, if wanted, binds. f->root is set. */
int files_enter(struct files *f, bool binds, struct err *e) must_check;
/* Give up what files don't need. keep_admin: overlayfs' marks in the writable layer are read. */
int files_drop_rights(bool keep_admin, struct err *e) must_check;
/* The head: one line (taken). */
int files_head(json_t *head, struct err *e) must_check;

/* files_tar.c: a tar on stdout. */
struct files_tar;
struct files_tar *files_tar_new(void);
void files_tar_free(struct files_tar *t); /* NULL allowed */
/* The object `name` in `dir` (without following), and what is below it, as `as`. */
int files_tar_add(struct files_tar *t, int dir, const char *name, const char *as, bool recursive,
		  struct err *e) must_check;
/* An empty file: a whiteout. */
int files_tar_mark(struct files_tar *t, const char *as, struct err *e) must_check;
int files_tar_end(struct files_tar *t, struct err *e) must_check;
/* Names in a directory (taken), sorted; NULL-terminated heap strings. NULL with *e. */
char **files_names_of(int dir, size_t *n, struct err *e) must_check;
void files_names_free(char **names);

/* files_names.c */
/* An absolute path as it is spelt in the container, where it is there: Windows has no case. Heap string. */
char *files_spell(const struct files *f, const char *path);
/* The name of an entry as the CLI of another system sends it ("C:\dir\x") in the form of an archive. */
void files_windows_name(const char *name, char out[static TAR_NAME_MAX]);

/* files_diff.c */
int files_diff(struct files *f, struct err *e) must_check;
int files_layer(struct files *f, struct err *e) must_check;

#endif
