/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/events.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/filter.h"

struct events {
	pthread_mutex_t lock;
	pthread_cond_t more;
	json_t *ring[EVENTS_KEPT]; /* number n at n % EVENTS_KEPT */
	uint64_t head;
	bool closed;
};

struct events *events_new(void)
{
	struct events *v = xcalloc(1, sizeof(*v));
	pthread_condattr_t attr;

	pthread_mutex_init(&v->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&v->more, &attr);
	pthread_condattr_destroy(&attr);
	return v;
}

void events_free(struct events *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < EVENTS_KEPT; i++)
		json_decref(v->ring[i]);
	pthread_cond_destroy(&v->more);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

void events_close(struct events *v)
{
	pthread_mutex_lock(&v->lock);
	v->closed = true;
	pthread_cond_broadcast(&v->more);
	pthread_mutex_unlock(&v->lock);
}

/* The object with the members of today (Type, Action, Actor) and those that old clients read (status, id, from). */
static json_t *make_event(const char *type, const char *action, const char *id, const json_t *attributes,
			  struct timespec now)
{
	json_t *copy = attributes ? json_copy((json_t *)(uintptr_t)attributes) : json_object();
	const char *from = json_str(copy, strcmp(type, "image") == 0 ? "name" : "image", "");
	json_t *event = json_object();

	if (strcmp(type, "container") == 0 || strcmp(type, "image") == 0) {
		json_object_set_new(event, "status", json_string(action));
		json_object_set_new(event, "id", json_string(id));
		if (*from && strcmp(type, "container") == 0)
			json_object_set_new(event, "from", json_string(from));
	}
	json_object_set_new(event, "Type", json_string(type));
	json_object_set_new(event, "Action", json_string(action));
	json_object_set_new(event, "Actor", json_pack("{s:s, s:o}", "ID", id, "Attributes", copy));
	json_object_set_new(event, "scope", json_string("local"));
	json_object_set_new(event, "time", json_integer(now.tv_sec));
	json_object_set_new(event, "timeNano", json_integer((json_int_t)now.tv_sec * 1000000000 + now.tv_nsec));
	return event;
}

void events_publish(struct events *v, const char *type, const char *action, const char *id, const json_t *attributes)
{
	json_t *event = make_event(type, action, id, attributes, time_now()), *old;

	pthread_mutex_lock(&v->lock);
	old = v->ring[v->head % EVENTS_KEPT];
	v->ring[v->head++ % EVENTS_KEPT] = event;
	pthread_cond_broadcast(&v->more);
	pthread_mutex_unlock(&v->lock);
	json_decref(old);
}

static uint64_t oldest(const struct events *v)
{
	return v->head > EVENTS_KEPT ? v->head - EVENTS_KEPT : 0;
}

uint64_t events_head(struct events *v)
{
	uint64_t n;

	pthread_mutex_lock(&v->lock);
	n = v->head;
	pthread_mutex_unlock(&v->lock);
	return n;
}

uint64_t events_since(struct events *v, struct timespec t)
{
	json_int_t nano = (json_int_t)t.tv_sec * 1000000000 + t.tv_nsec;
	uint64_t n;

	pthread_mutex_lock(&v->lock);
	for (n = oldest(v); n < v->head && json_int(v->ring[n % EVENTS_KEPT], "timeNano", 0) < nano; n++)
		;
	pthread_mutex_unlock(&v->lock);
	return n;
}

json_t *events_next(struct events *v, uint64_t *seq, int timeout_ms)
{
	struct timespec until;
	json_t *event = NULL;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&v->lock);
	while (*seq >= v->head && !v->closed && rc == 0)
		rc = pthread_cond_timedwait(&v->more, &v->lock, &until);
	if (*seq < v->head) {
		if (*seq < oldest(v))
			*seq = oldest(v);
		event = json_incref(v->ring[(*seq)++ % EVENTS_KEPT]);
	}
	pthread_mutex_unlock(&v->lock);
	return event;
}

static const char *const known_filters[] = { "container", "image",  "type",   "event",	"label", "scope",  "daemon", "network",
					     "volume",	  "plugin", "config", "secret", "node",	 "service", NULL };

int events_check_filters(const json_t *filters, struct err *e)
{
	autojson *f = filters_parse(filters, known_filters, e);

	return f ? 0 : -1;
}

/* Object filters: the id (or a prefix), or the name attribute. */
static bool actor_matches(const json_t *event, const json_t *f, const char *type)
{
	const json_t *actor = json_object_get(event, "Actor"), *attributes = json_object_get(actor, "Attributes");
	const char *id = json_str(actor, "ID", ""), *name = json_str(attributes, "name", "");

	if (!filters_has(f, type))
		return true;
	if (strcmp(type, "image") == 0 && filters_exact(f, type, json_str(attributes, "image", "")))
		return true;
	return strcmp(json_str(event, "Type", ""), type) == 0 &&
	       (filters_prefix(f, type, id) || filters_exact(f, type, name));
}

bool events_match(const json_t *event, const json_t *filters)
{
	static const char *const actors[] = { "container", "image", "network", "volume", "daemon", "plugin" };
	autojson *f = filters_parse(filters, known_filters, NULL);
	const char *action = json_str(event, "Action", ""), *colon = strchr(action, ':');
	autofree char *verb = xstrndup(action, colon ? (size_t)(colon - action) : strlen(action));

	for (size_t i = 0; i < array_len(actors); i++) {
		if (!actor_matches(event, f, actors[i]))
			return false;
	}
	return filters_exact(f, "type", json_str(event, "Type", "")) &&
	       (filters_exact(f, "event", action) || filters_exact(f, "event", verb)) &&
	       filters_exact(f, "scope", json_str(event, "scope", "")) &&
	       filters_labels(f, "label", json_object_get(json_object_get(event, "Actor"), "Attributes"));
}
