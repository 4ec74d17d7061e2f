/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The image store: references, configs, layers unpacked once per chain. Thread-safe. Refers to images by reference
 * (name[:tag][@digest], Docker's normalisation: docker.io/library/... is shown short) or by (unique prefix of the) id.
 */
#ifndef SILO_IMAGE_H
#define SILO_IMAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/db.h"
#include "base/err.h"

struct image_store;

#define IMAGE_ID_MAX 80 /* "sha256:" + 64 hex + NUL */

/* One line of progress, already in Docker's JSON form ({"stream": "..."} or {"status": ...}); borrowed. Returns
 * non-zero to cancel (client gone). */
typedef int image_progress_fn(void *arg, const json_t *line);
/* A change worth an event: action "load", "import", "tag", "untag", "delete"; id "sha256:..."; name the reference. */
typedef void image_event_fn(void *arg, const char *action, const char *id, const char *name);

struct image_store_options {
	const char *root;        /* /var/lib/silo: uses blobs/, layers/, tmp/ below it */
	const char *unpack_path; /* program silo-unpack: the helper that owns nothing but the target directory */
	image_event_fn *event;
	void *event_arg;
	/* The containers that use the image: array of {"id", "running": bool}, or of ids (then taken as stopped); new
	 * reference. Called without a lock of the store held. */
	json_t *(*users)(void *arg, const char *image_id);
	void *users_arg;
	/* What takes the place of Microsoft's base below a Windows image: {"diff_ids", "archives": [path], "history",
	 * "comment"}, lowest first. hint: addresses that the lower layers came from. NULL with *e: why the image can't be
	 * used. Without it no Windows image comes in that isn't Silo's own. */
	json_t *(*windows_base)(void *arg, const json_t *config, const char *hint, struct err *e);
	void *windows_arg;
};

/* In os.features of a config: the layers are over Silo's Windows base. */
#define WINDOWS_FORM_FEATURE "silo.wine"
/* Member of a config: id of the image in Microsoft's format that it was made from. */
#define WINDOWS_FORM_SOURCE "silo.source"

/* Opens or creates; removes what an interrupted operation left behind. */
struct image_store *image_store_open(const struct image_store_options *o, struct db *db, struct err *e) must_check;
void image_store_close(struct image_store *s);

/* ERR_NOT_FOUND "No such image: REF". */
int image_resolve(struct image_store *s, const char *ref, char id[static IMAGE_ID_MAX], struct err *e) must_check;
/* The OCI image config (architecture, os, config, rootfs, history). New reference. */
json_t *image_config(struct image_store *s, const char *id, struct err *e) must_check;
/* Host directories of the unpacked layers, topmost first, whiteouts in overlayfs form. New array of strings. */
json_t *image_layer_dirs(struct image_store *s, const char *id, struct err *e) must_check;
/* Path of the EROFS image of all layers merged, lower-case content-addressed by chain id; built at the first call
 * (mkfs.erofs), callers of the same chain wait for the one build. Heap string. */
char *image_erofs(struct image_store *s, const char *id, struct err *e) must_check;

/* Bodies of the Engine API. New references. */
json_t *image_list(struct image_store *s, bool all, const json_t *filters, bool digests, struct err *e) must_check;
json_t *image_inspect(struct image_store *s, const char *ref, struct err *e) must_check; /* GET /images/{name}/json */
json_t *image_history(struct image_store *s, const char *ref, struct err *e) must_check;
json_t *image_remove(struct image_store *s, const char *ref, bool force, bool noprune, struct err *e) must_check;
json_t *image_prune(struct image_store *s, const json_t *filters, struct err *e) must_check;
json_t *image_disk_usage(struct image_store *s, struct err *e) must_check; /* {"LayersSize": n, "Images": [...]} */
int image_tag(struct image_store *s, const char *source, const char *repo, const char *tag, struct err *e) must_check;

/* docker load: docker-archive or OCI layout from fd (a pipe or file), compressed or not. All or nothing per image. */
int image_load(struct image_store *s, int fd, bool quiet, image_progress_fn *progress, void *arg,
	       struct err *e) must_check;
/* docker import: one root file system tar from fd. changes: array of Dockerfile instructions (CMD, ENV, ...).
 * ref, message and platform ("os/architecture") may be NULL. */
int image_import(struct image_store *s, int fd, const char *ref, const json_t *changes, const char *message,
		 const char *platform, char id[static IMAGE_ID_MAX], struct err *e) must_check;
/* What docker commit says of the image to be made. */
struct image_derived {
	const char *parent;     /* id of the image that the layer belongs on */
	const char *ref;        /* name[:tag], or NULL */
	const json_t *config;   /* the new config's "config" member */
	const char *created_by; /* the step in the history */
	const char *author, *comment;
};
/* Bytes of a layer's tar: their number, 0 at the end, -1 with *e. */
typedef ssize_t image_source_fn(void *arg, void *data, size_t n, struct err *e);
/* docker commit: an image of the parent's layers and one more. No layer is added for an empty tar. */
int image_derive(struct image_store *s, const struct image_derived *d, image_source_fn *source, void *arg,
		 char id[static IMAGE_ID_MAX], struct err *e) must_check;
/* Carry out Dockerfile instructions (array of strings, may be NULL) on a config's "config" member. ERR_INVALID. */
int image_apply_changes(const json_t *changes, json_t *config, struct err *e) must_check;

/* What fd gives, decompressed by the helper process: read it from *out, close that, then end it: waits;
 * ERR_INVALID when fd's bytes weren't complete and good. To be ended by the thread that made it. */
struct image_inflate;
struct image_inflate *image_inflate_new(struct image_store *s, int fd, int *out, struct err *e) must_check;
int image_inflate_end(struct image_inflate *x, struct err *e);

/* Takes bytes; non-zero: nobody wants more. */
typedef int image_sink_fn(void *arg, const void *data, size_t n);
/**
 * image_save - docker save: one archive that is both an OCI layout and a docker-archive. Blobs are as they came.
 *
 * @refs  array of names (without tag: all tags of the repository) and ids; at least one
 * @os, @architecture  NULL, or the platform that every image must have
 * Nothing has been written when it fails with ERR_NOT_FOUND, ERR_INVALID.
 */
int image_save(struct image_store *s, const json_t *refs, const char *os, const char *architecture, image_sink_fn *sink,
	       void *arg, struct err *e) must_check;

/* Unpack the context of a build, tar from fd, into the empty directory path, by the same helper as layers. */
int image_unpack_context(struct image_store *s, int fd, const char *path, struct err *e) must_check;
/* Make silo/base:latest from the host's static busybox where it doesn't exist yet. busybox_path: e.g. /bin/busybox. */
int image_make_base(struct image_store *s, const char *busybox_path, struct err *e) must_check;

#endif
