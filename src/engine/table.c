/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "base/str.h"
#include "engine/state.h"

/* With g->lock held: by name, full id, unique prefix of the id. NULL with *e. Borrowed. */
static struct container *find_locked(struct engine *g, const char *ref, struct err *e)
{
	const char *name = *ref == '/' ? ref + 1 : ref;
	struct container *found = NULL;
	size_t n = strlen(ref);

	for (size_t i = 0; i < g->n_containers; i++) {
		if (strcmp(g->containers[i]->id, ref) == 0)
			return g->containers[i];
	}
	for (size_t i = 0; i < g->n_containers; i++) {
		if (strcmp(g->containers[i]->name, name) == 0)
			return g->containers[i];
	}
	for (size_t i = 0; i < g->n_containers && n > 0; i++) {
		if (strncmp(g->containers[i]->id, ref, n) != 0)
			continue;
		if (found) {
			err_set(e, ERR_INVALID, 0, "multiple IDs found with provided prefix: %s", ref);
			return NULL;
		}
		found = g->containers[i];
	}
	if (!found)
		err_set(e, ERR_NOT_FOUND, 0, "No such container: %s", ref);
	return found;
}

struct container *table_find(struct engine *g, const char *ref, struct err *e)
{
	struct container *c;

	pthread_mutex_lock(&g->lock);
	c = find_locked(g, ref, e);
	if (c)
		record_get(c);
	pthread_mutex_unlock(&g->lock);
	return c;
}

/* With g->lock held. */
static int check_name(struct engine *g, const char *name, struct err *e)
{
	for (size_t i = 0; i < g->n_containers; i++) {
		if (strcmp(g->containers[i]->name, name) == 0)
			return err_set(e, ERR_CONFLICT, 0,
				       "Conflict. The container name \"/%s\" is already in use by container \"%s\". "
				       "You have to "
				       "remove (or rename) that container to be able to reuse that name.",
				       name, g->containers[i]->id);
	}
	return 0;
}

int table_add(struct engine *g, struct container *c, struct err *e)
{
	int rc;

	pthread_mutex_lock(&g->lock);
	rc = check_name(g, c->name, e);
	if (rc == 0) {
		if (g->n_containers == g->cap_containers) {
			g->cap_containers = g->cap_containers ? 2 * g->cap_containers : 16;
			g->containers = xrealloc(g->containers, g->cap_containers * sizeof(g->containers[0]));
		}
		g->containers[g->n_containers++] = record_get(c);
	}
	pthread_mutex_unlock(&g->lock);
	return rc;
}

void table_remove(struct engine *g, struct container *c)
{
	bool found = false;

	pthread_mutex_lock(&g->lock);
	for (size_t i = 0; i < g->n_containers; i++) {
		if (found)
			g->containers[i - 1] = g->containers[i];
		else
			found = g->containers[i] == c;
	}
	if (found)
		g->n_containers--;
	pthread_mutex_unlock(&g->lock);
	if (found)
		record_put(c);
}

int table_rename(struct engine *g, struct container *c, const char *name, struct err *e)
{
	int rc;

	pthread_mutex_lock(&g->lock);
	rc = check_name(g, name, e);
	if (rc == 0)
		rc = record_rename(g->db, c->id, name, e);
	if (rc == 0) {
		pthread_mutex_lock(&c->lock);
		free(c->name);
		c->name = xstrdup(name);
		pthread_mutex_unlock(&c->lock);
	}
	pthread_mutex_unlock(&g->lock);
	return rc;
}

static int newest_first(const void *a, const void *b)
{
	const struct container *x = *(struct container *const *)a, *y = *(struct container *const *)b;

	return (x->created_ns < y->created_ns) - (x->created_ns > y->created_ns);
}

struct container **table_all(struct engine *g)
{
	struct container **list;

	pthread_mutex_lock(&g->lock);
	list = xcalloc(g->n_containers + 1, sizeof(*list));
	for (size_t i = 0; i < g->n_containers; i++)
		list[i] = record_get(g->containers[i]);
	qsort(list, g->n_containers, sizeof(*list), newest_first);
	pthread_mutex_unlock(&g->lock);
	return list;
}

void table_free_list(struct container **list)
{
	for (size_t i = 0; list && list[i]; i++)
		record_put(list[i]);
	free(list);
}

static struct exec *exec_of(struct container *c, const char *exec_id)
{
	struct exec *x;

	pthread_mutex_lock(&c->lock);
	for (x = c->execs; x && strcmp(x->id, exec_id) != 0; x = x->next)
		;
	if (x)
		atomic_fetch_add(&x->refs, 1);
	pthread_mutex_unlock(&c->lock);
	return x;
}

struct exec *table_find_exec(struct engine *g, const char *exec_id, struct container **c, struct err *e)
{
	struct exec *x = NULL;

	pthread_mutex_lock(&g->lock);
	for (size_t i = 0; i < g->n_containers && !x; i++) {
		x = exec_of(g->containers[i], exec_id);
		if (x)
			*c = record_get(g->containers[i]);
	}
	pthread_mutex_unlock(&g->lock);
	if (!x)
		err_set(e, ERR_NOT_FOUND, 0, "No such exec instance: %s", exec_id);
	return x;
}
