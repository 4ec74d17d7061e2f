/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A ring of past events and those who wait for new ones. Thread-safe. */
#ifndef SILO_ENGINE_EVENTS_H
#define SILO_ENGINE_EVENTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"

#define EVENTS_KEPT 1024

struct events;

struct events *events_new(void);
void events_free(struct events *v);
/* Every blocked events_next() returns NULL from now on. */
void events_close(struct events *v);

/* Publish. attributes: borrowed, copied. */
void events_publish(struct events *v, const char *type, const char *action, const char *id, const json_t *attributes);

/* The number that the next event gets. */
uint64_t events_head(struct events *v);
/* Number of the oldest event not older than t. */
uint64_t events_since(struct events *v, struct timespec t);
/**
 * events_next - the event with number *seq, or the oldest kept after it; *seq becomes the following number.
 *
 * Waits at most timeout_ms. NULL: nothing came. New reference to an object that nobody changes.
 */
json_t *events_next(struct events *v, uint64_t *seq, int timeout_ms);

/* Check names (ERR_INVALID "invalid filter 'x'"); whether an event passes. Pure. filters may be NULL. */
int events_check_filters(const json_t *filters, struct err *e) must_check;
bool events_match(const json_t *event, const json_t *filters);

#endif
