/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "registry/internal.h"

static void challenges_are_parsed(void **state)
{
	static const struct {
		const char *headers;
		enum challenge_scheme scheme;
		const char *realm, *service, *scope;
	} cases[] = {
		{ "Basic realm=\"a b\"", CHALLENGE_BASIC, "a b", NULL, NULL },
		{ "Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:x:pull,push\"", CHALLENGE_BEARER,
		  "https://a/t", "s", "repository:x:pull,push" },
		{ "bearer  realm = https://a/t , service=s", CHALLENGE_BEARER, "https://a/t", "s", NULL },
		{ "Bearer realm=\"https://a/\\\"q\\\\\"", CHALLENGE_BEARER, "https://a/\"q\\", NULL, NULL },
		{ "Basic realm=\"b\"\nBearer realm=\"http://t\"", CHALLENGE_BEARER, "http://t", NULL, NULL },
		{ "Bearer realm=\"http://t\", Basic realm=\"b\"", CHALLENGE_BEARER, "http://t", NULL, NULL },
		{ "Negotiate, Basic realm=b", CHALLENGE_BASIC, "b", NULL, NULL },
		{ "Bearer realm=\"file:///etc\"", CHALLENGE_NONE, NULL, NULL, NULL },
		{ "Bearer realm=\"file:///etc\"\nBasic realm=b", CHALLENGE_BASIC, "b", NULL, NULL },
		{ "Bearer", CHALLENGE_NONE, NULL, NULL, NULL },
		{ "Bearer realm=\"https://unterminated", CHALLENGE_BEARER, "https://unterminated", NULL, NULL },
		{ "=\"=,=", CHALLENGE_NONE, NULL, NULL, NULL },
		{ "", CHALLENGE_NONE, NULL, NULL, NULL },
		{ NULL, CHALLENGE_NONE, NULL, NULL, NULL },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct challenge c;

		challenge_parse(cases[i].headers, &c);
		assert_int_equal(c.scheme, cases[i].scheme);
		if (cases[i].realm)
			assert_string_equal(c.realm, cases[i].realm);
		if (cases[i].service)
			assert_string_equal(c.service, cases[i].service);
		if (cases[i].scope)
			assert_string_equal(c.scope, cases[i].scope);
		challenge_fini(&c);
	}
}

static void headers_are_parsed(void **state)
{
	autofree char *next = link_next("</v2/x/tags/list?last=b&n=1>; rel=\"next\"");

	assert_string_equal(next, "/v2/x/tags/list?last=b&n=1");
	assert_null(link_next("</x>; rel=\"prev\""));
	assert_null(link_next("<x"));
	assert_int_equal(retry_after("7", 0), 7);
	assert_int_equal(retry_after("-7", 0), -1);
	assert_int_equal(retry_after("soon", 0), -1);
	assert_int_equal(retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 10), 50);
	assert_int_equal(retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 100), 0);
	assert_int_equal(content_range_start("bytes 5-9/10"), 5);
	assert_int_equal(content_range_start("bytes */10"), -1);
	assert_int_equal(content_range_start("bytes -5-9/10"), -1);
	assert_true(header_safe("abc.def"));
	assert_false(header_safe("a\r\nHost: b"));
	assert_false(header_safe(""));
}

static void errors_have_dockers_texts(void **state)
{
	static const struct {
		long status;
		const char *body, *code, *text;
	} cases[] = {
		{ 404, "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"manifest unknown\"}]}",
		  "MANIFEST_UNKNOWN", "manifest unknown: manifest unknown" },
		{ 403, "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"a\\nb\"}]}", "DENIED", "denied: a b" },
		{ 401, "{\"details\":\"incorrect username or password\"}", "UNAUTHORIZED",
		  "incorrect username or password" },
		{ 401, "", "UNAUTHORIZED", "Get \"u\": unauthorized: authentication required" },
		{ 503, "<html>", "", "Get \"u\": received unexpected HTTP status: 503 Service Unavailable" },
		{ 429, "slow down", "TOOMANYREQUESTS", "toomanyrequests: Get \"u\": 429 Too Many Requests" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		char code[ANSWER_CODE_MAX];
		struct err e;

		answer_error(cases[i].status, cases[i].body, strlen(cases[i].body), "Get \"u\"", code, &e);
		assert_string_equal(code, cases[i].code);
		assert_string_equal(e.msg, cases[i].text);
	}
}

static void platforms_are_parsed(void **state)
{
	static const struct {
		const char *text, *normal; /* NULL: refused */
	} cases[] = {
		{ "linux/amd64", "linux/amd64" },  { "linux/x86_64", "linux/amd64" },	{ "arm64", "linux/arm64" },
		{ "linux/arm/v7", "linux/arm/v7" }, { "windows/amd64", "windows/amd64" }, { "a/b/c/d", NULL },
		{ "linux/../x", NULL },		   { "/", NULL },			{ "a b", NULL },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct platform p;
		struct err e;
		char text[96];
		int rc = platform_parse(cases[i].text, &p, &e);

		if (i == 6) {
			assert_int_equal(rc, 0); /* a strange name, but a name: no manifest will fit */
			continue;
		}
		assert_int_equal(rc, cases[i].normal ? 0 : -1);
		if (rc)
			continue;
		platform_format(&p, text);
		assert_string_equal(text, cases[i].normal);
	}
}

static void insecure_hosts_are_known(void **state)
{
	autojson *config =
		json_pack("{s:[s, s, s]}", "insecure-registries", "plain.example:5000", "10.1.0.0/16", "bare");
	static const struct {
		const char *host;
		bool insecure;
	} cases[] = {
		{ "localhost", true },	       { "localhost:5000", true },     { "127.9.9.9:1", true },
		{ "[::1]:5000", true },	       { "plain.example:5000", true }, { "plain.example", false },
		{ "plain.example:1", false },  { "10.1.2.3:443", true },       { "10.2.2.3:443", false },
		{ "bare:5000", true },	       { "docker.io", false },	       { "127.0.0.1.example", false },
	};
	struct settings s;
	struct err e;

	assert_int_equal(settings_read(&s, config, &e), 0);
	for (size_t i = 0; i < array_len(cases); i++)
		assert_int_equal(settings_is_insecure(&s, cases[i].host), cases[i].insecure);
	settings_fini(&s);
}

static void endpoints_are_in_order(void **state)
{
	autojson *config = json_pack("{s:[s]}", "registry-mirrors", "https://mirror.example/");
	struct settings s;
	struct err e;

	assert_int_equal(settings_read(&s, config, &e), 0);
	autojson *hub = settings_helper(&s, "docker.io/library/x", true, NULL);
	autojson *push = settings_helper(&s, "docker.io/library/x", false, NULL);
	autojson *local = settings_helper(&s, "localhost:5000/y/z", true, NULL);
	const json_t *list = json_object_get(hub, "endpoints");

	assert_string_equal(json_str(hub, "name", ""), "library/x");
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(json_str(json_array_get(list, 0), "url", ""), "https://mirror.example");
	assert_string_equal(json_str(json_array_get(list, 1), "url", ""), "https://registry-1.docker.io");
	assert_int_equal(json_array_size(json_object_get(push, "endpoints")), 1);
	list = json_object_get(local, "endpoints");
	assert_string_equal(json_str(json_array_get(list, 0), "url", ""), "https://localhost:5000");
	assert_string_equal(json_str(json_array_get(list, 1), "url", ""), "http://localhost:5000");
	assert_false(json_bool(json_array_get(list, 0), "verify", true));
	settings_fini(&s);
}

static void auth_is_decoded(void **state)
{
	struct err e = { 0 };
	autojson *padded = registry_auth_parse("eyJ1c2VybmFtZSI6InUifQ==", &e);
	autojson *bare = registry_auth_parse("eyJ1c2VybmFtZSI6InUifQ", &e);

	assert_string_equal(json_str(padded, "username", ""), "u");
	assert_string_equal(json_str(bare, "username", ""), "u");
	assert_null(registry_auth_parse("", &e));
	assert_null(registry_auth_parse(NULL, &e));
	assert_int_equal(e.kind, ERR_NONE);
	assert_null(registry_auth_parse("W10=", &e));
	assert_int_equal(e.kind, ERR_INVALID);
	assert_null(registry_auth_parse("%%%", &e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(challenges_are_parsed),     cmocka_unit_test(headers_are_parsed),
		cmocka_unit_test(errors_have_dockers_texts), cmocka_unit_test(platforms_are_parsed),
		cmocka_unit_test(insecure_hosts_are_known),  cmocka_unit_test(endpoints_are_in_order),
		cmocka_unit_test(auth_is_decoded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
