/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a container has changed: its writable layer beside the layers below. Neither is looked at through a mount, and
 * no name in them is followed. The list is made first, because whether a directory counts is only known when everything
 * in it has been seen: the mount points of Silo's own making (/etc/hosts, /dev, ...) are no changes of the container's.
 */
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
#include "base/json.h"
#include "base/own.h"
#include "isolation/process/files.h"
#include "os/root.h"

#define DEPTH_MAX 900
#define INIT_DESTINATION "/sbin/docker-init"

enum kind { MODIFIED, ADDED, DELETED }; /* Docker's numbers */

struct change {
	char *path; /* without the first slash */
	enum kind kind;
	bool dir, opaque, dropped;
};

struct diff {
	const struct files *f;
	struct change *list;
	size_t n, cap;
};

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

static bool has_mark(int fd, const char *name)
{
	char value[4];

	return fgetxattr(fd, name, value, sizeof(value)) == 1 && *value == 'y';
}

static int add_change(struct diff *d, const char *path, enum kind kind)
{
	if (d->n == d->cap) {
		d->cap = d->cap ? 2 * d->cap : 256;
		d->list = xrealloc(d->list, d->cap * sizeof(*d->list));
	}
	d->list[d->n] = (struct change){ .path = xstrdup(path), .kind = kind };
	return (int)d->n++;
}

/* --- the layers below ------------------------------------------------------------------------------------------ */
/* One layer: 1 = it is there (*st), 0 = nothing said, -1 = hidden from here down. */
static int look_in_layer(int layer, const char *path, struct stat *st)
{
	bool opaque = false;

	for (const char *end = path; *end;) {
		end += strcspn(end + (*end == '/'), "/") + (*end == '/');
		autofree char *part = xstrndup(path, (size_t)(end - path));
		autoclose int fd = root_try_open(layer, part, O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS, 0);

		if (fd < 0 || fstat(fd, st))
			return opaque ? -1 : 0;
		if (is_whiteout(st) || (*end && !S_ISDIR(st->st_mode)))
			return -1;
		if (*end && S_ISDIR(st->st_mode)) {
			autoclose int dir =
				root_try_open(layer, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, RESOLVE_NO_SYMLINKS, 0);

			opaque |= dir >= 0 && has_mark(dir, "trusted.overlay.opaque");
		}
	}
	return 1;
}

static bool was_there(const struct files *f, const char *path, struct stat *st)
{
	for (size_t i = 0; i < f->n_layers; i++) {
		int rc = look_in_layer(f->layers[i], path, st);

		if (rc)
			return rc > 0;
	}
	return false;
}

/* --- the walk -------------------------------------------------------------------------------------------------- */
/* Where Silo mounts something in every container that the image may have had no place for. */
static bool is_own_place(const struct bundle *b, const char *path)
{
	static const char *const dirs[] = { "/proc", "/sys", "/dev" };
	autofree char *whole = xasprintf("/%s", path);

	for (size_t i = 0; i < array_len(dirs); i++)
		if (path_is_below(whole, dirs[i]))
			return true;
	for (size_t i = 0; i < b->n_files; i++)
		if (!strcmp(b->files[i].destination, whole))
			return true;
	return b->init_path && !strcmp(whole, INIT_DESTINATION);
}

static bool same_meta(const struct stat *a, const struct stat *b)
{
	return a->st_mode == b->st_mode && a->st_uid == b->st_uid && a->st_gid == b->st_gid;
}

static int walk(struct diff *d, int dir, const char *path, int depth, bool *own, struct err *e);

/* A directory of the writable layer. own: it is there for Silo's sake only. */
static int visit_dir(struct diff *d, int parent, const char *name, const char *path, const struct stat *st, int depth,
		     bool *own, struct err *e)
{
	autoclose int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bool own_inside = false, existed;
	struct stat old;
	size_t at;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_set(e, ERR_SYSTEM, errno, "open %.200s", path);
	if (fgetxattr(fd, "trusted.overlay.redirect", NULL, 0) > 0)
		return err_set(e, ERR_UNSUPPORTED, 0, "%.200s: renamed by the kernel's redirect_dir", path);
	existed = was_there(d->f, path, &old);
	at = (size_t)add_change(d, path, existed ? MODIFIED : ADDED);
	d->list[at].dir = true;
	d->list[at].opaque = existed && S_ISDIR(old.st_mode) && has_mark(fd, "trusted.overlay.opaque");
	if (depth == DEPTH_MAX)
		return err_set(e, ERR_LIMIT, 0, "%.200s...: nested too deep", path);
	if (walk(d, fd, path, depth + 1, &own_inside, e))
		return -1;
	own_inside |= is_own_place(d->f->c->b, path);
	if (own_inside && at + 1 == d->n && (!existed || same_meta(st, &old)) && !d->list[at].opaque) {
		free(d->list[--d->n].path);
		*own = true;
	}
	return 0;
}

static int visit(struct diff *d, int dir, const char *name, const char *path, int depth, bool *own, struct err *e)
{
	struct stat st, old;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : err_set(e, ERR_SYSTEM, errno, "stat %.200s", path);
	if (S_ISDIR(st.st_mode))
		return visit_dir(d, dir, name, path, &st, depth, own, e);
	bool existed = was_there(d->f, path, &old);

	if (is_whiteout(&st)) {
		if (existed)
			add_change(d, path, DELETED);
		return 0;
	}
	if (!existed && S_ISREG(st.st_mode) && !st.st_size && is_own_place(d->f->c->b, path)) {
		*own = true;
		return 0;
	}
	add_change(d, path, existed ? MODIFIED : ADDED);
	return 0;
}

static int walk(struct diff *d, int dir, const char *path, int depth, bool *own, struct err *e)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	size_t n;
	char **names = copy < 0 ? NULL : files_names_of(copy, &n, e);

	if (!names)
		return copy < 0 ? err_set(e, ERR_SYSTEM, errno, "open %.200s", path) : -1;
	for (size_t i = 0; names[i] && !rc; i++) {
		autofree char *child = *path ? xasprintf("%s/%s", path, names[i]) : xstrdup(names[i]);

		rc = visit(d, dir, names[i], child, depth, own, e);
	}
	files_names_free(names);
	return rc;
}

static int diff_make(struct files *f, struct diff *d, struct err *e)
{
	bool own = false;

	*d = (struct diff){ .f = f };
	return walk(d, f->root, "", 0, &own, e);
}

static void diff_fini(struct diff *d)
{
	for (size_t i = 0; i < d->n; i++)
		free(d->list[i].path);
	free(d->list);
}

/* --- answers --------------------------------------------------------------------------------------------------- */
static int write_line(struct str *line, const struct change *c, struct err *e)
{
	autofree char *path = xasprintf("/%s", c->path);

	str_drop(line, line->len);
	str_puts(line, "{\"Path\":");
	str_add_json(line, path, strlen(path));
	str_printf(line, ",\"Kind\":%d}\n", c->kind);
	return io_write_all(STDOUT_FILENO, line->s, line->len) ? err_set(e, ERR_SYSTEM, errno, "answer") : 0;
}

int files_diff(struct files *f, struct err *e)
{
	struct diff d;
	int rc = diff_make(f, &d, e) || files_head(json_object(), e);
	autostr line;

	str_init(&line, 64 * KIB);
	for (size_t i = 0; i < d.n && !rc; i++)
		rc = write_line(&line, &d.list[i], e);
	diff_fini(&d);
	return rc ? -1 : 0;
}

static int put_whiteout(struct files_tar *t, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	autofree char *as = xasprintf("%.*s.wh.%s", (int)(name - path), path, name);

	return files_tar_mark(t, as, e);
}

static int put_change(struct files_tar *t, const struct files *f, const struct change *c, struct err *e)
{
	const char *slash = strrchr(c->path, '/');
	autofree char *dir_path = slash ? xstrndup(c->path, (size_t)(slash - c->path)) : xstrdup(".");
	autoclose int dir = -1;

	if (c->kind == DELETED)
		return put_whiteout(t, c->path, e);
	dir = root_try_open(f->root, dir_path, O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS, 0);
	if (dir < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
			       ? 0
			       : err_set(e, ERR_SYSTEM, errno, "open %.200s", dir_path);
	if (files_tar_add(t, dir, slash ? slash + 1 : c->path, c->path, false, e))
		return -1;
	if (!c->opaque)
		return 0;
	autofree char *mark = xasprintf("%s/.wh..wh..opq", c->path);

	return files_tar_mark(t, mark, e);
}

int files_layer(struct files *f, struct err *e)
{
	struct files_tar *t = files_tar_new();
	struct diff d;
	int rc = diff_make(f, &d, e) || files_head(json_object(), e);

	for (size_t i = 0; i < d.n && !rc; i++)
		rc = put_change(t, f, &d.list[i], e);
	rc = rc || files_tar_end(t, e);
	diff_fini(&d);
	files_tar_free(t);
	return rc ? -1 : 0;
}
