/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A hostile client: any request target (first line) and any body (the rest), as far as Silo itself takes them apart. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/config.h"
#include "api/http.h"
#include "base/json.h"
#include "base/own.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct route table[] = {
	{ "GET", "/_ping", 24, 0, R_PLAIN, NULL, NULL },
	{ "GET", "/containers/{id}/json", 24, 0, R_PLAIN, NULL, NULL },
	{ "GET", "/images/{name*}/json", 24, 0, R_PLAIN, NULL, NULL },
	{ "GET", "/a/{x}/{y*}", 30, 0, R_PLAIN, NULL, NULL },
};

static void read_query(const struct request *r)
{
	static const char *const known[] = { "name", "label" };
	autojson *filters = NULL;
	struct timespec when;
	struct err e = { 0 };
	int64_t value;

	(void)query_bool(r, "all", false);
	if (query_int(r, "t", 0, -1, 100, &value, &e) == 0 && (value < -1 || value > 100))
		abort();
	(void)!query_time(r, "since", &when, &e);
	if (query_filters(r, &filters, &e) == 0 && filters_check(filters, known, array_len(known), &e) < 0 &&
	    e.kind != ERR_INVALID)
		abort();
}

static void find_route(struct request *r)
{
	struct err e = { 0 };
	int minor = route_check_version(r->uri.major, r->uri.minor, &e);

	if (minor < 0 && e.kind != ERR_INVALID)
		abort();
	r->route = route_find(table, array_len(table), "GET", r->uri.path, minor < 0 ? API_MINOR_MAX : minor, r->param,
			      &e);
	for (size_t i = 0; i < ROUTE_PARAMS_MAX; i++) {
		if (r->param[i] && (!r->route || !*r->param[i]))
			abort();
		free(r->param[i]);
	}
}

static void read_body(struct request *r, const uint8_t *data, size_t n)
{
	struct config c = { 0 };
	struct err e = { 0 };

	str_init(&r->body, 64 * KIB);
	(void)str_add(&r->body, data, n);
	if (body_json(r, false, &e))
		(void)!config_parse_keys(&c, r->doc, &e);
	else if (e.kind != ERR_INVALID)
		abort();
	config_fini(&c);
	json_decref(r->doc);
	str_fini(&r->body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const uint8_t *end = n ? memchr(data, '\n', n) : NULL;
	size_t target = end ? (size_t)(end - data) : n;
	autofree char *raw = xstrndup((const char *)data, target);
	struct request r = { 0 };
	struct err e = { 0 };

	if (uri_parse(&r.uri, raw, &e) == 0) {
		find_route(&r);
		read_query(&r);
	} else if (e.kind != ERR_INVALID) {
		abort();
	}
	uri_fini(&r.uri);
	read_body(&r, data + target, n - target);
	return 0;
}
