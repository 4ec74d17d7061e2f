/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /images. Uploads run in a thread of their own (R_UPLOAD) and read the body from r->upload_fd. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "api/http.h"
#include "base/json.h"
#include "base/own.h"
#include "image/image.h"

#define PROGRESS_BYTES_MAX (1 * MIB)

int api_image_list(struct request *r, struct err *e)
{
	autojson *filters = NULL;

	if (query_filters(r, &filters, e) < 0)
		return -1;
	return reply_json(
		r, 200,
		image_list(r->images, query_bool(r, "all", false), filters, query_bool(r, "digests", false), e));
}

int api_image_inspect(struct request *r, struct err *e)
{
	return reply_json(r, 200, image_inspect(r->images, r->param[0], e));
}

int api_image_history(struct request *r, struct err *e)
{
	return reply_json(r, 200, image_history(r->images, r->param[0], e));
}

int api_image_tag(struct request *r, struct err *e)
{
	const char *repo = query_str(r, "repo");
	const char *tag = query_str(r, "tag");

	if (!repo)
		return err_set(e, ERR_INVALID, 0, "invalid reference: repository name is missing");
	if (image_tag(r->images, r->param[0], repo, tag, e) < 0)
		return -1;
	return reply_empty(r, 201);
}

int api_image_remove(struct request *r, struct err *e)
{
	return reply_json(r, 200,
			  image_remove(r->images, r->param[0], query_bool(r, "force", false),
				       query_bool(r, "noprune", false), e));
}

int api_image_prune(struct request *r, struct err *e)
{
	autojson *filters = NULL;

	if (query_filters(r, &filters, e) < 0)
		return -1;
	return reply_json(r, 200, image_prune(r->images, filters, e));
}

/* --- load ----------------------------------------------------------------------------------------------------- */
struct progress {
	struct request *r;
	struct str lines;
};

static int add_progress(void *arg, const json_t *line)
{
	struct progress *p = arg;
	autofree char *text = json_text(line);

	/* Too much of it is cut: only the answer's size suffers. */
	if (p->lines.len + strlen(text) + 2 < p->lines.max) {
		str_puts(&p->lines, text);
		str_puts(&p->lines, "\r\n");
	}
	return client_gone(p->r->client_fd);
}

int api_image_load(struct request *r, struct err *e)
{
	struct progress p = { .r = r };
	int rc;

	str_init(&p.lines, PROGRESS_BYTES_MAX);
	rc = image_load(r->images, r->upload_fd, query_bool(r, "quiet", true), add_progress, &p, e);
	if (rc == 0)
		reply_text(r, 200, "application/json", p.lines.s ? p.lines.s : "");
	str_fini(&p.lines);
	return rc;
}

/* --- create: import (fromSrc) or pull (fromImage) --------------------------------------------------------------- */
static int import_image(struct request *r, struct err *e)
{
	const char *repo = query_str(r, "repo");
	const char *tag = query_str(r, "tag");
	autojson *changes = query_changes(r);
	autofree char *ref = repo ? xasprintf("%s%s%s", repo, tag ? ":" : "", tag ? tag : "") : NULL;
	char id[IMAGE_ID_MAX];

	if (image_import(r->images, r->upload_fd, ref, changes, query_str(r, "message"), query_str(r, "platform"), id,
			 e) < 0)
		return -1;
	return reply_json(r, 200, json_pack("{s:s}", "status", id));
}

/* The names of the Windows base: made here. 1 = answered, 0 = another image, -1. */
static int pull_windows(struct request *r, const char *image, struct err *e)
{
	const char *tag = query_str(r, "tag");
	autofree char *reference = tag ? xasprintf("%s%s%s", image, strchr(tag, ':') ? "@" : ":", tag) : xstrdup(image);

	return api_windows_pull(r, reference, e);
}

int api_image_create(struct request *r, struct err *e)
{
	const char *source = query_str(r, "fromSrc");
	const char *image = query_str(r, "fromImage");
	int windows;

	if (source && strcmp(source, "-") == 0)
		return import_image(r, e);
	if (source)
		return reply_error(r, 501,
				   "importing from an address is not supported yet: download the file, then "
				   "docker import FILE");
	if (!image)
		return err_set(e, ERR_INVALID, 0, "neither fromImage nor fromSrc is given");
	windows = pull_windows(r, image, e);
	if (windows)
		return windows < 0 ? -1 : 0;
	return api_image_pull(r, e);
}
