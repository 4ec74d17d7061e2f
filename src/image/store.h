/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside of the image store. The database is the truth: a directory in layers/ or a file in blobs/ that it doesn't
 * name is a leftover. What is new is made in tmp/<work>/ and moved in, under the commit lock, before the transaction
 * that records it ends; what is removed leaves the database first. So a crash leaves leftovers, never holes.
 */
#ifndef SILO_IMAGE_STORE_H
#define SILO_IMAGE_STORE_H

#include <pthread.h>
#include <stdint.h>

#include "image/add.h"
#include "image/digest.h"
#include "image/image.h"
#include "image/unpack.h"

#define IMAGE_JSON_MAX (4 * MIB) /* a config or manifest: the limit of registries */
#define IMAGE_LAYERS_MAX 125     /* Docker's "max depth" */

struct image_store {
	struct image_store_options o; /* its strings are owned */
	struct db *db;
	int blobs, layers, tmp; /* directories */
	pthread_mutex_t commit; /* held while layers/ and blobs/ change */
	struct {
		pthread_t thread;
		pthread_mutex_t lock; /* guards wanted and closing */
		pthread_cond_t wake;
		bool started, wanted, closing;
	} sync;
};

/* What may not be on disk yet; see sync.c. */
enum sync_kind { SYNC_LAYER, SYNC_DISK };
/* Remember in the database (inside the transaction that records the files) that they aren't on disk yet. */
int sync_pending(struct image_store *s, const char *chain, enum sync_kind kind, struct err *e) must_check;
/* After that transaction: write behind. */
void sync_wake(struct image_store *s);
/* Remove what was pending under another boot. Before the sweep of leftovers. */
int sync_recover(struct image_store *s, struct err *e) must_check;
int sync_start(struct image_store *s, struct err *e) must_check;
void sync_stop(struct image_store *s);

/* A directory of one operation below tmp/, removed with all that is left in it by work_close(). */
struct work {
	struct image_store *store;
	int fd;
	unsigned next; /* number of the next layer directory; atomic */
	char name[40];
};
#define autowork __attribute__((cleanup(work_close))) struct work

int work_open(struct image_store *s, const char *kind, struct work *w, struct err *e) must_check;
void work_close(struct work *w);

/* One layer of an image that is being made. */
struct layer {
	char diff_id[DIGEST_MAX];
	char chain[DIGEST_MAX];
	char blob[DIGEST_MAX]; /* digest of the blob as it came; "" = the store has the layer */
	int blob_fd;           /* the verified file, or -1 */
	uint64_t blob_bytes, file_bytes;
	bool placed;  /* image_commit() has moved it into the store */
	char dir[32]; /* in the work directory, holds diff/; "" = the store has the layer */
};

/* An image that is being made; all layers in order, lowest first. */
struct image_new {
	char id[DIGEST_MAX];
	char *config_text; /* exact bytes of the config: the id is their digest */
	json_t *config;
	const char *parent;                   /* id of the image that it was made from, or NULL; borrowed */
	const char *manifest, *manifest_type; /* exact bytes with which it came, or NULL; borrowed */
	struct layer *layers;
	size_t n_layers;
};
#define autoimage __attribute__((cleanup(image_new_fini))) struct image_new

/**
 * image_new_config - take over the text of a config: parse, check, digest it, and set the layers' diff ids and chains.
 *
 * @text  heap string of n bytes, taken. ERR_INVALID.
 */
int image_new_config(struct image_new *n, char *text, size_t bytes, struct err *e) must_check;
void image_new_fini(struct image_new *n);

/**
 * layer_unpack - run silo-unpack for one blob and verify what it says.
 *
 * @fd        the blob: a regular file, offset 0; read at once by the helper and by us. Where OCI has no word for its
 *            compression the blob that is kept is another one: l->blob_fd is replaced then
 * @growth    the file isn't complete yet; NULL: it is
 * @expected  digest of the blob that must come out, or ""
 * l->diff_id is compared when it isn't "", else set; l->blob and l->blob_bytes are found out, unless l->blob isn't "".
 * ERR_INVALID, ERR_LIMIT.
 */
int layer_unpack(struct work *w, int fd, const struct blob_growth *growth, const char *expected, struct layer *l,
		 struct err *e) must_check;
/* A file of the archive is complete. path: below the directory, clean. */
typedef void unpack_file_fn(void *arg, const struct unpack_file *f, const char *path);
/* Run silo-unpack over an archive from fd (read from its offset, may be a pipe) into the directory dir. */
int archive_unpack(struct image_store *s, int fd, int dir, unpack_file_fn *on_file, void *arg,
		   struct err *e) must_check;

/**
 * layer_convert - run silo-unpack's mode "windows" for one blob (regular file, offset 0) in the prepared directory dir.
 *
 * @notes    array that receives lines for the user
 * @diff_id  receives the digest of what the blob is uncompressed
 */
int layer_convert(struct image_store *s, int blob, int dir, json_t *notes, char diff_id[static DIGEST_MAX],
		  struct err *e) must_check;
/* Chain id of a layer over another one; parent NULL: it is the lowest. */
void layer_chain(const char *parent, const char *diff_id, char out[static DIGEST_MAX]);
/* Whether the store has the layer. */
bool layer_known(struct image_store *s, const char *chain);

/**
 * image_commit - record an image with its layers and make names refer to it. All or nothing, durable.
 *
 * @names  normalised "name:tag" strings; may be NULL
 * ERR_CONFLICT: a layer that was known has been removed meanwhile; try again.
 */
int image_commit(struct work *w, struct image_new *n, const json_t *names, struct err *e) must_check;

/* SQL: a row of image_layers that no image has. */
#define IMAGE_LAYER_UNUSED "chain NOT IN (SELECT chain FROM image_uses)"
/* Delete what no image uses any more. removed (may be NULL) receives the chain ids, topmost first; bytes likewise. */
int image_collect(struct image_store *s, json_t *removed, int64_t *bytes, struct err *e) must_check;

/* SQL: whether other images were made from this one by commit. */
#define IMAGE_HAS_CHILDREN(id) \
	"EXISTS (SELECT 1 FROM image_parents p JOIN images c ON c.id = p.image WHERE NOT c.hidden AND p.parent = " id ")"
bool image_has_children(struct image_store *s, const char *id);
/* Id of the image that it was made from; "" = none known. Heap string. */
char *image_parent(struct image_store *s, const char *id);

void image_notify(struct image_store *s, const char *action, const char *id, const char *name);

/* Row of an image that the user can see: {"id", "config", "size", "tagged_at"}; NULL with Docker's ERR_NOT_FOUND. */
json_t *image_row(struct image_store *s, const char *ref, struct err *e) must_check;
/* Normalised names of an image, sorted: tags, then digests. */
json_t *image_names(struct image_store *s, const char *id, struct err *e) must_check;
/* Rows {"chain", "diff_id", "blob", "blob_bytes", "file_bytes"} of an image's layers, lowest first. */
json_t *image_layers(struct image_store *s, const char *id, struct err *e) must_check;

/* Bytes of a regular file, at most max, as a heap string. */
char *read_bounded(int fd, size_t max, const char *what, size_t *n, struct err *e) must_check;

#endif
