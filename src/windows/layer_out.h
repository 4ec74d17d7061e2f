/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tar that is being written: buffered, every write can fail. */
#ifndef SILO_WINDOWS_LAYER_OUT_H
#define SILO_WINDOWS_LAYER_OUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/tar.h"

struct layer_out;

/* A new file in the directory dir. */
struct layer_out *layer_out_new(int dir, const char *name, struct err *e) must_check;
void layer_out_free(struct layer_out *o); /* NULL allowed */
int layer_out_entry(struct layer_out *o, const struct tar_entry *t, struct err *e) must_check;
int layer_out_data(struct layer_out *o, const void *data, size_t n, struct err *e) must_check;
int layer_out_zeros(struct layer_out *o, uint64_t n, struct err *e) must_check;
int layer_out_padding(struct layer_out *o, uint64_t size, struct err *e) must_check;
int layer_out_finish(struct layer_out *o, struct err *e) must_check;

#endif
