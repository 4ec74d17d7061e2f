/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/images.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "image/add.h"
#include "windows/base.h"

#define CREATED "2025-01-21T00:00:00Z" /* when Wine 10.0 was */
#define LAYERS_MAX 2

/* Names of the archives that make the image, lowest first. */
struct recipe {
	char layers[LAYERS_MAX][64];
	size_t n;
};

static void make_recipe(const struct windows_name *name, struct recipe *out)
{
	const char *size = name->nano ? "nanoserver" : "servercore";

	out->n = 1;
	snprintf(out->layers[0], sizeof(out->layers[0]), "%s", size);
	if (name->version->build != WINDOWS_DEFAULT_BUILD)
		snprintf(out->layers[out->n++], sizeof(out->layers[1]), "%s-%u", size, name->version->build);
}

/* What an image of these layers says of them. */
static int describe_layers(const struct recipe *r, const json_t *stamp, json_t *ids, json_t *history, struct err *e)
{
	for (size_t i = 0; i < r->n; i++) {
		const char *diff_id = json_str(json_object_get(stamp, "layers"), r->layers[i], NULL);

		if (!diff_id)
			return err_set(e, ERR_NOT_FOUND, 0, "the Windows base has no %s", r->layers[i]);
		json_array_append_new(ids, json_string(diff_id));
		json_array_append_new(history,
				      json_pack("{s:s, s:s, s:s}", "created", CREATED, "created_by",
						i ? "silo: version of Windows" : "silo: Wine of the distribution",
						"comment", WINDOWS_COMMENT));
	}
	return 0;
}

static char *config_text(const struct windows_name *name, const struct recipe *r, const json_t *stamp, struct err *e)
{
	json_t *ids = json_array(), *history = json_array();
	autojson *doc = json_pack(
		"{s:s, s:s, s:o, s:[s], s:s, s:s, s:{s:[s], s:s, s:s}, s:o, s:{s:s, s:o}}", "architecture", "amd64",
		"os", "windows", "os.version", json_sprintf("10.0.%u.%d", name->version->build, WINDOWS_REVISION),
		"os.features", WINDOWS_FORM_FEATURE, "created", CREATED, "author", "Silo", "config", "Cmd",
		"c:\\windows\\system32\\cmd.exe", "User", name->nano ? "ContainerUser" : "ContainerAdministrator",
		"WorkingDir", "", "history", history, "rootfs", "type", "layers", "diff_ids", ids);

	return describe_layers(r, stamp, ids, history, e) ? NULL : json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS);
}

static json_t *read_stamp(const char *base_dir, const char *lib_dir, struct err *e)
{
	autofree char *path = xasprintf("%s/" WINDOWS_BASE_STAMP, base_dir);

	if (windows_base_ready(base_dir, lib_dir))
		return json_parse_file(AT_FDCWD, path, MIB, e);
	err_set(e, ERR_NOT_FOUND, 0, "the Windows base hasn't been made: silo windows-base build");
	return NULL;
}

json_t *windows_image_base(const char *base_dir, const char *lib_dir, const struct windows_name *name, struct err *e)
{
	autojson *stamp = read_stamp(base_dir, lib_dir, e);
	autojson *ids = json_array(), *history = json_array(), *archives = json_array();
	struct recipe r;

	make_recipe(name, &r);
	if (!stamp || describe_layers(&r, stamp, ids, history, e))
		return NULL;
	for (size_t i = 0; i < r.n; i++)
		json_array_append_new(archives, json_sprintf("%s/%s.tar.gz", base_dir, r.layers[i]));
	return json_pack("{s:O, s:O, s:O, s:o}", "diff_ids", ids, "archives", archives, "history", history, "comment",
			 json_sprintf(WINDOWS_COMMENT " (version 10.0.%u.%d)", name->version->build, WINDOWS_REVISION));
}

/* The store links blobs: they have to be files of its own file system. */
static int copy_in(const char *path, int dir, const char *name, struct err *e)
{
	autoclose int in = open(path, O_RDONLY | O_CLOEXEC);
	autoclose int out = in < 0 ? -1 : openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct stat st;
	off_t at = 0;

	if (out < 0 || fstat(in, &st))
		return err_set(e, ERR_SYSTEM, errno, "%s", path);
	while (at < st.st_size)
		if (sendfile(out, in, &at, (size_t)(st.st_size - at)) <= 0)
			return err_set(e, ERR_SYSTEM, errno, "copy %s", path);
	return lseek(out, 0, SEEK_SET) ? err_set(e, ERR_SYSTEM, errno, "%s", path) : take_fd(&out);
}

static int add_layers(struct image_add *a, const char *base_dir, const struct recipe *r, struct err *e)
{
	for (size_t i = 0; i < r->n; i++) {
		autofree char *path = xasprintf("%s/%s.tar.gz", base_dir, r->layers[i]);

		if (!image_add_wants(a, i))
			continue;
		autoclose int fd = copy_in(path, image_add_dir(a), r->layers[i], e);

		if (fd < 0 || image_add_layer(a, i, fd, NULL, "", e))
			return -1;
	}
	return 0;
}

int windows_image_add(struct image_store *s, const char *base_dir, const char *lib_dir, const struct windows_name *name,
		      char id[static IMAGE_ID_MAX], struct err *e)
{
	autojson *names = json_pack("[s]", name->reference);
	struct recipe recipe;
	struct image_add *a;
	size_t n;
	int rc = -1;

	autojson *stamp = read_stamp(base_dir, lib_dir, e);

	make_recipe(name, &recipe);
	autofree char *text = stamp ? config_text(name, &recipe, stamp, e) : NULL;

	n = text ? strlen(text) : 0;
	a = text ? image_add_new(s, "windows", e) : NULL;
	if (a && !image_add_config(a, take_ptr(&text), n, e) && !add_layers(a, base_dir, &recipe, e) &&
	    !image_add_finish(a, names, NULL, NULL, e)) {
		snprintf(id, IMAGE_ID_MAX, "%s", image_add_id(a));
		rc = 0;
	}
	image_add_free(a);
	return rc;
}
