/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Objects of a file system as a tar on stdout: sorted, so that the same tree gives the same bytes. The tree may change
 * while it is read, by somebody hostile: every step is by descriptor, and no symlink is followed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/tar.h"
#include "isolation/process/files.h"

#define OUT_BYTES (256 * KIB)
#define DEPTH_MAX 900 /* a descriptor for each level */
#define XATTR_BYTES_MAX (64 * KIB)

/* An inode with several names: the first one carries the content. */
struct seen {
	dev_t dev;
	ino_t ino;
	char *name;
};

struct files_tar {
	char *out;
	size_t n;
	struct seen *seen; /* open addressing; cap is a power of two */
	size_t n_seen, cap_seen;
	int depth;
};

/* --- output ---------------------------------------------------------------------------------------------------- */
static int flush(struct files_tar *t, struct err *e)
{
	if (t->n && io_write_all(STDOUT_FILENO, t->out, t->n))
		return err_set(e, ERR_SYSTEM, errno, "write archive");
	t->n = 0;
	return 0;
}

static int put(struct files_tar *t, const void *data, size_t n, struct err *e)
{
	const char *p = data;

	while (n) {
		size_t room = OUT_BYTES - t->n, take = n < room ? n : room;

		memcpy(t->out + t->n, p, take);
		t->n += take;
		p += take;
		n -= take;
		if (t->n == OUT_BYTES && flush(t, e))
			return -1;
	}
	return 0;
}

static int put_zeros(struct files_tar *t, uint64_t n, struct err *e)
{
	static const char zeros[16 * KIB];

	for (; n; n -= n < sizeof(zeros) ? n : sizeof(zeros))
		if (put(t, zeros, n < sizeof(zeros) ? (size_t)n : sizeof(zeros), e))
			return -1;
	return 0;
}

static int put_header(struct files_tar *t, const struct tar_entry *entry, struct err *e)
{
	autostr blocks;

	str_init(&blocks, TAR_PAX_MAX + 16 * KIB);
	if (tar_format(entry, &blocks))
		return err_set(e, ERR_LIMIT, 0, "%.200s: too long for a tar header", entry->name);
	return put(t, blocks.s, blocks.len, e);
}

struct files_tar *files_tar_new(void)
{
	struct files_tar *t = xcalloc(1, sizeof(*t));

	t->out = xmalloc(OUT_BYTES);
	return t;
}

void files_tar_free(struct files_tar *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->cap_seen; i++)
		free(t->seen[i].name);
	free(t->seen);
	free(t->out);
	free(t);
}

int files_tar_end(struct files_tar *t, struct err *e)
{
	return put_zeros(t, TAR_END_BYTES, e) || flush(t, e) ? -1 : 0;
}

/* --- hard links ------------------------------------------------------------------------------------------------ */
static struct seen *seen_slot(struct seen *table, size_t cap, dev_t dev, ino_t ino)
{
	size_t i = (size_t)((ino ^ dev) * 0x9e3779b97f4a7c15ull) & (cap - 1);

	while (table[i].name && (table[i].ino != ino || table[i].dev != dev))
		i = (i + 1) & (cap - 1);
	return &table[i];
}

static void seen_grow(struct files_tar *t)
{
	size_t cap = t->cap_seen ? 2 * t->cap_seen : 256;
	struct seen *table = xcalloc(cap, sizeof(*table));

	for (size_t i = 0; i < t->cap_seen; i++)
		if (t->seen[i].name)
			*seen_slot(table, cap, t->seen[i].dev, t->seen[i].ino) = t->seen[i];
	free(t->seen);
	t->seen = table;
	t->cap_seen = cap;
}

/* The name under which this inode is in the archive already, or NULL: `as` is noted. */
static const char *seen_before(struct files_tar *t, const struct stat *st, const char *as)
{
	struct seen *slot;

	if (st->st_nlink < 2 || S_ISDIR(st->st_mode))
		return NULL;
	if (2 * (t->n_seen + 1) > t->cap_seen)
		seen_grow(t);
	slot = seen_slot(t->seen, t->cap_seen, st->st_dev, st->st_ino);
	if (slot->name)
		return slot->name;
	*slot = (struct seen){ st->st_dev, st->st_ino, xstrdup(as) };
	t->n_seen++;
	return NULL;
}

/* --- entries --------------------------------------------------------------------------------------------------- */
static bool xattr_wanted(const char *name)
{
	return !strcmp(name, "security.capability") || !strncmp(name, "system.posix_acl_", 17) ||
	       (!strncmp(name, "user.", 5) && strncmp(name, "user.overlay.", 13) != 0);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct tar_xattr *)a)->name, ((const struct tar_xattr *)b)->name);
}

/* Of an open file or directory. What can't be read isn't there. */
static void read_xattrs(int fd, struct tar_entry *entry)
{
	autofree char *names = xmalloc(XATTR_BYTES_MAX);
	autofree char *value = xmalloc(XATTR_BYTES_MAX);
	ssize_t n = flistxattr(fd, names, XATTR_BYTES_MAX);

	for (char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
		ssize_t size = xattr_wanted(name) ? fgetxattr(fd, name, value, XATTR_BYTES_MAX) : -1;
		struct tar_xattr *x;

		if (size < 0 || entry->n_xattrs == TAR_XATTRS_MAX)
			continue;
		entry->xattrs = xrealloc(entry->xattrs, (entry->n_xattrs + 1) * sizeof(*entry->xattrs));
		x = &entry->xattrs[entry->n_xattrs++];
		*x = (struct tar_xattr){ xstrdup(name), xmalloc((size_t)size + 1), (size_t)size };
		memcpy(x->value, value, (size_t)size);
	}
	if (entry->n_xattrs)
		qsort(entry->xattrs, entry->n_xattrs, sizeof(*entry->xattrs), by_name);
}

static void free_xattrs(struct tar_entry *entry)
{
	for (size_t i = 0; i < entry->n_xattrs; i++) {
		free(entry->xattrs[i].name);
		free(entry->xattrs[i].value);
	}
	free(entry->xattrs);
}

static struct tar_entry entry_of(const struct stat *st, const char *as)
{
	return (struct tar_entry){ .name = (char *)(uintptr_t)as,
				   .type = st->st_mode & S_IFMT,
				   .mode = st->st_mode & 07777,
				   .uid = st->st_uid,
				   .gid = st->st_gid,
				   .size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0,
				   .mtime = st->st_mtim.tv_sec,
				   .major = major(st->st_rdev),
				   .minor = minor(st->st_rdev) };
}

/* Exactly size bytes: what a file has grown is left out, what it has lost is zeros. Holes aren't read. */
static int put_content(struct files_tar *t, int fd, uint64_t size, struct err *e)
{
	off_t at = 0;

	while ((uint64_t)at < size) {
		off_t data = lseek(fd, at, SEEK_DATA);
		uint64_t left = size - (uint64_t)at;
		ssize_t n;

		if (data < 0 && errno == ENXIO)
			return put_zeros(t, left, e);
		if (data > at) {
			uint64_t hole = (uint64_t)(data - at);

			if (put_zeros(t, hole < left ? hole : left, e))
				return -1;
			at = data;
			continue;
		}
		if (t->n == OUT_BYTES && flush(t, e))
			return -1;
		n = pread(fd, t->out + t->n, left < OUT_BYTES - t->n ? (size_t)left : OUT_BYTES - t->n, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, ERR_SYSTEM, errno, "read file");
		if (!n)
			return put_zeros(t, left, e);
		t->n += (size_t)n;
		at += n;
	}
	return 0;
}

static int put_file(struct files_tar *t, int dir, const char *name, const char *as, struct err *e)
{
	autoclose int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct tar_entry entry;
	struct stat st;
	int rc;

	if (fd < 0 || fstat(fd, &st))
		return errno == ENOENT ? 0 : err_set(e, ERR_SYSTEM, errno, "open %.200s", as);
	if (!S_ISREG(st.st_mode)) /* exchanged since we looked: as if it had gone */
		return 0;
	entry = entry_of(&st, as);
	read_xattrs(fd, &entry);
	rc = put_header(t, &entry, e) || put_content(t, fd, entry.size, e) || put_zeros(t, tar_padding(entry.size), e);
	free_xattrs(&entry);
	return rc ? -1 : 0;
}

static int put_hard_link(struct files_tar *t, const struct stat *st, const char *as, const char *first, struct err *e)
{
	struct tar_entry entry = entry_of(st, as);

	entry.type = 0;
	entry.size = 0;
	entry.link = (char *)(uintptr_t)first;
	return put_header(t, &entry, e);
}

static int put_symlink(struct files_tar *t, int dir, const char *name, const struct stat *st, const char *as,
		       struct err *e)
{
	struct tar_entry entry = entry_of(st, as);
	char target[TAR_NAME_MAX + 1];
	ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);

	if (n < 0)
		return errno == ENOENT || errno == EINVAL ? 0 : err_set(e, ERR_SYSTEM, errno, "read %.200s", as);
	target[n] = '\0';
	entry.link = target;
	return put_header(t, &entry, e);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void files_names_free(char **names)
{
	for (size_t i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
}

char **files_names_of(int dir, size_t *n, struct err *e)
{
	DIR *d = fdopendir(dir);
	char **names = xcalloc(1, sizeof(*names));
	size_t cap = 0;
	struct dirent *de;

	*n = 0;
	if (!d) {
		err_set(e, ERR_SYSTEM, errno, "read directory");
		close(dir);
		free(names);
		return NULL;
	}
	while ((de = readdir(d))) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (*n == cap) {
			cap = cap ? 2 * cap : 32;
			names = xrealloc(names, (cap + 1) * sizeof(*names));
		}
		names[(*n)++] = xstrdup(de->d_name);
	}
	closedir(d);
	names[*n] = NULL;
	qsort(names, *n, sizeof(*names), compare_names);
	return names;
}

static int put_children(struct files_tar *t, int fd, const char *as, struct err *e)
{
	size_t n, length = strlen(as);
	/* The walk of the directory has its own offset. */
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char **names = copy < 0 ? NULL : files_names_of(copy, &n, e);
	int rc = names ? 0 : -1;

	if (copy < 0)
		return err_set(e, ERR_SYSTEM, errno, "open %.200s", as);
	for (size_t i = 0; names && names[i] && !rc; i++) {
		autofree char *child = xasprintf("%s%s%s", as, length && as[length - 1] == '/' ? "" : "/", names[i]);

		rc = files_tar_add(t, fd, names[i], child, true, e);
	}
	files_names_free(names);
	return rc;
}

static int put_dir(struct files_tar *t, int dir, const char *name, const char *as, bool recursive, struct err *e)
{
	autoclose int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	size_t n = strlen(as);
	autofree char *slashed = xasprintf("%s%s", as, n && as[n - 1] == '/' ? "" : "/");
	struct tar_entry entry;
	struct stat st;
	int rc;

	if (fd < 0 || fstat(fd, &st))
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
			       ? 0
			       : err_set(e, ERR_SYSTEM, errno, "open %.200s", as);
	entry = entry_of(&st, slashed);
	read_xattrs(fd, &entry);
	rc = put_header(t, &entry, e);
	free_xattrs(&entry);
	if (rc || !recursive)
		return rc;
	if (t->depth == DEPTH_MAX)
		return err_set(e, ERR_LIMIT, 0, "%.200s...: directories nested more than %d deep", as, DEPTH_MAX);
	t->depth++;
	rc = put_children(t, fd, as, e);
	t->depth--;
	return rc;
}

int files_tar_add(struct files_tar *t, int dir, const char *name, const char *as, bool recursive, struct err *e)
{
	struct tar_entry entry;
	const char *first;
	struct stat st;

	/* Gone since its directory was read: that happens in a running container. */
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : err_set(e, ERR_SYSTEM, errno, "stat %.200s", as);
	if (S_ISDIR(st.st_mode))
		return put_dir(t, dir, name, as, recursive, e);
	if (S_ISSOCK(st.st_mode)) /* there is no such thing in a tar */
		return 0;
	first = seen_before(t, &st, as);
	if (first)
		return put_hard_link(t, &st, as, first, e);
	if (S_ISREG(st.st_mode))
		return put_file(t, dir, name, as, e);
	if (S_ISLNK(st.st_mode))
		return put_symlink(t, dir, name, &st, as, e);
	entry = entry_of(&st, as);
	return put_header(t, &entry, e);
}

int files_tar_mark(struct files_tar *t, const char *as, struct err *e)
{
	const struct tar_entry entry = { .name = (char *)(uintptr_t)as, .type = S_IFREG };

	return put_header(t, &entry, e);
}
