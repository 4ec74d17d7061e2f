/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "image/manifest.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "image/reference.h"

void part_fini(struct part *p)
{
	free(p->path);
	free(p->urls);
	p->path = p->urls = NULL;
}

void source_image_fini(struct source_image *i)
{
	part_fini(&i->config);
	for (size_t n = 0; n < i->n_layers; n++)
		part_fini(&i->layers[n]);
	free(i->layers);
	json_decref(i->names);
	json_decref(i->sources);
	free(i->base_name);
	memset(i, 0, sizeof(*i));
}

/* A name from an archive to its normalised form, or NULL with *e. */
static char *normal_name(const char *text, struct err *e)
{
	autoreference r = { 0 };

	if (reference_parse(text, &r, e))
		return NULL;
	if (r.digest) {
		err_set(e, ERR_INVALID, 0, "refusing to create a tag with a digest reference");
		return NULL;
	}
	reference_default_tag(&r);
	return reference_text(&r, false);
}

/* A path of manifest.json; below blobs/sha256/ the name is the digest. */
static int docker_part(const char *path, struct part *out, struct err *e)
{
	const char *hex = path && str_starts(path, "blobs/sha256/") ? path + strlen("blobs/sha256/") : "";

	if (!path || !*path)
		return err_set(e, ERR_INVALID, 0, "manifest.json: empty path");
	out->path = xstrdup(path);
	/* Docker on Windows joins paths its own way; the archive's entries have slashes. */
	for (char *at = out->path; *at; at++)
		if (*at == '\\')
			*at = '/';
	out->bytes = -1;
	if (strlen(hex) == DIGEST_HEX && str_is_hex(hex, DIGEST_HEX))
		snprintf(out->digest, sizeof(out->digest), "sha256:%s", hex);
	return 0;
}

static int add_layers(const json_t *list, struct source_image *out,
		      int (*parse)(const json_t *, struct part *, struct err *), struct err *e)
{
	out->layers = xcalloc(json_array_size(list) + 1, sizeof(*out->layers));
	for (size_t i = 0; i < json_array_size(list); i++) {
		out->n_layers = i + 1;
		if (parse(json_array_get(list, i), &out->layers[i], e))
			return -1;
	}
	return 0;
}

static int docker_layer(const json_t *v, struct part *out, struct err *e)
{
	return docker_part(json_string_value(v), out, e);
}

bool manifest_is_foreign(const json_t *descriptor)
{
	const char *type = json_str(descriptor, "mediaType", "");

	return strstr(type, ".foreign.") || strstr(type, "nondistributable") ||
	       json_array_size(json_object_get(descriptor, "urls"));
}

char *manifest_urls(const json_t *descriptor)
{
	const json_t *list = json_object_get(descriptor, "urls"), *v;
	autostr out;
	size_t i;

	str_init(&out, 16 * KIB);
	json_array_foreach(list, i, v)
		if (json_is_string(v))
			str_printf(&out, "%s ", json_string_value(v));
	return out.len ? str_take(&out) : NULL;
}

int manifest_docker(const json_t *element, struct source_image *out, struct err *e)
{
	const char *config;
	json_t *layers, *tags, *tag;
	size_t i;

	memset(out, 0, sizeof(*out));
	out->names = json_array();
	if (!json_is_object(element))
		return err_set(e, ERR_INVALID, 0, "manifest.json: not a list of objects");
	if (json_get_str(element, "Config", NULL, &config, e) || json_get_strings(element, "Layers", &layers, e) ||
	    json_get_strings(element, "RepoTags", &tags, e))
		return err_prefix(e, "manifest.json");
	json_array_foreach(tags, i, tag) {
		autofree char *name = normal_name(json_string_value(tag), e);

		if (!name)
			return err_prefix(e, "invalid tag \"%.255s\"", json_string_value(tag));
		json_array_append_new(out->names, json_string(name));
	}
	out->sources = json_incref(json_object_get(element, "LayerSources"));
	return docker_part(config, &out->config, e) || add_layers(layers, out, docker_layer, e) ? -1 : 0;
}

int manifest_descriptor(const json_t *descriptor, struct part *out, struct err *e)
{
	const char *digest;
	int64_t size;

	memset(out, 0, sizeof(*out));
	if (!json_is_object(descriptor))
		return err_set(e, ERR_INVALID, 0, "descriptor: not an object");
	if (json_get_str(descriptor, "digest", "", &digest, e) || json_get_int(descriptor, "size", -1, &size, e))
		return err_prefix(e, "descriptor");
	if (!digest_check(digest))
		return err_set(e, ERR_INVALID, 0, "descriptor: unsupported digest \"%.100s\"", digest);
	if (size < 0)
		return err_set(e, ERR_INVALID, 0, "descriptor %s: no valid size", digest);
	memcpy(out->digest, digest, strlen(digest) + 1);
	out->path = xasprintf("blobs/sha256/%s", digest_hex(digest));
	out->bytes = size;
	return 0;
}

static const char *media_type(const json_t *object)
{
	const char *type;

	return json_is_object(object) && !json_get_str(object, "mediaType", "", &type, NULL) ? type : "";
}

bool manifest_is_index(const json_t *object)
{
	const char *type = media_type(object);

	if (!*type)
		return json_is_array(json_object_get(object, "manifests"));
	return !strcmp(type, "application/vnd.oci.image.index.v1+json") ||
	       !strcmp(type, "application/vnd.docker.distribution.manifest.list.v2+json");
}

/* A descriptor without a platform fits any. */
static bool fits(const json_t *descriptor, const char *os, const char *architecture)
{
	json_t *platform = json_member(descriptor, "platform");

	if (!json_is_object(platform))
		return json_is_object(descriptor);
	return !strcmp(json_str(platform, "os", ""), os) &&
	       !strcmp(json_str(platform, "architecture", ""), architecture);
}

const json_t *manifest_pick(const json_t *index, const char *architecture)
{
	static const char *const systems[] = { "linux", "windows" };
	json_t *list = json_object_get(index, "manifests"), *v;
	size_t i;

	for (size_t os = 0; os < array_len(systems); os++)
		json_array_foreach(list, i, v)
			if (fits(v, systems[os], architecture))
				return v;
	return NULL;
}

char *manifest_name(const json_t *descriptor)
{
	json_t *notes = json_member(descriptor, "annotations");
	const char *name;

	if (!json_is_object(notes))
		return NULL;
	name = json_str(notes, "io.containerd.image.name", json_str(notes, "org.opencontainers.image.ref.name", ""));
	/* "latest" alone is a tag of nothing. */
	return strpbrk(name, ":/") ? normal_name(name, NULL) : NULL;
}

static int oci_layer(const json_t *v, struct part *out, struct err *e)
{
	const char *type = media_type(v);

	if (*type && !strstr(type, ".tar"))
		return err_set(e, ERR_INVALID, 0, "unsupported media type of a layer: %.100s", type);
	if (manifest_descriptor(v, out, e))
		return -1;
	out->foreign = manifest_is_foreign(v);
	out->urls = manifest_urls(v);
	return 0;
}

int manifest_oci(const json_t *manifest, struct source_image *out, struct err *e)
{
	json_t *config, *layers;
	const char *type, *name;

	memset(out, 0, sizeof(*out));
	out->names = json_array();
	if (!json_is_object(manifest))
		return err_set(e, ERR_INVALID, 0, "manifest: not an object");
	if (json_get_object(manifest, "config", &config, e) || json_get_array(manifest, "layers", &layers, e))
		return err_prefix(e, "manifest");
	name = json_str(json_object_get(manifest, "annotations"), "org.opencontainers.image.base.name", "");
	out->base_name = *name ? xstrdup(name) : NULL;
	type = media_type(config);
	if (strcmp(type, "application/vnd.oci.image.config.v1+json") != 0 &&
	    strcmp(type, "application/vnd.docker.container.image.v1+json") != 0)
		return err_set(e, ERR_INVALID, 0, "not an image: media type of the config is \"%.100s\"", type);
	return manifest_descriptor(config, &out->config, e) || add_layers(layers, out, oci_layer, e) ? -1 : 0;
}
