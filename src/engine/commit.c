/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* docker commit. */
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/state.h"
#include "engine/talk.h"

/* Members of a container's config that belong into an image. */
static const char *const image_keys[] = {
	"User",   "ExposedPorts", "Env",         "Entrypoint", "Cmd",     "Volumes", "WorkingDir",
	"Labels", "StopSignal",   "StopTimeout", "OnBuild",    "Shell",   "Healthcheck", "ArgsEscaped",
};

/* "A=b": the members of `more` whose name isn't there yet. */
static json_t *merge_env(const json_t *first, const json_t *more)
{
	json_t *out = json_is_array(first) ? json_copy((json_t *)(uintptr_t)first) : json_array(), *v, *have;
	size_t i, k;

	json_array_foreach((json_t *)(uintptr_t)more, i, v) {
		const char *text = json_string_value(v);
		size_t n = strcspn(text, "=");
		bool known = false;

		json_array_foreach(out, k, have)
			known |= !strncmp(json_string_value(have), text, n) && json_string_value(have)[n] == '=';
		if (!known)
			json_array_append(out, v);
	}
	return out;
}

/* Docker's merge: what the request leaves open is the container's. */
static json_t *merge_value(const char *key, const json_t *given, json_t *own)
{
	bool empty = !given || json_is_null(given) || (json_is_string(given) && !*json_string_value(given)) ||
		     (json_is_array(given) && !json_array_size(given));

	if (!strcmp(key, "Env"))
		return merge_env(given, own);
	if (json_is_object(given) && json_is_object(own)) {
		json_t *both = json_copy(own);

		json_object_update(both, (json_t *)(uintptr_t)given);
		return both;
	}
	return json_incref(empty ? own : (json_t *)(uintptr_t)given);
}

static json_t *image_part(const json_t *given, const json_t *own)
{
	json_t *out = json_object();

	for (size_t i = 0; i < array_len(image_keys); i++) {
		const char *key = image_keys[i];
		json_t *mine = json_object_get(own, key), *theirs = json_member(given, key);

		/* An entrypoint of the request comes with its own command. */
		if (!strcmp(key, "Cmd") && !theirs && json_array_size(json_member(given, "Entrypoint")))
			continue;
		autojson *value = merge_value(key, theirs, mine);

		bool none = !value || json_is_null(value) || (json_is_string(value) && !*json_string_value(value)) ||
			    (json_is_object(value) && !json_object_size(value));

		if (!none)
			json_object_set(out, key, value);
	}
	return out;
}

static char *joined_command(const json_t *config)
{
	json_t *v;
	autostr text;
	size_t i;

	str_init(&text, 64 * KIB);
	json_array_foreach(json_object_get(config, "Cmd"), i, v) {
		str_puts(&text, i ? " " : "");
		str_puts(&text, json_string_value(v));
	}
	return str_take(&text);
}

static ssize_t read_layer(void *arg, void *data, size_t n, struct err *e)
{
	return talk_read(arg, data, n, e);
}

static int take_layer(struct engine *g, struct container *c, const struct image_derived *d,
		      char id[static IMAGE_ID_MAX], struct err *e)
{
	autojson *request = json_pack("{s:s}", "op", "layer");
	autojson *head = NULL;
	struct talk t;
	int rc;

	if (talk_open(&t, g, c, request, false, &head, e))
		return -1;
	rc = image_derive(g->images, d, read_layer, &t, id, e);
	talk_close(&t);
	return rc;
}

/* Frozen while its files are read, unless it was or needn't be. */
static int commit_frozen(struct engine *g, struct container *c, bool pause, const struct image_derived *d,
			 char id[static IMAGE_ID_MAX], struct err *e)
{
	struct err late = { 0 };
	bool frozen;
	int rc;

	pthread_mutex_lock(&c->lock);
	frozen = pause && c->state == LIFE_RUNNING;
	pthread_mutex_unlock(&c->lock);
	if (frozen && engine_container_pause(g, c->id, true, e)) {
		if (e->kind != ERR_CONFLICT) /* it has ended meanwhile, or somebody else has paused it */
			return -1;
		frozen = false;
	}
	rc = take_layer(g, c, d, id, e);
	if (frozen && engine_container_pause(g, c->id, false, &late) && !rc && late.kind != ERR_CONFLICT &&
	    late.kind != ERR_SYSTEM) {
		*e = late;
		return -1;
	}
	return rc;
}

json_t *engine_commit(struct engine *g, const struct commit_options *o, const json_t *body, struct err *e)
{
	autorecord *c = table_find(g, o->container, e);
	autojson *own = c ? record_config(c) : NULL;
	autojson *config = json_is_object(body) ? json_copy((json_t *)(uintptr_t)body) : json_object();
	char id[IMAGE_ID_MAX];

	if (!c)
		return NULL;
	autofree char *created_by = joined_command(own);
	autofree char *ref = o->repo ? xasprintf("%s%s%s", o->repo, o->tag ? ":" : "", o->tag ? o->tag : "") : NULL;
	autojson *changed = image_part(config, own);
	struct image_derived d = { .parent = c->image_id,
				   .ref = ref,
				   .config = changed,
				   .created_by = created_by,
				   .author = o->author,
				   .comment = o->comment };

	if (image_apply_changes(o->changes, changed, e) || commit_frozen(g, c, o->pause, &d, id, e))
		return NULL;
	container_event(g, c, "commit", "comment", o->comment ? o->comment : "", "imageID", id, "imageRef",
			ref ? ref : "", NULL);
	return json_pack("{s:s}", "Id", id);
}
