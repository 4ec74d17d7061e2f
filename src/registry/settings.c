/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "os/ipaddr.h"
#include "registry/internal.h"

#define DEFAULT_HOST "docker.io"
#define DEFAULT_REGISTRY "registry-1.docker.io"
#define CERTS_DIR "/etc/docker/certs.d"
#define OWN_CERTS_DIR "/etc/silo/certs.d"
#define CONCURRENCY_MAX 64

/* As Docker: an address of a server, nothing behind it. */
static int add_mirror(struct settings *s, const char *url, struct err *e)
{
	autofree char *clean = xstrdup(url);
	size_t n = strlen(clean);
	const char *host;

	if (n && clean[n - 1] == '/')
		clean[n - 1] = '\0';
	host = str_starts(clean, "https://") ? clean + 8 : str_starts(clean, "http://") ? clean + 7 : NULL;
	if (!host || !*host)
		return err_set(e, ERR_INVALID, 0, "invalid mirror: unsupported scheme in \"%.200s\"", url);
	if (strpbrk(host, "/?#@"))
		return err_set(e, ERR_INVALID, 0, "invalid mirror: path, query, fragment or user in \"%.200s\"", url);
	json_array_append_new(s->mirrors, json_string(clean));
	return 0;
}

static int read_lists(struct settings *s, const json_t *config, struct err *e)
{
	json_t *mirrors, *insecure, *v;
	size_t i;

	if (json_get_strings(config, "registry-mirrors", &mirrors, e) ||
	    json_get_strings(config, "insecure-registries", &insecure, e))
		return -1;
	json_array_foreach(mirrors, i, v)
		if (add_mirror(s, json_string_value(v), e))
			return -1;
	if (json_array_size(s->mirrors) > REGISTRY_ENDPOINTS_MAX - 2)
		return err_set(e, ERR_INVALID, 0, "registry-mirrors: more than %d", REGISTRY_ENDPOINTS_MAX - 2);
	json_array_foreach(insecure, i, v) {
		if (strstr(json_string_value(v), "://"))
			return err_set(
				e, ERR_INVALID, 0,
				"insecure registry %.200s should not contain '://': it is HOST[:PORT] or a network",
				json_string_value(v));
		json_array_append(s->insecure, v);
	}
	return 0;
}

int settings_read(struct settings *s, const json_t *config, struct err *e)
{
	const struct {
		const char *key;
		int64_t fallback, *to;
	} numbers[] = {
		{ "max-concurrent-downloads", 3, &s->downloads },
		{ "max-concurrent-uploads",   5, &s->uploads   },
		{ "max-download-attempts",    5, &s->attempts  },
	};

	memset(s, 0, sizeof(*s));
	s->mirrors = json_array();
	s->insecure = json_array();
	for (size_t i = 0; i < array_len(numbers); i++) {
		if (json_get_int(config, numbers[i].key, numbers[i].fallback, numbers[i].to, e))
			return -1;
		if (*numbers[i].to < 1 || *numbers[i].to > CONCURRENCY_MAX)
			return err_set(e, ERR_INVALID, 0, "%s: must be from 1 to %d", numbers[i].key, CONCURRENCY_MAX);
	}
	return read_lists(s, config, e);
}

void settings_fini(struct settings *s)
{
	json_decref(s->mirrors);
	json_decref(s->insecure);
}

char *settings_host(const char *name, const char **path)
{
	size_t n = strcspn(name, "/");

	*path = name[n] ? name + n + 1 : name + n;
	return xstrndup(name, n);
}

/* "[::1]:5000", "10.0.0.1:80", "host" without the port. */
static char *without_port(const char *host)
{
	const char *colon = strrchr(host, ':');

	if (host[0] == '[' && strchr(host, ']'))
		return xstrndup(host + 1, (size_t)(strchr(host, ']') - host - 1));
	return xstrndup(host, colon ? (size_t)(colon - host) : strlen(host));
}

bool settings_is_insecure(const struct settings *s, const char *host)
{
	autofree char *bare = without_port(host);
	struct ip_addr a = { 0 };
	struct ip_net net;
	bool is_ip = !ip_parse(bare, &a);
	size_t i;
	json_t *v;

	/* Docker's defaults: what is on this machine. */
	if (!strcasecmp(bare, "localhost") || (is_ip && a.family == AF_INET && a.b[0] == 127) ||
	    (!ip_net_parse("::1/128", &net) && is_ip && ip_in(&net, &a)))
		return true;
	json_array_foreach(s->insecure, i, v) {
		const char *text = json_string_value(v);

		if (!strcasecmp(text, host) || !strcasecmp(text, bare))
			return true;
		if (is_ip && !ip_net_parse(text, &net) && ip_in(&net, &a))
			return true;
	}
	return false;
}

static void add_endpoint(json_t *list, const char *url, bool verify, bool mirror)
{
	const char *host = strstr(url, "://") + 3;

	json_array_append_new(list, json_pack("{s:s, s:b, s:b, s:[o, o]}", "url", url, "verify", verify, "mirror",
					      mirror, "certs", json_sprintf(OWN_CERTS_DIR "/%s", host),
					      json_sprintf(CERTS_DIR "/%s", host)));
}

/* Encrypted if it can be; in the clear only where nobody asked for security. */
static json_t *endpoints(const struct settings *s, const char *host, bool pull)
{
	bool hub = !strcmp(host, DEFAULT_HOST), insecure = settings_is_insecure(s, host);
	const char *server = hub ? DEFAULT_REGISTRY : host;
	autofree char *https = xasprintf("https://%s", server), *http = xasprintf("http://%s", server);
	json_t *list = json_array(), *v;
	size_t i;

	if (hub && pull)
		json_array_foreach(s->mirrors, i, v) {
			const char *url = json_string_value(v);

			add_endpoint(list, url, !settings_is_insecure(s, strstr(url, "://") + 3), true);
		}
	add_endpoint(list, https, !insecure, false);
	if (insecure)
		add_endpoint(list, http, false, false);
	return list;
}

json_t *settings_helper(const struct settings *s, const char *name, bool pull, const json_t *auth)
{
	const char *path;
	autofree char *host = settings_host(name, &path);

	return json_pack("{s:o, s:s, s:s, s:I, s:s, s:O}", "endpoints", endpoints(s, host, pull), "name", path,
			 "actions", pull ? "pull" : "pull,push", "attempts", (json_int_t)s->attempts, "user_agent",
			 "silo/" SILO_VERSION " (linux)", "auth", json_is_object(auth) ? auth : json_null());
}
