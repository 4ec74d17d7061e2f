/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images of one layer that Silo makes itself: import and the base image. */
#ifndef SILO_IMAGE_MAKE_H
#define SILO_IMAGE_MAKE_H

#include "image/store.h"

struct make {
	const char *name;     /* normalised reference, or NULL */
	const json_t *config; /* the config's "config" member: Cmd, Env, ... */
	const char *created;  /* RFC 3339 */
	const char *created_by;
	const char *comment;
	const char *platform; /* "os/architecture[/variant]" or "architecture"; NULL = this machine's */
	const char *action;   /* of the event: "import", or NULL for none */
};

/* Copy what source gives into a new file of the work directory, bounded by the free space. Returns its fd, or -1. */
int make_spool_from(struct work *w, image_source_fn *source, void *arg, struct err *e) must_check;
/* Copy what fd gives into a new file of the work directory, bounded by the free space. Returns its fd, or -1. */
int make_spool(struct work *w, int fd, struct err *e) must_check;
/* Unpack a root file system tar (regular file) and record it as an image. */
int make_image(struct work *w, int tar, const struct make *m, char id[static IMAGE_ID_MAX], struct err *e) must_check;

/**
 * changes_apply - carry out Dockerfile instructions (CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER,
 * VOLUME, WORKDIR) on a config. Pure.
 *
 * @changes  array of strings, may be NULL; config  object, changed in place. ERR_INVALID.
 */
int changes_apply(const json_t *changes, json_t *config, struct err *e) must_check;

/* Go's name of this machine ("amd64"). */
const char *architecture_name(void);

#endif
