/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry/registry.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "registry/pull.h"

#define STOP_MS 10000

struct registry *registry_open(const struct registry_options *o, struct err *e)
{
	struct registry *r = xcalloc(1, sizeof(*r));

	r->o = *o;
	r->o.config = NULL;
	r->o.helper_path = xstrdup(o->helper_path);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	if (!settings_read(&r->settings, o->config, e))
		return r;
	registry_close(r);
	return NULL;
}

void registry_stop(struct registry *r)
{
	if (r)
		r->stopping = true;
}

/* The threads of downloads notice within moments that nobody wants them. */
static void wait_for_downloads(struct registry *r)
{
	int64_t end_ms = time_monotonic_ms() + STOP_MS;

	pthread_mutex_lock(&r->lock);
	while (r->fetches && time_monotonic_ms() < end_ms) {
		struct timespec until = time_now();

		until.tv_sec++;
		pthread_cond_timedwait(&r->changed, &r->lock, &until);
	}
	pthread_mutex_unlock(&r->lock);
}

void registry_close(struct registry *r)
{
	if (!r)
		return;
	r->stopping = true;
	wait_for_downloads(r);
	settings_fini(&r->settings);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->changed);
	free((char *)(uintptr_t)r->o.helper_path);
	free(r);
}

/* --- login ---------------------------------------------------------------------------------------------------- */
/* "https://index.docker.io/v1/", "host:port", "https://host/v2/" -> the host. Heap string. */
static char *server_host(const char *address)
{
	const char *p = strstr(address, "://");

	p = p ? p + 3 : address;
	if (!*p || str_starts(p, "index.docker.io") || str_starts(p, "registry-1.docker.io"))
		return xstrdup("docker.io");
	return xstrndup(p, strcspn(p, "/?#"));
}

json_t *registry_login(struct registry *r, const json_t *body, const struct registry_client *c, struct err *e)
{
	static const char *const keys[] = { "username", "password", "identitytoken", "registrytoken", "serveraddress" };
	const char *values[array_len(keys)];
	autojson *auth = json_object();

	for (size_t i = 0; i < array_len(keys); i++) {
		if (json_get_str(body, keys[i], "", &values[i], e))
			return NULL;
		json_object_set_new(auth, keys[i], json_string(values[i]));
	}
	autofree char *host = server_host(values[4]);
	autofree char *name = xasprintf("%s/", host);
	struct session *s = session_open(r, name, false, auth, e);

	if (!s)
		return NULL;
	autojson *done =
		session_call(s, json_pack("{s:s}", "op", "check"), -1, client_tick, (void *)(uintptr_t)c, NULL, e);

	session_put(s);
	return done ? json_pack("{s:s, s:s}", "Status", "Login Succeeded", "IdentityToken",
				json_str(done, "identity_token", ""))
		    : NULL;
}

/* --- search --------------------------------------------------------------------------------------------------- */
/* "host:5000/term" asks that host, anything else Docker Hub's index. */
json_t *registry_search(struct registry *r, const char *term, int limit, const struct registry_client *c, struct err *e)
{
	size_t host = strcspn(term, "/"), n = 0;
	bool named =
		term[host] && (memchr(term, '.', host) || memchr(term, ':', host) || str_starts(term, "localhost/"));
	autofree char *name = named ? xasprintf("%.*s/", (int)host, term) : xstrdup("index.docker.io/");
	struct session *s = session_open(r, name, false, c->auth, e);
	json_t *op =
		json_pack("{s:s, s:s, s:i}", "op", "search", "term", named ? term + host + 1 : term, "limit", limit);
	json_t *list;

	if (!s) {
		json_decref(op);
		return NULL;
	}
	autofree char *text = session_text(s, op, client_tick, (void *)(uintptr_t)c, NULL, NULL, &n, e);

	session_put(s);
	autojson *doc = text ? json_parse(text, n, "search results", e) : NULL;

	if (!doc || json_get_array(doc, "results", &list, e))
		return NULL;
	return list ? json_incref(list) : json_array();
}

json_t *registry_info(struct registry *r)
{
	json_t *cidrs = json_pack("[s, s]", "::1/128", "127.0.0.0/8");
	json_t *indexes = json_pack("{s:{s:s, s:O, s:b, s:b}}", "docker.io", "Name", "docker.io", "Mirrors",
				    r->settings.mirrors, "Secure", 1, "Official", 1);
	size_t i;
	json_t *v;

	json_array_foreach(r->settings.insecure, i, v) {
		const char *text = json_string_value(v);

		if (strchr(text, '/'))
			json_array_append(cidrs, v);
		else
			json_object_set_new(indexes, text,
					    json_pack("{s:s, s:[], s:b, s:b}", "Name", text, "Mirrors", "Secure", 0,
						      "Official", 0));
	}
	return json_pack("{s:o, s:o, s:O}", "InsecureRegistryCIDRs", cidrs, "IndexConfigs", indexes, "Mirrors",
			 r->settings.mirrors);
}
