/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/own.h"
#include "registry/answer.h"

#define BUFFER_BYTES (256 * KIB)
#define ERROR_BODY_MAX (64 * KIB)
#define HEADER_BYTES_MAX (64 * KIB)
#define CONNECT_SECONDS 20L
#define STALL_SECONDS 60L /* without a byte the exchange is broken */
#define REDIRECTS_MAX 10L

struct http {
	CURL *curl;
	char error[CURL_ERROR_SIZE];
	/* of the exchange that runs */
	const struct http_request *r;
	struct http_answer *a;
	struct err *e; /* filled by a callback that stopped it */
	int64_t skip;  /* bytes of the body that the sink has already */
	int64_t in_pos;
	size_t header_bytes;
	bool checked, stopped;
};

struct http *http_new(struct err *e)
{
	struct http *h = xcalloc(1, sizeof(*h));

	h->curl = curl_easy_init();
	if (h->curl)
		return h;
	free(h);
	err_set(e, ERR_SYSTEM, ENOMEM, "curl");
	return NULL;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	curl_easy_cleanup(h->curl);
	free(h);
}

void http_answer_fini(struct http_answer *a)
{
	str_fini(&a->body);
	free(a->content_type);
	free(a->challenges);
	free(a->location);
	free(a->link);
	free(a->range);
	free(a->retry_after);
	free(a->url);
	memset(a, 0, sizeof(*a));
}

/* Go's name of the method; tokens and signatures are in queries. */
char *http_what(const char *method, const char *url)
{
	int n = (int)strcspn(url, "?#");

	return xasprintf("%c%s \"%.*s\"", method[0],
			 !strcmp(method, "GET")    ? "et"
			 : !strcmp(method, "HEAD") ? "ead"
			 : !strcmp(method, "PUT")  ? "ut"
			 : !strcmp(method, "POST") ? "ost"
						   : "atch",
			 n, url);
}

void url_add_encoded(struct str *url, const char *s)
{
	for (; *s; s++) {
		if (strchr("-._~", *s) || (*s >= '0' && *s <= '9') || ((*s | 32) >= 'a' && (*s | 32) <= 'z'))
			str_add(url, s, 1);
		else
			str_printf(url, "%%%02X", (unsigned char)*s);
	}
}

/* --- callbacks ------------------------------------------------------------------------------------------------ */
static void keep(char **to, const char *value, size_t n)
{
	free(*to);
	*to = xstrndup(value, n);
	text_clean(*to);
}

static void add_challenge(struct http_answer *a, const char *value, size_t n)
{
	autofree char *one = NULL, *old = take_ptr(&a->challenges);

	keep(&one, value, n);
	a->challenges = xasprintf("%s%s%s", old ? old : "", old ? "\n" : "", one);
}

static bool is_name(const char *line, size_t n, const char *name)
{
	return strlen(name) == n && !strncasecmp(line, name, n);
}

static void take_header(struct http_answer *a, const char *line, size_t n)
{
	const struct {
		const char *name;
		char **to;
	} known[] = {
		{ "Content-Type", &a->content_type }, { "Location", &a->location },	  { "Link", &a->link },
		{ "Content-Range", &a->range },	      { "Retry-After", &a->retry_after },
	};
	const char *colon = memchr(line, ':', n), *value;

	if (!colon)
		return;
	for (value = colon + 1; value < line + n && (*value == ' ' || *value == '\t'); value++)
		;
	while (n && strchr(" \t\r\n", line[n - 1]) && line + n > value)
		n--;
	if (is_name(line, (size_t)(colon - line), "WWW-Authenticate"))
		add_challenge(a, value, (size_t)(line + n - value));
	for (size_t i = 0; i < array_len(known); i++)
		if (is_name(line, (size_t)(colon - line), known[i].name))
			keep(known[i].to, value, (size_t)(line + n - value));
}

/* Each answer on the way begins anew: only the last one's headers count. */
static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct http *h = arg;

	h->header_bytes += n;
	if (h->header_bytes > HEADER_BYTES_MAX) {
		err_set(h->e, ERR_LIMIT, 0, "more than %llu bytes of headers", (unsigned long long)HEADER_BYTES_MAX);
		h->stopped = true;
		return 0;
	}
	if (n >= 5 && !strncasecmp(line, "HTTP/", 5)) {
		http_answer_fini(h->a);
		h->checked = false;
	} else {
		take_header(h->a, line, n);
	}
	return n;
}

/* At the first bytes of the body: what is it, and what of it is new. */
static int check_answer(struct http *h)
{
	struct http_sink *sink = h->r->sink;
	bool good;

	h->checked = true;
	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &h->a->status);
	good = h->a->status / 100 == 2;
	str_init(&h->a->body, good && h->r->body_max ? (size_t)h->r->body_max : ERROR_BODY_MAX);
	h->skip = 0;
	if (!good || !sink)
		return 0;
	if (h->a->status != 206)
		h->skip = sink->have; /* the server has no ranges: from the beginning again */
	else if (content_range_start(h->a->range) != sink->have)
		return err_set(h->e, ERR_SYSTEM, 0, "the registry answered with another range");
	return 0;
}

static int sink_add(struct http *h, const char *data, size_t n)
{
	struct http_sink *sink = h->r->sink;

	if (h->skip) {
		size_t old = (int64_t)n < h->skip ? n : (size_t)h->skip;

		h->skip -= (int64_t)old;
		data += old;
		n -= old;
	}
	if ((int64_t)n > sink->max - sink->have)
		return err_set(h->e, ERR_LIMIT, 0, "more than the expected %lld bytes", (long long)sink->max);
	while (n) {
		ssize_t w = pwrite(sink->fd, data, n, sink->have);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return err_set(h->e, ERR_SYSTEM, errno, "write");
		data += w;
		n -= (size_t)w;
		sink->have += w;
	}
	if (sink->tell)
		sink->tell(sink->arg, sink->have);
	return 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct http *h = arg;
	int rc = h->checked ? 0 : check_answer(h);

	if (!rc && h->a->status / 100 == 2 && h->r->sink) {
		rc = sink_add(h, data, n);
	} else if (!rc && str_add(&h->a->body, data, n)) {
		if (h->a->status / 100 == 2)
			rc = err_set(h->e, ERR_LIMIT, 0, "the answer is larger than %zu bytes", h->a->body.max);
		else
			return 0; /* enough of an error has been seen; its status is known */
	}
	h->stopped = rc != 0;
	return rc ? 0 : n;
}

static size_t on_read(char *to, size_t size, size_t n, void *arg)
{
	struct http *h = arg;
	int64_t left = h->r->in_bytes - h->in_pos;
	ssize_t got = pread(h->r->in, to, (int64_t)n < left ? n : (size_t)left, h->in_pos);

	if (got < 0)
		return CURL_READFUNC_ABORT;
	h->in_pos += got;
	if (h->r->sent)
		h->r->sent(h->r->sent_arg, h->in_pos);
	return (size_t)got;
}

static int on_seek(void *arg, curl_off_t offset, int origin)
{
	struct http *h = arg;

	if (origin != SEEK_SET)
		return CURL_SEEKFUNC_FAIL;
	h->in_pos = offset;
	return CURL_SEEKFUNC_OK;
}

static int on_progress(void *arg, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal, curl_off_t ulnow)
{
	struct http *h = arg;
	struct pollfd p = { .fd = h->r->cancel };

	return h->r->cancel >= 0 && poll(&p, 1, 0) == 1;
}

/* --- one exchange --------------------------------------------------------------------------------------------- */
#define set(option, value) curl_easy_setopt(h->curl, CURLOPT_##option, value)

static void set_peer(struct http *h, const struct http_peer *p)
{
	set(SSL_VERIFYPEER, p->verify ? 1L : 0L);
	set(SSL_VERIFYHOST, p->verify ? 2L : 0L);
	set(CAINFO, p->ca_path);
	set(CAPATH, NULL);
	set(SSLCERT, p->cert_path);
	set(SSLKEY, p->key_path);
	set(USERAGENT, p->user_agent);
	set(SSLVERSION, CURL_SSLVERSION_TLSv1_2);
}

static void set_limits(struct http *h, const struct http_request *r)
{
	set(NOSIGNAL, 1L);
	set(PROTOCOLS_STR, "http,https");
	/* What began encrypted stays so, unless nobody asked who the server is. */
	set(REDIR_PROTOCOLS_STR, r->peer->verify && !strncasecmp(r->url, "https:", 6) ? "https" : "http,https");
	set(FOLLOWLOCATION, r->follow ? 1L : 0L);
	set(MAXREDIRS, REDIRECTS_MAX);
	set(CONNECTTIMEOUT, CONNECT_SECONDS);
	set(LOW_SPEED_LIMIT, 1L);
	set(LOW_SPEED_TIME, STALL_SECONDS);
	set(BUFFERSIZE, (long)BUFFER_BYTES);
	set(UPLOAD_BUFFERSIZE, (long)BUFFER_BYTES);
	set(MAXCONNECTS, 4L);
}

static void set_callbacks(struct http *h)
{
	set(ERRORBUFFER, h->error);
	set(HEADERFUNCTION, on_header);
	set(HEADERDATA, h);
	set(WRITEFUNCTION, on_body);
	set(WRITEDATA, h);
	set(NOPROGRESS, 0L);
	set(XFERINFOFUNCTION, on_progress);
	set(XFERINFODATA, h);
	set(READFUNCTION, on_read);
	set(READDATA, h);
	set(SEEKFUNCTION, on_seek);
	set(SEEKDATA, h);
}

static void set_method(struct http *h, const struct http_request *r)
{
	set(URL, r->url);
	if (r->in >= 0) {
		set(UPLOAD, 1L);
		set(INFILESIZE_LARGE, (curl_off_t)r->in_bytes);
	} else if (r->body || (strcmp(r->method, "GET") != 0 && strcmp(r->method, "HEAD") != 0)) {
		set(POSTFIELDS, r->body ? r->body : "");
	}
	if (!strcmp(r->method, "HEAD"))
		set(NOBODY, 1L);
	else
		set(CUSTOMREQUEST, r->method);
}

static struct curl_slist *make_headers(const struct http_request *r)
{
	/* No "Expect: 100-continue": a second of waiting where a proxy doesn't know it. */
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");

	for (size_t i = 0; r->headers && r->headers[i]; i++)
		list = curl_slist_append(list, r->headers[i]);
	if (r->authorization) {
		autofree char *line = xasprintf("Authorization: %s", r->authorization);

		list = curl_slist_append(list, line);
	}
	if (r->sink && r->sink->have) {
		autofree char *line = xasprintf("Range: bytes=%lld-", (long long)r->sink->have);

		list = curl_slist_append(list, line);
	}
	return list;
}

static const struct failure {
	CURLcode code;
	enum http_failure kind;
	const char *text;  /* Go's words where clients look for them; NULL: curl's */
	const char *after; /* what follows the server's address, or NULL: it isn't named */
} failures[] = {
	{ CURLE_COULDNT_RESOLVE_HOST,     HTTP_UNREACHABLE, "dial tcp: lookup ", ": no such host"                },
	{ CURLE_COULDNT_RESOLVE_PROXY,    HTTP_UNREACHABLE, "proxyconnect tcp: lookup: no such host", NULL        },
	{ CURLE_COULDNT_CONNECT,          HTTP_UNREACHABLE, "dial tcp ", ": connect: connection refused"         },
	{ CURLE_SSL_CONNECT_ERROR,        HTTP_UNREACHABLE, NULL, NULL                                           },
	{ CURLE_PEER_FAILED_VERIFICATION, HTTP_FATAL,
	  "tls: failed to verify certificate: x509: certificate signed by unknown authority", NULL               },
	{ CURLE_SSL_CACERT_BADFILE,       HTTP_FATAL,       NULL, NULL                                           },
	{ CURLE_SSL_CERTPROBLEM,          HTTP_FATAL,       NULL, NULL                                           },
	{ CURLE_URL_MALFORMAT,            HTTP_FATAL,       NULL, NULL                                           },
	{ CURLE_UNSUPPORTED_PROTOCOL,     HTTP_FATAL,       NULL, NULL                                           },
	{ CURLE_TOO_MANY_REDIRECTS,       HTTP_FATAL,       "stopped after 10 redirects", NULL                   },
	{ CURLE_WRITE_ERROR,              HTTP_FATAL,       NULL, NULL                                           },
	{ CURLE_ABORTED_BY_CALLBACK,      HTTP_CANCELLED,   "context canceled", NULL                             },
	{ CURLE_PARTIAL_FILE,             HTTP_BROKEN,      "unexpected EOF", NULL                               },
	{ CURLE_GOT_NOTHING,              HTTP_BROKEN,      "EOF", NULL                                          },
	{ CURLE_OPERATION_TIMEDOUT,       HTTP_BROKEN,      "net/http: timeout awaiting response", NULL          },
};

static const struct failure *find_failure(CURLcode code)
{
	for (size_t i = 0; i < array_len(failures); i++)
		if (failures[i].code == code)
			return &failures[i];
	return NULL;
}

static enum http_failure explain(struct http *h, CURLcode code, struct err *e)
{
	const struct failure *f = find_failure(code);
	autofree char *what = http_what(h->r->method, h->r->url);
	const char *host = strstr(h->r->url, "://"), *text;
	const char *after = f && f->after ? f->after : "";
	int n = host && *after ? (int)strcspn(host + 3, "/?#") : 0;

	enum http_failure kind = f ? f->kind : HTTP_BROKEN;

	text = f && f->text ? f->text : h->error[0] ? h->error : curl_easy_strerror(code);
	if (strstr(h->error, "unexpected TLS packet"))
		text = "http: server gave HTTP response to HTTPS client";
	err_set(e, code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_SYSTEM, 0, "%.250s: %.150s%.*s%s", what, text,
		n, host ? host + 3 : "", after);
	text_clean(e->msg);
	/* The server's verdict on us, a client certificate that it misses mostly: once more won't help. */
	return strstr(h->error, "fatal alert") ? HTTP_FATAL : kind;
}

enum http_failure http_do(struct http *h, const struct http_request *r, struct http_answer *a, struct err *e)
{
	struct curl_slist *headers = make_headers(r);
	const char *url = NULL;
	CURLcode code;

	memset(a, 0, sizeof(*a));
	h->r = r;
	h->a = a;
	h->e = e;
	h->in_pos = h->skip = 0;
	h->header_bytes = 0;
	h->checked = h->stopped = false;
	h->error[0] = '\0';
	curl_easy_reset(h->curl); /* options only: connections stay */
	set_callbacks(h);
	set_peer(h, r->peer);
	set_limits(h, r);
	set_method(h, r);
	set(HTTPHEADER, headers);
	code = curl_easy_perform(h->curl);
	curl_slist_free_all(headers);
	if (h->stopped)
		return HTTP_FATAL;
	if (!h->checked)
		curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &a->status);
	/* The body of an error needn't be complete. */
	if (code != CURLE_OK && (!a->status || a->status / 100 == 2 || a->status / 100 == 3))
		return explain(h, code, e);
	curl_easy_getinfo(h->curl, CURLINFO_EFFECTIVE_URL, &url);
	a->url = xstrdup(url ? url : r->url);
	return HTTP_OK;
}
