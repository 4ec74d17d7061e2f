/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/daemon.h"
#include "api/exchange.h"
#include "base/log.h"
#include "base/own.h"

#define CONNECTIONS_MAX 4096
#define CONNECTION_BYTES (64 * KIB)
#define THREAD_STACK_BYTES (1 * MIB)   /* virtual; deep JSON needs more than 512 KiB */
#define DROPPED_BYTES_MAX (64 * MIB)   /* of a body nobody wants: beyond it the connection is closed */

struct server {
	struct engine *engine;
	size_t n;
	struct MHD_Daemon *daemons[LISTENERS_MAX];
};

/* --- a request's beginning ------------------------------------------------------------------------------------ */
static void *request_new(void *cls, const char *uri, struct MHD_Connection *c)
{
	struct server *s = cls;
	struct request *r = xcalloc(1, sizeof(*r));

	r->engine = s->engine;
	r->images = engine_images(s->engine);
	r->conn = c;
	r->client_fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	r->upload_fd = r->upload.writer = r->hijack.client = r->hijack.sink = -1;
	r->minor = API_MINOR_MAX;
	if (uri_parse(&r->uri, uri, &r->err) < 0)
		r->err_status = http_status(r->err.kind);
	return r;
}

static void request_free(void *cls, struct MHD_Connection *c, void **con_cls, enum MHD_RequestTerminationCode why)
{
	struct request *r = *con_cls;

	if (!r)
		return;
	*con_cls = NULL;
	upload_abort(r);
	hijack_fini(r);
	if (r->response)
		MHD_destroy_response(r->response);
	json_decref(r->doc);
	str_fini(&r->body);
	for (size_t i = 0; i < ROUTE_PARAMS_MAX; i++)
		free(r->param[i]);
	uri_fini(&r->uri);
	free(r);
}

static bool is_json(const char *content_type)
{
	size_t n = content_type ? strcspn(content_type, "; ") : 0;

	return !content_type ||
	       (n == strlen("application/json") && strncasecmp(content_type, "application/json", n) == 0);
}

/* Headers are complete: find the route. What is wrong is remembered and answered once the body has been drained. */
static void request_begin(struct request *r, const char *method, const char *version)
{
	const char *type = request_header(r, "Content-Type");
	int minor;

	r->begun = true;
	r->http10 = strcmp(version, MHD_HTTP_VERSION_1_0) == 0;
	if (r->err.kind)
		return;
	minor = route_check_version(r->uri.major, r->uri.minor, &r->err);
	if (minor < 0)
		return;
	r->minor = minor;
	r->route = route_find(routes, n_routes, method, r->uri.path, minor, r->param, &r->err);
	if (!r->route) {
		r->err_status = r->err.kind == ERR_UNSUPPORTED ? MHD_HTTP_METHOD_NOT_ALLOWED : MHD_HTTP_NOT_FOUND;
		return;
	}
	str_init(&r->body, r->route->body_max);
	if ((r->route->flags & R_JSON) && !is_json(type))
		err_set(&r->err, ERR_INVALID, 0, "unsupported Content-Type header (%.64s): must be 'application/json'",
			type);
}

/* --- its body ------------------------------------------------------------------------------------------------- */
static enum MHD_Result request_data(struct request *r, const char *data, size_t n)
{
	if (r->upload.started) {
		upload_data(r, data, n);
		return MHD_YES;
	}
	if (!r->err.kind && r->route->flags & R_UPLOAD && upload_start(r, &r->err) == 0) {
		upload_data(r, data, n);
		return MHD_YES;
	}
	if (!r->err.kind && str_add(&r->body, data, n) == 0)
		return MHD_YES;
	/* No answer can be sent in the middle of an upload: drain. */
	if (!r->err.kind && r->route->body_max) {
		err_set(&r->err, ERR_LIMIT, 0, "request body is larger than %llu bytes",
			(unsigned long long)r->route->body_max);
		r->err_status = MHD_HTTP_CONTENT_TOO_LARGE;
	}
	r->dropped_bytes += n;
	return r->dropped_bytes > DROPPED_BYTES_MAX ? MHD_NO : MHD_YES;
}

/* --- its answer ----------------------------------------------------------------------------------------------- */
static int run_handler(struct request *r)
{
	if (r->err.kind)
		return -1;
	if (!(r->route->flags & R_UPLOAD))
		return r->route->handler(r, &r->err);
	if (!r->upload.started && upload_start(r, &r->err) < 0)
		return -1;
	return upload_finish(r);
}

static void answer_error(struct request *r)
{
	unsigned status = r->err_status ? r->err_status : http_status(r->err.kind);

	if (status >= 500)
		log_error("%s: %s", r->uri.path ? r->uri.path : "?", r->err.msg);
	reply_error(r, status, r->err.msg[0] ? r->err.msg : "internal error");
}

static enum MHD_Result queue_hijack(struct request *r)
{
	struct MHD_Response *response = hijack_response(r);
	enum MHD_Result rc;

	if (!response)
		return MHD_NO;
	rc = MHD_queue_response(r->conn, MHD_HTTP_SWITCHING_PROTOCOLS, response);
	MHD_destroy_response(response);
	return rc;
}

/* The request is complete. MHD_NO closes the connection. */
static enum MHD_Result request_answer(struct request *r)
{
	int rc = run_handler(r);

	if (r->streaming) {
		if (rc < 0)
			log_debug("%s: stream ended: %s", r->uri.path, r->err.msg);
		if (!r->cut)
			stream_end(r);
		return MHD_NO;
	}
	if (rc < 0)
		answer_error(r);
	else if (r->hijack.run)
		return queue_hijack(r);
	return r->response ? MHD_queue_response(r->conn, r->status, r->response) : MHD_NO;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url, const char *method,
				  const char *version, const char *data, size_t *n, void **con_cls)
{
	struct request *r = *con_cls;

	if (!r)
		return MHD_NO;
	if (!r->begun) {
		const char *expect;

		request_begin(r, method, version);
		expect = r->err.kind ? request_header(r, "Expect") : NULL;
		/* The client asks before it sends its body: it can have the answer at once. */
		return expect && strcasecmp(expect, "100-continue") == 0 ? request_answer(r) : MHD_YES;
	}
	if (*n) {
		size_t got = *n;

		*n = 0;
		return request_data(r, data, got);
	}
	return request_answer(r);
}

/* --- the server ----------------------------------------------------------------------------------------------- */
static void library_log(void *cls, const char *format, va_list args)
{
	char text[256];

	vsnprintf(text, sizeof(text), format, args);
	log_debug("http: %.*s", (int)strcspn(text, "\n"), text);
}

static struct MHD_Daemon *start_one(struct server *s, int listener)
{
	const struct MHD_OptionItem options[] = {
		{ MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)library_log, NULL },
		{ MHD_OPTION_LISTEN_SOCKET, listener, NULL },
		{ MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, NULL },
		{ MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)CONNECTION_BYTES, NULL },
		{ MHD_OPTION_THREAD_STACK_SIZE, (intptr_t)THREAD_STACK_BYTES, NULL },
		{ MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)request_new, s },
		{ MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)request_free, NULL },
		{ MHD_OPTION_END, 0, NULL },
	};

	return MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
					MHD_USE_ITC | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG,
				0, NULL, NULL, on_request, s, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
}

struct server *server_start(struct engine *engine, const int *listeners, size_t n, struct err *e)
{
	struct server *s = xcalloc(1, sizeof(*s));

	s->engine = engine;
	for (size_t i = 0; i < n; i++) {
		s->daemons[s->n] = start_one(s, listeners[i]);
		if (s->daemons[s->n]) {
			s->n++;
			continue;
		}
		err_set(e, ERR_SYSTEM, errno, "start HTTP server");
		for (; i < n; i++)
			close(listeners[i]);
		server_stop(s);
		return NULL;
	}
	return s;
}

void server_stop(struct server *s)
{
	for (size_t i = 0; i < s->n; i++)
		MHD_stop_daemon(s->daemons[i]);
	free(s);
}
