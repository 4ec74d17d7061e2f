/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /containers/{id}/archive, changes, export: files of a container as tar. */
#include <string.h>

#include "api/handlers.h"
#include "api/http.h"
#include "base/json.h"
#include "base/own.h"
#include "isolation/hyperv/guest_docs.h"

#define STAT_HEADER "X-Docker-Container-Path-Stat"
#define TYPE_TAR "application/x-tar"

static const char *path_of(struct request *r, struct err *e)
{
	const char *path = query_str(r, "path");

	if (!path)
		err_set(e, ERR_INVALID, 0, "bad parameter: path cannot be empty");
	return path;
}

static char *stat_text(const json_t *stat)
{
	autofree char *text = json_text(stat);

	return base64_encode((const unsigned char *)text, strlen(text));
}

int api_archive_stat(struct request *r, struct err *e)
{
	const char *path = path_of(r, e);
	autojson *stat = path ? engine_archive_stat(r->engine, r->param[0], path, e) : NULL;
	autofree char *text = stat ? stat_text(stat) : NULL;

	if (!stat)
		return -1;
	reply_empty(r, 200);
	reply_header(r, STAT_HEADER, text);
	return 0;
}

static int begin_get(void *arg, const json_t *stat)
{
	autofree char *text = stat_text(stat);

	return stream_begin_with(arg, TYPE_TAR, STAT_HEADER, text);
}

static int write_bytes(void *arg, const void *data, size_t n)
{
	return stream_write(arg, data, n);
}

/* A client must not take a part for the whole. */
static int cut_if_failed(struct request *r, int rc)
{
	r->cut = rc < 0;
	return rc;
}

int api_archive_get(struct request *r, struct err *e)
{
	const char *path = path_of(r, e);

	if (!path)
		return -1;
	return cut_if_failed(r, engine_archive_get(r->engine, r->param[0], path, begin_get, write_bytes, r, e));
}

int api_archive_put(struct request *r, struct err *e)
{
	const char *path = path_of(r, e);

	if (!path || engine_archive_put(r->engine, r->param[0], path, query_bool(r, "noOverwriteDirNonDir", false),
					query_bool(r, "copyUIDGID", false), r->upload_fd, e) < 0)
		return -1;
	return reply_empty(r, 200);
}

int api_container_changes(struct request *r, struct err *e)
{
	return reply_json(r, 200, engine_container_changes(r->engine, r->param[0], e));
}

/* The head goes out with the first bytes: until then there may be an error to tell. */
static int write_export(void *arg, const void *data, size_t n)
{
	struct request *r = arg;

	if (!r->streaming && stream_begin(r, "application/octet-stream") < 0)
		return -1;
	return stream_write(r, data, n);
}

int api_container_export(struct request *r, struct err *e)
{
	return cut_if_failed(r, engine_container_export(r->engine, r->param[0], write_export, r, e));
}
