/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an image archive says about itself: docker save's manifest.json, OCI's index and manifest. Pure. */
#ifndef SILO_IMAGE_MANIFEST_H
#define SILO_IMAGE_MANIFEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "image/digest.h"

#define MANIFEST_IMAGES_MAX 1000

/* One file of the archive. */
struct part {
	char *path;
	char digest[DIGEST_MAX]; /* "" = not known */
	int64_t bytes;           /* -1 = not known */
	bool foreign;            /* a layer that its maker doesn't want to be handed on */
	bool missing;            /* not in the archive */
	char *urls;              /* addresses of a layer, or NULL */
};

/* One image of the archive. */
struct source_image {
	struct part config;
	struct part *layers; /* lowest first */
	size_t n_layers;
	json_t *names;   /* normalised, with tag */
	json_t *sources; /* diff id -> descriptor of a foreign layer, or NULL */
	char *base_name; /* annotation: name of the image that it was built from, or NULL */
};

void part_fini(struct part *p);
void source_image_fini(struct source_image *i);

/* Whether a layer's descriptor says that it is foreign: by its media type, or because it has addresses. */
bool manifest_is_foreign(const json_t *descriptor);
/* Those addresses in one text, or NULL. */
char *manifest_urls(const json_t *descriptor);

/* One element of manifest.json. ERR_INVALID. */
int manifest_docker(const json_t *element, struct source_image *out, struct err *e) must_check;

/* A descriptor {"mediaType", "digest", "size"} as a file below blobs/. ERR_INVALID. */
int manifest_descriptor(const json_t *descriptor, struct part *out, struct err *e) must_check;
/* Whether a descriptor or document is an index (of OCI or Docker) rather than a manifest. */
bool manifest_is_index(const json_t *object);
/* The descriptor of an index for this platform (borrowed), of linux before that of windows, or NULL. architecture: Go's name, e.g. "amd64". */
const json_t *manifest_pick(const json_t *index, const char *architecture);
/* The normalised reference in the annotations of a descriptor: new string, or NULL where there is none. */
char *manifest_name(const json_t *descriptor);
/* An OCI image manifest. ERR_INVALID for artifacts that are no image. */
int manifest_oci(const json_t *manifest, struct source_image *out, struct err *e) must_check;

#endif
