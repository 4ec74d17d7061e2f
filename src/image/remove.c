/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * docker tag, rmi, image prune. The rules and texts are Docker's: a name is only taken away, the image goes with its
 * last name; what a container uses needs force, and what a running container uses stays.
 */
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "image/filter.h"
#include "image/query.h"
#include "image/reference.h"
#include "image/store.h"

#define SHORT_ID 12

/* The containers of an image: the first one of all, and the first that runs. */
struct users {
	json_t *list; /* strings, or objects {"id", "running"} */
	const char *first, *running;
};

static void users_get(struct image_store *s, const char *id, struct users *u)
{
	size_t i;
	json_t *v;

	*u = (struct users){ .list = s->o.users ? s->o.users(s->o.users_arg, id) : NULL };
	json_array_foreach(u->list, i, v) {
		const char *name = json_is_string(v) ? json_string_value(v) : json_str(v, "id", "");

		if (!u->first)
			u->first = name;
		if (!u->running && json_is_object(v) && json_bool(v, "running", false))
			u->running = name;
	}
}

int image_tag(struct image_store *s, const char *source, const char *repo, const char *tag, struct err *e)
{
	autoreference r = { 0 };
	autojson *row = image_row(s, source, e);
	const char *id;

	if (!row || reference_parse(repo, &r, e))
		return -1;
	if (r.digest)
		return err_set(e, ERR_INVALID, 0, "refusing to create a tag with a digest reference");
	if (tag && *tag) {
		if (!reference_tag_valid(tag))
			return err_set(e, ERR_INVALID, 0, "invalid tag format");
		reference_set_tag(&r, tag);
	}
	reference_default_tag(&r);
	if (!strcmp(reference_familiar(r.name), "sha256"))
		return err_set(e, ERR_INVALID, 0, "refusing to create an ambiguous tag using digest algorithm as name");
	autofree char *name = reference_text(&r, false);

	id = json_str(row, "id", "");
	if (db_begin(s->db, true, e))
		return -1;
	if (db_exec(s->db, e, "INSERT OR REPLACE INTO image_refs VALUES(?, ?)", "ss", name, id))
		return db_end(s->db, false, NULL), -1;
	if (db_end(s->db, true, e))
		return -1;
	image_notify(s, "tag", id, reference_familiar(name));
	return 0;
}

/* An id was given, not a name that happens to look like one. */
static bool is_id_prefix(const char *id, const char *ref)
{
	return str_starts(id, ref) || str_starts(digest_hex(id), ref);
}

/* The repository of a normalised name: without tag and digest. */
static size_t repo_length(const char *name)
{
	const char *slash = strrchr(name, '/'), *from = slash ? slash : name;

	return (size_t)(from - name) + strcspn(from, ":@");
}

static bool same_repo(const char *a, const char *b)
{
	size_t n = repo_length(a);

	return n == repo_length(b) && !strncmp(a, b, n);
}

/* At most one tag, and digests only of its repository: removing that is removing the image. */
static bool is_single_reference(const json_t *names)
{
	const char *first = json_string_value(json_array_get(names, 0));
	size_t i, tags = 0;
	json_t *v;

	json_array_foreach(names, i, v) {
		tags += !strchr(json_string_value(v), '@');
		if (tags > 1 || !same_repo(first, json_string_value(v)))
			return false;
	}
	return true;
}

static int conflict(struct err *e, const char *id, bool hard, const char *why, const char *container)
{
	return err_set(e, ERR_CONFLICT, 0, "conflict: unable to delete %.*s (%s) - %s%.*s", SHORT_ID, digest_hex(id),
		       hard ? "cannot be forced" : "must be forced", why, container ? SHORT_ID : 0,
		       container ? container : "");
}

/* May the image go? names: those it still has. */
static int check_removal(struct image_store *s, const struct users *u, const char *id, const json_t *names, bool force,
			 bool names_matter, struct err *e)
{
	if (image_has_children(s, id))
		return conflict(e, id, true, "image has dependent child images", NULL);
	if (u->running)
		return conflict(e, id, true, "image is being used by running container ", u->running);
	if (force)
		return 0;
	if (names_matter && json_array_size(names))
		return conflict(e, id, false, "image is referenced in multiple repositories", NULL);
	if (u->first)
		return conflict(e, id, false, "image is being used by stopped container ", u->first);
	return 0;
}

static int untag(struct image_store *s, const char *id, const char *name, json_t *out, struct err *e)
{
	if (db_exec(s->db, e, "DELETE FROM image_refs WHERE name = ? AND image = ?", "ss", name, id))
		return -1;
	json_array_append_new(out, json_pack("{s:s}", "Untagged", reference_familiar(name)));
	return 0;
}

static int untag_all(struct image_store *s, const char *id, const json_t *names, json_t *out, struct err *e)
{
	size_t i;
	json_t *v;

	json_array_foreach(names, i, v)
		if (untag(s, id, json_string_value(v), out, e))
			return -1;
	return 0;
}

/* Without its names the image goes; where a container still needs its layers it only becomes invisible. */
static int drop_image(struct image_store *s, const char *id, bool used, json_t *out, struct err *e)
{
	if (db_exec(s->db, e, used ? "UPDATE images SET hidden = 1 WHERE id = ?" : "DELETE FROM images WHERE id = ?",
		    "s", id))
		return -1;
	json_array_append_new(out, json_pack("{s:s}", "Deleted", id));
	return 0;
}

/* A name was given: take it away, with the digests of its repository when no tag of that is left. */
static int remove_name(struct image_store *s, const char *id, const char *name, json_t *out, struct err *e)
{
	autojson *left = NULL;
	bool tagged = false;
	size_t i;
	json_t *v;

	if (untag(s, id, name, out, e))
		return -1;
	left = image_names(s, id, e);
	if (!left)
		return -1;
	json_array_foreach(left, i, v)
		tagged |= same_repo(name, json_string_value(v)) && !strchr(json_string_value(v), '@');
	if (tagged || strchr(name, '@'))
		return 0;
	json_array_foreach(left, i, v)
		if (same_repo(name, json_string_value(v)) && untag(s, id, json_string_value(v), out, e))
			return -1;
	return 0;
}

struct removal {
	const char *id;
	const char *name; /* normalised, or NULL: an id was given */
	bool force;
	bool noprune; /* images that were only a step on the way to this one stay */
	struct users users;
	bool deleted;
};

/* Inside the transaction. */
static int remove_locked(struct image_store *s, struct removal *r, json_t *out, struct err *e)
{
	autojson *names = image_names(s, r->id, e);
	autojson *left = NULL;

	if (!names)
		return -1;
	if (r->name) {
		if (!r->force && is_single_reference(names) && r->users.first)
			return err_set(
				e, ERR_CONFLICT, 0,
				"conflict: unable to remove repository reference \"%.255s\" (must force) - container"
				" %.*s is using its referenced image %.*s",
				reference_familiar(r->name), SHORT_ID, r->users.first, SHORT_ID, digest_hex(r->id));
		if (remove_name(s, r->id, r->name, out, e))
			return -1;
		left = image_names(s, r->id, e);
		if (!left || json_array_size(left))
			return left ? 0 : -1;
		/* The name is gone in any case; without force a used image was refused above. */
		if (r->users.running || image_has_children(s, r->id))
			return 0;
	} else {
		bool single = is_single_reference(names);

		if (check_removal(s, &r->users, r->id, names, r->force, !single, e) ||
		    untag_all(s, r->id, names, out, e))
			return -1;
	}
	r->deleted = true;
	return drop_image(s, r->id, r->users.first, out, e);
}

/* The familiar name that stands for what the user wrote, in normalised form. */
static char *given_name(const char *ref, struct err *e)
{
	autoreference r = { 0 };

	if (reference_parse(ref, &r, e))
		return NULL;
	if (r.digest)
		reference_set_tag(&r, NULL);
	reference_default_tag(&r);
	return reference_text(&r, false);
}

static void notify_removed(struct image_store *s, const struct removal *r, const json_t *out)
{
	size_t i;
	json_t *v;

	json_array_foreach(out, i, v)
		if (*json_str(v, "Untagged", ""))
			image_notify(s, "untag", r->id, json_str(v, "Untagged", ""));
	if (r->deleted)
		image_notify(s, "delete", r->id, r->id);
}

static int remove_row(struct image_store *s, struct removal *r, json_t *out, struct err *e);

/* The image that this one was made from goes with it, where nothing else keeps it: no name, no container, no child. */
static void remove_parent(struct image_store *s, const char *parent, json_t *out)
{
	autojson *row = *parent ? image_row(s, parent, NULL) : NULL;
	autojson *names = row ? image_names(s, parent, NULL) : NULL;
	struct removal r = { .id = parent };
	autojson *removed = json_array();
	struct err kept = { 0 };

	if (row && names && !json_array_size(names) && !remove_row(s, &r, removed, &kept))
		json_array_extend(out, removed);
}

static int remove_row(struct image_store *s, struct removal *r, json_t *out, struct err *e)
{
	autojson *chains = json_array();
	autofree char *parent = image_parent(s, r->id);
	size_t i;
	json_t *v;
	int rc;

	users_get(s, r->id, &r->users);
	rc = db_begin(s->db, true, e);
	if (!rc) {
		rc = remove_locked(s, r, out, e);
		if (rc)
			db_end(s->db, false, NULL);
		else
			rc = db_end(s->db, true, e);
	}
	json_decref(r->users.list);
	if (rc)
		return -1;
	if (r->deleted && image_collect(s, chains, NULL, e))
		return -1;
	json_array_foreach(chains, i, v)
		json_array_append_new(out, json_pack("{s:O}", "Deleted", v));
	notify_removed(s, r, out);
	if (r->deleted && !r->noprune)
		remove_parent(s, parent, out);
	return 0;
}

json_t *image_remove(struct image_store *s, const char *ref, bool force, bool noprune, struct err *e)
{
	autojson *row = image_row(s, ref, e);
	autojson *out = json_array();
	autofree char *name = NULL;
	struct removal r = { .force = force, .noprune = noprune };

	if (!row)
		return NULL;
	r.id = json_str(row, "id", "");
	if (!is_id_prefix(r.id, ref)) {
		name = given_name(ref, e);
		if (!name)
			return NULL;
		r.name = name;
	}
	return remove_row(s, &r, out, e) ? NULL : json_incref(out);
}

/* Docker's default: only images without a name; dangling=false: all that no container uses. */
static bool prunable(struct image_store *s, const json_t *row, const json_t *filters, bool dangling,
		     struct timespec until)
{
	autojson *config = row_config(row), *names = image_names(s, json_str(row, "id", ""), NULL);
	autojson *labels = filter_values(filters, "label"), *not_labels = filter_values(filters, "label!");
	struct timespec t = config_created(config);
	struct users u;

	if (!names || (dangling && json_array_size(names)) || image_has_children(s, json_str(row, "id", "")) ||
	    !filter_labels(labels, config_labels(config)))
		return false;
	if (json_array_size(not_labels) && filter_labels(not_labels, config_labels(config)))
		return false;
	if (until.tv_sec && t.tv_sec >= until.tv_sec)
		return false;
	users_get(s, json_str(row, "id", ""), &u);
	json_decref(u.list);
	return !u.first;
}

static int prune_rows(struct image_store *s, const json_t *filters, bool dangling, struct timespec until, json_t *out,
		      struct err *e)
{
	autojson *rows = db_rows(s->db, e, "SELECT id, config FROM images WHERE NOT hidden", "");
	size_t i;
	json_t *row;

	if (!rows)
		return -1;
	json_array_foreach(rows, i, row) {
		struct removal r = { .id = json_str(row, "id", "") };
		struct err skip = { 0 };
		autojson *removed = json_array();

		/* Used since we looked: it stays. Several names go together: by id, one "multiple repositories" apart. */
		r.force = true;
		if (prunable(s, row, filters, dangling, until) && !remove_row(s, &r, removed, &skip))
			json_array_extend(out, removed);
	}
	return 0;
}

/* As Docker counts: the files, not what else is kept of a layer. */
static int64_t stored_bytes(struct image_store *s)
{
	autojson *rows = db_rows(s->db, NULL, "SELECT COALESCE(SUM(file_bytes), 0) AS n FROM image_layers", "");

	return json_int(json_array_get(rows, 0), "n", 0);
}

json_t *image_prune(struct image_store *s, const json_t *filters, struct err *e)
{
	static const char *const keys[] = { "dangling", "label", "label!", "until" };
	autojson *times = filter_values(filters, "until"), *out = json_array();
	struct timespec until = { 0 };
	bool dangling = true;
	int64_t before = stored_bytes(s);

	if (filter_check(filters, keys, array_len(keys), e) || filter_bool(filters, "dangling", &dangling, e))
		return NULL;
	if (json_array_size(times) && filter_time(json_string_value(json_array_get(times, 0)), time_now(), &until, e))
		return NULL;
	if (prune_rows(s, filters, dangling, until, out, e) || image_collect(s, NULL, NULL, e))
		return NULL;
	return json_pack("{s:O, s:I}", "ImagesDeleted", out, "SpaceReclaimed", (json_int_t)(before - stored_bytes(s)));
}
