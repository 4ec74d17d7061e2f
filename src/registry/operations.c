/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What silod asks for: registry/wire.h has the list. Source: OCI distribution-spec 1.1. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/json.h"
#include "base/own.h"
#include "registry/client.h"

#define PAGES_MAX 1000
#define PAGE_TAGS 1000

static const char *arg(const struct job *j, const char *key)
{
	return json_str(j->args, key, "");
}

static int get_to_file(struct job *j, const char *path, const char *const *headers, struct http_sink *sink,
		       struct http_answer *a, struct err *e)
{
	struct http_request r = { .method = "GET", .headers = headers, .in = -1, .sink = sink, .follow = true };

	return client_do(j, path, NULL, &r, a, NULL, e);
}

static json_t *op_manifest(struct job *j, struct err *e)
{
	static const char *const accept[] = { "Accept: application/vnd.oci.image.index.v1+json",
					      "Accept: application/vnd.docker.distribution.manifest.list.v2+json",
					      "Accept: application/vnd.oci.image.manifest.v1+json",
					      "Accept: application/vnd.docker.distribution.manifest.v2+json", NULL };
	autofree char *path = client_path(j->client, "/manifests/%s", arg(j, "reference"));
	struct http_sink sink = { .fd = j->file, .max = REGISTRY_JSON_MAX };
	autoanswer a = { 0 };

	if (get_to_file(j, path, accept, &sink, &a, e))
		return NULL;
	return json_pack("{s:s%}", "media_type", a.content_type ? a.content_type : "",
			 a.content_type ? strcspn(a.content_type, "; ") : (size_t)0);
}

static void tell_received(void *job, int64_t have)
{
	job_tell_bytes(job, have, false);
}

/* Layers that registries must not spread are found elsewhere: at one of these addresses. */
static int blob_by_urls(struct job *j, const json_t *urls, struct http_sink *sink, struct err *e)
{
	size_t i;
	json_t *url;

	err_set(e, ERR_NOT_FOUND, 0, "no usable address of blob %s", arg(j, "digest"));
	json_array_foreach(urls, i, url) {
		const char *text = json_string_value(url);
		autoanswer a = { 0 };

		if (!text || (strncasecmp(text, "https://", 8) != 0 && strncasecmp(text, "http://", 7) != 0))
			continue;
		if (!get_to_file(j, text, NULL, sink, &a, e))
			return 0;
	}
	return -1;
}

static json_t *op_blob(struct job *j, struct err *e)
{
	const json_t *urls = json_object_get(j->args, "urls");
	autofree char *path = client_path(j->client, "/blobs/%s", arg(j, "digest"));
	struct http_sink sink = {
		.fd = j->file, .max = json_int(j->args, "size", 0), .whole = true, .tell = tell_received, .arg = j
	};
	autoanswer a = { 0 };
	int rc;

	rc = json_array_size(urls) ? blob_by_urls(j, urls, &sink, e) : get_to_file(j, path, NULL, &sink, &a, e);
	if (rc)
		return NULL;
	job_tell_bytes(j, sink.have, true);
	return json_object();
}

static json_t *op_exists(struct job *j, struct err *e)
{
	autofree char *path = client_path(j->client, "/blobs/%s", arg(j, "digest"));
	struct http_request r = { .method = "HEAD", .in = -1, .follow = true };
	autoanswer a = { 0 };

	if (!client_do(j, path, NULL, &r, &a, NULL, e))
		return json_pack("{s:b}", "exists", 1);
	return a.status == 404 ? json_pack("{s:b}", "exists", 0) : NULL;
}

/* --- upload --------------------------------------------------------------------------------------------------- */
/* Begin; *location receives where to send the blob, NULL: it was mounted. */
static int upload_begin(struct job *j, char **location, struct endpoint **ep, struct err *e)
{
	static const char *const headers[] = { "Content-Type:", NULL };
	const char *from = arg(j, "from");
	autofree char *scope = *from ? xasprintf("repository:%s:pull", from) : NULL;
	struct http_request r = { .method = "POST", .headers = headers, .in = -1 };
	autoanswer a = { 0 };
	autostr path;

	str_init(&path, 4 * KIB);
	str_printf(&path, "/v2/%s/blobs/uploads/", j->client->name);
	if (*from) {
		str_printf(&path, "?mount=%s&from=", arg(j, "digest"));
		url_add_encoded(&path, from);
	}
	*location = NULL;
	if (client_do(j, path.s, scope, &r, &a, ep, e))
		return -1;
	if (*from && a.status == 201)
		return 0;
	if (!a.location || !*a.location)
		return err_set(e, ERR_SYSTEM, 0, "the registry doesn't say where to send the blob");
	*location = take_ptr(&a.location);
	return 0;
}

static void tell_sent(void *job, int64_t bytes)
{
	job_tell_bytes(job, bytes, false);
}

static enum http_failure upload_send(struct job *j, struct endpoint *ep, const char *location, struct http_answer *a,
				     struct err *e)
{
	static const char *const headers[] = { "Content-Type: application/octet-stream", NULL };
	struct http_request r = { .method = "PUT",
				  .headers = headers,
				  .in = j->file,
				  .in_bytes = json_int(j->args, "size", 0),
				  .sent = tell_sent,
				  .sent_arg = j };
	autofree char *path = xasprintf("%s%cdigest=%s", location, strchr(location, '?') ? '&' : '?', arg(j, "digest"));
	autofree char *what = http_what("PUT", path);
	enum http_failure rc = client_try(j, ep, path, NULL, &r, a, e);

	if (rc == HTTP_OK && a->status / 100 != 2)
		answer_error(a->status, a->body.s, a->body.len, what, j->code, e);
	return rc;
}

static json_t *op_upload(struct job *j, struct err *e)
{
	for (int attempt = 0;; attempt++) {
		autofree char *location = NULL;
		struct endpoint *ep = NULL;
		enum http_failure rc;
		autoanswer a = { 0 };
		int64_t pause_s = 1ll << (attempt < 5 ? attempt : 5);

		if (upload_begin(j, &location, &ep, e))
			return NULL;
		if (!location)
			return json_pack("{s:s}", "result", "mounted");
		*e = (struct err){ 0 };
		rc = upload_send(j, ep, location, &a, e);
		if (rc == HTTP_OK && a.status / 100 == 2)
			return json_pack("{s:s}", "result", "uploaded");
		if (rc == HTTP_OK)
			pause_s = retry_pause(&a, attempt);
		if ((rc != HTTP_OK && rc != HTTP_BROKEN) || pause_s < 0 || attempt + 1 >= j->client->attempts ||
		    job_pause(j, pause_s, e))
			return NULL;
	}
}

static json_t *op_put(struct job *j, struct err *e)
{
	autofree char *path = client_path(j->client, "/manifests/%s", arg(j, "reference"));
	autofree char *type = xasprintf("Content-Type: %s", arg(j, "media_type"));
	const char *const headers[] = { type, NULL };
	struct http_request r = {
		.method = "PUT", .headers = headers, .in = j->file, .in_bytes = json_int(j->args, "size", 0)
	};
	autoanswer a = { 0 };

	return client_do(j, path, NULL, &r, &a, NULL, e) ? NULL : json_object();
}

/* --- lists and checks ----------------------------------------------------------------------------------------- */
/* One page; *next receives the path of the following one, or NULL. */
static int tags_page(struct job *j, const char *path, json_t *tags, char **next, struct err *e)
{
	struct http_request r = { .method = "GET", .in = -1, .body_max = REGISTRY_JSON_MAX, .follow = true };
	autoanswer a = { 0 };
	struct endpoint *ep = NULL;
	json_t *list, *v;
	size_t i;

	*next = NULL;
	if (client_do(j, path, NULL, &r, &a, &ep, e))
		return -1;
	autojson *doc = json_parse(a.body.s ? a.body.s : "", a.body.len, "list of tags", e);

	if (!doc || json_get_strings(doc, "tags", &list, e))
		return -1;
	json_array_foreach(list, i, v)
		json_array_append(tags, v);
	autofree char *link = link_next(a.link);

	if (link && (*link == '/' || str_starts(link, ep->url)))
		*next = take_ptr(&link);
	return 0;
}

static json_t *op_tags(struct job *j, struct err *e)
{
	autofree char *path = client_path(j->client, "/tags/list?n=%d", PAGE_TAGS);
	autojson *tags = json_array();

	for (int page = 0; path; page++) {
		char *next;

		if (page == PAGES_MAX)
			return err_set(e, ERR_LIMIT, 0, "more than %d pages of tags", PAGES_MAX), NULL;
		if (tags_page(j, path, tags, &next, e))
			return NULL;
		free(path);
		path = next;
	}
	autofree char *text = json_text(tags);
	size_t n = strlen(text);

	if (n > REGISTRY_JSON_MAX || write(j->file, text, n) != (ssize_t)n)
		return err_set(e, ERR_LIMIT, 0, "too many tags"), NULL;
	return json_object();
}

static json_t *op_check(struct job *j, struct err *e)
{
	struct http_request r = { .method = "GET", .in = -1, .body_max = REGISTRY_JSON_MAX, .follow = true };
	const char *given = j->client->identity_token;
	autoanswer a = { 0 };

	j->login = true;
	if (client_do(j, "/v2/", NULL, &r, &a, NULL, e))
		return NULL;
	return json_pack("{s:s}", "identity_token", j->identity_token ? j->identity_token : given ? given : "");
}

static json_t *op_search(struct job *j, struct err *e)
{
	struct http_sink sink = { .fd = j->file, .max = REGISTRY_JSON_MAX };
	autoanswer a = { 0 };
	autostr path;

	str_init(&path, 4 * KIB);
	str_puts(&path, "/v1/search?q=");
	url_add_encoded(&path, arg(j, "term"));
	str_printf(&path, "&n=%lld", (long long)json_int(j->args, "limit", 25));
	return path.full || get_to_file(j, path.s, NULL, &sink, &a, e) ? NULL : json_object();
}

static json_t *op_compress(struct job *j, struct err *e)
{
	return compress_file(j, j->file, j->file2, e) ? NULL : json_object();
}

static const struct {
	const char *name;
	bool file;
	json_t *(*run)(struct job *j, struct err *e);
} operations[] = {
	{ "manifest", true,  op_manifest },
	{ "blob",     true,  op_blob     },
	{ "exists",   false, op_exists   },
	{ "upload",   true,  op_upload   },
	{ "put",      true,  op_put      },
	{ "tags",     true,  op_tags     },
	{ "check",    false, op_check    },
	{ "search",   true,  op_search   },
	{ "compress", true,  op_compress },
};

json_t *operation_run(struct job *j, struct err *e)
{
	for (size_t i = 0; i < array_len(operations); i++) {
		if (strcmp(operations[i].name, arg(j, "op")) != 0)
			continue;
		if (operations[i].file && j->file < 0)
			break;
		return operations[i].run(j, e);
	}
	return err_set(e, ERR_INVALID, 0, "unknown operation \"%.40s\"", arg(j, "op")), NULL;
}
