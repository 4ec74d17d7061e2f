/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a tar stream to a directory. libarchive only reads: its disk writer calls chdir() and umask(), keeps whiteouts
 * as files and follows its own rules. Runs inside the helper, after unpack_jail().
 */
#include "image/unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/str.h"
#include "image/unpack_entry.h"

#define WHITEOUT ".wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define WHITEOUT_META ".wh..wh." /* aufs' own bookkeeping: nothing of the image */

/* Append one component of a name to out. */
static int add_component(const char *name, const char *part, size_t n, char *out, size_t *len, struct err *e)
{
	if (n == 2 && part[0] == '.' && part[1] == '.')
		return err_set(e, ERR_INVALID, 0, "\"%.200s\" is outside of the archive", name);
	if (*len + n + 2 > UNPACK_PATH_MAX)
		return err_set(e, ERR_INVALID, ENAMETOOLONG, "\"%.200s...\"", name);
	if (*len)
		out[(*len)++] = '/';
	memcpy(out + *len, part, n);
	*len += n;
	return 0;
}

int unpack_clean_path(const char *name, char out[static UNPACK_PATH_MAX], struct err *e)
{
	size_t len = 0;

	if (!name || !*name)
		return err_set(e, ERR_INVALID, 0, "an entry of the archive has no usable name");
	for (const char *p = name; *p;) {
		size_t n = strcspn(p, "/");

		if (n && !(n == 1 && *p == '.') && add_component(name, p, n, out, &len, e))
			return -1;
		p += n + (p[n] == '/');
	}
	out[len] = '\0';
	return 0;
}

static la_ssize_t read_stream(struct archive *a, void *arg, const void **data)
{
	struct unpacker *u = arg;
	ssize_t n = unpack_stream_next(u->stream, data, u->stream_err);

	if (n < 0)
		archive_set_error(a, EIO, "stream");
	u->got_data |= n > 0;
	return n;
}

/* The stream's own error is the cause; libarchive's text is what followed from it. */
static int archive_failed(struct unpacker *u, struct err *e)
{
	const char *text = archive_error_string(u->archive);

	if (u->stream_err->kind != ERR_NONE) {
		*e = *u->stream_err;
		return -1;
	}
	if (text && strstr(text, "runcated"))
		return err_set(e, ERR_INVALID, 0, "unexpected EOF");
	return err_set(e, ERR_INVALID, 0, "archive/tar: %s", text ? text : "invalid tar header");
}

static int open_archive(struct unpacker *u, struct err *e)
{
	u->archive = archive_read_new();
	if (!u->archive || archive_read_support_format_tar(u->archive) != ARCHIVE_OK)
		return err_set(e, ERR_SYSTEM, ENOMEM, "libarchive");
	if (archive_read_open(u->archive, u, NULL, read_stream, NULL) == ARCHIVE_OK)
		return 0;
	/* No bytes at all are an empty archive; libarchive sees no format in them. */
	u->empty = !u->got_data && u->stream_err->kind == ERR_NONE;
	return u->empty ? 0 : archive_failed(u, e);
}

/* Whiteouts are a layer's language; in the archive that holds the layers they are names like any other. */
static int one_at(struct unpacker *u, struct archive_entry *entry, const struct unpack_place *at, struct err *e)
{
	if (u->mode != UNPACK_LAYER || !str_starts(at->base, WHITEOUT))
		return unpack_object(u, entry, at, e);
	if (!strcmp(at->base, WHITEOUT_OPAQUE)) {
		size_t n = at->base == at->path ? 0 : (size_t)(at->base - at->path) - 1;
		autofree char *dir = xstrndup(at->path, n);

		return unpack_report_opaque(u, dir, e);
	}
	if (str_starts(at->base, WHITEOUT_META))
		return 0;
	return unpack_whiteout(u, at, at->base + strlen(WHITEOUT), e);
}

static int count_entry(struct unpacker *u, struct archive_entry *entry, struct err *e)
{
	int64_t size = archive_entry_size(entry);

	if (++u->entries > u->limits.entries)
		return err_set(e, ERR_LIMIT, 0, "more than %llu entries", (unsigned long long)u->limits.entries);
	if (archive_entry_hardlink(entry) || archive_entry_filetype(entry) != AE_IFREG)
		return 0;
	if (size < 0 || (uint64_t)size > u->limits.bytes - u->file_bytes)
		return err_set(e, ERR_LIMIT, 0, "files of more than %llu bytes", (unsigned long long)u->limits.bytes);
	u->file_bytes += (uint64_t)size;
	return 0;
}

static int one_entry(struct unpacker *u, struct archive_entry *entry, struct err *e)
{
	char path[UNPACK_PATH_MAX];
	struct unpack_place at;

	path[0] = '\0';
	if (count_entry(u, entry, e) || unpack_clean_path(archive_entry_pathname(entry), path, e))
		return -1;
	if (!path[0])
		return unpack_root_meta(u, entry, e);
	if (unpack_place(u, path, &at, e))
		return err_prefix(e, "%.200s", path);
	return one_at(u, entry, &at, e) ? err_prefix(e, "%.200s", path) : 0;
}

/* The digest is of the whole stream: also of what follows the end mark. */
static int drain(struct unpacker *u, struct err *e)
{
	const void *data;
	ssize_t n;

	while ((n = unpack_stream_next(u->stream, &data, e)) > 0)
		;
	return n < 0 ? -1 : 0;
}

static int all_entries(struct unpacker *u, struct err *e)
{
	struct archive_entry *entry;
	int rc;

	if (open_archive(u, e))
		return -1;
	while (!u->empty && (rc = archive_read_next_header(u->archive, &entry)) != ARCHIVE_EOF) {
		if (rc < ARCHIVE_WARN)
			return archive_failed(u, e);
		if (one_entry(u, entry, e))
			return -1;
	}
	return unpack_dir_times(u, e) || drain(u, e) ? -1 : 0;
}

static void unpacker_fini(struct unpacker *u)
{
	for (size_t i = 0; i < u->n_dirs; i++)
		free(u->dirs[i].path);
	free(u->dirs);
	unpack_forget_parent(u);
	archive_read_free(u->archive);
	unpack_stream_free(u->stream);
}

int unpack_run(int in, int root, int records, enum unpack_mode mode, const struct unpack_limits *limits,
	       struct unpack_result *out, struct err *e)
{
	struct err stream_err = { 0 };
	struct unpacker u = { .root = root,
			      .records = records,
			      .mode = mode,
			      .limits = *limits,
			      .parent = -1,
			      .stream_err = &stream_err };
	int rc;

	memset(out, 0, sizeof(*out));
	u.stream = unpack_stream_new(in);
	rc = all_entries(&u, e);
	unpack_stream_digest(u.stream, out->diff_id, &out->tar_bytes);
	out->file_bytes = u.file_bytes;
	out->entries = u.entries;
	unpacker_fini(&u);
	return rc;
}
