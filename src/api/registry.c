/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What goes to registries: pull, push, login, search. Progress is streamed; an error before it has a status. */
#include "registry/registry.h"

#include <string.h>

#include "api/handlers.h"
#include "api/http.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"

#define SEARCH_LIMIT 25
#define SEARCH_LIMIT_MAX 100

/* What every call needs of the request. *auth owns what c borrows. */
static int client_of(struct request *r, struct registry_client *c, json_t **auth, struct err *e)
{
	*auth = registry_auth_parse(request_header(r, "X-Registry-Auth"), e);
	*c = (struct registry_client){ .auth = *auth, .progress = progress_line, .gone = progress_gone, .arg = r };
	return e->kind ? -1 : 0;
}

/* "x" and "latest", or "x" and "sha256:...": as the client splits it. Without a tag: all tags. */
int api_image_pull(struct request *r, struct err *e)
{
	const char *image = query_str(r, "fromImage"), *tag = query_str(r, "tag");
	const char *last = strrchr(image, '/') ? strrchr(image, '/') : image;
	bool whole = strpbrk(last, ":@");
	autofree char *ref = xasprintf("%s%s%s", image,
				       !tag                         ? ""
				       : str_starts(tag, "sha256:") ? "@"
								    : ":",
				       tag ? tag : "");
	struct registry_client c;
	autojson *auth = NULL;

	if (client_of(r, &c, &auth, e))
		return -1;
	return progress_end(
		r, registry_pull(engine_registry(r->engine), ref, query_str(r, "platform"), !tag && !whole, &c, e), 0,
		e);
}

int api_image_push(struct request *r, struct err *e)
{
	const char *tag = query_str(r, "tag");
	autofree char *ref = xasprintf("%s%s%s", r->param[0], tag ? ":" : "", tag ? tag : "");
	struct registry_client c;
	autojson *auth = NULL;

	if (query_str(r, "platform"))
		return err_set(e, ERR_UNSUPPORTED, 0,
			       "push --platform is not supported: an image here is of one platform");
	if (client_of(r, &c, &auth, e))
		return -1;
	return progress_end(r, registry_push(engine_registry(r->engine), ref, !tag, &c, e), 0, e);
}

int api_distribution(struct request *r, struct err *e)
{
	struct registry_client c;
	autojson *auth = NULL;

	if (client_of(r, &c, &auth, e))
		return -1;
	return reply_json(r, 200, registry_distribution(engine_registry(r->engine), r->param[0], &c, e));
}

int api_auth(struct request *r, struct err *e)
{
	const json_t *body = body_json(r, false, e);
	struct registry_client c = { .gone = progress_gone, .arg = r };
	json_t *answer = body ? registry_login(engine_registry(r->engine), body, &c, e) : NULL;

	if (!answer && e->kind == ERR_FORBIDDEN)
		return reply_error(r, 401, e->msg);
	return reply_json(r, 200, answer);
}

int api_image_search(struct request *r, struct err *e)
{
	const char *term = query_str(r, "term");
	struct registry_client c;
	autojson *auth = NULL;
	int64_t limit;

	if (!term)
		return err_set(e, ERR_INVALID, 0, "invalid search term: it is empty");
	if (query_str(r, "filters"))
		return err_set(e, ERR_UNSUPPORTED, 0, "filters of search are not supported");
	if (query_int(r, "limit", SEARCH_LIMIT, 1, SEARCH_LIMIT_MAX, &limit, e) || client_of(r, &c, &auth, e))
		return -1;
	return reply_json(r, 200, registry_search(engine_registry(r->engine), term, (int)limit, &c, e));
}
