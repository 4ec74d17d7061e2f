/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The Windows base as images of the store. */
#ifndef SILO_WINDOWS_IMAGES_H
#define SILO_WINDOWS_IMAGES_H

#include "base/err.h"
#include "image/image.h"
#include "windows/names.h"

#define WINDOWS_COMMENT "Windows base provided by Wine 10.0; no Microsoft layers"

/**
 * windows_image_add - put the image of this name into the store from the archives in base_dir.
 *
 * ERR_NOT_FOUND: they aren't there, or were made by another version of Silo. It doesn't matter whether the store has it.
 */
int windows_image_add(struct image_store *s, const char *base_dir, const char *lib_dir, const struct windows_name *name,
		      char id[static IMAGE_ID_MAX], struct err *e) must_check;

/**
 * windows_image_base - the same base for an image that lies over it, as image_store_options.windows_base gives it.
 *
 * ERR_NOT_FOUND as above.
 */
json_t *windows_image_base(const char *base_dir, const char *lib_dir, const struct windows_name *name,
			   struct err *e) must_check;

#endif
