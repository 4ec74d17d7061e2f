/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the Engine API tells about images. */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "image/filter.h"
#include "image/query.h"
#include "image/reference.h"
#include "image/store.h"

#define NO_TIME "0001-01-01T00:00:00Z"

json_t *row_config(const json_t *row)
{
	const char *text = json_str(row, "config", "{}");
	json_t *config = json_parse(text, strlen(text), "image config", NULL);

	return config ? config : json_object();
}

struct timespec config_created(const json_t *config)
{
	struct timespec t = { 0 };

	if (time_parse(json_str(config, "created", ""), &t))
		t = (struct timespec){ 0 };
	return t;
}

const json_t *config_labels(const json_t *config)
{
	return json_member(json_member(config, "config"), "Labels");
}

/* Split normalised names into familiar RepoTags and RepoDigests. */
static void split_names(const json_t *names, json_t *tags, json_t *digests)
{
	size_t i;
	json_t *v;

	json_array_foreach(names, i, v) {
		const char *name = json_string_value(v);

		json_array_append_new(strchr(name, '@') ? digests : tags, json_string(reference_familiar(name)));
	}
}

struct list_filter {
	json_t *labels, *references;
	bool has_dangling, dangling;
	struct timespec before, since, until; /* tv_sec 0 = not given */
};

static void list_filter_fini(struct list_filter *f)
{
	json_decref(f->labels);
	json_decref(f->references);
}

/* before=IMAGE, since=IMAGE: an image's time of creation. */
static int image_time(struct image_store *s, const json_t *filters, const char *key, struct timespec *out,
		      struct err *e)
{
	autojson *list = filter_values(filters, key);
	const char *ref = json_string_value(json_array_get(list, 0));

	if (!ref)
		return 0;
	autojson *row = image_row(s, ref, e);
	autojson *config = row ? row_config(row) : NULL;

	if (config)
		*out = config_created(config);
	return row ? 0 : -1;
}

/* What Go's path.Match calls a bad pattern: a class that doesn't end, or is empty, or a backslash at the end. */
static bool is_bad_pattern(const char *p)
{
	for (; *p; p++) {
		if (*p == '\\' && !*++p)
			return true;
		if (*p != '[')
			continue;
		p += p[1] == '^';
		if (p[1] == ']')
			return true;
		for (p++; *p != ']'; p++)
			if (!*p || (*p == '\\' && !*++p))
				return true;
	}
	return false;
}

static int check_patterns(const json_t *patterns, struct err *e)
{
	size_t i;
	json_t *v;

	json_array_foreach(patterns, i, v)
		if (is_bad_pattern(json_string_value(v)))
			return err_set(e, ERR_INVALID, 0, "syntax error in pattern");
	return 0;
}

static int list_filter_parse(struct image_store *s, const json_t *filters, struct list_filter *f, struct err *e)
{
	static const char *const keys[] = { "dangling", "label", "reference", "before", "since", "until" };
	autojson *until = filter_values(filters, "until");

	f->labels = filter_values(filters, "label");
	f->references = filter_values(filters, "reference");
	f->has_dangling = json_object_get(filters, "dangling");
	if (filter_check(filters, keys, array_len(keys), e) || filter_bool(filters, "dangling", &f->dangling, e) ||
	    check_patterns(f->references, e) || image_time(s, filters, "before", &f->before, e) ||
	    image_time(s, filters, "since", &f->since, e))
		return -1;
	return json_array_size(until)
		       ? filter_time(json_string_value(json_array_get(until, 0)), time_now(), &f->until, e)
		       : 0;
}

static bool is_before(struct timespec a, struct timespec b)
{
	return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

static bool times_match(const struct list_filter *f, struct timespec t)
{
	return (!f->before.tv_sec || is_before(t, f->before)) && (!f->since.tv_sec || is_before(f->since, t)) &&
	       (!f->until.tv_sec || is_before(t, f->until));
}

static bool name_matches(const char *familiar, const json_t *patterns)
{
	autofree char *name = xstrdup(familiar);
	char *at = strchr(name, '@'), *slash, *colon;
	size_t i;
	json_t *v;

	if (at)
		*at = '\0';
	slash = strrchr(name, '/');
	colon = strchr(slash ? slash : name, ':');
	if (colon)
		*colon = '\0';
	json_array_foreach(patterns, i, v) {
		const char *pattern = json_string_value(v);

		if (!fnmatch(pattern, familiar, FNM_PATHNAME) || !fnmatch(pattern, name, FNM_PATHNAME))
			return true;
	}
	return false;
}

static void keep_matching(json_t *names, const json_t *patterns)
{
	for (size_t i = json_array_size(names); i-- > 0;)
		if (!name_matches(json_string_value(json_array_get(names, i)), patterns))
			json_array_remove(names, i);
}

/* Clients of all ages understand the old form of "no name". */
static void none_if_empty(json_t *tags, json_t *digests)
{
	if (json_array_size(tags) || json_array_size(digests))
		return;
	json_array_append_new(tags, json_string("<none>:<none>"));
	json_array_append_new(digests, json_string("<none>@<none>"));
}

/* One element of the list, or NULL where a filter drops it. */
static json_t *list_entry(struct image_store *s, const json_t *row, const struct list_filter *f)
{
	autojson *config = row_config(row);
	autojson *names = image_names(s, json_str(row, "id", ""), NULL);
	autojson *tags = json_array(), *digests = json_array();
	const json_t *labels = config_labels(config);
	struct timespec created = config_created(config);
	json_int_t size = json_int(row, "size", 0);

	split_names(names, tags, digests);
	if (!times_match(f, created) || !filter_labels(f->labels, labels))
		return NULL;
	if (f->has_dangling && f->dangling != (json_array_size(tags) == 0 && json_array_size(digests) == 0))
		return NULL;
	if (json_array_size(f->references)) {
		keep_matching(tags, f->references);
		keep_matching(digests, f->references);
		if (!json_array_size(tags) && !json_array_size(digests))
			return NULL;
	}
	none_if_empty(tags, digests);
	return json_pack("{s:O, s:O, s:O, s:O, s:I, s:I, s:i, s:I, s:o, s:i}", "Id", json_object_get(row, "id"),
			 "ParentId", json_object_get(row, "parent"), "RepoTags", tags, "RepoDigests", digests,
			 "Created", (json_int_t)created.tv_sec, "Size", size, "SharedSize", -1, "VirtualSize", size,
			 "Labels", json_is_object(labels) ? json_copy((json_t *)(uintptr_t)labels) : json_object(),
			 "Containers", -1);
}

static int newest_first(const void *a, const void *b)
{
	int64_t x = json_int(*(json_t *const *)a, "Created", 0), y = json_int(*(json_t *const *)b, "Created", 0);

	return (x < y) - (x > y);
}

static json_t *sorted(json_t *list)
{
	size_t n = json_array_size(list);
	autofree json_t **items = xcalloc(n + 1, sizeof(*items));
	json_t *out = json_array();

	for (size_t i = 0; i < n; i++)
		items[i] = json_array_get(list, i);
	qsort(items, n, sizeof(*items), newest_first);
	for (size_t i = 0; i < n; i++)
		json_array_append(out, items[i]);
	json_decref(list);
	return out;
}

json_t *image_list(struct image_store *s, bool all, const json_t *filters, bool digests, struct err *e)
{
	struct list_filter f = { 0 };
	json_t *list = NULL, *row;
	size_t i;

	if (!list_filter_parse(s, filters, &f, e)) {
		/* Without `all` those that are only a step on the way to another image aren't shown. */
		autojson *rows = db_rows(s->db, e,
					 "SELECT id, config, size, COALESCE(i.parent, '') AS parent FROM images LEFT "
					 "JOIN image_parents i"
					 " ON i.image = images.id WHERE NOT hidden AND (? OR EXISTS (SELECT 1 FROM "
					 "image_refs r WHERE r.image = images.id)"
					 " OR NOT " IMAGE_HAS_CHILDREN("images.id") ") ORDER BY id",
					 "i", (int64_t)all);

		list = rows ? json_array() : NULL;
		json_array_foreach(rows, i, row) {
			json_t *entry = list_entry(s, row, &f);

			if (entry)
				json_array_append_new(list, entry);
		}
	}
	list_filter_fini(&f);
	return list ? sorted(list) : NULL;
}

/* Docker fills in every member of a container config. */
static json_t *full_config(const json_t *config)
{
	json_t *full =
		json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:b, s:b, s:b, s:n, s:n, s:s, s:n, s:s, s:n, s:n, s:n}",
			  "Hostname", "", "Domainname", "", "User", "", "AttachStdin", 0, "AttachStdout", 0,
			  "AttachStderr", 0, "Tty", 0, "OpenStdin", 0, "StdinOnce", 0, "Env", "Cmd", "Image", "",
			  "Volumes", "WorkingDir", "", "Entrypoint", "OnBuild", "Labels");
	json_t *given = json_member(config, "config");

	if (json_is_object(given))
		json_object_update(full, given);
	return full;
}

/* Docker's description of the overlay: links of the layer directories. */
static json_t *graph_driver(struct image_store *s, const json_t *layers)
{
	size_t n = json_array_size(layers);
	json_t *data = json_object();
	autostr lower;

	str_init(&lower, 64 * KIB);
	for (size_t i = n; i-- > 0;) {
		const char *dir = digest_hex(json_str(json_array_get(layers, i), "chain", ""));

		if (i + 1 == n)
			json_object_set_new(data, "UpperDir", json_sprintf("%s/layers/%s/diff", s->o.root, dir));
		else
			str_printf(&lower, "%s%s/layers/%s/diff", lower.len ? ":" : "", s->o.root, dir);
	}
	if (lower.len)
		json_object_set_new(data, "LowerDir", json_string(lower.s));
	return json_pack("{s:s, s:o}", "Name", "overlay2", "Data", data);
}

static json_t *root_fs(const json_t *layers)
{
	json_t *list = json_array(), *row;
	size_t i;

	json_array_foreach(layers, i, row)
		json_array_append(list, json_object_get(row, "diff_id"));
	return json_pack("{s:s, s:o}", "Type", "layers", "Layers", list);
}

/* The last comment of the history is the image's, as Docker's `import` and `commit` write it. */
static const char *comment_of(const json_t *config)
{
	json_t *history = json_member(config, "history");
	json_t *last = json_array_get(history, json_array_size(history) - 1);

	return json_str(config, "comment", json_str(last, "comment", ""));
}

json_t *image_inspect(struct image_store *s, const char *ref, struct err *e)
{
	autojson *row = image_row(s, ref, e);
	autojson *names = row ? image_names(s, json_str(row, "id", ""), e) : NULL;
	autojson *layers = names ? image_layers(s, json_str(row, "id", ""), e) : NULL;

	if (!layers)
		return NULL;
	autojson *config = row_config(row);
	autojson *tags = json_array(), *digests = json_array();
	autofree char *parent = image_parent(s, json_str(row, "id", ""));
	json_t *out;

	split_names(names, tags, digests);
	out = json_pack("{s:O, s:O, s:O, s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:s, s:O, s:O, s:o, s:o, s:{s:O}}", "Id",
			json_object_get(row, "id"), "RepoTags", tags, "RepoDigests", digests, "Parent", parent,
			"Comment", comment_of(config), "Created", json_str(config, "created", NO_TIME), "DockerVersion",
			json_str(config, "docker_version", ""), "Author", json_str(config, "author", ""), "Config",
			full_config(config), "Architecture", json_str(config, "architecture", ""), "Os",
			json_str(config, "os", "linux"), "Size", json_object_get(row, "size"), "VirtualSize",
			json_object_get(row, "size"), "GraphDriver", graph_driver(s, layers), "RootFS", root_fs(layers),
			"Metadata", "LastTagTime", json_object_get(row, "tagged_at"));
	if (*json_str(config, "variant", ""))
		json_object_set(out, "Variant", json_object_get(config, "variant"));
	if (*json_str(config, "os.version", ""))
		json_object_set(out, "OsVersion", json_object_get(config, "os.version"));
	return out;
}

/* Newest first. Only the newest line has the image's id and names: the others are "<missing>", as in Docker. */
json_t *image_history(struct image_store *s, const char *ref, struct err *e)
{
	autojson *row = image_row(s, ref, e);
	autojson *names = row ? image_names(s, json_str(row, "id", ""), e) : NULL;
	autojson *layers = names ? image_layers(s, json_str(row, "id", ""), e) : NULL;

	if (!layers)
		return NULL;
	autojson *config = row_config(row);
	autojson *tags = json_array(), *digests = json_array();
	json_t *steps = json_member(config, "history"), *out = json_array();
	size_t layer = 0;

	split_names(names, tags, digests);
	for (size_t i = 0; i < json_array_size(steps); i++) {
		const json_t *step = json_array_get(steps, i);
		struct timespec t = { 0 };
		int64_t size = 0;

		if (time_parse(json_str(step, "created", ""), &t))
			t.tv_sec = 0;
		if (!json_bool(step, "empty_layer", false))
			size = json_int(json_array_get(layers, layer++), "file_bytes", 0);
		json_array_insert_new(out, 0,
				      json_pack("{s:s, s:I, s:s, s:n, s:I, s:s}", "Id", "<missing>", "Created",
						(json_int_t)t.tv_sec, "CreatedBy", json_str(step, "created_by", ""),
						"Tags", "Size", (json_int_t)size, "Comment",
						json_str(step, "comment", "")));
	}
	if (json_array_size(out)) {
		json_object_set(json_array_get(out, 0), "Id", json_object_get(row, "id"));
		if (json_array_size(tags))
			json_object_set(json_array_get(out, 0), "Tags", tags);
	}
	return out;
}

/* Bytes of layers that other images have too. */
static int64_t shared_bytes(struct image_store *s, const char *id)
{
	autojson *rows =
		db_rows(s->db, NULL,
			"SELECT COALESCE(SUM(file_bytes), 0) AS n FROM image_uses u JOIN image_layers USING(chain)"
			" WHERE image = ? AND EXISTS (SELECT 1 FROM image_uses o JOIN images i ON i.id = o.image"
			" WHERE o.chain = u.chain AND o.image <> u.image AND NOT i.hidden)",
			"s", id);

	return json_int(json_array_get(rows, 0), "n", 0);
}

json_t *image_disk_usage(struct image_store *s, struct err *e)
{
	autojson *list = image_list(s, true, NULL, false, e);
	autojson *sum =
		list ? db_rows(s->db, e, "SELECT COALESCE(SUM(file_bytes), 0) AS n FROM image_layers", "") : NULL;
	size_t i;
	json_t *image;

	if (!sum)
		return NULL;
	json_array_foreach(list, i, image) {
		const char *id = json_str(image, "Id", "");
		autojson *users = s->o.users ? s->o.users(s->o.users_arg, id) : NULL;

		json_object_set_new(image, "SharedSize", json_integer(shared_bytes(s, id)));
		json_object_set_new(image, "Containers", json_integer((json_int_t)json_array_size(users)));
	}
	return json_pack("{s:O, s:O}", "LayersSize", json_object_get(json_array_get(sum, 0), "n"), "Images", list);
}
