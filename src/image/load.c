/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* docker load: what docker save, skopeo, podman, buildx and kaniko write. */
#include "image/load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "image/beneath.h"
#include "image/make.h"
#include "image/reference.h"
#include "image/windows_form.h"

#define COMMIT_TRIES 3
#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define INDEX_DEPTH 3 /* index.json -> index of platforms -> manifest */

int load_open_part(struct load *l, const struct part *p, struct err *e)
{
	autoclose int fd = beneath_open(l->archive, p->path, O_RDONLY | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return err_set(e, ERR_INVALID, errno, "invalid archive: %.255s", p->path);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return err_set(e, ERR_INVALID, 0, "invalid archive: %.255s: not a regular file", p->path);
	if (p->bytes >= 0 && st.st_size != p->bytes)
		return err_set(e, ERR_INVALID, 0, "invalid archive: %.255s: size mismatch, expected %lld, got %lld",
			       p->path, (long long)p->bytes, (long long)st.st_size);
	return take_fd(&fd);
}

char *load_text(struct load *l, const struct part *p, size_t *n, struct err *e)
{
	autoclose int fd = load_open_part(l, p, e);
	autofree char *text = fd < 0 ? NULL : read_bounded(fd, IMAGE_JSON_MAX, p->path, n, e);
	char digest[DIGEST_MAX];

	if (!text)
		return NULL;
	digest_of(text, *n, digest);
	if (p->digest[0] && strcmp(digest, p->digest) != 0) {
		err_set(e, ERR_INVALID, 0, "blob %s: digest mismatch, got %s", p->digest, digest);
		return NULL;
	}
	return take_ptr(&text);
}

json_t *load_json(struct load *l, const struct part *p, struct err *e)
{
	size_t n = 0;
	autofree char *text = load_text(l, p, &n, e);

	return text ? json_parse(text, n, p->path, e) : NULL;
}

int load_line(struct load *l, json_t *line, struct err *e)
{
	autojson *owned = line;
	int gone;

	pthread_mutex_lock(&l->lock);
	if (l->progress && !l->cancelled && l->progress(l->arg, owned))
		l->cancelled = true;
	gone = l->cancelled;
	pthread_mutex_unlock(&l->lock);
	return gone ? err_set(e, ERR_SYSTEM, 0, "context canceled") : 0;
}

/* What the client sees of a new image; it is recorded by now, so a client that left changes nothing. */
static void announce(struct load *l, const struct image_new *n, const json_t *names)
{
	size_t i;
	json_t *name;

	json_array_foreach(names, i, name) {
		const char *shown = reference_familiar(json_string_value(name));

		load_line(l, json_pack("{s:o}", "stream", json_sprintf("Loaded image: %s\n", shown)), NULL);
		image_notify(l->work.store, "load", n->id, shown);
	}
	if (i)
		return;
	load_line(l, json_pack("{s:o}", "stream", json_sprintf("Loaded image ID: %s\n", n->id)), NULL);
	image_notify(l->work.store, "load", n->id, n->id);
}

/* Docker's line for a name that another image had. */
static void tell_renamed(struct load *l, const struct image_new *n, const json_t *names)
{
	struct image_store *s = l->work.store;
	size_t i;
	json_t *name;

	json_array_foreach(names, i, name) {
		const char *text = json_string_value(name), *old;
		autojson *rows = db_rows(s->db, NULL, "SELECT image FROM image_refs WHERE name = ?", "s", text);

		old = json_str(json_array_get(rows, 0), "image", n->id);
		if (strcmp(old, n->id) != 0)
			load_line(l,
				  json_pack("{s:o}", "stream",
					    json_sprintf("The image %s already exists, renaming the old one with ID %s"
							 " to empty string\n",
							 reference_familiar(text), old)),
				  NULL);
	}
}

/* Layers that the store has may be removed before they are taken: once more, then. */
static int load_and_commit(struct load *l, struct source_image *src, struct image_new *n, struct err *e)
{
	bool windows = windows_form_is(n->config);
	int rc = -1;

	for (int i = 0; rc && i < COMMIT_TRIES; i++) {
		autoimage made = { 0 };
		struct image_new *new = windows ? &made : n;

		*e = (struct err){ 0 };
		rc = windows ? load_windows(l, src, n, &made, e) : load_layers(l, src, n, e);
		if (!rc && !i)
			tell_renamed(l, new, src->names);
		rc = rc || image_commit(&l->work, new, src->names, e);
		if (rc && e->kind != ERR_CONFLICT)
			return -1;
		if (!rc)
			announce(l, new, src->names);
	}
	return rc;
}

/* manifest, media_type: exact bytes and type, or NULL: the archive's form has none. */
static int load_image(struct load *l, struct source_image *src, const char *manifest, const char *media_type,
		      struct err *e)
{
	autoimage n = { .manifest = manifest, .manifest_type = media_type };
	size_t bytes = 0;
	char *text = load_text(l, &src->config, &bytes, e);

	if (!text || image_new_config(&n, text, bytes, e))
		return -1;
	if (n.n_layers != src->n_layers)
		return err_set(e, ERR_INVALID, 0, "invalid manifest, layers length mismatch: expected %zu, got %zu",
			       src->n_layers, n.n_layers);
	return load_and_commit(l, src, &n, e);
}

static int load_docker(struct load *l, const json_t *manifest, struct err *e)
{
	size_t i;
	json_t *element;

	if (!json_is_array(manifest) || json_array_size(manifest) > MANIFEST_IMAGES_MAX)
		return err_set(e, ERR_INVALID, 0, "manifest.json: not a list of at most %d images",
			       MANIFEST_IMAGES_MAX);
	json_array_foreach(manifest, i, element) {
		struct source_image src;
		int rc = manifest_docker(element, &src, e) || load_image(l, &src, NULL, NULL, e);

		source_image_fini(&src);
		if (rc)
			return -1;
	}
	return 0;
}

static int load_manifest(struct load *l, const char *text, const json_t *document, const char *media_type, char *name,
			 struct err *e)
{
	struct source_image src;
	int rc = manifest_oci(document, &src, e);

	if (!rc && name)
		json_array_append_new(src.names, json_string(name));
	rc = rc || load_image(l, &src, text, json_str(document, "mediaType", media_type), e);
	source_image_fini(&src);
	return rc ? -1 : 0;
}

/* One descriptor of index.json: a manifest, or an index from which the host's platform is taken. */
static int load_descriptor(struct load *l, const json_t *descriptor, struct err *e)
{
	autofree char *name = manifest_name(descriptor);
	autofree char *text = NULL;
	autojson *document = NULL;

	for (int depth = 0; depth < INDEX_DEPTH; depth++) {
		bool index = manifest_is_index(descriptor);
		autofree char *type = xstrdup(json_str(descriptor, "mediaType", OCI_MANIFEST));
		struct part p;
		size_t n;

		if (manifest_descriptor(descriptor, &p, e))
			return part_fini(&p), -1;
		free(text);
		text = load_text(l, &p, &n, e);
		json_t *next = text ? json_parse(text, n, p.path, e) : NULL;

		part_fini(&p);
		json_decref(document);
		document = next;
		if (!document)
			return -1;
		if (!index && !manifest_is_index(document))
			return load_manifest(l, text, document, type, name, e);
		descriptor = manifest_pick(document, architecture_name());
		if (!descriptor)
			return err_set(e, ERR_NOT_FOUND, 0, "no image for linux/%s in the archive",
				       architecture_name());
	}
	return err_set(e, ERR_INVALID, 0, "invalid archive: index nested too deep");
}

static int load_oci(struct load *l, const json_t *index, struct err *e)
{
	json_t *list = json_object_get(index, "manifests"), *v;
	size_t i;

	if (!json_is_array(list) || !json_array_size(list) || json_array_size(list) > MANIFEST_IMAGES_MAX)
		return err_set(e, ERR_INVALID, 0, "index.json: no list of 1 to %d manifests", MANIFEST_IMAGES_MAX);
	json_array_foreach(list, i, v)
		if (load_descriptor(l, v, e))
			return -1;
	return 0;
}

/* The two forms, in the order of preference: newer docker save writes both, and only manifest.json has all names. */
static int load_archive(struct load *l, struct err *e)
{
	static const struct {
		char *path;
		int (*load)(struct load *l, const json_t *document, struct err *e);
	} forms[] = { { "manifest.json", load_docker }, { "index.json", load_oci } };

	for (size_t i = 0; i < array_len(forms); i++) {
		const struct part p = { .path = forms[i].path, .bytes = -1 };
		autoclose int fd = beneath_open(l->archive, p.path, O_PATH);

		if (fd < 0)
			continue;
		autojson *document = load_json(l, &p, e);

		return document ? forms[i].load(l, document, e) : -1;
	}
	autoclose int legacy = beneath_open(l->archive, "repositories", O_PATH);

	if (legacy >= 0)
		return err_set(e, ERR_UNSUPPORTED, 0,
			       "invalid archive: written by Docker before 1.10, which is not supported");
	return err_set(e, ERR_INVALID, 0, "invalid archive: does not contain a manifest.json or an index.json");
}

static int load_from(struct load *l, int fd, struct err *e)
{
	l->ahead = load_ahead_new(&l->work, l->archive);
	if (archive_unpack(l->work.store, fd, l->archive, l->ahead ? load_ahead_file : NULL, l->ahead, e))
		return -1;
	load_ahead_wait(l->ahead);
	return load_archive(l, e);
}

int image_load(struct image_store *s, int fd, bool quiet, image_progress_fn *progress, void *arg, struct err *e)
{
	struct load l = {
		.archive = -1, .quiet = quiet, .progress = progress, .arg = arg, .lock = PTHREAD_MUTEX_INITIALIZER
	};
	struct err own = { 0 };
	int rc = -1;

	e = e ? e : &own;
	if (!work_open(s, "load", &l.work, e)) {
		if (mkdirat(l.work.fd, "archive", 0700) ||
		    (l.archive = openat(l.work.fd, "archive", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
			err_set(e, ERR_SYSTEM, errno, "work directory");
		else
			rc = load_from(&l, fd, e);
	}
	load_ahead_free(l.ahead);
	close_fd(&l.archive);
	work_close(&l.work);
	pthread_mutex_destroy(&l.lock);
	return rc;
}
