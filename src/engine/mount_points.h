/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A container's mount points. They are made from the request once, at create, and kept in its HostConfig document under
 * MOUNT_POINTS, a key that no request can set and that inspect leaves out. Each is an object with the members that
 * inspect shows (Type, Name, Source, Destination, Driver, Mode, RW, Propagation) and lower-case ones of our own: make,
 * nocopy, anonymous, nonrecursive, plain_ro (bool), subpath, options (string), volume_options, labels.
 */
#ifndef SILO_ENGINE_MOUNT_POINTS_H
#define SILO_ENGINE_MOUNT_POINTS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

#define MOUNT_POINTS "MountPoints"

struct engine;
struct container;

/* --- mount_parse.c: pure, apart from a look whether the source of --mount type=bind is there --- */
/* "[src:]dst[:mode]" of -v, with Docker's texts. New point, or NULL. */
json_t *mount_parse_bind(const char *text, const char *driver, struct err *e) must_check;
/* One element of HostConfig.Mounts. */
json_t *mount_parse_spec(const json_t *mount, struct err *e) must_check;
/* The volume of an image's VOLUME or of -v /dst. */
json_t *mount_anonymous(const char *destination, const char *driver);

/* --- mount_points.c --- */
/* Read the request: points of --volumes-from, Binds, Mounts, Volumes into c->host. Makes nothing. */
int mounts_resolve(struct engine *g, struct container *c, struct err *e) must_check;
/* Make what is missing: sources of -v, volumes, their first content. c is in the table already. */
int mounts_prepare(struct engine *g, struct container *c, struct err *e) must_check;
/* Before each start: volumes with options are mounted. */
int mounts_activate(struct engine *g, struct container *c, struct err *e) must_check;
/* A daemon that has been restarted takes over the volumes that the monitor of a running container still has mounted.
 * parent_of: a child of that monitor. */
void mounts_adopt(struct engine *g, struct container *c, pid_t parent_of);
/* The events "mount" and "unmount" of its volumes. */
void mounts_event(struct engine *g, struct container *c, const char *action);
/* After each end, and after the removal: nobody else uses them? then they are unmounted. */
void mounts_release(struct engine *g, struct container *c);
/* `docker rm -v` and --rm: the container's anonymous volumes go with it. It has left the table. */
void mounts_remove_anonymous(struct engine *g, struct container *c);
/* Ids of the containers that have this volume: new array. */
json_t *mounts_users(struct engine *g, const char *volume);
/* As inspect shows them: new array. host: the container's document. */
json_t *mounts_shown(const json_t *host);

#endif
