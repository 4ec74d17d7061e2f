/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "api/http.h"

#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "api/server.h"
#include "base/io.h"
#include "base/json.h"
#include "base/own.h"

static const unsigned short statuses[] = {
	[ERR_NONE] = 500,         [ERR_SYSTEM] = 500,      [ERR_INVALID] = 400,   [ERR_NOT_FOUND] = 404,
	[ERR_CONFLICT] = 409,     [ERR_NOT_MODIFIED] = 304, [ERR_FORBIDDEN] = 403, [ERR_UNSUPPORTED] = 400,
	[ERR_UNAVAILABLE] = 503,  [ERR_TIMEOUT] = 500,     [ERR_LIMIT] = 400,     [ERR_NO_COMMAND] = 400,
	[ERR_NOT_EXECUTABLE] = 400,
};

unsigned http_status(enum err_kind kind)
{
	return (size_t)kind < array_len(statuses) ? statuses[kind] : 500;
}

static const struct {
	const char *name, *value;
} standard_headers[] = {
	{ "Api-Version", API_VERSION_MAX },
	{ "Docker-Experimental", "false" },
	{ "Ostype", "linux" },
	{ "Server", SERVER_NAME },
};

/* Takes text. */
static int answer(struct request *r, unsigned status, const char *content_type, char *text, size_t n)
{
	if (r->response)
		MHD_destroy_response(r->response);
	r->status = status;
	r->response = MHD_create_response_from_buffer(n, text, MHD_RESPMEM_MUST_FREE);
	if (!r->response) {
		free(text);
		return 0; /* the connection is closed without an answer */
	}
	for (size_t i = 0; i < array_len(standard_headers); i++)
		reply_header(r, standard_headers[i].name, standard_headers[i].value);
	if (content_type)
		reply_header(r, "Content-Type", content_type);
	return 0;
}

void reply_header(struct request *r, const char *name, const char *value)
{
	if (r->response)
		MHD_add_response_header(r->response, name, value);
}

int reply_json(struct request *r, unsigned status, json_t *body)
{
	autojson *owned = body;
	char *text;
	size_t n;

	if (!body)
		return -1;
	text = json_text(body);
	n = strlen(text);
	text = xrealloc(text, n + 2);
	memcpy(text + n, "\n", 2);
	return answer(r, status, "application/json", text, n + 1);
}

int reply_text(struct request *r, unsigned status, const char *content_type, const char *text)
{
	return answer(r, status, content_type, xstrdup(text), strlen(text));
}

int reply_empty(struct request *r, unsigned status)
{
	return answer(r, status, NULL, xstrdup(""), 0);
}

int reply_error(struct request *r, unsigned status, const char *message)
{
	autostr text;

	str_init(&text, 64 * KIB);
	if (status == MHD_HTTP_NOT_MODIFIED)
		return reply_empty(r, status);
	str_puts(&text, "{\"message\":");
	str_add_json(&text, message, strlen(message));
	str_puts(&text, "}\n");
	return reply_text(r, status, "application/json", text.s);
}

const char *stream_type(const struct request *r, bool tty)
{
	return tty || r->minor < 42 ? "application/vnd.docker.raw-stream" : "application/vnd.docker.multiplexed-stream";
}

int stream_begin(struct request *r, const char *content_type)
{
	return stream_begin_with(r, content_type, NULL, NULL);
}

int stream_begin_with(struct request *r, const char *content_type, const char *name, const char *value)
{
	autostr head;

	str_init(&head, 64 * KIB);
	str_printf(&head, "HTTP/1.%d 200 OK\r\nContent-Type: %s\r\nConnection: close\r\n", r->http10 ? 0 : 1,
		   content_type);
	for (size_t i = 0; i < array_len(standard_headers); i++)
		str_printf(&head, "%s: %s\r\n", standard_headers[i].name, standard_headers[i].value);
	if (name)
		str_printf(&head, "%s: %s\r\n", name, value);
	str_puts(&head, r->http10 ? "\r\n" : "Transfer-Encoding: chunked\r\n\r\n");
	r->streaming = true;
	return io_write_all(r->client_fd, head.s, head.len);
}

/* Size line, bytes, line end: one system call where the socket takes it all. */
static int write_chunk(int fd, const void *data, size_t n)
{
	char size[24];
	struct iovec parts[] = { { size, 0 }, { (void *)data, n }, { "\r\n", 2 } };
	ssize_t written;

	parts[0].iov_len = (size_t)snprintf(size, sizeof(size), "%zx\r\n", n);
	written = writev(fd, parts, array_len(parts));
	if (written < 0 && errno != EAGAIN && errno != EINTR)
		return -1;
	for (size_t i = 0, skip = written > 0 ? (size_t)written : 0; i < array_len(parts); i++) {
		size_t passed = skip < parts[i].iov_len ? skip : parts[i].iov_len;

		skip -= passed;
		if (io_write_all(fd, (char *)parts[i].iov_base + passed, parts[i].iov_len - passed) < 0)
			return -1;
	}
	return 0;
}

int stream_write(struct request *r, const void *data, size_t n)
{
	if (n == 0)
		return 0; /* an empty chunk would be the end */
	return r->http10 ? io_write_all(r->client_fd, data, n) : write_chunk(r->client_fd, data, n);
}

int stream_json(struct request *r, const json_t *line)
{
	autofree char *text = json_text(line);
	size_t n = strlen(text);

	text[n] = '\n'; /* in place of the NUL: the length is known */
	return stream_write(r, text, n + 1);
}

void stream_end(struct request *r)
{
	if (!r->http10)
		(void)io_write_all(r->client_fd, "0\r\n\r\n", 5);
}

int progress_line(void *request, const json_t *line)
{
	struct request *r = request;

	if (!r->streaming && stream_begin(r, "application/json"))
		return -1;
	return stream_json(r, line);
}

bool progress_gone(void *request)
{
	const struct request *r = request;

	return client_gone(r->client_fd);
}

int progress_end(struct request *r, int rc, int exit_code, struct err *e)
{
	autojson *detail = NULL, *line = NULL;

	if (rc == 0 || !r->streaming)
		return rc;
	detail = json_pack("{s:s}", "message", e->msg);
	if (exit_code)
		json_object_set_new(detail, "code", json_integer(exit_code));
	line = json_pack("{s:O, s:s}", "errorDetail", detail, "error", e->msg);
	(void)progress_line(r, line);
	return 0;
}

bool client_gone(int fd)
{
	struct pollfd p = { .fd = fd, .events = 0 };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR | POLLNVAL));
}
