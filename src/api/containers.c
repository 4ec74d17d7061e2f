/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /containers: operations that are one call of the engine. The engine knows Docker's bodies and texts. */
#include <limits.h>

#include "api/handlers.h"
#include "api/http.h"
#include "base/json.h"

#define TTY_SIZE_MAX 65535

static int done(struct request *r, unsigned status, int rc)
{
	return rc < 0 ? -1 : reply_empty(r, status);
}

int api_container_create(struct request *r, struct err *e)
{
	const json_t *body = body_json(r, false, e);

	if (!body)
		return -1;
	return reply_json(r, 201,
			  engine_container_create(r->engine, query_str(r, "name"), query_str(r, "platform"), body, e));
}

int api_container_list(struct request *r, struct err *e)
{
	autojson *filters = NULL;
	int64_t limit;

	if (query_filters(r, &filters, e) < 0 || query_int(r, "limit", 0, INT_MIN, INT_MAX, &limit, e) < 0)
		return -1;
	return reply_json(r, 200,
			  engine_container_list(r->engine, query_bool(r, "all", false), limit > 0 ? (int)limit : 0,
						query_bool(r, "size", false), filters, e));
}

int api_container_inspect(struct request *r, struct err *e)
{
	return reply_json(r, 200, engine_container_inspect(r->engine, r->param[0], query_bool(r, "size", false), e));
}

int api_container_start(struct request *r, struct err *e)
{
	if (query_str(r, "checkpoint"))
		return err_set(e, ERR_UNSUPPORTED, 0, "checkpoints are not supported");
	return done(r, 204, engine_container_start(r->engine, r->param[0], e));
}

int api_container_stop(struct request *r, struct err *e)
{
	int64_t timeout_s;

	if (query_int(r, "t", INT_MIN, -1, INT_MAX, &timeout_s, e) < 0)
		return -1;
	return done(r, 204, engine_container_stop(r->engine, r->param[0], query_str(r, "signal"), (int)timeout_s, e));
}

int api_container_restart(struct request *r, struct err *e)
{
	int64_t timeout_s;

	if (query_int(r, "t", INT_MIN, -1, INT_MAX, &timeout_s, e) < 0)
		return -1;
	return done(r, 204,
		    engine_container_restart(r->engine, r->param[0], query_str(r, "signal"), (int)timeout_s, e));
}

int api_container_kill(struct request *r, struct err *e)
{
	return done(r, 204, engine_container_kill(r->engine, r->param[0], query_str(r, "signal"), e));
}

int api_container_pause(struct request *r, struct err *e)
{
	return done(r, 204, engine_container_pause(r->engine, r->param[0], true, e));
}

int api_container_unpause(struct request *r, struct err *e)
{
	return done(r, 204, engine_container_pause(r->engine, r->param[0], false, e));
}

int api_container_rename(struct request *r, struct err *e)
{
	const char *name = query_str(r, "name");

	if (!name)
		return err_set(e, ERR_INVALID, 0, "Neither old nor new names may be empty");
	return done(r, 204, engine_container_rename(r->engine, r->param[0], name, e));
}

int api_container_resize(struct request *r, struct err *e)
{
	int64_t rows, cols;

	if (query_int(r, "h", 0, 0, TTY_SIZE_MAX, &rows, e) < 0 || query_int(r, "w", 0, 0, TTY_SIZE_MAX, &cols, e) < 0)
		return -1;
	return done(r, 200, engine_container_resize(r->engine, r->param[0], (int)rows, (int)cols, e));
}

int api_container_top(struct request *r, struct err *e)
{
	const char *ps_args = query_str(r, "ps_args");

	return reply_json(r, 200, engine_container_top(r->engine, r->param[0], ps_args ? ps_args : "-ef", e));
}

int api_container_update(struct request *r, struct err *e)
{
	const json_t *body = body_json(r, false, e);

	return body ? reply_json(r, 200, engine_container_update(r->engine, r->param[0], body, e)) : -1;
}

int api_container_prune(struct request *r, struct err *e)
{
	autojson *filters = NULL;

	if (query_filters(r, &filters, e) < 0)
		return -1;
	return reply_json(r, 200, engine_container_prune(r->engine, filters, e));
}

int api_container_remove(struct request *r, struct err *e)
{
	if (query_bool(r, "link", false))
		return err_set(e, ERR_UNSUPPORTED, 0,
			       "removing a link is not supported by Silo: remove the container that has it");
	return done(r, 204,
		    engine_container_remove(r->engine, r->param[0], query_bool(r, "force", false),
					    query_bool(r, "v", false), e));
}
