/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "image/make.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "image/reference.h"

#define COPY_BYTES (1 * MIB)
#define RESERVE_BYTES (256 * MIB)

const char *architecture_name(void)
{
	static const char *const names[][2] = { { "x86_64", "amd64" },
						{ "aarch64", "arm64" },
						{ "riscv64", "riscv64" } };
	struct utsname u;

	for (size_t i = 0; !uname(&u) && i < array_len(names); i++)
		if (!strcmp(u.machine, names[i][0]))
			return names[i][1];
	return "amd64";
}

static bool has_space(int dir)
{
	struct statvfs vfs;

	return fstatvfs(dir, &vfs) || (uint64_t)vfs.f_bavail * vfs.f_frsize > RESERVE_BYTES;
}

int make_spool_from(struct work *w, image_source_fn *source, void *arg, struct err *e)
{
	autoclose int out = openat(w->fd, "spool", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	autofree char *buf = xmalloc(COPY_BYTES);
	ssize_t n;

	if (out < 0)
		return err_set(e, ERR_SYSTEM, errno, "work directory");
	while ((n = source(arg, buf, COPY_BYTES, e)) > 0) {
		if (!has_space(w->fd))
			return err_set(e, ERR_SYSTEM, ENOSPC, "storing the archive");
		if (io_write_all(out, buf, (size_t)n))
			return err_set(e, ERR_SYSTEM, errno, "storing the archive");
	}
	if (n < 0)
		return -1;
	if (lseek(out, 0, SEEK_SET))
		return err_set(e, ERR_SYSTEM, errno, "storing the archive");
	return take_fd(&out);
}

static ssize_t read_fd(void *arg, void *data, size_t n, struct err *e)
{
	ssize_t got;

	do
		got = read(*(int *)arg, data, n);
	while (got < 0 && errno == EINTR);
	return got < 0 ? err_set(e, ERR_SYSTEM, errno, "reading the archive") : got;
}

int make_spool(struct work *w, int fd, struct err *e)
{
	return make_spool_from(w, read_fd, &fd, e);
}

/* One word is an architecture, or an operating system; more are both and a variant. */
static void set_platform(json_t *doc, const char *platform)
{
	autofree char *text = xstrdup(platform);
	char *rest = text, *first = strsep(&rest, "/"), *second = strsep(&rest, "/");
	bool is_os = second || !strcmp(first, "linux") || !strcmp(first, "windows");

	if (is_os)
		json_object_set_new(doc, "os", json_string(first));
	if (!is_os || second)
		json_object_set_new(doc, "architecture", json_string(is_os ? second : first));
	if (rest && *rest)
		json_object_set_new(doc, "variant", json_string(rest));
}

/* The document whose digest is the image's id: sorted keys, so that the same input gives the same id. */
static char *config_text(const struct make *m, const char *diff_id)
{
	autojson *step = json_pack("{s:s}", "created", m->created);
	autojson *doc = NULL;

	if (m->created_by)
		json_object_set_new(step, "created_by", json_string(m->created_by));
	if (m->comment)
		json_object_set_new(step, "comment", json_string(m->comment));
	doc = json_pack("{s:s, s:s, s:s, s:O, s:[O], s:{s:s, s:[s]}}", "architecture", architecture_name(), "os",
			"linux", "created", m->created, "config", m->config, "history", step, "rootfs", "type",
			"layers", "diff_ids", diff_id);
	if (doc && m->platform)
		set_platform(doc, m->platform);
	return doc ? json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
}

int make_image(struct work *w, int tar, const struct make *m, char id[static IMAGE_ID_MAX], struct err *e)
{
	struct layer layer = { .blob_fd = -1 };
	autoimage n = { 0 };
	autojson *names = json_array();
	char *text;

	if (layer_unpack(w, tar, NULL, "", &layer, e))
		return -1;
	autoclose int blob = layer.blob_fd >= 0 ? layer.blob_fd : fcntl(tar, F_DUPFD_CLOEXEC, 3);

	text = config_text(m, layer.diff_id);
	if (!text)
		return err_set(e, ERR_INVALID, 0, "the image's config is not UTF-8");
	if (image_new_config(&n, text, strlen(text), e))
		return -1;
	/* The chain of a single layer is its diff id, which image_new_config() took from the text. */
	memcpy(layer.chain, n.layers[0].chain, sizeof(layer.chain));
	n.layers[0] = layer;
	n.layers[0].blob_fd = take_fd(&blob);
	if (m->name)
		json_array_append_new(names, json_string(m->name));
	if (image_commit(w, &n, names, e))
		return -1;
	snprintf(id, IMAGE_ID_MAX, "%s", n.id);
	if (m->action)
		image_notify(w->store, m->action, n.id, m->name ? reference_familiar(m->name) : n.id);
	return 0;
}

static char *import_name(const char *ref, struct err *e)
{
	autoreference r = { 0 };

	if (reference_parse(ref, &r, e))
		return NULL;
	if (r.digest) {
		err_set(e, ERR_INVALID, 0, "cannot import digest reference");
		return NULL;
	}
	reference_default_tag(&r);
	return reference_text(&r, false);
}

int image_import(struct image_store *s, int fd, const char *ref, const json_t *changes, const char *message,
		 const char *platform, char id[static IMAGE_ID_MAX], struct err *e)
{
	autofree char *name = NULL;
	autojson *config = json_object();
	char created[TIME_TEXT_MAX];
	struct timespec now = time_now();
	struct make m = { .config = config, .created = created, .platform = platform, .action = "import" };
	autowork w = { 0 };

	m.comment = message && *message ? message : "Imported from -";
	time_format(&now, created);
	if (ref && *ref) {
		name = import_name(ref, e);
		if (!name)
			return -1;
		m.name = name;
	}
	if (changes_apply(changes, config, e) || work_open(s, "import", &w, e))
		return -1;
	autoclose int tar = make_spool(&w, fd, e);

	return tar < 0 ? -1 : make_image(&w, tar, &m, id, e);
}
