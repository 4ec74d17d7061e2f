/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry/pull.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "image/store.h"

#define INDEX_DEPTH 3
#define COMMIT_TRIES 3

/* --- the client ----------------------------------------------------------------------------------------------- */
int client_line(const struct registry_client *c, json_t *line, struct err *e)
{
	autojson *owned = line;

	if (c->progress && c->progress(c->arg, owned))
		return err_set(e, ERR_SYSTEM, 0, "context canceled");
	return 0;
}

int client_status(const struct registry_client *c, const char *id, const char *status, int64_t current, int64_t total,
		  struct err *e)
{
	json_t *line = json_pack("{s:s}", "status", status);

	if (id) {
		json_object_set_new(
			line, "progressDetail",
			total ? json_pack("{s:I, s:I}", "current", (json_int_t)current, "total", (json_int_t)total)
			      : json_object());
		json_object_set_new(line, "id", json_string(id));
	}
	return client_line(c, line, e);
}

int client_tick(void *client, const json_t *progress)
{
	const struct registry_client *c = client;

	return c->gone && c->gone(c->arg);
}

int client_check(const struct registry_client *c, struct err *e)
{
	return c->gone && c->gone(c->arg) ? err_set(e, ERR_SYSTEM, 0, "context canceled") : 0;
}

static void *tick_arg(struct pull *p)
{
	return (void *)(uintptr_t)p->client;
}

/* --- documents ------------------------------------------------------------------------------------------------ */
/* A manifest by tag or digest: its bytes, checked where the digest is known. */
static char *get_manifest(struct pull *p, const char *reference, char digest[static DIGEST_MAX], char *media_type,
			  size_t *n, struct err *e)
{
	json_t *op = json_pack("{s:s, s:s}", "op", "manifest", "reference", reference);
	autojson *result = NULL;
	char code[ANSWER_CODE_MAX];
	autofree char *text = session_text(p->s, op, client_tick, tick_arg(p), &result, code, n, e);

	if (!text) {
		explain_pull(code, p->shown, reference_familiar(p->ref.name), e);
		return NULL;
	}
	digest_of(text, *n, digest);
	if (str_starts(reference, "sha256:") && strcmp(reference, digest) != 0)
		return err_set(e, ERR_INVALID, 0, "manifest verification failed for digest %s", reference), NULL;
	snprintf(media_type, sizeof(p->media_type), "%s", json_str(result, "media_type", ""));
	return take_ptr(&text);
}

/* Follow indexes to the manifest of the platform. */
static int find_manifest(struct pull *p, struct err *e)
{
	autofree char *reference = xstrdup(p->ref.digest ? p->ref.digest : p->ref.tag);

	for (int depth = 0; depth < INDEX_DEPTH; depth++) {
		char digest[DIGEST_MAX];
		size_t n = 0;
		const json_t *descriptor;
		struct part child;
		int rc;

		free(p->manifest);
		p->manifest = get_manifest(p, reference, digest, p->media_type, &n, e);
		if (!p->manifest)
			return -1;
		if (!depth)
			memcpy(p->top_digest, digest, DIGEST_MAX);
		json_decref(p->document);
		p->document = json_parse(p->manifest, n, "manifest", e);
		if (!p->document)
			return -1;
		if (!manifest_is_index(p->document))
			return 0;
		descriptor = platform_pick(p->document, &p->platform, e);
		if (!descriptor)
			return -1;
		rc = manifest_descriptor(descriptor, &child, e);
		free(reference);
		reference = xstrdup(child.digest);
		part_fini(&child);
		if (rc)
			return -1;
	}
	return err_set(e, ERR_INVALID, 0, "manifest lists nested too deep");
}

static int check_schema(const struct pull *p, struct err *e)
{
	if (json_int(p->document, "schemaVersion", 2) == 1)
		return err_set(e, ERR_UNSUPPORTED, 0,
			       "Docker Image manifest version 2, schema 1 is not supported: %.200s is too old, push it "
			       "again with a newer tool",
			       p->shown);
	return 0;
}

/* The registry may say what it likes about the type; the manifest's own word counts first. */
static void settle_type(struct pull *p)
{
	const char *own = json_str(p->document, "mediaType", "");

	if (*own)
		snprintf(p->media_type, sizeof(p->media_type), "%s", own);
	if (!*p->media_type)
		snprintf(p->media_type, sizeof(p->media_type), "application/vnd.oci.image.manifest.v1+json");
}

/* What became of an image in another format. */
static int tell_notes(struct pull *p, struct err *e)
{
	autojson *notes = image_add_notes(p->add);
	json_t *note;
	size_t i;

	json_array_foreach(notes, i, note)
		if (client_status(p->client, NULL, json_string_value(note), 0, 0, e))
			return -1;
	return 0;
}

static int get_config(struct pull *p, struct err *e)
{
	const struct part *c = &p->source.config;
	json_t *op = json_pack("{s:s, s:s, s:I}", "op", "blob", "digest", c->digest, "size", (json_int_t)c->bytes);
	char digest[DIGEST_MAX], code[ANSWER_CODE_MAX];
	autofree char *text = NULL;
	size_t n = 0;

	if (c->bytes > (int64_t)REGISTRY_JSON_MAX) {
		json_decref(op);
		return err_set(e, ERR_LIMIT, 0, "image config %s: larger than %llu bytes", c->digest,
			       (unsigned long long)REGISTRY_JSON_MAX);
	}
	text = session_text(p->s, op, client_tick, tick_arg(p), NULL, code, &n, e);
	if (!text)
		return err_prefix(e, "image config");
	digest_of(text, n, digest);
	if (strcmp(digest, c->digest) != 0)
		return err_set(e, ERR_INVALID, 0, "image config verification failed for digest %s", c->digest);
	autojson *config = json_parse(text, n, "image config", e);

	if (!config)
		return -1;
	if (!platform_is(config, &p->platform)) {
		char wanted[96];

		platform_format(&p->platform, wanted);
		return err_set(
			e, ERR_NOT_FOUND, 0,
			"image with reference %.200s was found but its platform (%.32s/%.32s) does not match the "
			"specified platform (%s)",
			p->shown, json_str(config, "os", "linux"), json_str(config, "architecture", ""), wanted);
	}
	if (image_add_config(p->add, take_ptr(&text), n, e) || image_add_source(p->add, &p->source, e))
		return -1;
	return tell_notes(p, e);
}

/* --- one image ------------------------------------------------------------------------------------------------ */
static int prepare_layers(struct pull *p, struct err *e)
{
	const json_t *list = json_object_get(p->document, "layers");

	if (image_add_layer_count(p->add) != p->source.n_layers)
		return err_set(e, ERR_INVALID, 0, "invalid manifest, layers length mismatch: expected %zu, got %zu",
			       image_add_layer_count(p->add), p->source.n_layers);
	p->n_layers = p->source.n_layers;
	p->layers = xcalloc(p->n_layers + 1, sizeof(*p->layers));
	for (size_t i = 0; i < p->n_layers; i++) {
		const json_t *urls = json_object_get(json_array_get(list, i), "urls");

		p->layers[i].part = &p->source.layers[i];
		p->layers[i].urls = json_is_array(urls) ? urls : NULL;
		snprintf(p->layers[i].id, sizeof(p->layers[i].id), "%.12s", digest_hex(p->source.layers[i].digest));
	}
	return 0;
}

static json_t *names_of(const struct pull *p)
{
	json_t *names = json_array();

	if (p->ref.tag)
		json_array_append_new(names, json_sprintf("%s:%s", p->ref.name, p->ref.tag));
	json_array_append_new(names, json_sprintf("%s@%s", p->ref.name, p->top_digest));
	return names;
}

/* Whether the reference means this image already. */
static bool is_known(struct pull *p)
{
	autofree char *name = reference_text(&p->ref, false);
	char id[IMAGE_ID_MAX];
	struct err ignored = { 0 };

	return !image_resolve(p->r->o.images, name, id, &ignored) && !strcmp(id, image_add_id(p->add));
}

static int finish(struct pull *p, struct err *e)
{
	autojson *names = names_of(p);
	bool known = is_known(p);
	int rc = -1;

	/* A layer that was there may be removed before it is taken: once more, then. */
	for (int i = 0; rc && i < COMMIT_TRIES; i++) {
		*e = (struct err){ 0 };
		if (pull_layers(p, e))
			return -1;
		rc = image_add_finish(p->add, names, p->manifest, p->media_type, e);
		if (rc && e->kind != ERR_CONFLICT)
			return -1;
	}
	if (rc)
		return -1;
	autofree char *digest = xasprintf("Digest: %s", p->top_digest);
	autofree char *status =
		xasprintf("Status: %s %s", known ? "Image is up to date for" : "Downloaded newer image for", p->shown);

	(void)tell_notes(p, NULL);
	/* It is there now: that the client left changes nothing. */
	(void)client_status(p->client, NULL, digest, 0, 0, NULL);
	(void)client_status(p->client, NULL, status, 0, 0, NULL);
	if (p->r->o.event)
		p->r->o.event(p->r->o.event_arg, "pull", p->shown, reference_familiar(p->ref.name));
	return 0;
}

static int pull_image(struct pull *p, struct err *e)
{
	const char *what = p->ref.digest ? p->ref.digest : p->ref.tag;
	const char *path = strchr(p->ref.name, '/') + 1;
	autofree char *pulling = xasprintf("Pulling from %s", path);

	if (find_manifest(p, e) || check_schema(p, e) || manifest_oci(p->document, &p->source, e))
		return -1;
	settle_type(p);
	if (client_line(p->client, json_pack("{s:s, s:s}", "status", pulling, "id", what), e) || get_config(p, e) ||
	    prepare_layers(p, e))
		return -1;
	return finish(p, e);
}

static int pull_one(struct registry *r, struct session *s, const struct reference *ref, const char *platform,
		    const struct registry_client *c, struct err *e)
{
	struct pull p = { .r = r, .client = c, .s = s, .ref = *ref };
	int rc = -1;

	p.shown = reference_text(ref, true);
	if (!platform_parse(platform, &p.platform, e)) {
		p.platform.windows_host = r->o.windows_host;
		p.add = image_add_new(r->o.images, "pull", e);
		rc = p.add ? pull_image(&p, e) : -1;
	}
	image_add_free(p.add);
	source_image_fini(&p.source);
	json_decref(p.document);
	free(p.manifest);
	free(p.layers);
	free(p.shown);
	return rc;
}

/* --- all of them ---------------------------------------------------------------------------------------------- */
static int pull_tags(struct registry *r, struct session *s, struct reference *ref, const char *platform,
		     const struct registry_client *c, struct err *e)
{
	char code[ANSWER_CODE_MAX];
	size_t n = 0, i;
	autofree char *text =
		session_text(s, json_pack("{s:s}", "op", "tags"), client_tick, (void *)(uintptr_t)c, NULL, code, &n, e);
	json_t *tag;

	if (!text) {
		explain_pull(code, reference_familiar(ref->name), reference_familiar(ref->name), e);
		return -1;
	}
	autojson *tags = json_parse(text, n, "list of tags", e);

	if (!tags)
		return -1;
	json_array_foreach(tags, i, tag) {
		const char *word = json_string_value(tag);

		if (!word || !reference_tag_valid(word))
			return err_set(e, ERR_INVALID, 0, "the registry names an invalid tag");
		reference_set_tag(ref, word);
		if (pull_one(r, s, ref, platform, c, e))
			return -1;
	}
	return 0;
}

int registry_pull(struct registry *r, const char *ref, const char *platform, bool all_tags,
		  const struct registry_client *c, struct err *e)
{
	autoreference parsed = { 0 };
	struct session *s;
	struct err own = { 0 };
	int rc;

	e = e ? e : &own;
	if (reference_parse(ref, &parsed, e))
		return -1;
	if (all_tags && (parsed.tag || parsed.digest))
		return err_set(e, ERR_INVALID, 0, "tag can't be used with --all-tags/-a");
	s = session_open(r, parsed.name, true, c->auth, e);
	if (!s)
		return -1;
	if (all_tags) {
		rc = pull_tags(r, s, &parsed, platform, c, e);
	} else {
		reference_default_tag(&parsed);
		/* The digest decides which image it is; Docker gives it no tag then. */
		if (parsed.digest)
			reference_set_tag(&parsed, NULL);
		rc = pull_one(r, s, &parsed, platform, c, e);
	}
	session_put(s);
	return rc;
}
