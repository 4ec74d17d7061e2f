/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From what the user wrote to an image. */
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "image/reference.h"
#include "image/store.h"

#define ROW "SELECT id, config, size, tagged_at FROM images "

/* The first of the rows that the query gives, or NULL: none (e untouched) or *e. unique: two rows are none. */
static json_t *one_row(struct image_store *s, const char *sql, const char *arg, bool unique, struct err *e)
{
	autojson *rows = db_rows(s->db, e, sql, "s", arg);

	if (!rows || !json_array_size(rows) || (unique && json_array_size(rows) > 1))
		return NULL;
	return json_incref(json_array_get(rows, 0));
}

/* Where a reference carries both tag and digest, the digest decides. */
static json_t *row_by_name(struct image_store *s, struct reference *r, struct err *e)
{
	if (r->digest)
		reference_set_tag(r, NULL);
	reference_default_tag(r);
	autofree char *name = reference_text(r, false);

	return one_row(s, ROW "JOIN image_refs ON image = id WHERE name = ?", name, true, e);
}

static json_t *row_by_prefix(struct image_store *s, const char *ref, struct err *e)
{
	const char *hex = str_starts(ref, "sha256:") ? digest_hex(ref) : ref;
	size_t n = strlen(hex);
	autofree char *pattern = xasprintf("sha256:%s*", hex);

	if (!n || n > DIGEST_HEX || !str_is_hex(hex, n))
		return NULL;
	return one_row(s, ROW "WHERE NOT hidden AND id GLOB ? LIMIT 2", pattern, true, e);
}

static int no_such_image(const char *name, struct err *e)
{
	return err_set(e, ERR_NOT_FOUND, 0, "No such image: %.400s", name);
}

json_t *image_row(struct image_store *s, const char *ref, struct err *e)
{
	bool full_id = digest_check(ref) || (strlen(ref) == DIGEST_HEX && str_is_hex(ref, DIGEST_HEX));
	autoreference r = { 0 };
	json_t *row = NULL;
	struct err own;

	e = e ? e : &own;
	*e = (struct err){ 0 };
	if (!full_id) {
		if (reference_parse(ref, &r, e))
			return NULL;
		row = row_by_name(s, &r, e);
	}
	if (!row && e->kind == ERR_NONE)
		row = row_by_prefix(s, ref, e);
	if (!row && e->kind == ERR_NONE) {
		autofree char *name = full_id ? xstrdup(ref) : reference_text(&r, true);

		no_such_image(name, e);
	}
	return row;
}

int image_resolve(struct image_store *s, const char *ref, char id[static IMAGE_ID_MAX], struct err *e)
{
	autojson *row = image_row(s, ref, e);

	if (!row)
		return -1;
	snprintf(id, IMAGE_ID_MAX, "%s", json_str(row, "id", ""));
	return 0;
}

/* By full id, hidden images too: a container still has its image after `rmi -f`. */
json_t *image_config(struct image_store *s, const char *id, struct err *e)
{
	autojson *rows = db_rows(s->db, e, "SELECT config FROM images WHERE id = ?", "s", id);
	const char *text;

	if (!rows)
		return NULL;
	if (!json_array_size(rows)) {
		no_such_image(id, e);
		return NULL;
	}
	text = json_str(json_array_get(rows, 0), "config", "");
	return json_parse(text, strlen(text), "image config", e);
}

json_t *image_names(struct image_store *s, const char *id, struct err *e)
{
	autojson *rows = db_rows(
		s->db, e, "SELECT name FROM image_refs WHERE image = ? ORDER BY instr(name, '@') > 0, name", "s", id);
	json_t *names, *row;
	size_t i;

	if (!rows)
		return NULL;
	names = json_array();
	json_array_foreach(rows, i, row)
		json_array_append(names, json_object_get(row, "name"));
	return names;
}

json_t *image_layers(struct image_store *s, const char *id, struct err *e)
{
	return db_rows(
		s->db, e,
		"SELECT chain, diff_id, blob, blob_bytes, file_bytes FROM image_uses JOIN image_layers USING(chain)"
		" WHERE image = ? ORDER BY position",
		"s", id);
}

json_t *image_layer_dirs(struct image_store *s, const char *id, struct err *e)
{
	autojson *config = image_config(s, id, e);
	autojson *layers = config ? image_layers(s, id, e) : NULL;
	json_t *dirs;

	if (!layers)
		return NULL;
	dirs = json_array();
	for (size_t i = json_array_size(layers); i-- > 0;) {
		const char *chain = json_str(json_array_get(layers, i), "chain", "");

		json_array_append_new(dirs, json_sprintf("%s/layers/%s/diff", s->o.root, digest_hex(chain)));
	}
	return dirs;
}

bool image_has_children(struct image_store *s, const char *id)
{
	autojson *rows = db_rows(s->db, NULL, "SELECT 1 WHERE " IMAGE_HAS_CHILDREN("?"), "s", id);

	return json_array_size(rows) > 0;
}

char *image_parent(struct image_store *s, const char *id)
{
	autojson *rows = db_rows(s->db, NULL, "SELECT parent FROM image_parents WHERE image = ?", "s", id);

	return xstrdup(json_str(json_array_get(rows, 0), "parent", ""));
}
