/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "image/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"

/* hidden: removed by force while a container uses it; its layers go when the container has gone. */
static const char schema[] =
	"CREATE TABLE IF NOT EXISTS images(id TEXT PRIMARY KEY, config TEXT NOT NULL, size INTEGER NOT NULL,"
	" tagged_at TEXT NOT NULL, hidden INTEGER NOT NULL DEFAULT 0);"
	"CREATE TABLE IF NOT EXISTS image_layers(chain TEXT PRIMARY KEY, diff_id TEXT NOT NULL, blob TEXT NOT NULL,"
	" blob_bytes INTEGER NOT NULL, file_bytes INTEGER NOT NULL);"
	"CREATE TABLE IF NOT EXISTS image_uses(image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,"
	" position INTEGER NOT NULL, chain TEXT NOT NULL REFERENCES image_layers(chain), PRIMARY KEY(image, position));"
	"CREATE INDEX IF NOT EXISTS image_uses_chain ON image_uses(chain);"
	"CREATE TABLE IF NOT EXISTS image_refs(name TEXT PRIMARY KEY,"
	" image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE);"
	"CREATE INDEX IF NOT EXISTS image_refs_image ON image_refs(image);"
	"CREATE TABLE IF NOT EXISTS image_manifests(digest TEXT NOT NULL,"
	" image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE, media_type TEXT NOT NULL, text TEXT NOT NULL,"
	" PRIMARY KEY(digest, image));"
	"CREATE INDEX IF NOT EXISTS image_manifests_image ON image_manifests(image);"
	/* Of an image that was made here by commit. */
	"CREATE TABLE IF NOT EXISTS image_parents(image TEXT PRIMARY KEY REFERENCES images(id) ON DELETE CASCADE,"
	" parent TEXT NOT NULL);"
	"CREATE INDEX IF NOT EXISTS image_parents_parent ON image_parents(parent);"
	"CREATE TABLE IF NOT EXISTS image_pending(token TEXT PRIMARY KEY, chain TEXT NOT NULL, kind INTEGER NOT NULL);";

static int open_dir(const char *root, const char *name, int *fd, struct err *e)
{
	autofree char *path = xasprintf("%s/%s", root, name);

	if (io_mkdir_all(path, 0700, e))
		return -1;
	*fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *fd < 0 ? err_set(e, ERR_SYSTEM, errno, "%s", path) : 0;
}

/* Remove what a directory holds unless the query, given the name, knows it. Query NULL: remove all. */
static void sweep(struct image_store *s, int dir, const char *query)
{
	autoclose int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *de;

	if (!d)
		return;
	take_fd(&copy);
	while ((de = readdir(d))) {
		autofree char *digest = xasprintf("sha256:%s", de->d_name);
		autojson *known = NULL;
		struct err e = { 0 };

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		known = query ? db_rows(s->db, &e, query, "s", digest) : json_array();
		if (known && !json_array_size(known) && io_remove_tree(dir, de->d_name, &e))
			log_warn("leftover %s: %s", de->d_name, e.msg);
	}
	closedir(d);
}

/* A build of an EROFS image that was interrupted. */
static void sweep_erofs(struct image_store *s)
{
	struct err e = { 0 };
	autojson *rows = db_rows(s->db, &e, "SELECT chain FROM image_layers", "");
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row) {
		autofree char *path = xasprintf("%s/image.erofs.tmp", digest_hex(json_str(row, "chain", "sha256:")));

		unlinkat(s->layers, path, 0);
	}
}

static int store_prepare(struct image_store *s, struct err *e)
{
	if (open_dir(s->o.root, "blobs/sha256", &s->blobs, e) || open_dir(s->o.root, "layers", &s->layers, e) ||
	    open_dir(s->o.root, "tmp/images", &s->tmp, e) || db_exec(s->db, e, schema, ""))
		return -1;
	/* Another engine on the same root would take our work for leftovers. The kernel drops the lock with the process. */
	if (flock(s->tmp, LOCK_EX | LOCK_NB))
		return err_set(e, ERR_CONFLICT, 0, "%s is in use by another process", s->o.root);
	/* Layers that lost their last image, which was removed by an engine that was killed before it went on. */
	if (sync_recover(s, e) || db_exec(s->db, e, "DELETE FROM image_layers WHERE " IMAGE_LAYER_UNUSED, ""))
		return -1;
	sweep(s, s->tmp, NULL);
	sweep(s, s->layers, "SELECT 1 FROM image_layers WHERE chain = ?");
	sweep(s, s->blobs, "SELECT 1 FROM image_layers WHERE blob = ?");
	sweep_erofs(s);
	return sync_start(s, e);
}

struct image_store *image_store_open(const struct image_store_options *o, struct db *db, struct err *e)
{
	struct image_store *s = xcalloc(1, sizeof(*s));

	s->o = *o;
	s->o.root = xstrdup(o->root);
	s->o.unpack_path = xstrdup(o->unpack_path);
	s->db = db;
	s->blobs = s->layers = s->tmp = -1;
	pthread_mutex_init(&s->commit, NULL);
	pthread_mutex_init(&s->sync.lock, NULL);
	pthread_cond_init(&s->sync.wake, NULL);
	if (!store_prepare(s, e))
		return s;
	err_prefix(e, "image store");
	image_store_close(s);
	return NULL;
}

void image_store_close(struct image_store *s)
{
	if (!s)
		return;
	sync_stop(s);
	close_fd(&s->blobs);
	close_fd(&s->layers);
	close_fd(&s->tmp);
	pthread_mutex_destroy(&s->commit);
	pthread_mutex_destroy(&s->sync.lock);
	pthread_cond_destroy(&s->sync.wake);
	free((char *)(uintptr_t)s->o.root);
	free((char *)(uintptr_t)s->o.unpack_path);
	free(s);
}

/* Layers have nothing to do with each other: ext4 may place each where it finds room, not all of them in one block group.
 * There every new file would have to look past all that were deleted lately. Where that means nothing it is no loss. */
static void spread(int dir)
{
	int flags = 0;

	if (ioctl(dir, FS_IOC_GETFLAGS, &flags))
		return;
	flags |= FS_TOPDIR_FL;
	(void)ioctl(dir, FS_IOC_SETFLAGS, &flags);
}

int work_open(struct image_store *s, const char *kind, struct work *w, struct err *e)
{
	char id[17];

	random_hex(id, 8);
	w->store = s;
	w->fd = -1;
	snprintf(w->name, sizeof(w->name), "%.16s-%s", kind, id);
	if (mkdirat(s->tmp, w->name, 0700))
		return err_set(e, ERR_SYSTEM, errno, "%s/tmp", s->o.root);
	w->fd = openat(s->tmp, w->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->fd < 0)
		return err_set(e, ERR_SYSTEM, errno, "%s/tmp", s->o.root);
	spread(w->fd);
	return 0;
}

void work_close(struct work *w)
{
	struct err e = { 0 };

	close_fd(&w->fd);
	if (w->name[0] && io_remove_tree(w->store->tmp, w->name, &e))
		log_warn("%s: %s", w->name, e.msg);
	w->name[0] = '\0';
}

char *read_bounded(int fd, size_t max, const char *what, size_t *n, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		err_set(e, ERR_INVALID, 0, "%s: not a regular file", what);
		return NULL;
	}
	if ((uint64_t)st.st_size > max) {
		err_set(e, ERR_LIMIT, 0, "%s: larger than %zu bytes", what, max);
		return NULL;
	}
	autofree char *text = xmalloc((size_t)st.st_size + 1);

	*n = (size_t)st.st_size;
	text[*n] = '\0';
	if (pread(fd, text, *n, 0) != st.st_size) {
		err_set(e, ERR_SYSTEM, errno, "%s", what);
		return NULL;
	}
	return take_ptr(&text);
}

void image_notify(struct image_store *s, const char *action, const char *id, const char *name)
{
	if (s->o.event)
		s->o.event(s->o.event_arg, action, id, name);
}
