/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Images in Microsoft's layer format. Their lowest layers are Microsoft's and may not be used here: Silo's own base takes
 * their place, and each other layer is converted into one over it (silo-unpack, mode "windows"). What the store gets is an
 * image like any other, with the feature WINDOWS_FORM_FEATURE in its config's os.features; saved and loaded again it
 * needs no conversion. The converted config names the one it came from, so that no image is converted twice.
 */
#ifndef SILO_IMAGE_WINDOWS_FORM_H
#define SILO_IMAGE_WINDOWS_FORM_H

#include "image/manifest.h"
#include "image/store.h"

/* Whether an image of this config has to be converted. */
bool windows_form_is(const json_t *config);

struct windows_form {
	json_t *base;      /* what image_store_options.windows_base gave */
	size_t n_base;     /* so many of the image's layers it stands for */
	char *found;       /* config of the image that this one has been converted to before, or NULL */
	int *blobs;        /* of the other layers, to be set by the caller; owned; -1 */
	size_t n_layers;   /* elements of blobs */
	json_t *notes;     /* lines for the user */
};

/**
 * windows_form_open - find out what the base stands for, and get it.
 *
 * @n    the image as its config describes it
 * @src  its manifest: which layers are foreign
 * ERR_INVALID, ERR_NOT_FOUND: with the reason for the user.
 */
int windows_form_open(struct image_store *s, const struct image_new *n, const struct source_image *src,
		      struct windows_form *out, struct err *e) must_check;
void windows_form_fini(struct windows_form *f);

/* Put the config text of f->found into *out, or convert from all blobs. The layers wait in the work directory. */
int windows_form_convert(struct work *w, struct windows_form *f, const struct image_new *n, struct image_new *out,
			 struct err *e) must_check;

#endif
