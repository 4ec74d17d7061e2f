/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Base images, from Silo's store to buildah's. They go as a "dir:" (containers-transports(5)) whose blobs are links to
 * those of the store, with a Docker manifest: an OCI one would lose health checks and ONBUILD.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "build/internal.h"
#include "image/add.h"
#include "image/reference.h"

#define DOCKER_HUB "https://index.docker.io/v1/"
#define DIR_VERSION "Directory Transport Version: 1.1\n"
#define TYPE_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define TYPE_CONFIG "application/vnd.docker.container.image.v1+json"
#define TYPE_LAYER "application/vnd.docker.image.rootfs.diff.tar.gzip" /* what it really is, buildah sees itself */

/* --- into Silo's store ------------------------------------------------------------------------------------------------ */

/* Credentials for the registry of a normalised name, as clients file them. */
static const json_t *auth_of(const struct build *x, const char *name)
{
	autofree char *host = xstrndup(name, strcspn(name, "/"));

	return json_object_get(x->o->auths, strcmp(host, "docker.io") == 0 ? DOCKER_HUB : host);
}

static int pull(struct build *x, const char *image, const struct reference *ref, struct err *e)
{
	struct registry_client c = *x->client;

	c.auth = auth_of(x, ref->name);
	return registry_pull(x->b->o.registry, image, NULL, false, &c, e);
}

static int resolve(struct build *x, const char *image, const struct reference *ref, char id[static IMAGE_ID_MAX],
		   struct err *e)
{
	struct err missing = { 0 };

	if (!x->o->pull && image_resolve(x->b->o.images, image, id, &missing) == 0)
		return 0;
	if (missing.kind && missing.kind != ERR_NOT_FOUND)
		return *e = missing, -1;
	if (pull(x, image, ref, e) == 0)
		return image_resolve(x->b->o.images, image, id, e);
	/* An image of one's own is in no registry: --pull doesn't take it away. */
	return x->o->pull && image_resolve(x->b->o.images, image, id, NULL) == 0 ? 0 : -1;
}

/* --- out of it ---------------------------------------------------------------------------------------------------------- */

/* DIR/hex of a blob: a link to the store's file, which stays whatever is removed there. */
static int link_blob(struct image_store *s, int dir, const char *digest, struct err *e)
{
	autoclose int fd = image_blob_open(s, digest, e);
	char source[32];

	if (fd < 0)
		return -1;
	snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, source, dir, strchr(digest, ':') + 1, AT_SYMLINK_FOLLOW) == 0 || errno == EEXIST)
		return 0;
	return err_set(e, ERR_SYSTEM, errno, "link %s", digest);
}

static json_t *descriptor(const char *type, const char *digest, int64_t bytes)
{
	return json_pack("{s:s, s:I, s:s}", "mediaType", type, "size", (json_int_t)bytes, "digest", digest);
}

static json_t *make_manifest(struct image_store *s, int dir, const char *id, size_t config_bytes, struct err *e)
{
	autojson *rows = image_content_layers(s, id, e), *layers = json_array();
	const json_t *row;
	size_t i;

	if (!rows)
		return NULL;
	json_array_foreach(rows, i, row) {
		const char *blob = json_str(row, "blob", "");

		if (link_blob(s, dir, blob, e))
			return NULL;
		json_array_append_new(layers, descriptor(TYPE_LAYER, blob, json_int(row, "blob_bytes", 0)));
	}
	return json_pack("{s:i, s:s, s:o, s:O}", "schemaVersion", 2, "mediaType", TYPE_MANIFEST, "config",
			 descriptor(TYPE_CONFIG, id, (int64_t)config_bytes), "layers", layers);
}

static int write_image(struct image_store *s, int dir, const char *id, struct err *e)
{
	autofree char *config = image_content_config(s, id, e);
	autojson *manifest = config ? make_manifest(s, dir, id, strlen(config), e) : NULL;
	autofree char *text = manifest ? json_text(manifest) : NULL;

	if (!text)
		return -1;
	return io_write_file(dir, strchr(id, ':') + 1, config, strlen(config), 0600, false, e) ||
			       io_write_file(dir, "version", DIR_VERSION, strlen(DIR_VERSION), 0600, false, e) ||
			       io_write_file(dir, "manifest.json", text, strlen(text), 0600, false, e)
		       ? -1
		       : 0;
}

/* --- into buildah's ------------------------------------------------------------------------------------------------------- */

/* By its name; or where the name has a digest, which is that of another manifest here, under that very word. */
static int hand_over(struct build *x, const char *image, const struct reference *ref, const char *path, struct err *e)
{
	struct argv load = { 0 }, tag = { 0 };
	autofree char *name = reference_text(ref, false), *id = NULL, *said = NULL;

	if (ref->digest) {
		json_array_append_new(x->contexts, json_sprintf("%s=container-image://dir:%s", image, path));
		return 0;
	}
	buildah_argv(x->b, &load, "pull");
	argv_add(&load, xstrdup("--quiet"));
	argv_add(&load, xasprintf("--signature-policy=%s/policy.json", x->b->dir));
	argv_add(&load, xasprintf("dir:%s", path));
	id = buildah_ask(x->b, &load, e);
	argv_fini(&load);
	if (!id)
		return -1;
	buildah_argv(x->b, &tag, "tag");
	argv_add(&tag, xstrdup(id));
	argv_add(&tag, xstrdup(name));
	said = buildah_ask(x->b, &tag, e);
	argv_fini(&tag);
	return said ? 0 : -1;
}

static int provide(struct build *x, const char *image, size_t number, struct err *e)
{
	autofree char *path = xasprintf("%s/base%zu", x->dir, number);
	autoreference ref = { 0 };
	char id[IMAGE_ID_MAX];
	autoclose int dir = -1;

	if (reference_parse(image, &ref, e) < 0)
		return err_prefix(e, "failed to parse %.200s", image);
	reference_default_tag(&ref);
	if (resolve(x, image, &ref, id, e) < 0)
		return -1;
	if (mkdir(path, 0700) || (dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return err_set(e, ERR_SYSTEM, errno, "%s", path);
	return write_image(x->b->o.images, dir, id, e) || hand_over(x, image, &ref, path, e) ? -1 : 0;
}

int bases_provide(struct build *x, const json_t *images, struct err *e)
{
	const json_t *image;
	size_t i;

	json_array_foreach(images, i, image) {
		if (provide(x, json_string_value(image), i, e) < 0)
			return -1;
	}
	return 0;
}
