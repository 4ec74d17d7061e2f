/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /networks */
#include <stdio.h>
#include <string.h>

#include "api/handlers.h"
#include "api/http.h"
#include "base/json.h"
#include "base/str.h"

int api_network_list(struct request *r, struct err *e)
{
	autojson *filters = NULL;

	if (query_filters(r, &filters, e) < 0)
		return -1;
	return reply_json(r, 200, engine_network_list(r->engine, filters, e));
}

int api_network_inspect(struct request *r, struct err *e)
{
	return reply_json(r, 200, engine_network_inspect(r->engine, r->param[0], e));
}

int api_network_create(struct request *r, struct err *e)
{
	const json_t *body = body_json(r, false, e);

	return body ? reply_json(r, 201, engine_network_create(r->engine, body, e)) : -1;
}

int api_network_remove(struct request *r, struct err *e)
{
	return engine_network_remove(r->engine, r->param[0], e) < 0 ? -1 : reply_empty(r, 204);
}

int api_network_prune(struct request *r, struct err *e)
{
	autojson *filters = NULL;

	if (query_filters(r, &filters, e) < 0)
		return -1;
	return reply_json(r, 200, engine_network_prune(r->engine, filters, e));
}

int api_network_connect(struct request *r, struct err *e)
{
	const json_t *body = body_json(r, false, e);

	return !body || engine_network_connect(r->engine, r->param[0], body, e) < 0 ? -1 : reply_empty(r, 200);
}

int api_network_disconnect(struct request *r, struct err *e)
{
	const json_t *body = body_json(r, false, e);

	return !body || engine_network_disconnect(r->engine, r->param[0], body, e) < 0 ? -1 : reply_empty(r, 200);
}
