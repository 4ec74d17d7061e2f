/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The layers of an archive are unpacked while the archive still comes. Which of its files are layers, and of what, it may
 * say at its end only: whatever looks like one is unpacked, and matched by its inode later. What fails here is simply not
 * ready: load_layers() tries again and tells why.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crew.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/tar_format.h"
#include "image/beneath.h"
#include "image/compression.h"
#include "image/load.h"

#define WORKERS 2
#define FILES_MAX 1000
#define USTAR_AT 257 /* offset of the magic in a tar's first header */

struct ready {
	char *path;
	struct stat st;
	struct layer layer; /* dir "": not unpacked, or taken */
};

struct ahead {
	struct work *work;
	struct crew crew;
	struct ready *files[FILES_MAX]; /* as many as crew.n_items; guarded by its lock while it works */
	int archive;                    /* borrowed */
};

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static int work(void *arg, size_t i, struct err *e)
{
	struct ahead *a = arg;
	struct err why_not = { 0 };
	struct ready *r;
	struct stat st;

	pthread_mutex_lock(&a->crew.lock);
	r = a->files[i];
	pthread_mutex_unlock(&a->crew.lock);
	autoclose int fd = beneath_open(a->archive, r->path, O_RDONLY | O_NOCTTY | O_NOFOLLOW);

	/* A later entry of that name may have taken its place. */
	if (fd < 0 || fstat(fd, &st) || !is_same(&st, &r->st) ||
	    !layer_unpack(a->work, fd, NULL, "", &r->layer, &why_not))
		return 0;
	if (r->layer.dir[0] && io_remove_tree(a->work->fd, r->layer.dir, &why_not))
		log_warn("%s: %s", r->layer.dir, why_not.msg);
	r->layer.dir[0] = '\0';
	return 0;
}

struct ahead *load_ahead_new(struct work *w, int archive)
{
	struct ahead *a = xcalloc(1, sizeof(*a));
	struct err ignored;

	a->work = w;
	a->archive = archive;
	a->crew.work = work;
	a->crew.arg = a;
	if (!crew_start(&a->crew, WORKERS, &ignored))
		return a;
	free(a);
	return NULL;
}

/* A layer in Microsoft's format: it is converted later, or it is gigabytes of a base that nobody will look at. */
static bool is_windows_layer(int fd)
{
	static const char *const tops[] = { "Files", "Hives" };
	char head[8 * TAR_BLOCK] = { 0 };
	const struct ustar *h = (const struct ustar *)head;
	size_t at = 0;

	if (pread(fd, head, sizeof(head), 0) != sizeof(head))
		return false;
	if (h->type == 'x') {
		uint64_t n = strtoull(h->size, NULL, 8);

		at = n < sizeof(head) ? TAR_BLOCK + n + tar_padding(n) : sizeof(head);
	}
	for (size_t i = 0; at < sizeof(head) - TAR_BLOCK && i < array_len(tops); i++)
		if (!strncmp(head + at, tops[i], 5) && (head[at + 5] == '/' || !head[at + 5]))
			return true;
	return false;
}

static bool looks_like_layer(int fd)
{
	char magic[5];

	if (is_windows_layer(fd))
		return false;

	return compression_of_file(fd) != COMPRESSION_NONE ||
	       (pread(fd, magic, sizeof(magic), USTAR_AT) == sizeof(magic) && !memcmp(magic, "ustar", sizeof(magic)));
}

/* By its digest: as it is, or as a layer came before. */
static bool is_known(struct image_store *s, const char *digest)
{
	autojson *rows =
		db_rows(s->db, NULL, "SELECT 1 FROM image_layers WHERE diff_id = ? OR blob = ?", "ss", digest, digest);

	return json_array_size(rows) > 0;
}

void load_ahead_file(void *arg, const struct unpack_file *f, const char *path)
{
	struct ahead *a = arg;
	autoclose int fd = beneath_open(a->archive, path, O_RDONLY | O_NOCTTY | O_NOFOLLOW);
	struct ready *r;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != f->bytes ||
	    a->crew.n_items == FILES_MAX || !looks_like_layer(fd) || is_known(a->work->store, f->digest))
		return;
	r = xcalloc(1, sizeof(*r));
	r->st = st;
	r->path = xstrdup(path);
	r->layer.blob_fd = -1;
	memcpy(r->layer.blob, f->digest, sizeof(r->layer.blob));
	r->layer.blob_bytes = f->bytes;
	pthread_mutex_lock(&a->crew.lock);
	a->files[a->crew.n_items] = r;
	crew_offer_locked(&a->crew);
	pthread_mutex_unlock(&a->crew.lock);
}

void load_ahead_wait(struct ahead *a)
{
	struct err ignored;

	if (a && crew_end(&a->crew, &ignored))
		return;
}

bool load_ahead_take(struct ahead *a, int fd, const char *expected, struct layer *l)
{
	struct stat st;

	if (!a || fstat(fd, &st))
		return false;
	for (size_t i = 0; i < a->crew.n_items; i++) {
		struct layer *have = &a->files[i]->layer;

		if (!is_same(&a->files[i]->st, &st) || !have->dir[0] || strcmp(have->diff_id, l->diff_id) != 0 ||
		    (*expected && strcmp(expected, have->blob) != 0))
			continue;
		memcpy(l->dir, have->dir, sizeof(l->dir));
		memcpy(l->blob, have->blob, sizeof(l->blob));
		l->blob_bytes = have->blob_bytes;
		l->file_bytes = have->file_bytes;
		if (have->blob_fd >= 0) {
			close_fd(&l->blob_fd);
			l->blob_fd = take_fd(&have->blob_fd);
		}
		have->dir[0] = '\0';
		return true;
	}
	return false;
}

void load_ahead_free(struct ahead *a)
{
	if (!a)
		return;
	crew_abandon(&a->crew);
	for (size_t i = 0; i < a->crew.n_items; i++) {
		close_fd(&a->files[i]->layer.blob_fd);
		free(a->files[i]->path);
		free(a->files[i]);
	}
	free(a);
}
