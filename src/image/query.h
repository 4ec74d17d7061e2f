/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SILO_IMAGE_QUERY_H
#define SILO_IMAGE_QUERY_H

#include <jansson.h>
#include <time.h>

/* The config of a row of image_row(); an object, never NULL. New reference. */
json_t *row_config(const json_t *row);
/* Its time of creation, zero when it has none. */
struct timespec config_created(const json_t *config);
/* Its labels, borrowed, or NULL. */
const json_t *config_labels(const json_t *config);

#endif
