/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /exec: one more process in a running container. */
#include "api/handlers.h"
#include "api/http.h"
#include "base/json.h"

#define TTY_SIZE_MAX 65535

int api_exec_create(struct request *r, struct err *e)
{
	const json_t *body = body_json(r, false, e);

	return body ? reply_json(r, 201, engine_exec_create(r->engine, r->param[0], body, e)) : -1;
}

static int exec_run(struct request *r, int fd, struct err *e)
{
	return engine_exec_start(r->engine, r->param[0], r->doc, fd, e);
}

int api_exec_start(struct request *r, struct err *e)
{
	bool detach = false, tty = false;
	const json_t *body = body_json(r, true, e);

	if (e->kind || json_get_bool(body, "Detach", false, &detach, e) < 0 ||
	    engine_exec_check(r->engine, r->param[0], &tty, e) < 0)
		return -1;
	if (!detach)
		return reply_hijack(r, tty, exec_run);
	if (engine_exec_start(r->engine, r->param[0], body, -1, e) < 0)
		return -1;
	return reply_empty(r, 200);
}

int api_exec_resize(struct request *r, struct err *e)
{
	int64_t rows, cols;

	if (query_int(r, "h", 0, 0, TTY_SIZE_MAX, &rows, e) < 0 ||
	    query_int(r, "w", 0, 0, TTY_SIZE_MAX, &cols, e) < 0 ||
	    engine_exec_resize(r->engine, r->param[0], (int)rows, (int)cols, e) < 0)
		return -1;
	return reply_empty(r, 200);
}

int api_exec_inspect(struct request *r, struct err *e)
{
	return reply_json(r, 200, engine_exec_inspect(r->engine, r->param[0], e));
}
