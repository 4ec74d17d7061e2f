/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images and layers into the store, and out of it again. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "image/store.h"

/* chain(n) = sha256(chain(n-1) " " diff_id(n)). Source: OCI image-spec, config.md, "Layer ChainID". */
void layer_chain(const char *parent, const char *diff_id, char out[static DIGEST_MAX])
{
	autofree char *text = parent ? xasprintf("%s %s", parent, diff_id) : NULL;

	if (text)
		digest_of(text, strlen(text), out);
	else
		memcpy(out, diff_id, strlen(diff_id) + 1);
}

static int set_layers(struct image_new *n, const json_t *diff_ids, struct err *e)
{
	size_t i;
	json_t *v;

	n->n_layers = json_array_size(diff_ids);
	if (n->n_layers > IMAGE_LAYERS_MAX)
		return err_set(e, ERR_INVALID, 0, "max depth exceeded");
	n->layers = xcalloc(n->n_layers + 1, sizeof(*n->layers));
	for (i = 0; i < n->n_layers; i++)
		n->layers[i].blob_fd = -1;
	json_array_foreach(diff_ids, i, v) {
		struct layer *l = &n->layers[i];

		if (!digest_check(json_string_value(v)))
			return err_set(e, ERR_INVALID, 0, "image config: invalid diff id");
		memcpy(l->diff_id, json_string_value(v), 7 + DIGEST_HEX + 1);
		layer_chain(i ? l[-1].chain : NULL, l->diff_id, l->chain);
	}
	return 0;
}

/* What later code relies on: objects are objects and lists are lists. */
static int check_config(const json_t *config, struct err *e)
{
	static const struct {
		const char *key;
		bool list;
	} lists[] = { { "Env", true },     { "Cmd", true },      { "Entrypoint", true },
		      { "Labels", false }, { "Volumes", false }, { "ExposedPorts", false } };
	static const char *const texts[] = { "architecture", "os", "created", "author", "variant", "os.version" };
	const char *os = NULL, *text;
	json_t *inner, *value;

	if (!json_is_object(config))
		return err_set(e, ERR_INVALID, 0, "image config: not an object");
	for (size_t i = 0; i < array_len(texts); i++)
		if (json_get_str(config, texts[i], NULL, &text, e))
			return err_prefix(e, "image config");
	if (json_get_object(config, "config", &inner, e) || json_get_array(config, "history", &value, e) ||
	    json_get_str(config, "os", "linux", &os, e))
		return err_prefix(e, "image config");
	for (size_t i = 0; i < array_len(lists); i++)
		if (lists[i].list ? json_get_strings(inner, lists[i].key, &value, e)
				  : json_get_object(inner, lists[i].key, &value, e))
			return err_prefix(e, "image config");
	if (*os && strcmp(os, "linux") != 0 && strcmp(os, "windows") != 0)
		return err_set(e, ERR_INVALID, 0, "cannot load %.40s image on linux", os);
	return 0;
}

int image_new_config(struct image_new *n, char *text, size_t bytes, struct err *e)
{
	json_t *rootfs, *diff_ids;

	n->config_text = text;
	digest_of(text, bytes, n->id);
	n->config = json_parse(text, bytes, "image config", e);
	if (!n->config || check_config(n->config, e))
		return -1;
	if (json_get_object(n->config, "rootfs", &rootfs, e) || json_get_strings(rootfs, "diff_ids", &diff_ids, e))
		return err_prefix(e, "image config");
	return set_layers(n, diff_ids, e);
}

void image_new_fini(struct image_new *n)
{
	for (size_t i = 0; n->layers && i < n->n_layers; i++)
		close_fd(&n->layers[i].blob_fd);
	free(n->layers);
	free(n->config_text);
	json_decref(n->config);
	n->config = NULL;
}

/* Move one unpacked layer and its blob to their places. Called with the commit lock. */
static int place_layer(struct work *w, struct layer *l, struct err *e)
{
	struct image_store *s = w->store;
	const char *to = digest_hex(l->chain);

	/* A file of that name has that content. */
	if (linkat(l->blob_fd, "", s->blobs, digest_hex(l->blob), AT_EMPTY_PATH) && errno != EEXIST)
		return err_set(e, ERR_SYSTEM, errno, "blob %s", l->blob);
	l->placed = true;
	if (!renameat(w->fd, l->dir, s->layers, to))
		return 0;
	/* A leftover that couldn't be removed: it goes to where work_close() tries again. */
	if ((errno == EEXIST || errno == ENOTEMPTY) && !renameat2(w->fd, l->dir, s->layers, to, RENAME_EXCHANGE))
		return 0;
	return err_set(e, ERR_SYSTEM, errno, "layer %s", l->chain);
}

static int record_layer(struct work *w, struct image_new *n, size_t i, struct err *e)
{
	struct db *db = w->store->db;
	struct layer *l = &n->layers[i];

	if (!layer_known(w->store, l->chain)) {
		if (!l->dir[0])
			return err_set(e, ERR_CONFLICT, 0, "layer %s has been removed meanwhile", l->chain);
		if (db_exec(db, e, "INSERT INTO image_layers VALUES(?, ?, ?, ?, ?)", "sssii", l->chain, l->diff_id,
			    l->blob, (int64_t)l->blob_bytes, (int64_t)l->file_bytes) ||
		    sync_pending(w->store, l->chain, SYNC_LAYER, e) || place_layer(w, l, e))
			return -1;
	}
	return db_exec(db, e, "INSERT OR IGNORE INTO image_uses VALUES(?, ?, ?)", "sis", n->id, (int64_t)i, l->chain);
}

static int record_manifest(struct db *db, const struct image_new *n, struct err *e)
{
	char digest[DIGEST_MAX];

	if (!n->manifest)
		return 0;
	digest_of(n->manifest, strlen(n->manifest), digest);
	return db_exec(db, e, "INSERT OR REPLACE INTO image_manifests VALUES(?, ?, ?, ?)", "ssss", digest, n->id,
		       n->manifest_type, n->manifest);
}

static int record_image(struct work *w, struct image_new *n, const json_t *names, struct err *e)
{
	struct db *db = w->store->db;
	char now_text[TIME_TEXT_MAX];
	struct timespec now = time_now();
	size_t i;
	json_t *name;

	time_format(&now, now_text);
	if (db_exec(db, e,
		    "INSERT INTO images VALUES(?, ?, 0, ?, 0) ON CONFLICT(id) DO UPDATE SET hidden = 0,"
		    " tagged_at = excluded.tagged_at",
		    "sss", n->id, n->config_text, now_text))
		return -1;
	for (i = 0; i < n->n_layers; i++)
		if (record_layer(w, n, i, e))
			return -1;
	json_array_foreach(names, i, name)
		if (db_exec(db, e, "INSERT OR REPLACE INTO image_refs VALUES(?, ?)", "ss", json_string_value(name),
			    n->id))
			return -1;
	if (record_manifest(db, n, e))
		return -1;
	if (n->parent && db_exec(db, e, "INSERT OR REPLACE INTO image_parents VALUES(?, ?)", "ss", n->id, n->parent))
		return -1;
	return db_exec(db, e,
		       "UPDATE images SET size = (SELECT COALESCE(SUM(file_bytes), 0) FROM image_uses JOIN image_layers"
		       " USING(chain) WHERE image = images.id) WHERE id = ?",
		       "s", n->id);
}

static void unplace(struct work *w, struct image_new *n)
{
	struct image_store *s = w->store;

	for (size_t i = n->n_layers; i-- > 0;) {
		struct layer *l = &n->layers[i];

		if (!l->placed)
			continue;
		renameat(s->layers, digest_hex(l->chain), w->fd, l->dir);
		autojson *rows = db_rows(s->db, NULL, "SELECT 1 FROM image_layers WHERE blob = ?", "s", l->blob);

		if (rows && !json_array_size(rows))
			unlinkat(s->blobs, digest_hex(l->blob), 0);
		l->placed = false;
	}
}

int image_commit(struct work *w, struct image_new *n, const json_t *names, struct err *e)
{
	struct image_store *s = w->store;
	int rc;

	pthread_mutex_lock(&s->commit);
	rc = db_begin(s->db, true, e);
	if (!rc) {
		rc = record_image(w, n, names, e);
		if (rc)
			db_end(s->db, false, NULL);
		else
			rc = db_end(s->db, true, e);
	}
	if (rc)
		unplace(w, n);
	pthread_mutex_unlock(&s->commit);
	if (!rc)
		sync_wake(s);
	return rc ? -1 : 0;
}

/* Images that were removed by force under a container that has gone meanwhile. */
static int drop_hidden(struct image_store *s, struct err *e)
{
	autojson *rows = db_rows(s->db, e, "SELECT id FROM images WHERE hidden", "");
	size_t i;
	json_t *row;

	if (!rows)
		return -1;
	json_array_foreach(rows, i, row) {
		const char *id = json_str(row, "id", "");
		autojson *users = s->o.users ? s->o.users(s->o.users_arg, id) : NULL;

		if (!json_array_size(users) && db_exec(s->db, e, "DELETE FROM images WHERE id = ? AND hidden", "s", id))
			return -1;
	}
	return 0;
}

/* Take unused layers out of the database. *blobs: those that nothing names any more. Called with the commit lock. */
static int forget_unused(struct image_store *s, json_t **layers, struct err *e)
{
	if (db_begin(s->db, true, e))
		return -1;
	/* A layer is inserted after its parent: the newest row is the topmost. */
	*layers = db_rows(s->db, e,
			  "SELECT chain, blob, blob_bytes, file_bytes FROM image_layers WHERE " IMAGE_LAYER_UNUSED
			  " ORDER BY rowid DESC",
			  "");
	if (*layers && !db_exec(s->db, e, "DELETE FROM image_layers WHERE " IMAGE_LAYER_UNUSED, ""))
		return db_end(s->db, true, e);
	db_end(s->db, false, NULL);
	return -1;
}

static void discard_layer(struct work *w, const json_t *row)
{
	struct image_store *s = w->store;
	const char *chain = json_str(row, "chain", ""), *blob = json_str(row, "blob", "");
	autojson *others = db_rows(s->db, NULL, "SELECT 1 FROM image_layers WHERE blob = ?", "s", blob);

	if (renameat(s->layers, digest_hex(chain), w->fd, digest_hex(chain)))
		log_warn("layer %s: %s", chain, strerror(errno));
	if (others && !json_array_size(others) && unlinkat(s->blobs, digest_hex(blob), 0))
		log_warn("blob %s: %s", blob, strerror(errno));
}

int image_collect(struct image_store *s, json_t *removed, int64_t *bytes, struct err *e)
{
	autowork w = { 0 };
	autojson *layers = NULL;
	size_t i;
	json_t *row;
	int rc;

	if (drop_hidden(s, e) || work_open(s, "trash", &w, e))
		return -1;
	pthread_mutex_lock(&s->commit);
	rc = forget_unused(s, &layers, e);
	if (!rc)
		json_array_foreach(layers, i, row)
			discard_layer(&w, row);
	pthread_mutex_unlock(&s->commit);
	if (rc)
		return -1;
	json_array_foreach(layers, i, row) {
		if (removed)
			json_array_append(removed, json_object_get(row, "chain"));
		if (bytes)
			*bytes += json_int(row, "blob_bytes", 0) + json_int(row, "file_bytes", 0);
	}
	return 0;
}
