/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * docker save. What describes the images comes first and the layers last: a reader needs to keep nothing. A layer that
 * several images have is in the archive once.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "base/tar.h"
#include "image/add.h"
#include "image/query.h"
#include "image/reference.h"
#include "image/store.h"

#define CHUNK_BYTES (256 * KIB)
#define TYPE_INDEX "application/vnd.oci.image.index.v1+json"
#define TYPE_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define TYPE_CONFIG "application/vnd.oci.image.config.v1+json"

struct save {
	struct image_store *s;
	image_sink_fn *sink;
	void *arg;
	json_t *images;   /* id -> array of normalised names */
	json_t *index, *manifests, *repositories; /* the documents */
	json_t *texts;    /* path -> text of configs and manifests */
	json_t *blobs;    /* digests of layers, in order */
};

static void save_fini(struct save *v)
{
	json_decref(v->images);
	json_decref(v->index);
	json_decref(v->manifests);
	json_decref(v->repositories);
	json_decref(v->texts);
	json_decref(v->blobs);
}

/* --- which images ---------------------------------------------------------------------------------------------- */
static void want(struct save *v, const char *id, const char *name)
{
	json_t *names = json_object_get(v->images, id), *v2;
	size_t i;

	if (!names) {
		names = json_array();
		json_object_set_new(v->images, id, names);
	}
	json_array_foreach(names, i, v2)
		if (name && !strcmp(json_string_value(v2), name))
			return;
	if (name)
		json_array_append_new(names, json_string(name));
}

/* A repository without tag means all its tags. False: it has none. */
static bool want_repository(struct save *v, const struct reference *r)
{
	autofree char *pattern = xasprintf("%s:*", r->name);
	autojson *rows = db_rows(v->s->db, NULL, "SELECT name, image FROM image_refs WHERE name GLOB ? ORDER BY name",
				 "s", pattern);
	bool any = false;
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row) {
		const char *name = json_str(row, "name", "");

		/* GLOB's own signs can't be in a name; a digest can't follow the colon. */
		if (strlen(name) <= strlen(r->name) + 1 || strchr(name, '@'))
			continue;
		want(v, json_str(row, "image", ""), name);
		any = true;
	}
	return any;
}

static int want_ref(struct save *v, const char *ref, struct err *e)
{
	autoreference r = { 0 };
	bool named = !digest_check(ref) && !reference_parse(ref, &r, NULL);
	char id[IMAGE_ID_MAX];

	if (named && !r.tag && !r.digest && want_repository(v, &r))
		return 0;
	if (image_resolve(v->s, ref, id, e)) {
		if (e->kind == ERR_NOT_FOUND)
			err_set(e, ERR_NOT_FOUND, 0, "reference does not exist");
		return -1;
	}
	autofree char *name = named && r.tag && !r.digest ? reference_text(&r, false) : NULL;

	want(v, id, name);
	return 0;
}

static int check_platform(const json_t *config, const char *ref, const char *os, const char *architecture,
			  struct err *e)
{
	if ((!os || !*os || !strcmp(os, json_str(config, "os", "linux"))) &&
	    (!architecture || !*architecture || !strcmp(architecture, json_str(config, "architecture", ""))))
		return 0;
	return err_set(e, ERR_NOT_FOUND, 0,
		       "image with reference %.200s was found but does not provide the specified platform (%s/%s)", ref,
		       os ? os : "", architecture ? architecture : "");
}

/* --- documents ------------------------------------------------------------------------------------------------- */
static json_t *descriptor(const char *type, const char *digest, json_int_t size)
{
	return json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", digest, "size", size);
}

static void add_text(struct save *v, const char *digest, const char *text)
{
	autofree char *path = xasprintf("blobs/sha256/%s", digest_hex(digest));

	json_object_set_new(v->texts, path, json_string(text));
}

static char *made_manifest(const char *id, const char *config, const json_t *layers)
{
	autojson *list = json_array();
	autojson *manifest = NULL;
	size_t i;
	json_t *row;

	json_array_foreach((json_t *)(uintptr_t)layers, i, row)
		json_array_append_new(list, descriptor(json_str(row, "media_type", ""), json_str(row, "blob", ""),
						       json_int(row, "blob_bytes", 0)));
	manifest = json_pack("{s:i, s:s, s:o, s:O}", "schemaVersion", 2, "mediaType", TYPE_MANIFEST, "config",
			     descriptor(TYPE_CONFIG, id, (json_int_t)strlen(config)), "layers", list);
	return json_dumps(manifest, JSON_COMPACT | JSON_SORT_KEYS);
}

/* The manifest with which the image came, if its blobs are all there; else one of ours. */
static json_t *add_manifest(struct save *v, const char *id, const char *config, const json_t *layers)
{
	autojson *stored = image_manifests(v->s, id, NULL);
	const json_t *best = NULL, *m;
	char digest[DIGEST_MAX];
	size_t i;

	json_array_foreach(stored, i, m)
		if (!best && json_is_true(json_object_get(m, "complete")))
			best = m;
	autofree char *text = best ? xstrdup(json_str(best, "text", "")) : made_manifest(id, config, layers);

	digest_of(text, strlen(text), digest);
	add_text(v, digest, text);
	return descriptor(best ? json_str(best, "media_type", TYPE_MANIFEST) : TYPE_MANIFEST, digest,
			  (json_int_t)strlen(text));
}

/* One line of the index for each name, as containerd and Docker write it. */
static void add_to_index(struct save *v, const json_t *manifest, const json_t *names)
{
	json_t *list = json_object_get(v->index, "manifests"), *name;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)names, i, name) {
		const char *text = json_string_value(name), *tag = strrchr(text, ':');
		json_t *line = json_deep_copy(manifest);

		json_object_set_new(line, "annotations",
				    json_pack("{s:s, s:s}", "io.containerd.image.name", text,
					      "org.opencontainers.image.ref.name", tag ? tag + 1 : ""));
		json_array_append_new(list, line);
	}
	if (!i)
		json_array_append(list, (json_t *)(uintptr_t)manifest);
}

/* The file of old: repository -> tag -> topmost layer. */
static void add_to_repositories(struct save *v, const char *familiar, const char *top)
{
	const char *tag = strrchr(familiar, ':');
	autofree char *repo = xstrndup(familiar, (size_t)(tag - familiar));
	json_t *tags = json_object_get(v->repositories, repo);

	if (!tags) {
		tags = json_object();
		json_object_set_new(v->repositories, repo, tags);
	}
	json_object_set_new(tags, tag + 1, json_string(top));
}

static void add_to_manifests(struct save *v, const char *id, const json_t *layers, const json_t *names)
{
	json_t *paths = json_array(), *sources = json_object(), *tags = json_array(), *row, *name;
	const char *top = "";
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)layers, i, row) {
		const char *blob = json_str(row, "blob", "");

		top = digest_hex(blob);
		json_array_append_new(v->blobs, json_string(blob));
		json_array_append_new(paths, json_sprintf("blobs/sha256/%s", top));
		json_object_set_new(sources, json_str(row, "diff_id", ""),
				    descriptor(json_str(row, "media_type", ""), blob, json_int(row, "blob_bytes", 0)));
	}
	json_array_foreach((json_t *)(uintptr_t)names, i, name) {
		const char *familiar = reference_familiar(json_string_value(name));

		json_array_append_new(tags, json_string(familiar));
		add_to_repositories(v, familiar, top);
	}
	json_array_append_new(v->manifests, json_pack("{s:o, s:o, s:o, s:o}", "Config",
						      json_sprintf("blobs/sha256/%s", digest_hex(id)), "RepoTags",
						      json_array_size(tags) ? tags : (json_decref(tags), json_null()),
						      "Layers", paths, "LayerSources", sources));
}

static int add_image(struct save *v, const char *id, const json_t *names, const char *os, const char *architecture,
		     struct err *e)
{
	autofree char *config = image_content_config(v->s, id, e);
	autojson *parsed = config ? json_parse(config, strlen(config), "image config", e) : NULL;
	autojson *layers = parsed ? image_content_layers(v->s, id, e) : NULL;
	const char *shown = json_string_value(json_array_get(names, 0));

	if (!layers || check_platform(parsed, shown ? reference_familiar(shown) : id, os, architecture, e))
		return -1;
	autojson *manifest = add_manifest(v, id, config, layers);

	add_text(v, id, config);
	add_to_index(v, manifest, names);
	add_to_manifests(v, id, layers, names);
	return 0;
}

/* --- output ---------------------------------------------------------------------------------------------------- */
static int put(struct save *v, const void *data, size_t n, struct err *e)
{
	return n && v->sink(v->arg, data, n) ? err_set(e, ERR_TIMEOUT, 0, "client has left") : 0;
}

static int put_header(struct save *v, const char *path, mode_t type, uint64_t size, struct err *e)
{
	/* No time: the same images give the same archive. */
	const struct tar_entry t = {
		.name = (char *)(uintptr_t)path, .type = type, .mode = type == S_IFDIR ? 0755 : 0644, .size = size
	};
	autostr blocks;

	str_init(&blocks, 64 * KIB);
	if (tar_format(&t, &blocks))
		return err_set(e, ERR_LIMIT, 0, "%s", path);
	return put(v, blocks.s, blocks.len, e);
}

static int put_padding(struct save *v, uint64_t size, struct err *e)
{
	static const char zeros[TAR_BLOCK];

	return put(v, zeros, tar_padding(size), e);
}

static int put_text(struct save *v, const char *path, const char *text, struct err *e)
{
	size_t n = strlen(text);

	return put_header(v, path, S_IFREG, n, e) || put(v, text, n, e) || put_padding(v, n, e) ? -1 : 0;
}

static int put_json(struct save *v, const char *path, const json_t *document, struct err *e)
{
	autofree char *text = json_dumps(document, JSON_COMPACT | JSON_SORT_KEYS);

	return put_text(v, path, text, e);
}

static int put_blob(struct save *v, const char *digest, struct err *e)
{
	autofree char *path = xasprintf("blobs/sha256/%s", digest_hex(digest));
	autofree char *buf = xmalloc(CHUNK_BYTES);
	autoclose int fd = image_blob_open(v->s, digest, e);
	struct stat st;
	uint64_t left;
	ssize_t n;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) || put_header(v, path, S_IFREG, (uint64_t)st.st_size, e))
		return -1;
	for (left = (uint64_t)st.st_size; left; left -= (uint64_t)n) {
		n = read(fd, buf, CHUNK_BYTES);
		if (n < 0 && errno == EINTR) {
			n = 0;
			continue;
		}
		if (n <= 0 || (uint64_t)n > left)
			return err_set(e, ERR_SYSTEM, n < 0 ? errno : 0, "blob %s", digest);
		if (put(v, buf, (size_t)n, e))
			return -1;
	}
	return put_padding(v, (uint64_t)st.st_size, e);
}

static int put_blobs(struct save *v, struct err *e)
{
	autojson *done = json_object();
	const char *path;
	json_t *text, *digest;
	size_t i;

	json_object_foreach(v->texts, path, text)
		if (put_text(v, path, json_string_value(text), e))
			return -1;
	json_array_foreach(v->blobs, i, digest) {
		if (json_object_get(done, json_string_value(digest)))
			continue;
		json_object_set_new(done, json_string_value(digest), json_true());
		if (put_blob(v, json_string_value(digest), e))
			return -1;
	}
	return 0;
}

static int put_all(struct save *v, struct err *e)
{
	static const char end[TAR_END_BYTES];

	if (put_text(v, "oci-layout", "{\"imageLayoutVersion\": \"1.0.0\"}", e) ||
	    put_json(v, "index.json", v->index, e) || put_json(v, "manifest.json", v->manifests, e))
		return -1;
	if (json_object_size(v->repositories) && put_json(v, "repositories", v->repositories, e))
		return -1;
	if (put_header(v, "blobs/", S_IFDIR, 0, e) || put_header(v, "blobs/sha256/", S_IFDIR, 0, e) || put_blobs(v, e))
		return -1;
	return put(v, end, sizeof(end), e);
}

static int save(struct save *v, const json_t *refs, const char *os, const char *architecture, struct err *e)
{
	const char *id;
	json_t *value;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)refs, i, value)
		if (want_ref(v, json_string_value(value), e))
			return -1;
	if (!i)
		return err_set(e, ERR_INVALID, 0, "no image given");
	json_object_foreach(v->images, id, value)
		if (add_image(v, id, value, os, architecture, e))
			return -1;
	if (put_all(v, e))
		return -1;
	json_object_foreach(v->images, id, value)
		image_notify(v->s, "save", id, id);
	return 0;
}

int image_save(struct image_store *s, const json_t *refs, const char *os, const char *architecture, image_sink_fn *sink,
	       void *arg, struct err *e)
{
	struct save v = { .s = s,
			  .sink = sink,
			  .arg = arg,
			  .images = json_object(),
			  .index = json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType", TYPE_INDEX,
					     "manifests"),
			  .manifests = json_array(),
			  .repositories = json_object(),
			  .texts = json_object(),
			  .blobs = json_array() };
	int rc = save(&v, refs, os, architecture, e);

	save_fini(&v);
	return rc;
}
