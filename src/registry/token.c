/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a challenge to an Authorization header. Source: distribution, "Token Authentication Specification" and
 * "OAuth 2.0 Token Authentication".
 */
#include <nettle/base64.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/own.h"
#include "registry/client.h"

#define TOKEN_ANSWER_MAX (1 * MIB)
#define URL_MAX (64 * KIB)
#define IDENTITY_MAX (32 * KIB)

static char *basic(const char *user, const char *password)
{
	autofree char *plain = xasprintf("%s:%s", user, password);
	size_t n = strlen(plain);
	autofree char *text = xmalloc(BASE64_ENCODE_RAW_LENGTH(n) + 1);

	base64_encode_raw(text, n, (const uint8_t *)plain);
	text[BASE64_ENCODE_RAW_LENGTH(n)] = '\0';
	return xasprintf("Basic %s", text);
}

static void add_parameter(struct str *s, const char *key, const char *value)
{
	if (!value || !*value)
		return;
	str_printf(s, "%s%s=", s->len && !strchr("?&", s->s[s->len - 1]) ? "&" : "", key);
	url_add_encoded(s, value);
}

/* "pull,push" on our repository, and what the request needs beyond. */
static void add_scopes(struct job *j, struct str *s, const char *extra)
{
	autofree char *own = xasprintf("repository:%s:%s", j->client->name, j->client->actions);

	if (*j->client->name)
		add_parameter(s, "scope", own);
	add_parameter(s, "scope", extra);
}

static enum http_failure ask(struct job *j, const struct endpoint *ep, const struct challenge *c, const char *extra,
			     struct http_answer *a, struct err *e)
{
	const struct client *k = j->client;
	bool refresh = k->identity_token && !ep->mirror;
	autofree char *authorization = NULL;
	autofree char *own =
		xasprintf("repository:%s:%s%s%s", k->name, k->actions, extra ? " " : "", extra ? extra : "");
	struct http_request r = { .peer = &ep->peer,
				  .method = "GET",
				  .in = -1,
				  .body_max = TOKEN_ANSWER_MAX,
				  .cancel = j->reply,
				  .follow = true };
	autostr url, form;

	str_init(&url, URL_MAX);
	str_init(&form, URL_MAX);
	str_puts(&url, c->realm);
	if (refresh) {
		str_puts(&form, "grant_type=refresh_token&client_id=docker");
		add_parameter(&form, "service", c->service);
		add_parameter(&form, "scope", *k->name ? own : "");
		add_parameter(&form, "refresh_token", k->identity_token);
		r.method = "POST";
		r.body = form.s;
	} else {
		str_puts(&url, strchr(c->realm, '?') ? "&" : "?");
		if (k->username && !ep->mirror) {
			authorization = basic(k->username, k->password);
			add_parameter(&url, "account", k->username);
		}
		add_parameter(&url, "service", c->service);
		if (j->login) {
			add_parameter(&url, "client_id", "docker");
			add_parameter(&url, "offline_token", "true");
		}
		add_scopes(j, &url, extra);
	}
	if (url.full || form.full)
		return err_set(e, ERR_SYSTEM, 0, "the registry's challenge is too long"), HTTP_FATAL;
	r.url = url.s;
	r.authorization = authorization;
	return http_do(j->http, &r, a, e);
}

/* What `docker login` keeps instead of the password, where the server gives such a thing. */
static int take_identity(struct job *j, const json_t *answer, struct err *e)
{
	const char *token = json_str(answer, "refresh_token", "");

	if (!j->login || !*token)
		return 0;
	if (strlen(token) > IDENTITY_MAX)
		return err_set(e, ERR_LIMIT, 0, "the registry's identity token is too long");
	free(j->identity_token);
	j->identity_token = xstrdup(token);
	return 0;
}

static char *bearer(struct job *j, const struct endpoint *ep, const struct challenge *c, const char *extra,
		    struct err *e)
{
	bool secret = (j->client->username || j->client->identity_token) && !ep->mirror;
	autoanswer a = { 0 };
	const char *token;

	/* A password isn't sent in the clear by a registry that was reached encrypted. */
	if (secret && !strncasecmp(ep->url, "https:", 6) && strncasecmp(c->realm, "https:", 6) != 0)
		return err_set(e, ERR_FORBIDDEN, 0,
			       "the registry wants the credentials to be sent unencrypted to %.200s", c->realm),
		       NULL;
	if (ask(j, ep, c, extra, &a, e) != HTTP_OK)
		return NULL;
	if (a.status / 100 != 2) {
		autofree char *what = http_what("GET", c->realm);

		answer_error(a.status, a.body.s, a.body.len, what, j->code, e);
		return NULL;
	}
	autojson *doc = json_parse(a.body.s ? a.body.s : "", a.body.len, "token", e);

	if (!doc)
		return NULL;
	token = json_str(doc, "token", json_str(doc, "access_token", ""));
	if (!*token)
		token = json_str(doc, "access_token", "");
	if (!header_safe(token))
		return err_set(e, ERR_SYSTEM, 0, "authorization server did not include a token in the response"), NULL;
	return take_identity(j, doc, e) ? NULL : xasprintf("Bearer %s", token);
}

char *token_get(struct job *j, const struct endpoint *ep, const struct challenge *c, const char *extra, struct err *e)
{
	const struct client *k = j->client;

	if (k->registry_token && !ep->mirror)
		return xasprintf("Bearer %s", k->registry_token);
	if (c->scheme == CHALLENGE_BEARER)
		return bearer(j, ep, c, extra, e);
	if (k->username && !ep->mirror)
		return basic(k->username, k->password);
	snprintf(j->code, sizeof(j->code), "UNAUTHORIZED");
	err_set(e, ERR_FORBIDDEN, 0, "no basic auth credentials");
	return NULL;
}
