/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pure parts of the API: request targets, routes, query parameters, bodies, options of silod. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "api/config.h"
#include "api/http.h"
#include "base/json.h"
#include "base/own.h"

/* --- request targets ------------------------------------------------------------------------------------------ */
static void targets_are_taken_apart(void **state)
{
	static const struct {
		const char *raw, *path;
		int major, minor;
	} cases[] = {
		{ "/_ping", "/_ping", -1, -1 },
		{ "/v1.41/containers/json?all=1", "/containers/json", 1, 41 },
		{ "/v1.24/", "/", 1, 24 },
		{ "/v1.24", "/v1.24", -1, -1 },
		{ "/v1/info", "/v1/info", -1, -1 },
		{ "/v1.9999999/info", "/v1.9999999/info", -1, -1 },
		{ "/volumes/v1.2/x", "/volumes/v1.2/x", -1, -1 },
		{ "http://host/v1.30/info", "/info", 1, 30 },
		{ "http://host", "/", -1, -1 },
		{ "/a#b?c=d", "/a", -1, -1 },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct err e = { 0 };
		struct uri u;

		assert_int_equal(uri_parse(&u, cases[i].raw, &e), 0);
		assert_string_equal(u.path, cases[i].path);
		assert_int_equal(u.major, cases[i].major);
		assert_int_equal(u.minor, cases[i].minor);
		uri_fini(&u);
	}
}

static void bad_targets_are_refused(void **state)
{
	static const char *const bad[] = { "", "*", "x", "/?a=%", "/?a=%4", "/?a=%zz", "/?a=%00", "/?%00=1" };
	autofree char *many = xcalloc(URI_QUERY_MAX + 2, 4);

	strcpy(many, "/?");
	for (int i = 0; i <= URI_QUERY_MAX; i++)
		strcat(many, "a&");
	for (size_t i = 0; i <= array_len(bad); i++) {
		struct err e = { 0 };
		struct uri u;

		assert_int_equal(uri_parse(&u, i < array_len(bad) ? bad[i] : many, &e), -1);
		assert_int_equal(e.kind, ERR_INVALID);
		uri_fini(&u);
	}
}

static void queries_are_decoded(void **state)
{
	struct err e = { 0 };
	struct uri u;

	assert_int_equal(uri_parse(&u, "/x?a=1&b=%7B%22x%22%3A1%7d&all&c=d+e%2B&a=2&&=z", &e), 0);
	assert_string_equal(uri_query(&u, "a"), "1");
	assert_string_equal(uri_query(&u, "b"), "{\"x\":1}");
	assert_string_equal(uri_query(&u, "all"), "");
	assert_string_equal(uri_query(&u, "c"), "d e+");
	assert_string_equal(uri_query(&u, ""), "z");
	assert_null(uri_query(&u, "A"));
	uri_fini(&u);
}

/* --- routes --------------------------------------------------------------------------------------------------- */
static void patterns_match(void **state)
{
	static const struct {
		const char *pattern, *path;
		int n;
		const char *first, *second;
	} cases[] = {
		{ "/info", "/info", 0, NULL, NULL },
		{ "/info", "/info/", -1, NULL, NULL },
		{ "/info", "/inf%6f", -1, NULL, NULL },
		{ "/_ping", "/_ping%00x", -1, NULL, NULL },
		{ "/containers/{id}/json", "/containers/abc/json", 1, "abc", NULL },
		{ "/containers/{id}/json", "/containers//json", -1, NULL, NULL },
		{ "/containers/{id}/json", "/containers/a/b/json", -1, NULL, NULL },
		{ "/containers/{id}/json", "/containers/a%2Fb/json", 1, "a/b", NULL },
		{ "/containers/{id}/json", "/containers/a%00/json", -1, NULL, NULL },
		{ "/containers/{id}", "/containers/%zz", -1, NULL, NULL },
		{ "/a/{x}/{y}", "/a/1/2", 2, "1", "2" },
		{ "/images/{name*}/json", "/images/reg:5000/a/b:1/json", 1, "reg:5000/a/b:1", NULL },
		{ "/images/{name*}/json", "/images/json", -1, NULL, NULL },
		{ "/images/{name*}/json", "/images//json", -1, NULL, NULL },
		{ "/images/{name*}/json", "/images/json/json", 1, "json", NULL },
		{ "/images/{name*}", "/images/a/b", 1, "a/b", NULL },
		{ "/images/{name*}", "/images/", -1, NULL, NULL },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		char *params[ROUTE_PARAMS_MAX];

		assert_int_equal(route_match(cases[i].pattern, cases[i].path, params), cases[i].n);
		for (int k = 0; k < ROUTE_PARAMS_MAX; k++) {
			const char *want = k ? cases[i].second : cases[i].first;

			if (want)
				assert_string_equal(params[k], want);
			else
				assert_null(params[k]);
			free(params[k]);
		}
	}
}

static void routes_are_found_by_method_and_version(void **state)
{
	static const struct route table[] = {
		{ "GET", "/x/json", 24, 0, R_PLAIN, NULL, NULL },
		{ "DELETE", "/x/{id}", 24, 0, R_PLAIN, NULL, NULL },
		{ "POST", "/x/{id}", 30, 0, R_PLAIN, NULL, NULL },
	};
	static const struct {
		const char *method, *path;
		int minor, found;
		enum err_kind kind;
	} cases[] = {
		{ "GET", "/x/json", 24, 0, ERR_NONE },      { "DELETE", "/x/json", 24, 1, ERR_NONE },
		{ "POST", "/x/a", 30, 2, ERR_NONE },        { "POST", "/x/a", 29, -1, ERR_UNSUPPORTED },
		{ "GET", "/x/a", 50, -1, ERR_UNSUPPORTED }, { "GET", "/y", 50, -1, ERR_NOT_FOUND },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		char *params[ROUTE_PARAMS_MAX];
		struct err e = { 0 };
		const struct route *route =
			route_find(table, array_len(table), cases[i].method, cases[i].path, cases[i].minor, params, &e);

		assert_ptr_equal(route, cases[i].found < 0 ? NULL : &table[cases[i].found]);
		assert_int_equal(e.kind, cases[i].kind);
		for (int k = 0; k < ROUTE_PARAMS_MAX; k++)
			free(params[k]);
	}
}

static void versions_are_negotiated(void **state)
{
	static const struct {
		int major, minor, result;
		const char *message;
	} cases[] = {
		{ -1, -1, 50, "" },
		{ 1, 24, 24, "" },
		{ 1, 50, 50, "" },
		{ 1, 99, -1, "client version 1.99 is too new. Maximum supported API version is 1.50" },
		{ 2, 0, -1, "client version 2.0 is too new. Maximum supported API version is 1.50" },
		{ 1, 10, -1,
		  "client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade your client to a "
		  "newer version" },
		{ 0, 99, -1,
		  "client version 0.99 is too old. Minimum supported API version is 1.24, please upgrade your client to a "
		  "newer version" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct err e = { 0 };

		assert_int_equal(route_check_version(cases[i].major, cases[i].minor, &e), cases[i].result);
		assert_string_equal(e.msg, cases[i].message);
	}
}

static void every_error_has_a_status(void **state)
{
	for (enum err_kind kind = ERR_SYSTEM; kind <= ERR_NOT_EXECUTABLE; kind++)
		assert_in_range(http_status(kind), 300, 599);
	assert_int_equal(http_status(ERR_NOT_FOUND), 404);
	assert_int_equal(http_status(ERR_NOT_MODIFIED), 304);
	assert_int_equal(http_status((enum err_kind)999), 500);
}

/* --- what the client said ------------------------------------------------------------------------------------- */
static void with_query(struct request *r, const char *query)
{
	autofree char *raw = xasprintf("/x?%s", query);
	struct err e = { 0 };

	memset(r, 0, sizeof(*r));
	assert_int_equal(uri_parse(&r->uri, raw, &e), 0);
}

static void booleans_are_dockers(void **state)
{
	static const struct {
		const char *query;
		bool fallback, value;
	} cases[] = {
		{ "", false, false },     { "", true, true },       { "a=1", false, true },     { "a=0", true, false },
		{ "a", true, false },     { "a=False", true, false }, { "a=true", false, true }, { "a=NO", true, false },
		{ "a=none", true, false }, { "a=yes", false, true },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct request r;

		with_query(&r, cases[i].query);
		assert_int_equal(query_bool(&r, "a", cases[i].fallback), cases[i].value);
		uri_fini(&r.uri);
	}
}

static void numbers_are_checked(void **state)
{
	static const struct {
		const char *query;
		int rc;
		int64_t value;
	} cases[] = {
		{ "", 0, 7 },     { "t=", 0, 7 },    { "t=3", 0, 3 },  { "t=-1", 0, -1 },
		{ "t=x", -1, 0 }, { "t=3x", -1, 0 }, { "t=-2", -1, 0 }, { "t=99999999999999999999", -1, 0 },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct err e = { 0 };
		struct request r;
		int64_t value;

		with_query(&r, cases[i].query);
		assert_int_equal(query_int(&r, "t", 7, -1, INT_MAX, &value, &e), cases[i].rc);
		if (cases[i].rc == 0)
			assert_int_equal(value, cases[i].value);
		else
			assert_int_equal(e.kind, ERR_INVALID);
		uri_fini(&r.uri);
	}
}

static void filters_have_two_forms(void **state)
{
	static const struct {
		const char *query;
		int rc;
		bool any;
	} cases[] = {
		{ "", 0, false },
		{ "filters=null", 0, false },
		{ "filters={}", 0, true },
		{ "filters={\"name\":[\"a\",\"b\"]}", 0, true },
		{ "filters={\"name\":{\"a\":true}}", 0, true },
		{ "filters={\"name\":\"a\"}", -1, false },
		{ "filters={\"name\":[1]}", -1, false },
		{ "filters={\"name\":{\"a\":1}}", -1, false },
		{ "filters=[]", -1, false },
		{ "filters={", -1, false },
		{ "filters={\"a\":[],\"a\":[]}", -1, false },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		autojson *filters = NULL;
		struct err e = { 0 };
		struct request r;

		with_query(&r, cases[i].query);
		assert_int_equal(query_filters(&r, &filters, &e), cases[i].rc);
		assert_int_equal(filters != NULL, cases[i].any);
		assert_int_equal(e.kind, cases[i].rc < 0 ? ERR_INVALID : ERR_NONE);
		uri_fini(&r.uri);
	}
}

static void unknown_filters_are_named(void **state)
{
	static const char *const known[] = { "name", "label" };
	autojson *good = json_pack("{s:[s], s:[]}", "name", "a", "label");
	autojson *bad = json_pack("{s:[s]}", "colour", "red");
	struct err e = { 0 };

	assert_int_equal(filters_check(NULL, known, array_len(known), &e), 0);
	assert_int_equal(filters_check(good, known, array_len(known), &e), 0);
	assert_int_equal(filters_check(bad, known, array_len(known), &e), -1);
	assert_string_equal(e.msg, "invalid filter 'colour'");
}

static void bodies_are_objects(void **state)
{
	static const struct {
		const char *text;
		bool optional, ok;
		enum err_kind kind;
	} cases[] = {
		{ "{\"a\":1}", false, true, ERR_NONE }, { "", false, false, ERR_INVALID },
		{ "", true, false, ERR_NONE },          { "[]", false, false, ERR_INVALID },
		{ "{} x", false, false, ERR_INVALID },  { "{\"a\":1,\"a\":2}", false, false, ERR_INVALID },
		{ "null", true, false, ERR_NONE },      { "null", false, false, ERR_INVALID },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct request r = { 0 };
		struct err e = { 0 };

		str_init(&r.body, 100);
		str_puts(&r.body, cases[i].text);
		assert_int_equal(body_json(&r, cases[i].optional, &e) != NULL, cases[i].ok);
		assert_int_equal(e.kind, cases[i].kind);
		json_decref(r.doc);
		str_fini(&r.body);
	}
}

/* --- options of silod ----------------------------------------------------------------------------------------- */
static void options_come_from_both_sides(void **state)
{
	char *argv[] = { "silod", "--root", "/r", "--host=unix:///a.sock", "-H", "fd://", "--debug" };
	autojson *file = json_pack("{s:s, s:s, s:[s], s:s, s:s}", "data-root", "/file", "exec-root", "/x", "hosts",
				   "unix:///b.sock", "isolation", "hyperv", "guest-kernel", "/k");
	struct config c = { 0 };
	struct err e = { 0 };

	assert_int_equal(config_parse_args(&c, array_len(argv), argv, &e), 0);
	assert_int_equal(config_parse_keys(&c, file, &e), 0);
	assert_string_equal(c.root, "/r");
	assert_string_equal(c.exec_root, "/x");
	assert_string_equal(c.isolation, "hyperv");
	assert_int_equal(c.n_hosts, 2);
	assert_string_equal(c.hosts[0], "unix:///a.sock");
	assert_int_equal(config_log_level(&c), LOG_LEVEL_DEBUG);
	config_fini(&c);
}

static void bad_options_are_named(void **state)
{
	static const struct {
		const char *first, *second, *message;
	} cases[] = {
		{ "--bogus", NULL, "unknown flag: --bogus" },
		{ "x", NULL, "unknown argument: x" },
		{ "--root", NULL, "flag needs an argument: --root" },
		{ "--root=", NULL, "--root: the value is empty" },
		{ "--host", "tcp://0.0.0.0:2375",
		  "host \"tcp://0.0.0.0:2375\": only unix://PATH and fd:// are served; to reach the engine from elsewhere use "
		  "docker -H ssh://HOST" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		char *argv[] = { "silod", (char *)cases[i].first, (char *)cases[i].second };
		struct config c = { 0 };
		struct err e = { 0 };

		assert_int_equal(config_parse_args(&c, cases[i].second ? 3 : 2, argv, &e), -1);
		assert_string_equal(e.msg, cases[i].message);
		config_fini(&c);
	}
}

static void bad_keys_are_named(void **state)
{
	static const char *const bad[] = { "[]",
					   "{\"bogus\":1}",
					   "{\"debug\":\"yes\"}",
					   "{\"data-root\":5}",
					   "{\"hosts\":[\"tcp://x\"]}",
					   "{\"hosts\":[1]}",
					   "{\"data-root\":\"\"}" };

	for (size_t i = 0; i < array_len(bad); i++) {
		struct config c = { 0 };
		struct err e = { 0 };
		autojson *file = json_parse(bad[i], strlen(bad[i]), "file", &e);

		assert_non_null(file);
		assert_int_equal(config_parse_keys(&c, file, &e), -1);
		assert_true(e.kind == ERR_INVALID || e.kind == ERR_UNSUPPORTED);
		config_fini(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets_are_taken_apart),
		cmocka_unit_test(bad_targets_are_refused),
		cmocka_unit_test(queries_are_decoded),
		cmocka_unit_test(patterns_match),
		cmocka_unit_test(routes_are_found_by_method_and_version),
		cmocka_unit_test(versions_are_negotiated),
		cmocka_unit_test(every_error_has_a_status),
		cmocka_unit_test(booleans_are_dockers),
		cmocka_unit_test(numbers_are_checked),
		cmocka_unit_test(filters_have_two_forms),
		cmocka_unit_test(unknown_filters_are_named),
		cmocka_unit_test(bodies_are_objects),
		cmocka_unit_test(options_come_from_both_sides),
		cmocka_unit_test(bad_options_are_named),
		cmocka_unit_test(bad_keys_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
