/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An image that comes into the store piece by piece, as a pull brings it: the config first, then the layers that the
 * store doesn't have (in any order, several threads at once), then names and manifest. Nothing is seen of it before
 * image_add_finish(), nothing is left of it after image_add_free() without that.
 *
 * Every blob is kept as it came in ROOT/blobs/sha256 as long as an image has the layer, and the manifest's exact bytes
 * with it: a push or `docker save` gives back what was pulled. A layer that the store had before keeps the blob with
 * which it came first; so a manifest may name blobs that the store hasn't: image_manifests() says which.
 */
#ifndef SILO_IMAGE_ADD_H
#define SILO_IMAGE_ADD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "image/image.h"

struct image_add;

/* kind: a word for the names of work directories ("pull"). NULL with *e. */
struct image_add *image_add_new(struct image_store *s, const char *kind, struct err *e) must_check;
void image_add_free(struct image_add *a); /* NULL allowed */
/* Directory of this operation below ROOT/tmp, for downloads; borrowed. It goes with a, and at the next start of silod
 * at the latest. */
int image_add_dir(const struct image_add *a);

/**
 * image_add_config - the image's config.
 *
 * @text  heap string of n bytes, taken. Its digest is the image's id; the caller compares it with its manifest.
 * ERR_INVALID: no image config, too many layers, or an operating system that can't be.
 */
int image_add_config(struct image_add *a, char *text, size_t n, struct err *e) must_check;
struct source_image;
/**
 * image_add_source - after the config: what the manifest says of the layers.
 *
 * An image in Microsoft's layer format is converted on the way: its id becomes another one, and the layers of its base
 * are not wanted. ERR_INVALID, ERR_NOT_FOUND: why it can't be.
 */
int image_add_source(struct image_add *a, const struct source_image *src, struct err *e) must_check;
/* Lines for the user that are new since the last call: new array. */
json_t *image_add_notes(struct image_add *a);
const char *image_add_id(const struct image_add *a);
size_t image_add_layer_count(const struct image_add *a);
const char *image_add_diff_id(const struct image_add *a, size_t i);
/* Whether the store needs the blob of layer i. */
bool image_add_wants(const struct image_add *a, size_t i);

/* A blob that is still being written, at the end of its file only. */
struct blob_growth {
	/* Wait until more than `have` bytes are there. Returns how many; have: that is all; -1 with *e: no more come. */
	int64_t (*wait)(void *arg, int64_t have, struct err *e);
	void *arg;
};

/**
 * image_add_layer - unpack layer i and verify the blob's digest and the layer's diff id.
 *
 * @fd        the blob: a regular file of this file system (it is linked into the store), offset 0; plain tar, gzip or
 *            zstd. Duplicated.
 * @growth    unpack while the file grows; NULL: it is complete
 * @expected  digest of the blob, or "" where the source names none
 * Safe to call from several threads for different layers. ERR_INVALID, ERR_LIMIT.
 */
int image_add_layer(struct image_add *a, size_t i, int fd, const struct blob_growth *growth, const char *expected,
		    struct err *e) must_check;

/**
 * image_add_finish - record the image with its layers, durably, all or nothing.
 *
 * @names     normalised references that shall mean it: "docker.io/library/x:tag" and, for RepoDigests,
 *            "docker.io/library/x@sha256:..."; a name that another image had moves. May be NULL.
 * @manifest  exact bytes of the manifest, or NULL; media_type: its type
 * ERR_CONFLICT: a layer that wasn't wanted has been removed meanwhile: try again from image_add_wants() on.
 * The event (pull, load) is the caller's.
 */
int image_add_finish(struct image_add *a, const json_t *names, const char *manifest, const char *media_type,
		     struct err *e) must_check;

/* --- content, for push and save -------------------------------------------------------------------------------- */
/* Rows {"chain", "diff_id", "blob" (its digest), "blob_bytes", "file_bytes", "media_type"} of an image's layers, lowest
 * first. media_type: of OCI, by what the blob is: ...layer.v1.tar, +gzip or +zstd. */
json_t *image_content_layers(struct image_store *s, const char *id, struct err *e) must_check;
/* The exact bytes of the config, heap string: its digest is id. */
char *image_content_config(struct image_store *s, const char *id, struct err *e) must_check;
/* Manifests with which the image came: array of {"digest", "media_type", "text", "complete": the store has all the
 * blobs that it names}. */
json_t *image_manifests(struct image_store *s, const char *id, struct err *e) must_check;
/* Normalised names "repository@digest" of images with this layer: where it came from, or was pushed to. New array. */
json_t *image_layer_names(struct image_store *s, const char *diff_id, struct err *e) must_check;
/* Open a blob for reading. ERR_NOT_FOUND. What is open stays readable whatever is removed. */
int image_blob_open(struct image_store *s, const char *digest, struct err *e) must_check;

#endif
