/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names of images: [domain[:port]/]path[:tag][@sha256:hex]. Kept normalised ("docker.io/library/alpine"), shown short
 * ("alpine"). Pure. Source: distribution's reference grammar and Docker's normalisation of it.
 */
#ifndef SILO_IMAGE_REFERENCE_H
#define SILO_IMAGE_REFERENCE_H

#include <stdbool.h>

#include "base/err.h"

#define REFERENCE_MAX 512 /* bytes of a whole reference */

struct reference {
	char *name;   /* domain and path */
	char *tag;    /* or NULL */
	char *digest; /* "sha256:...", or NULL */
};

#define autoreference __attribute__((cleanup(reference_fini))) struct reference

/**
 * reference_parse - take a reference apart and normalise it. No tag is added.
 *
 * ERR_INVALID with Docker's text ("invalid reference format", ...); *out is then empty. reference_fini() on success.
 */
int reference_parse(const char *text, struct reference *out, struct err *e) must_check;
void reference_fini(struct reference *r);
/* Replace the tag; NULL = none. */
void reference_set_tag(struct reference *r, const char *tag);
/* Where there is neither tag nor digest: "latest". */
void reference_default_tag(struct reference *r);
/* Heap string "name[:tag][@digest]"; familiar: as users write it, without docker.io/ and library/. */
char *reference_text(const struct reference *r, bool familiar);
/* The familiar form of a normalised text, borrowed from it. */
const char *reference_familiar(const char *normalised);
bool reference_tag_valid(const char *tag);

#endif
