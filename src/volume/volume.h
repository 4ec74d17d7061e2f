/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Volumes of the local driver: a directory ROOT/volumes/NAME/_data and a record in the state database. The record
 * decides: a directory without one is what a crash has left, and goes at the next start. Thread-safe.
 */
#ifndef SILO_VOLUME_H
#define SILO_VOLUME_H

#include <jansson.h>
#include <stdbool.h>

#include "base/db.h"
#include "base/err.h"

#define VOLUME_NAME_MAX 200
#define VOLUME_ANONYMOUS_LABEL "com.docker.volume.anonymous"

struct volume_store;

/* root and db are borrowed, db for the life of the store. Sweeps what a crash has left. */
struct volume_store *volume_store_open(const char *root, struct db *db, struct err *e) must_check;
/* NULL allowed. Mounts of options stay: what still runs has them, and the mount namespace goes with its last process. */
void volume_store_close(struct volume_store *s);

/* Docker's rule and text for a volume's name. Pure. */
int volume_check_name(const char *name, struct err *e) must_check;
/* Docker's rule and texts for the local driver's options: type, o, device. options may be NULL. Pure. */
int volume_check_options(const json_t *options, struct err *e) must_check;

/*
 * Whoever decides by "is it in use?" and then acts, or makes a volume for a user that is already known, holds this
 * lock over both. Recursive.
 */
void volume_lock(struct volume_store *s);
void volume_unlock(struct volume_store *s);

struct volume_new {
	const char *name, *driver;      /* driver NULL or "" = local */
	const json_t *options, *labels; /* objects of strings, or NULL */
};
/**
 * volume_create - the volume of this name, made if it isn't there. *made tells which (may be NULL).
 *
 * New object as in GET /volumes/{name}. ERR_INVALID with "create NAME: ..."; ERR_NOT_FOUND: another driver.
 */
json_t *volume_create(struct volume_store *s, const struct volume_new *v, bool *made, struct err *e) must_check;
/* ERR_NOT_FOUND "get NAME: no such volume". New reference. */
json_t *volume_get(struct volume_store *s, const char *name, struct err *e) must_check;
/* All, by name: new array. */
json_t *volume_list(struct volume_store *s, struct err *e) must_check;
/* Nobody uses it: the caller has looked, with the lock held. */
int volume_remove(struct volume_store *s, const char *name, struct err *e) must_check;

/* ROOT/volumes/NAME/_data: heap string. */
char *volume_path(const struct volume_store *s, const char *name);
/* Before it is used: what its options ask for is mounted at its path, once. */
int volume_mount(struct volume_store *s, const char *name, struct err *e) must_check;
/* After a restart: what a process in another mount namespace has mounted there is mounted here as well, so that all users
 * of the volume go on having the same files. Nothing is done without options, or when it is mounted already. */
int volume_adopt(struct volume_store *s, const char *name, int mount_ns, struct err *e) must_check;
/* Nobody uses it any more: take that off again. */
void volume_unmount(struct volume_store *s, const char *name);

/* Bytes of files in it. */
int64_t volume_size(const struct volume_store *s, const char *name);

/**
 * volume_copy_up - fill an empty volume with what the image has at its place; one that isn't empty stays as it is.
 *
 * @from  directory of the image (an fd, borrowed). Its owner and mode become the volume's.
 */
int volume_copy_up(struct volume_store *s, const char *name, int from, struct err *e) must_check;

/* copy.c: the tree below from into the directory to: owners, modes, times, links, xattrs. Symlinks aren't followed. */
int copy_tree(int from, int to, struct err *e) must_check;

#endif
