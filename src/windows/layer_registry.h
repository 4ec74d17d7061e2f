/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The registry of a layer: Wine's files of the layers below, with the layer's deltas over them. */
#ifndef SILO_WINDOWS_LAYER_REGISTRY_H
#define SILO_WINDOWS_LAYER_REGISTRY_H

#include "base/tar.h"
#include "windows/hive.h"
#include "windows/layer_out.h"

struct layer_registry;

/* below: the root file system below the layer, borrowed, or -1. */
struct layer_registry *layer_registry_new(int below);
void layer_registry_free(struct layer_registry *r);
/**
 * layer_registry_add - one file of Hives/, the reader's current entry.
 *
 * @links  receives how many symbolic links of the registry were left out
 * Returns 1, 0 for a file that isn't one of the five hives, or -1 with *e.
 */
int layer_registry_add(struct layer_registry *r, const char *name, const struct tar_entry *t, struct tar_reader *reader,
		       size_t *links, struct err *e) must_check;
/* The bytes of the reader's current entry, at most HIVE_BYTES_MAX: heap. */
uint8_t *layer_registry_read(const struct tar_entry *t, struct tar_reader *reader, struct err *e) must_check;
/**
 * layer_registry_profile - the hive of the container's user (NTUSER.DAT), a whole one.
 *
 * What is Windows' own in it (HKEY_CURRENT_USER\Software\Microsoft and the like) stays Wine's.
 */
int layer_registry_profile(struct layer_registry *r, const uint8_t *data, size_t n, size_t *links,
			   struct err *e) must_check;
/* Write the files that have changed. */
int layer_registry_finish(struct layer_registry *r, struct layer_out *out, struct err *e) must_check;

#endif
