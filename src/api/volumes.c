/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /volumes */
#include "api/handlers.h"
#include "api/http.h"
#include "base/json.h"

int api_volume_list(struct request *r, struct err *e)
{
	autojson *filters = NULL;

	return query_filters(r, &filters, e) < 0 ? -1 : reply_json(r, 200, engine_volume_list(r->engine, filters, e));
}

int api_volume_create(struct request *r, struct err *e)
{
	const json_t *body = body_json(r, false, e);

	return body ? reply_json(r, 201, engine_volume_create(r->engine, body, e)) : -1;
}

int api_volume_inspect(struct request *r, struct err *e)
{
	return reply_json(r, 200, engine_volume_inspect(r->engine, r->param[0], e));
}

int api_volume_remove(struct request *r, struct err *e)
{
	if (engine_volume_remove(r->engine, r->param[0], query_bool(r, "force", false), e) < 0)
		return -1;
	return reply_empty(r, 204);
}

int api_volume_prune(struct request *r, struct err *e)
{
	autojson *filters = NULL;

	return query_filters(r, &filters, e) < 0 ? -1 : reply_json(r, 200, engine_volume_prune(r->engine, filters, e));
}
