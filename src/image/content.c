/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The exact bytes of an image: config, manifests, blobs. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/own.h"
#include "image/add.h"
#include "image/compression.h"
#include "image/store.h"

#define LAYER_TYPE "application/vnd.oci.image.layer.v1.tar"

int image_blob_open(struct image_store *s, const char *digest, struct err *e)
{
	int fd = digest_check(digest) ? openat(s->blobs, digest_hex(digest), O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;

	if (fd >= 0)
		return fd;
	return err_set(e, ERR_NOT_FOUND, digest_check(digest) ? errno : 0, "blob %.100s", digest);
}

/* By the first bytes: the name under which a blob came isn't kept. */
static const char *blob_type(int fd)
{
	static const char *const types[] = {
		[COMPRESSION_GZIP] = LAYER_TYPE "+gzip", [COMPRESSION_ZSTD] = LAYER_TYPE "+zstd"
	};
	enum compression c = compression_of_file(fd);

	return c < array_len(types) && types[c] ? types[c] : LAYER_TYPE;
}

json_t *image_content_layers(struct image_store *s, const char *id, struct err *e)
{
	autojson *rows = image_layers(s, id, e);
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row) {
		autoclose int fd = image_blob_open(s, json_str(row, "blob", ""), e);

		if (fd < 0)
			return NULL;
		json_object_set_new(row, "media_type", json_string(blob_type(fd)));
	}
	return json_incref(rows);
}

char *image_content_config(struct image_store *s, const char *id, struct err *e)
{
	autojson *rows = db_rows(s->db, e, "SELECT config FROM images WHERE id = ?", "s", id);

	if (rows && json_array_size(rows))
		return xstrdup(json_str(json_array_get(rows, 0), "config", ""));
	if (rows)
		err_set(e, ERR_NOT_FOUND, 0, "No such image: %.100s", id);
	return NULL;
}

static bool has_blobs(struct image_store *s, const char *manifest)
{
	autojson *document = json_parse(manifest, strlen(manifest), "manifest", NULL);
	const json_t *layers = json_object_get(document, "layers"), *layer;
	size_t i;

	json_array_foreach(layers, i, layer) {
		const char *digest = json_str(layer, "digest", "");

		if (!digest_check(digest) || faccessat(s->blobs, digest_hex(digest), F_OK, 0))
			return false;
	}
	return document;
}

json_t *image_manifests(struct image_store *s, const char *id, struct err *e)
{
	json_t *rows = db_rows(
		s->db, e, "SELECT digest, media_type, text FROM image_manifests WHERE image = ? ORDER BY rowid DESC",
		"s", id);
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row)
		json_object_set_new(row, "complete", json_boolean(has_blobs(s, json_str(row, "text", ""))));
	return rows;
}

json_t *image_layer_names(struct image_store *s, const char *diff_id, struct err *e)
{
	autojson *rows = db_rows(s->db, e,
				 "SELECT DISTINCT name FROM image_refs JOIN image_uses USING(image)"
				 " JOIN image_layers USING(chain) WHERE diff_id = ? AND instr(name, '@') > 0",
				 "s", diff_id);
	json_t *names = rows ? json_array() : NULL, *row;
	size_t i;

	json_array_foreach(rows, i, row)
		json_array_append(names, json_object_get(row, "name"));
	return names;
}
