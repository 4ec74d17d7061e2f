/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry/client.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/msg.h"
#include "base/own.h"

#define TELL_EVERY_MS 50
#define PAUSE_MAX_S 60
#define ASK_ATTEMPTS 3
#define PIECE_BYTES ((int64_t)(64 * KIB))

/* --- configuration -------------------------------------------------------------------------------------------- */
static const char *or_null(const json_t *o, const char *key)
{
	const char *s = json_str(o, key, "");

	return *s ? s : NULL;
}

static int add_endpoint(struct client *c, const json_t *o, struct err *e)
{
	struct endpoint *ep = &c->endpoints[c->n_endpoints];
	const char *url = json_str(o, "url", "");

	if (c->n_endpoints == REGISTRY_ENDPOINTS_MAX)
		return err_set(e, ERR_INVALID, 0, "more than %d endpoints", REGISTRY_ENDPOINTS_MAX);
	if (!str_starts(url, "https://") && !str_starts(url, "http://"))
		return err_set(e, ERR_INVALID, 0, "registry address %.100s", url);
	ep->url = xstrdup(url);
	ep->mirror = json_bool(o, "mirror", false);
	ep->peer.verify = json_bool(o, "verify", true);
	ep->peer.user_agent = c->user_agent;
	c->n_endpoints++;
	return 0;
}

int client_init(struct client *c, json_t *config, struct err *e)
{
	const json_t *auth = json_object_get(config, "auth"), *o;
	size_t i;

	memset(c, 0, sizeof(*c));
	pthread_mutex_init(&c->lock, NULL);
	c->config = config;
	c->name = json_str(config, "name", "");
	c->actions = json_str(config, "actions", "pull");
	c->user_agent = json_str(config, "user_agent", "silo");
	c->attempts = (int)json_int(config, "attempts", 5);
	c->username = or_null(auth, "username");
	c->password = json_str(auth, "password", "");
	c->identity_token = or_null(auth, "identitytoken");
	c->registry_token = or_null(auth, "registrytoken");
	if (c->registry_token && !header_safe(c->registry_token))
		return err_set(e, ERR_INVALID, 0, "the registry token has characters that no token has");
	json_array_foreach(json_object_get(config, "endpoints"), i, o)
		if (add_endpoint(c, o, e))
			return -1;
	return c->n_endpoints ? 0 : err_set(e, ERR_INVALID, 0, "no endpoints");
}

void client_fini(struct client *c)
{
	for (size_t i = 0; i < c->n_endpoints; i++) {
		struct endpoint *ep = &c->endpoints[i];

		free(ep->url);
		free(ep->ca_path);
		free(ep->cert_path);
		free(ep->key_path);
		free(ep->token);
		challenge_fini(&ep->challenge);
	}
	while (c->n_idle)
		http_free(c->idle[--c->n_idle]);
	pthread_mutex_destroy(&c->lock);
	json_decref(c->config);
}

char *client_path(const struct client *c, const char *fmt, ...)
{
	autofree char *rest = NULL;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vasprintf(&rest, fmt, args);
	va_end(args);
	return n < 0 ? NULL : xasprintf("/v2/%s%s", c->name, rest);
}

/* --- jobs ----------------------------------------------------------------------------------------------------- */
/* Who has left is noticed elsewhere. */
static void tell(struct job *j, const json_t *m)
{
	struct err ignored;

	if (msg_send(j->reply, m, NULL, 0, &ignored))
		return;
}

void job_tell_bytes(struct job *j, int64_t bytes, bool last)
{
	int64_t now_ms = time_monotonic_ms();

	if (!last && now_ms - j->told_ms < TELL_EVERY_MS)
		return;
	j->told_ms = now_ms;
	autojson *m = json_pack("{s:I}", "bytes", (json_int_t)bytes);

	tell(j, m);
}

int job_pause(struct job *j, int64_t seconds, struct err *e)
{
	int64_t end_ms = time_monotonic_ms() + seconds * 1000, left;
	autojson *m = json_pack("{s:I}", "retry_s", (json_int_t)seconds);

	tell(j, m);
	while ((left = end_ms - time_monotonic_ms()) > 0) {
		struct pollfd p = { .fd = j->reply };
		int n = poll(&p, 1, (int)left);

		if (n > 0 || (n < 0 && errno != EINTR))
			return err_set(e, ERR_SYSTEM, 0, "context canceled");
	}
	return 0;
}

int64_t retry_pause(const struct http_answer *a, int attempt)
{
	int64_t wanted = retry_after(a->retry_after, (int64_t)time(NULL));
	int64_t own = 1ll << (attempt < 5 ? attempt : 5);

	if (a->status != 408 && a->status != 429 && a->status / 100 != 5)
		return -1;
	if (a->status == 501 || wanted > PAUSE_MAX_S)
		return -1; /* rate limits last hours: the user must know */
	return wanted >= 0 ? wanted : own;
}

/* --- one request ---------------------------------------------------------------------------------------------- */
/* The header for a request that may be authorised by what is known already. Heap string, or NULL. */
static char *known_token(struct client *c, struct endpoint *ep)
{
	char *token = NULL;

	pthread_mutex_lock(&c->lock);
	if (ep->token)
		token = xstrdup(ep->token);
	else if (c->registry_token && !ep->mirror)
		token = xasprintf("Bearer %s", c->registry_token);
	pthread_mutex_unlock(&c->lock);
	return token;
}

static void learn(struct client *c, struct endpoint *ep, struct challenge *seen, const char *token)
{
	pthread_mutex_lock(&c->lock);
	challenge_fini(&ep->challenge);
	ep->challenge = *seen;
	memset(seen, 0, sizeof(*seen));
	free(ep->token);
	ep->token = xstrdup(token);
	pthread_mutex_unlock(&c->lock);
}

/* The token that an extra scope needs, asked for before the request where the registry is known to want one. */
static char *scoped_token(struct job *j, struct endpoint *ep, const char *scope, struct err *e)
{
	struct challenge c = { 0 };
	char *token = NULL;

	pthread_mutex_lock(&j->client->lock);
	if (ep->challenge.scheme == CHALLENGE_BEARER) {
		c.scheme = CHALLENGE_BEARER;
		c.realm = xstrdup(ep->challenge.realm);
		c.service = ep->challenge.service ? xstrdup(ep->challenge.service) : NULL;
	}
	pthread_mutex_unlock(&j->client->lock);
	if (c.scheme == CHALLENGE_BEARER)
		token = token_get(j, ep, &c, scope, e);
	challenge_fini(&c);
	return token;
}

/* After a 401: what the registry asks for now. Returns NULL with *e where there is no way. */
static char *fresh_token(struct job *j, struct endpoint *ep, const struct http_answer *a, const char *scope,
			 const char *used, struct err *e)
{
	struct challenge c;
	char *token = NULL;

	challenge_parse(a->challenges, &c);
	if (c.scheme != CHALLENGE_NONE)
		token = token_get(j, ep, &c, scope, e);
	/* The same password again won't do. */
	if (token && used && !strcmp(token, used))
		free(take_ptr(&token));
	if (token && !scope)
		learn(j->client, ep, &c, token);
	challenge_fini(&c);
	return token;
}

static bool is_below(const char *base, const char *url)
{
	return str_starts(url, base) && strchr("/?", url[strlen(base)]);
}

enum http_failure client_try(struct job *j, struct endpoint *ep, const char *path, const char *scope,
			     struct http_request *r, struct http_answer *a, struct err *e)
{
	autofree char *url = xasprintf("%s%s", *path == '/' ? ep->url : "", path);
	/* Elsewhere nobody has a claim to our credentials. */
	bool own = is_below(ep->url, url);
	autofree char *token = scope ? scoped_token(j, ep, scope, e) : NULL;
	enum http_failure rc;

	if (!token && own)
		token = known_token(j->client, ep);
	*e = (struct err){ 0 };
	r->url = url;
	r->peer = &ep->peer;
	r->cancel = j->reply;
	r->authorization = token;
	rc = http_do(j->http, r, a, e);
	if (rc == HTTP_OK && a->status == 401 && own) {
		autofree char *fresh = fresh_token(j, ep, a, scope, token, e);
		autofree char *what = http_what(r->method, url);

		if (!fresh && e->kind != ERR_NONE)
			rc = HTTP_FATAL;
		if (rc == HTTP_FATAL && !strcmp(e->msg, "no basic auth credentials"))
			err_prefix(e, "%s", what);
		if (fresh) {
			http_answer_fini(a);
			r->authorization = fresh;
			rc = http_do(j->http, r, a, e);
		}
	}
	r->url = r->authorization = NULL;
	return rc;
}

/* The status as an error, unless it is a good one. */
static int check_status(struct job *j, const struct http_request *r, const struct http_answer *a, struct err *e)
{
	autofree char *what = NULL;

	if (a->status / 100 == 2)
		return 0;
	/* The token is good, but not for this. */
	if (a->status == 401 && a->challenges && strstr(a->challenges, "insufficient_scope")) {
		snprintf(j->code, sizeof(j->code), "DENIED");
		return err_set(e, ERR_FORBIDDEN, 0, "denied: requested access to the resource is denied");
	}
	what = http_what(r->method, a->url ? a->url : "");
	answer_error(a->status, a->body.s, a->body.len, what, j->code, e);
	return -1;
}

/* Once: also a good answer is none where bytes are missing. */
static enum http_failure try_once(struct job *j, struct endpoint *ep, const char *path, const char *scope,
				  struct http_request *r, struct http_answer *a, struct err *e)
{
	struct http_sink *sink = r->sink;
	enum http_failure rc;

	if (sink && !sink->whole) {
		sink->have = 0;
		if (ftruncate(sink->fd, 0))
			return err_set(e, ERR_SYSTEM, errno, "truncate"), HTTP_FATAL;
	}
	rc = client_try(j, ep, path, scope, r, a, e);
	if (!sink || !sink->whole || (rc != HTTP_BROKEN && (rc != HTTP_OK || a->status / 100 != 2)))
		return rc;
	if (sink->have == sink->max) {
		a->status = 200;
		return HTTP_OK;
	}
	if (rc == HTTP_OK)
		err_set(e, ERR_SYSTEM, 0, "unexpected EOF");
	return HTTP_BROKEN;
}

/* How often a request is tried. One that only asks, and finds nobody who answers, isn't worth a long wait. */
static int patience(const struct client *c, const struct http_request *r, enum http_failure rc)
{
	bool download = r->sink && r->sink->whole;

	return rc == HTTP_OK || download || c->attempts < ASK_ATTEMPTS ? c->attempts : ASK_ATTEMPTS;
}

/* One endpoint, as often as it takes. *rc tells why it failed. */
static int try_endpoint(struct job *j, struct endpoint *ep, const char *path, const char *scope, struct http_request *r,
			struct http_answer *a, enum http_failure *rc, struct err *e)
{
	for (int attempt = 0;; attempt++) {
		int64_t pause_s = 1ll << (attempt < 5 ? attempt : 5), before = r->sink ? r->sink->have : 0;

		j->code[0] = '\0';
		*rc = try_once(j, ep, path, scope, r, a, e);
		/* Patience is for each piece: a long download may be cut often. */
		if (r->sink && r->sink->have - before >= PIECE_BYTES)
			attempt = 0;
		if (*rc == HTTP_OK && !check_status(j, r, a, e))
			return 0;
		if (*rc == HTTP_OK)
			pause_s = retry_pause(a, attempt);
		else if (*rc != HTTP_BROKEN)
			return -1;
		if (pause_s < 0 || attempt + 1 >= patience(j->client, r, *rc))
			return -1;
		http_answer_fini(a);
		if (job_pause(j, pause_s, e)) {
			*rc = HTTP_CANCELLED;
			return -1;
		}
	}
}

int client_do(struct job *j, const char *path, const char *scope, struct http_request *r, struct http_answer *a,
	      struct endpoint **ep_out, struct err *e)
{
	struct client *c = j->client;
	size_t i;

	pthread_mutex_lock(&c->lock);
	i = c->current;
	pthread_mutex_unlock(&c->lock);
	for (;; i++) {
		struct endpoint *ep = &c->endpoints[i];
		enum http_failure rc;

		int failed;

		*e = (struct err){ 0 };
		failed = try_endpoint(j, ep, path, scope, r, a, &rc, e);
		if (ep_out)
			*ep_out = ep;
		/* A registry that refuses is there all the same; a mirror only counts when it serves. */
		if (!failed || (rc == HTTP_OK && !ep->mirror)) {
			pthread_mutex_lock(&c->lock);
			c->current = i;
			pthread_mutex_unlock(&c->lock);
		}
		if (!failed)
			return 0;
		/* A mirror needn't have everything; otherwise only what isn't there at all is replaced by the next. */
		if (i + 1 >= c->n_endpoints || rc == HTTP_CANCELLED || (!ep->mirror && rc != HTTP_UNREACHABLE))
			return -1;
		http_answer_fini(a);
	}
}
