/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry/push.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"

#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_CONFIG "application/vnd.docker.container.image.v1+json"
#define DOCKER_LAYER "application/vnd.docker.image.rootfs.diff.tar.gzip"

/* --- what is sent ----------------------------------------------------------------------------------------------- */
/* A repository of the same registry from which the layer came, or to which it was pushed. Heap string, or NULL. */
static char *find_source(struct push *p, const char *diff_id)
{
	autojson *names = image_layer_names(p->r->o.images, diff_id, NULL);
	const char *own_path, *path;
	autofree char *own = settings_host(p->ref->name, &own_path);
	size_t i;
	json_t *v;

	json_array_foreach(names, i, v) {
		autofree char *name = xstrndup(json_string_value(v), strcspn(json_string_value(v), "@"));
		autofree char *host = settings_host(name, &path);

		if (!strcmp(host, own) && strcmp(path, own_path) != 0)
			return xstrdup(path);
	}
	return NULL;
}

static void set_layer(struct push *p, struct push_layer *l, const json_t *row)
{
	snprintf(l->diff_id, sizeof(l->diff_id), "%s", json_str(row, "diff_id", ""));
	snprintf(l->id, sizeof(l->id), "%.12s", digest_hex(l->diff_id));
	snprintf(l->status, sizeof(l->status), "Preparing");
	memcpy(l->told, l->status, sizeof(l->told));
	snprintf(l->digest, sizeof(l->digest), "%s", json_str(row, "blob", ""));
	snprintf(l->media_type, sizeof(l->media_type), "%s", json_str(row, "media_type", ""));
	l->bytes = json_int(row, "blob_bytes", 0);
	l->plain = str_ends(l->media_type, ".tar");
	l->from = find_source(p, l->diff_id);
}

/* As the image came, where everything is still there: then its digest stays the same. */
static int take_manifest(struct push *p, const json_t *manifest, struct err *e)
{
	const char *text = json_str(manifest, "text", "");
	autojson *document = json_parse(text, strlen(text), "manifest", e);
	const json_t *list = json_object_get(document, "layers"), *v;
	size_t i;

	if (!document)
		return -1;
	if (json_array_size(list) != p->n_layers)
		return err_set(e, ERR_SYSTEM, 0, "the image's manifest doesn't fit its layers");
	json_array_foreach(list, i, v) {
		struct push_layer *l = &p->layers[i];

		snprintf(l->digest, sizeof(l->digest), "%s", json_str(v, "digest", ""));
		l->bytes = json_int(v, "size", 0);
		l->plain = false;
		l->foreign = json_array_size(json_object_get(v, "urls")) > 0;
	}
	snprintf(p->media_type, sizeof(p->media_type), "%s", json_str(manifest, "media_type", DOCKER_MANIFEST));
	p->manifest = xstrdup(text);
	return 0;
}

static int choose_manifest(struct push *p, struct err *e)
{
	autojson *manifests = image_manifests(p->r->o.images, p->id, e);
	size_t i;
	json_t *m;

	if (!manifests)
		return -1;
	json_array_foreach(manifests, i, m)
		if (json_bool(m, "complete", false))
			return take_manifest(p, m, e);
	return 0;
}

static int open_layers(struct push *p, struct err *e)
{
	autojson *rows = image_content_layers(p->r->o.images, p->id, e);
	size_t i;
	json_t *row;

	if (!rows)
		return -1;
	p->n_layers = json_array_size(rows);
	p->layers = xcalloc(p->n_layers + 1, sizeof(*p->layers));
	for (i = 0; i < p->n_layers; i++)
		p->layers[i].fd = -1;
	json_array_foreach(rows, i, row)
		set_layer(p, &p->layers[i], row);
	if (choose_manifest(p, e))
		return -1;
	for (i = 0; i < p->n_layers; i++)
		if ((p->layers[i].fd = image_blob_open(p->r->o.images, p->layers[i].digest, e)) < 0)
			return -1;
	return 0;
}

/* Docker's form, unless a layer is of a kind that only OCI has a name for. */
static void make_manifest(struct push *p, size_t config_bytes)
{
	json_t *list = json_array();
	bool oci = false;

	for (size_t i = 0; i < p->n_layers; i++)
		oci |= str_ends(p->layers[i].media_type, "+zstd");
	for (size_t i = 0; i < p->n_layers; i++) {
		struct push_layer *l = &p->layers[i];

		json_array_append_new(list,
				      json_pack("{s:s, s:I, s:s}", "mediaType", oci ? l->media_type : DOCKER_LAYER,
						"size", (json_int_t)l->bytes, "digest", l->digest));
	}
	snprintf(p->media_type, sizeof(p->media_type), "%s", oci ? OCI_MANIFEST : DOCKER_MANIFEST);
	autojson *doc = json_pack("{s:i, s:s, s:{s:s, s:I, s:s}, s:o}", "schemaVersion", 2, "mediaType", p->media_type,
				  "config", "mediaType", oci ? OCI_CONFIG : DOCKER_CONFIG, "size",
				  (json_int_t)config_bytes, "digest", p->id, "layers", list);

	p->manifest = json_text(doc);
}

/* --- one image ---------------------------------------------------------------------------------------------------- */
static int put_manifest(struct push *p, char digest[static DIGEST_MAX], struct err *e)
{
	size_t n = strlen(p->manifest);
	autoclose int fd = push_text_file(p->manifest, n, e);

	digest_of(p->manifest, n, digest);
	if (fd < 0)
		return -1;
	json_t *op = json_pack("{s:s, s:s, s:s, s:I}", "op", "put", "reference", p->ref->tag, "media_type",
			       p->media_type, "size", (json_int_t)n);
	autojson *done = session_call(p->s, op, fd, client_tick, (void *)(uintptr_t)p->client, NULL, e);

	return done ? 0 : -1;
}

/* From now on the image has a RepoDigest, and a push of it again sends the same manifest. */
static int record(struct push *p, char *config, size_t n, const char *digest, struct err *e)
{
	autojson *names = json_pack("[o]", json_sprintf("%s@%s", p->ref->name, digest));

	return image_add_config(p->add, config, n, e) || image_add_finish(p->add, names, p->manifest, p->media_type, e)
		       ? -1
		       : 0;
}

static void announce(struct push *p, const char *digest)
{
	json_int_t n = (json_int_t)strlen(p->manifest);

	/* It is there now: that the client left changes nothing. */
	(void)client_line(p->client,
			  json_pack("{s:o}", "status",
				    json_sprintf("%s: digest: %s size: %lld", p->ref->tag, digest, (long long)n)),
			  NULL);
	(void)client_line(p->client,
			  json_pack("{s:{}, s:{s:s, s:s, s:I}}", "progressDetail", "aux", "Tag", p->ref->tag, "Digest",
				    digest, "Size", n),
			  NULL);
	if (p->r->o.event) {
		autofree char *shown = reference_text(p->ref, true);

		p->r->o.event(p->r->o.event_arg, "push", shown, reference_familiar(p->ref->name));
	}
}

static int push_image(struct push *p, struct err *e)
{
	autofree char *config = image_content_config(p->r->o.images, p->id, e);
	char digest[DIGEST_MAX];
	size_t n;

	if (!config || open_layers(p, e) || push_layers(p, e))
		return -1;
	n = strlen(config);
	if (!p->manifest)
		make_manifest(p, n);
	if (push_text(p, p->id, config, n, e) || put_manifest(p, digest, e) ||
	    record(p, take_ptr(&config), n, digest, e))
		return -1;
	announce(p, digest);
	return 0;
}

static int push_one(struct registry *r, struct session *s, const struct reference *ref, const struct registry_client *c,
		    struct err *e)
{
	struct push p = { .r = r, .client = c, .s = s, .ref = ref };
	autofree char *name = reference_text(ref, false);
	int rc = -1;

	if (image_resolve(r->o.images, name, p.id, e)) {
		err_set(e, ERR_NOT_FOUND, 0, "tag does not exist: %.400s", reference_familiar(name));
	} else {
		p.add = image_add_new(r->o.images, "push", e);
		rc = p.add ? push_image(&p, e) : -1;
	}
	for (size_t i = 0; i < p.n_layers; i++) {
		close_fd(&p.layers[i].fd);
		free(p.layers[i].from);
	}
	free(p.layers);
	free(p.manifest);
	image_add_free(p.add);
	return rc;
}

/* --- all of them -------------------------------------------------------------------------------------------------- */
/* Tags under which the engine knows the name. New array. */
static json_t *tags_of(struct registry *r, const char *name, struct err *e)
{
	autojson *images = image_list(r->o.images, true, NULL, false, e);
	json_t *tags = json_array(), *image, *tag;
	size_t i, k;

	json_array_foreach(images, i, image)
		json_array_foreach(json_object_get(image, "RepoTags"), k, tag) {
			autoreference ref = { 0 };

			if (!reference_parse(json_string_value(tag), &ref, NULL) && ref.tag && !strcmp(ref.name, name))
				json_array_append_new(tags, json_string(ref.tag));
		}
	if (!json_array_size(tags) && !e->kind)
		err_set(e, ERR_NOT_FOUND, 0, "An image does not exist locally with the tag: %.400s",
			reference_familiar(name));
	return tags;
}

static int push_tags(struct registry *r, struct session *s, struct reference *ref, const json_t *tags,
		     const struct registry_client *c, struct err *e)
{
	autofree char *line = xasprintf("The push refers to repository [%s]", ref->name);
	size_t i;
	json_t *tag;

	if (client_status(c, NULL, line, 0, 0, e))
		return -1;
	json_array_foreach(tags, i, tag) {
		reference_set_tag(ref, json_string_value(tag));
		if (push_one(r, s, ref, c, e))
			return -1;
	}
	return 0;
}

int registry_push(struct registry *r, const char *ref, bool all_tags, const struct registry_client *c, struct err *e)
{
	autoreference parsed = { 0 };
	struct session *s;
	int rc;

	if (reference_parse(ref, &parsed, e))
		return -1;
	if (parsed.digest)
		return err_set(e, ERR_INVALID, 0, "cannot push a digest reference");
	if (!parsed.tag && !all_tags)
		reference_default_tag(&parsed);
	autojson *tags = tags_of(r, parsed.name, e);

	if (e->kind)
		return -1;
	if (parsed.tag) {
		json_array_clear(tags);
		json_array_append_new(tags, json_string(parsed.tag));
	}
	s = session_open(r, parsed.name, false, c->auth, e);
	if (!s)
		return -1;
	rc = push_tags(r, s, &parsed, tags, c, e);
	session_put(s);
	return rc;
}
