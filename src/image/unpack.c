/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a stream to a directory. Runs inside the helper, after unpack_jail(). */
#include "image/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/str.h"
#include "base/tar.h"
#include "os/extract.h"

#define WHITEOUT ".wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define LAYER_BYTES_MIN 1024 /* smaller files of an archive aren't told of */
#define WHITEOUT_META ".wh..wh." /* aufs' own bookkeeping: nothing of the image */

struct unpacker {
	int records;
	enum unpack_mode mode;
	struct unpack_limits limits;
	struct unpack_stream *stream;
	struct tar_reader *reader;
	struct extract extract;
	uint64_t entries, file_bytes;
	struct digest file; /* archive: of the file that is being written, as long as it has no holes */
};

static bool is_layer(enum unpack_mode mode)
{
	return mode == UNPACK_LAYER || mode == UNPACK_HASHED;
}

static ssize_t next_piece(void *arg, const void **data, struct err *e)
{
	return unpack_stream_next(((struct unpacker *)arg)->stream, data, e);
}

void unpack_note(int records, const char *text)
{
	struct unpack_record head = { .type = UNPACK_NOTE, .length = (uint32_t)strlen(text) };

	if (records >= 0 && !io_write_all(records, &head, sizeof(head)))
		(void)!io_write_all(records, text, head.length);
}

/* Tell the parent process that this directory hides the layers below. */
static int report_opaque(void *arg, const char *path, struct err *e)
{
	const struct unpacker *u = arg;
	struct unpack_record head = { .type = UNPACK_OPAQUE, .length = (uint32_t)strlen(path) };

	if (u->records < 0)
		return 0;
	if (io_write_all(u->records, &head, sizeof(head)) || io_write_all(u->records, path, head.length))
		return err_set(e, ERR_SYSTEM, errno, "reporting an opaque directory");
	return 0;
}

static void hash_file(void *arg, const void *data, size_t n, uint64_t at)
{
	struct unpacker *u = arg;

	if (at == u->file.bytes)
		digest_add(&u->file, data, n);
}

/* Tell the parent process that a file of the archive is complete: it may be a layer, to be unpacked meanwhile. */
static int report_file(struct unpacker *u, const struct tar_entry *t, const char *path, struct err *e)
{
	struct {
		struct unpack_record head;
		struct unpack_file file;
		char path[TAR_NAME_MAX];
	} r = { .file.bytes = t->size };
	size_t n = strlen(path);

	if (u->records < 0 || t->size < LAYER_BYTES_MIN || u->file.bytes != t->size)
		return 0;
	digest_end(&u->file, r.file.digest);
	memcpy(r.path, path, n);
	r.head = (struct unpack_record){ .type = UNPACK_FILE, .length = (uint32_t)(sizeof(r.file) + n) };
	if (io_write_all(u->records, &r, offsetof(typeof(r), path) + n))
		return err_set(e, ERR_SYSTEM, errno, "reporting a file");
	return 0;
}

static int archive_object(struct unpacker *u, const struct tar_entry *t, const struct extract_place *at, struct err *e)
{
	digest_init(&u->file);
	if (extract_object(&u->extract, t, u->reader, at, e))
		return -1;
	return t->type == S_IFREG ? report_file(u, t, at->path, e) : 0;
}

/* .wh.NAME: hide NAME of the layers below. */
static int whiteout(struct unpacker *u, const struct extract_place *at, const char *name, struct err *e)
{
	struct stat st;

	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return err_set(e, ERR_INVALID, 0, "invalid whiteout");
	if (!mknodat(at->parent, name, S_IFCHR, makedev(0, 0)))
		return 0;
	if (errno != EEXIST || fstatat(at->parent, name, &st, AT_SYMLINK_NOFOLLOW))
		return err_set(e, ERR_SYSTEM, errno, "whiteout");
	if (!S_ISDIR(st.st_mode))
		return 0;
	/* The layer has a directory of that name itself: only what is below it must be hidden. */
	autofree char *path = xasprintf("%.*s%s", (int)(at->name - at->path), at->path, name);

	return report_opaque(u, path, e);
}

/* Whiteouts are a layer's language; in the archive that holds the layers they are names like any other. */
static int one_at(struct unpacker *u, const struct tar_entry *t, const struct extract_place *at, struct err *e)
{
	if (u->mode == UNPACK_ARCHIVE)
		return archive_object(u, t, at, e);
	if (!is_layer(u->mode) || !str_starts(at->name, WHITEOUT))
		return extract_object(&u->extract, t, u->reader, at, e);
	if (!strcmp(at->name, WHITEOUT_OPAQUE)) {
		size_t n = at->name == at->path ? 0 : (size_t)(at->name - at->path) - 1;
		autofree char *dir = xstrndup(at->path, n);

		return report_opaque(u, dir, e);
	}
	if (str_starts(at->name, WHITEOUT_META))
		return 0;
	return whiteout(u, at, at->name + strlen(WHITEOUT), e);
}

static int count_entry(struct unpacker *u, const struct tar_entry *t, struct err *e)
{
	if (++u->entries > u->limits.entries)
		return err_set(e, ERR_LIMIT, 0, "more than %llu entries", (unsigned long long)u->limits.entries);
	if (t->size > u->limits.bytes - u->file_bytes)
		return err_set(e, ERR_LIMIT, 0, "files of more than %llu bytes", (unsigned long long)u->limits.bytes);
	/* Docker's size of a layer has the targets of symlinks, too. */
	u->file_bytes += t->type == S_IFLNK && t->link ? strlen(t->link) : t->size;
	return 0;
}

static int one_entry(struct unpacker *u, const struct tar_entry *t, struct err *e)
{
	char path[TAR_NAME_MAX];
	struct extract_place at;

	path[0] = '\0';
	if (count_entry(u, t, e) || extract_clean_path(t->name, path, e))
		return -1;
	if (!path[0])
		return extract_root(&u->extract, t, e);
	if (extract_place(&u->extract, path, &at, e))
		return err_prefix(e, "%.200s", path);
	return one_at(u, t, &at, e) ? err_prefix(e, "%.200s", path) : 0;
}

/* The digest is of the whole stream: also of what follows the end mark, which may be compressed well. */
static int drain(struct unpacker *u, struct err *e)
{
	uint64_t bytes = 0;
	const void *data;
	ssize_t n;

	while ((n = unpack_stream_next(u->stream, &data, e)) > 0)
		if ((bytes += (uint64_t)n) > u->limits.bytes)
			return err_set(e, ERR_LIMIT, 0, "more than %llu bytes behind the end of the archive",
				       (unsigned long long)u->limits.bytes);
	return n < 0 ? -1 : 0;
}

static int all_entries(struct unpacker *u, struct err *e)
{
	const struct tar_entry *t;
	int rc;

	while ((rc = tar_next(u->reader, &t, e)) > 0)
		if (one_entry(u, t, e))
			return -1;
	return rc < 0 || extract_finish(&u->extract, e) || drain(u, e) ? -1 : 0;
}

int unpack_run(int in, int root, int records, enum unpack_mode mode, const struct unpack_limits *limits,
	       struct unpack_result *out, struct err *e)
{
	bool layer = is_layer(mode);
	struct unpacker u = { .records = records, .mode = mode, .limits = *limits };
	int rc;

	memset(out, 0, sizeof(*out));
	u.extract = (struct extract){ .root = root,
				      .base = "",
				      .plain = mode == UNPACK_ARCHIVE,
				      .has_owner = mode == UNPACK_CONTEXT,
				      .one_fs = true,
				      .is_image = layer,
				      .default_acl = fgetxattr(root, "system.posix_acl_default", NULL, 0) > 0,
				      .on_opaque = layer ? report_opaque : NULL,
				      .on_data = mode == UNPACK_ARCHIVE ? hash_file : NULL,
				      .arg = &u,
				      .parent = -1 };
	u.stream = unpack_stream_new(in, mode == UNPACK_LAYER);
	u.reader = tar_reader_new(next_piece, &u);
	rc = all_entries(&u, e);
	unpack_stream_digest(u.stream, out->diff_id, &out->tar_bytes);
	out->file_bytes = u.file_bytes;
	out->entries = u.entries;
	out->plain = unpack_stream_is_plain(u.stream);
	extract_fini(&u.extract);
	tar_reader_free(u.reader);
	unpack_stream_free(u.stream);
	return rc;
}
