/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"
#include "base/str.h"
#include "base/tar.h"
#include "os/extract.h"
#include "os/root.h"
#include "windows/layer_out.h"
#include "windows/layer_registry.h"
#include "windows/layout.h"
#include "windows/names_tree.h"

#define WHITEOUT ".wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define DRIVE_C "wine/drive_c" /* WINDOWS_DRIVE_C in a tar */
#define COPY_BYTES (256 * KIB)
#define ATTRIBUTE_READONLY 1u
#define ATTRIBUTES_KEPT 6u /* hidden, system */

/* What isn't kept, counted, and told once at the end. */
enum note {
	NOTE_STREAM,
	NOTE_DESCRIPTOR,
	NOTE_MOUNT,
	NOTE_LINK,
	NOTE_XATTR,
	NOTE_HIVE,
	NOTE_KEY_LINK,
	NOTE_PROFILE,
	NOTES
};

static const char *const note_texts[NOTES] = {
	[NOTE_STREAM] = "alternate data streams were left out: Wine has none",
	[NOTE_DESCRIPTOR] = "security descriptors were left out: Wine has no access checks",
	[NOTE_MOUNT] = "mount points that lead out of drive C: were left out",
	[NOTE_LINK] = "hard links to files of Microsoft's base were left out",
	[NOTE_XATTR] = "extended attributes of NTFS were left out",
	[NOTE_HIVE] = "files in Hives/ that are no known hive were left out",
	[NOTE_KEY_LINK] = "symbolic links of the registry were left out",
	[NOTE_PROFILE] = "registries of users couldn't be read",
};

struct convert {
	int below, records;
	struct unpack_limits limits;
	uint64_t entries, bytes;
	struct unpack_stream *stream;
	struct tar_reader *reader;
	struct names_tree *names;
	struct layer_out *out;
	struct layer_registry *registry;
	size_t notes[NOTES];
	char examples[NOTES][128];
};

static void note(struct convert *c, enum note what, const char *name)
{
	size_t n = strlen(name), max = sizeof(c->examples[what]) - 1;

	if (c->notes[what]++)
		return;
	/* Cut between characters. */
	for (n = n < max ? n : max; n && name[n] && ((unsigned char)name[n] & 0xc0) == 0x80;)
		n--;
	snprintf(c->examples[what], sizeof(c->examples[what]), "%.*s", (int)n, name);
}

static int count_bytes(struct convert *c, uint64_t n, struct err *e)
{
	if (n > c->limits.bytes - c->bytes)
		return err_set(e, ERR_LIMIT, 0, "files of more than %llu bytes", (unsigned long long)c->limits.bytes);
	c->bytes += n;
	return 0;
}

/* --- what an entry says ------------------------------------------------------------------------------------------------- */

static const struct tar_xattr *record_of(const struct tar_entry *t, const char *name)
{
	for (size_t i = 0; i < t->n_xattrs; i++)
		if (!strcmp(t->xattrs[i].name, name))
			return &t->xattrs[i];
	return NULL;
}

static unsigned attributes_of(const struct tar_entry *t)
{
	const struct tar_xattr *x = record_of(t, "MSWINDOWS.fileattr");
	autofree char *text = x ? xstrndup(x->value, x->n) : NULL;

	return text ? (unsigned)strtoul(text, NULL, 10) : 0;
}

static void note_records(struct convert *c, const struct tar_entry *t)
{
	for (size_t i = 0; i < t->n_xattrs; i++) {
		const char *name = t->xattrs[i].name;

		if (!strcmp(name, "MSWINDOWS.rawsd") || !strcmp(name, "MSWINDOWS.sd"))
			note(c, NOTE_DESCRIPTOR, t->name);
		else if (str_starts(name, "MSWINDOWS.xattr."))
			note(c, NOTE_XATTR, t->name);
	}
}

/* As Wine keeps them: "read only" is the mode, hidden and system are an extended attribute in Samba's form. */
static int emit_with(struct convert *c, const struct tar_entry *t, const char *path, mode_t type, const char *link,
		     uint64_t size, struct err *e)
{
	unsigned attributes = attributes_of(t);
	char text[16];
	struct tar_xattr dos = { .name = (char *)(uintptr_t) "user.DOSATTRIB", .value = text };
	const struct tar_entry made = { .name = (char *)(uintptr_t)path,
					.link = (char *)(uintptr_t)link,
					.type = type,
					.mode = type != S_IFDIR && attributes & ATTRIBUTE_READONLY ? 0555 : 0755,
					.size = size,
					.mtime = t->mtime,
					.xattrs = &dos,
					.n_xattrs = type != S_IFLNK && type && attributes & ATTRIBUTES_KEPT };

	dos.n = (size_t)snprintf(text, sizeof(text), "0x%x", attributes & ATTRIBUTES_KEPT);
	return layer_out_entry(c->out, &made, e);
}

/* --- places ------------------------------------------------------------------------------------------------------------- */

static int check_component(const char *name, const char *part, struct err *e)
{
	if (strchr(part, '\\') || strchr(part, ':'))
		return err_set(e, ERR_INVALID, 0, "\"%.200s\" is no path of Windows", name);
	return 0;
}

/* The directory of a path below Files/, in the form that the files below have; *last receives the rest. */
static int walk(struct convert *c, char *path, struct name **dir, char **last, bool make, struct err *e)
{
	char *slash;

	*dir = names_root(c->names);
	for (; *dir && (slash = strchr(path, '/')); path = slash + 1) {
		*slash = '\0';
		if (check_component(path, path, e))
			return -1;
		if (make) {
			*dir = names_get(c->names, *dir, path, e);
			if (!*dir)
				return -1;
			names_set_own(*dir, true);
		} else if (names_find(c->names, *dir, path, dir, e)) {
			return -1;
		}
	}
	*last = path;
	return 0;
}

/* What a path below Files/ means, if there is such a thing. */
static int find_path(struct convert *c, const char *path, struct name **out, struct err *e)
{
	autofree char *copy = xstrdup(path);
	struct name *dir;
	char *last;

	*out = NULL;
	if (walk(c, copy, &dir, &last, false, e))
		return -1;
	return dir ? names_find(c->names, dir, last, out, e) : 0;
}

/* --- links -------------------------------------------------------------------------------------------------------------- */

static int copy_data(struct convert *c, int fd, uint64_t left, struct err *e)
{
	autofree char *buf = xmalloc(COPY_BYTES);

	while (left) {
		ssize_t n = read(fd, buf, left < COPY_BYTES ? (size_t)left : COPY_BYTES);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(e, ERR_SYSTEM, n ? errno : 0, "reading a file of a layer below");
		if (layer_out_data(c->out, buf, (size_t)n, e))
			return -1;
		left -= (uint64_t)n;
	}
	return 0;
}

/* A link to a file of a layer below: an inode can't be in two layers, so this one gets a copy. */
static int copy_from_below(struct convert *c, const struct tar_entry *t, const struct name *target, const char *path,
			   struct err *e)
{
	autofree char *from = names_path(target);
	autoclose int fd = c->below < 0 ? -1 : root_try_open(c->below, from, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0, 0);
	struct stat st;
	struct tar_entry as_file = *t;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return err_set(e, ERR_INVALID, 0, "hard link to \"%.200s\", which is no file", t->link);
	if (count_bytes(c, (uint64_t)st.st_size, e))
		return -1;
	as_file.mtime = st.st_mtime;
	if (emit_with(c, &as_file, path, S_IFREG, NULL, (uint64_t)st.st_size, e) ||
	    copy_data(c, fd, (uint64_t)st.st_size, e))
		return -1;
	return layer_out_padding(c->out, (uint64_t)st.st_size, e);
}

static int hard_link(struct convert *c, const struct tar_entry *t, struct name *self, const char *path, struct err *e)
{
	char clean[TAR_NAME_MAX];
	struct name *target = NULL;

	if (extract_clean_path(t->link, clean, e))
		return -1;
	if (strncasecmp(clean, "Files/", 6) != 0)
		return err_set(e, ERR_INVALID, 0, "hard link to \"%.200s\", which is outside of Files/", t->link);
	if (find_path(c, clean + 6, &target, e))
		return -1;
	if (target == self)
		return err_set(e, ERR_INVALID, 0, "hard link to itself");
	/* Silo's base doesn't have all that Microsoft's has. */
	if (!target) {
		note(c, NOTE_LINK, t->name);
		return 0;
	}
	names_set_own(self, true);
	if (!names_is_own(target))
		return copy_from_below(c, t, target, path, e);
	autofree char *to = names_path(target);

	return emit_with(c, t, path, 0, to, 0, e);
}

/* Slashes instead of backslashes, without the drive; NULL: not on drive C:, or no path at all. */
static char *path_on_c(const char *text)
{
	bool device = str_starts(text, "\\??\\") || str_starts(text, "\\\\?\\");
	bool drive, rooted;

	text += device ? 4 : 0;
	drive = *text && text[1] == ':';
	if ((drive && (text[0] | 32) != 'c') || (device && !drive))
		return NULL;
	autofree char *out = xstrdup(text + (drive ? 2 : 0));

	for (char *p = out; *p; p++)
		if (*p == '\\')
			*p = '/';
	rooted = *out == '/';
	/* "C:x" and "\\server\share" */
	return !*out || (drive && !rooted) || (rooted && out[1] == '/') || strchr(out, ':') ? NULL : take_ptr(&out);
}

/* The target of a link at path as Linux has it, with the names that are there; NULL: it leads out of drive C:. */
static char *link_target(struct convert *c, const char *text, const char *path)
{
	autofree char *on_c = path_on_c(text);
	struct name *target = NULL;
	autofree char *clean = NULL;

	if (!on_c)
		return NULL;
	if (*on_c != '/') {
		autofree char *whole = xasprintf("%.*s/%s", (int)(strrchr(path, '/') - path), path, on_c);

		clean = path_clean(whole + strlen(DRIVE_C));
	} else {
		clean = path_clean(on_c);
	}
	if (clean[1] && !find_path(c, clean + 1, &target, &(struct err){ 0 }) && target) {
		autofree char *found = names_path(target);

		return xasprintf("/%s", found);
	}
	return xasprintf(WINDOWS_DRIVE_C "%s", clean[1] ? clean : "");
}

static int symbolic_link(struct convert *c, const struct tar_entry *t, const char *path, struct err *e)
{
	autofree char *target = link_target(c, t->link ? t->link : "", path);

	if (!target) {
		note(c, NOTE_MOUNT, t->name);
		return 0;
	}
	return emit_with(c, t, path, S_IFLNK, target, 0, e);
}

/* --- files -------------------------------------------------------------------------------------------------------------- */

/* The content of the reader's entry; holes are written out. */
static int file_data(struct convert *c, const struct tar_entry *t, struct err *e)
{
	uint64_t at, done = 0;
	const void *data;
	ssize_t n;

	while ((n = tar_data(c->reader, &data, &at, e)) > 0) {
		if (layer_out_zeros(c->out, at - done, e) || layer_out_data(c->out, data, (size_t)n, e))
			return -1;
		done = at + (uint64_t)n;
	}
	if (n < 0 || layer_out_zeros(c->out, t->size - done, e))
		return -1;
	return layer_out_padding(c->out, t->size, e);
}

/* These are Wine's: Windows' own take their place only in a layer of Microsoft's base. */
static int check_system_file(const char *path, struct err *e)
{
	static const char *const own[] = { "ntdll.dll", "kernel32.dll", "kernelbase.dll", "ntoskrnl.exe" };
	static const char directory[] = "windows/system32/";

	for (size_t i = 0; !strncasecmp(path, directory, strlen(directory)) && i < array_len(own); i++)
		if (!strcasecmp(path + strlen(directory), own[i]))
			return err_set(
				e, ERR_INVALID, 0,
				"it brings a %s of its own: a layer of Microsoft's base that isn't marked as one",
				own[i]);
	return 0;
}

/* The registry of the container's user: a file like any other, and HKEY_CURRENT_USER. */
static int profile(struct convert *c, const struct tar_entry *t, const char *path, struct err *e)
{
	autofree uint8_t *data = layer_registry_read(t, c->reader, e);
	struct err why = { 0 };

	if (!data || emit_with(c, t, path, S_IFREG, NULL, t->size, e) ||
	    layer_out_data(c->out, data, (size_t)t->size, e) || layer_out_padding(c->out, t->size, e))
		return -1;
	/* It may have been in use when the layer was made. */
	if (layer_registry_profile(c->registry, data, (size_t)t->size, &c->notes[NOTE_KEY_LINK], &why)) {
		if (why.kind != ERR_INVALID)
			return *e = why, -1;
		note(c, NOTE_PROFILE, t->name);
	}
	return 0;
}

static bool is_profile(const struct tar_entry *t, const char *path)
{
	static const char *const files[] = { DRIVE_C "/users/containeradministrator/ntuser.dat",
					     DRIVE_C "/users/containeruser/ntuser.dat" };

	for (size_t i = 0; t->size <= HIVE_BYTES_MAX && i < array_len(files); i++)
		if (!strcasecmp(files[i], path))
			return true;
	return false;
}

static int object(struct convert *c, const struct tar_entry *t, struct name *self, struct err *e)
{
	autofree char *path = names_path(self);

	if (t->type == 0)
		return hard_link(c, t, self, path, e);
	names_set_own(self, true);
	switch (t->type) {
	case S_IFDIR:
		return emit_with(c, t, path, S_IFDIR, NULL, 0, e);
	case S_IFREG:
		if (is_profile(t, path))
			return profile(c, t, path, e);
		return emit_with(c, t, path, S_IFREG, NULL, t->size, e) || file_data(c, t, e) ? -1 : 0;
	case S_IFLNK:
		return symbolic_link(c, t, path, e);
	default:
		return err_set(e, ERR_INVALID, 0, "no file, directory or link: nothing that Windows has");
	}
}

static int whiteout(struct convert *c, const struct tar_entry *t, struct name *dir, const char *last, struct err *e)
{
	const char *hidden = last + strlen(WHITEOUT);
	struct name *n = NULL;
	autofree char *in = names_path(dir);

	if (!strcmp(last, WHITEOUT_OPAQUE)) {
		autofree char *opaque = xasprintf("%s/" WHITEOUT_OPAQUE, in);

		return emit_with(c, t, opaque, S_IFREG, NULL, 0, e);
	}
	if (!*hidden || !strcmp(hidden, ".") || !strcmp(hidden, ".."))
		return err_set(e, ERR_INVALID, 0, "invalid whiteout");
	if (names_find(c->names, dir, hidden, &n, e))
		return -1;
	/* What Silo's base doesn't have needs no hiding. */
	if (!n)
		return 0;
	autofree char *path = names_path(n);
	autofree char *mark = xasprintf("%s/" WHITEOUT "%s", in, strrchr(path, '/') + 1);

	return emit_with(c, t, mark, S_IFREG, NULL, 0, e);
}

static int in_files(struct convert *c, const struct tar_entry *t, char *path, struct err *e)
{
	struct name *dir, *self;
	char *last, *colon;

	if (check_system_file(path, e))
		return -1;
	note_records(c, t);
	if (walk(c, path, &dir, &last, true, e))
		return -1;
	if (str_starts(last, WHITEOUT))
		return whiteout(c, t, dir, last, e);
	colon = strchr(last, ':');
	if (colon && colon != last && t->type == S_IFREG) {
		note(c, NOTE_STREAM, t->name);
		return 0;
	}
	if (check_component(t->name, last, e))
		return -1;
	self = names_get(c->names, dir, last, e);
	return self ? object(c, t, self, e) : -1;
}

/* --- the layer ---------------------------------------------------------------------------------------------------------- */

static int in_hives(struct convert *c, const struct tar_entry *t, const char *name, struct err *e)
{
	int rc;

	if (t->type != S_IFREG)
		return 0;
	rc = layer_registry_add(c->registry, name, t, c->reader, &c->notes[NOTE_KEY_LINK], e);
	if (rc == 0)
		note(c, NOTE_HIVE, t->name);
	return rc < 0 ? -1 : 0;
}

/* The top of the layer, and what is below: Windows doesn't look at the case here either. */
static int one_entry(struct convert *c, const struct tar_entry *t, struct err *e)
{
	char path[TAR_NAME_MAX];
	char *rest;

	if (++c->entries > c->limits.entries)
		return err_set(e, ERR_LIMIT, 0, "more than %llu entries", (unsigned long long)c->limits.entries);
	if (count_bytes(c, t->size, e) || extract_clean_path(t->name, path, e))
		return -1;
	rest = strchr(path, '/');
	if (rest)
		*rest++ = '\0';
	if (!*path || (!rest && t->type == S_IFDIR && !strcasecmp(path, "Files")))
		return 0;
	if (rest && !strcasecmp(path, "Files"))
		return in_files(c, t, rest, e);
	if (!strcasecmp(path, "Hives"))
		return rest ? in_hives(c, t, rest, e) : 0;
	if (!strcasecmp(path, "UtilityVM"))
		return 0;
	return err_set(e, ERR_INVALID, 0, "outside of Files/, Hives/ and UtilityVM/: no layer of a Windows image");
}

static ssize_t next_piece(void *arg, const void **data, struct err *e)
{
	return unpack_stream_next(((struct convert *)arg)->stream, data, e);
}

static int all_entries(struct convert *c, struct err *e)
{
	const struct tar_entry *t;
	const void *data;
	ssize_t n;
	int rc;

	while ((rc = tar_next(c->reader, &t, e)) > 0)
		if (one_entry(c, t, e))
			return err_prefix(e, "%.200s", t->name);
	if (rc < 0 || layer_registry_finish(c->registry, c->out, e) || layer_out_finish(c->out, e))
		return -1;
	/* The digest is of the whole stream. */
	while ((n = unpack_stream_next(c->stream, &data, e)) > 0)
		;
	return n < 0 ? -1 : 0;
}

static void tell_notes(struct convert *c)
{
	for (size_t i = 0; i < NOTES; i++) {
		autofree char *text = NULL;

		if (!c->notes[i])
			continue;
		text = *c->examples[i] ? xasprintf("%zu %s (%s)", c->notes[i], note_texts[i], c->examples[i])
				       : xasprintf("%zu %s", c->notes[i], note_texts[i]);
		unpack_note(c->records, text);
	}
}

int windows_layer_convert(int in, int root, int below, int records, const struct unpack_limits *limits,
			  struct unpack_result *out, struct err *e)
{
	struct convert c = { .below = below, .records = records, .limits = *limits };
	int rc = -1;

	memset(out, 0, sizeof(*out));
	c.stream = unpack_stream_new(in, true);
	c.reader = tar_reader_new(next_piece, &c);
	c.names = names_tree_new(below, DRIVE_C);
	c.registry = layer_registry_new(below);
	c.out = layer_out_new(root, UNPACK_CONVERTED, e);
	if (c.out)
		rc = all_entries(&c, e);
	if (!rc)
		tell_notes(&c);
	unpack_stream_digest(c.stream, out->diff_id, &out->tar_bytes);
	out->file_bytes = c.bytes;
	out->entries = c.entries;
	out->plain = unpack_stream_is_plain(c.stream);
	layer_out_free(c.out);
	layer_registry_free(c.registry);
	names_tree_free(c.names);
	tar_reader_free(c.reader);
	unpack_stream_free(c.stream);
	return rc;
}
