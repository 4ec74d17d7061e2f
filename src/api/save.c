/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* docker save and docker commit. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "api/http.h"
#include "base/json.h"
#include "base/own.h"

/* The head goes out with the first bytes: until then there may be an error to tell. */
static int write_archive(void *arg, const void *data, size_t n)
{
	struct request *r = arg;

	if (!r->streaming && stream_begin(r, "application/x-tar") < 0)
		return -1;
	return stream_write(r, data, n);
}

/* All values of a key that may come several times. */
static json_t *query_list(const struct request *r, const char *key)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->uri.n_query; i++)
		if (!strcmp(r->uri.query[i].key, key))
			json_array_append_new(list, json_string(r->uri.query[i].value));
	return list;
}

int api_image_save(struct request *r, struct err *e)
{
	autojson *names = query_list(r, "names");
	const char *text = query_str(r, "platform");
	autojson *platform = text ? json_parse(text, strlen(text), "platform", e) : NULL;
	int rc;

	if (text && !json_is_object(platform))
		return e->kind ? -1 : err_set(e, ERR_INVALID, 0, "platform: not an object");
	if (r->param[0])
		json_array_append_new(names, json_string(r->param[0]));
	rc = image_save(r->images, names, platform ? json_str(platform, "os", "") : NULL,
			platform ? json_str(platform, "architecture", "") : NULL, write_archive, r, e);
	/* A client must not take a part for the whole. */
	r->cut = rc < 0;
	return rc;
}

json_t *query_changes(const struct request *r)
{
	autojson *texts = query_list(r, "changes");
	json_t *changes = json_array(), *text;
	size_t i;

	json_array_foreach(texts, i, text) {
		autofree char *lines = xstrdup(json_string_value(text));
		char *save = NULL;

		for (char *line = strtok_r(lines, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
			json_array_append_new(changes, json_string(line));
	}
	return changes;
}

int api_commit(struct request *r, struct err *e)
{
	autojson *changes = query_changes(r);
	const struct commit_options o = { .container = query_str(r, "container"),
					  .repo = query_str(r, "repo"),
					  .tag = query_str(r, "tag"),
					  .author = query_str(r, "author"),
					  .comment = query_str(r, "comment"),
					  .changes = changes,
					  .pause = query_bool(r, "pause", true) };
	const json_t *body = body_json(r, true, e);

	if (e->kind)
		return -1;
	if (!o.container)
		return err_set(e, ERR_INVALID, 0, "bad parameter: container cannot be empty");
	return reply_json(r, 201, engine_commit(r->engine, &o, body, e));
}
