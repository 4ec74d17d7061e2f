/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a registry has under a name, without bringing it. */
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "registry/pull.h"

/* The keys of a platform that object has. */
static json_t *platform_of(const json_t *object)
{
	static const char *const keys[] = { "architecture", "os", "os.version", "os.features", "variant" };
	json_t *out = json_object();

	for (size_t i = 0; i < array_len(keys); i++)
		if (json_object_get(object, keys[i]))
			json_object_set(out, keys[i], json_object_get(object, keys[i]));
	return out;
}

static json_t *platform_by_config(struct session *s, const json_t *manifest, void *client, struct err *e)
{
	struct source_image source;
	json_t *out = NULL;
	size_t n = 0;

	if (!manifest_oci(manifest, &source, e) && source.config.bytes <= (int64_t)REGISTRY_JSON_MAX) {
		json_t *op = json_pack("{s:s, s:s, s:I}", "op", "blob", "digest", source.config.digest, "size",
				       (json_int_t)source.config.bytes);
		autofree char *text = session_text(s, op, client_tick, client, NULL, NULL, &n, e);
		autojson *config = text ? json_parse(text, n, "image config", e) : NULL;

		out = config ? platform_of(config) : NULL;
	}
	source_image_fini(&source);
	if (!out && !e->kind)
		err_set(e, ERR_LIMIT, 0, "image config: too large");
	return out;
}

static json_t *platforms(struct session *s, const json_t *manifest, void *client, struct err *e)
{
	json_t *out = json_array(), *d;
	size_t i;

	if (!manifest_is_index(manifest)) {
		json_t *one = platform_by_config(s, manifest, client, e);

		if (one)
			json_array_append_new(out, one);
		return out;
	}
	json_array_foreach(json_object_get(manifest, "manifests"), i, d)
		if (json_is_object(json_object_get(d, "platform")))
			json_array_append_new(out, platform_of(json_object_get(d, "platform")));
	return out;
}

static json_t *describe(struct session *s, const struct reference *ref, void *client, struct err *e)
{
	autofree char *shown = reference_text(ref, true);
	autojson *result = NULL;
	char code[ANSWER_CODE_MAX], digest[DIGEST_MAX];
	size_t n = 0;
	json_t *op = json_pack("{s:s, s:s}", "op", "manifest", "reference", ref->digest ? ref->digest : ref->tag);
	autofree char *text = session_text(s, op, client_tick, client, &result, code, &n, e);

	if (!text)
		return explain_pull(code, shown, reference_familiar(ref->name), e), NULL;
	digest_of(text, n, digest);
	if (ref->digest && strcmp(ref->digest, digest) != 0)
		return err_set(e, ERR_INVALID, 0, "manifest verification failed for digest %s", ref->digest), NULL;
	autojson *manifest = json_parse(text, n, "manifest", e);
	json_t *list = manifest ? platforms(s, manifest, client, e) : NULL;

	if (e->kind) {
		json_decref(list);
		return NULL;
	}
	return json_pack("{s:{s:s, s:s, s:I}, s:o}", "Descriptor", "mediaType",
			 json_str(manifest, "mediaType", json_str(result, "media_type", "")), "digest", digest, "size",
			 (json_int_t)n, "Platforms", list);
}

json_t *registry_distribution(struct registry *r, const char *ref, const struct registry_client *c, struct err *e)
{
	autoreference parsed = { 0 };
	struct session *s;
	json_t *out;

	if (reference_parse(ref, &parsed, e))
		return NULL;
	reference_default_tag(&parsed);
	s = session_open(r, parsed.name, true, c->auth, e);
	if (!s)
		return NULL;
	out = describe(s, &parsed, (void *)(uintptr_t)c, e);
	session_put(s);
	return out;
}
