/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "image/filter.h"
#include "image/make.h"
#include "image/manifest.h"
#include "image/reference.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void references_are_normalised(void **state)
{
	static const struct {
		const char *text, *normal, *familiar; /* normal NULL: familiar is the error */
	} cases[] = {
		{ "alpine", "docker.io/library/alpine", "alpine" },
		{ "alpine:3.19", "docker.io/library/alpine:3.19", "alpine:3.19" },
		{ "library/alpine", "docker.io/library/alpine", "alpine" },
		{ "docker.io/alpine", "docker.io/library/alpine", "alpine" },
		{ "index.docker.io/alpine:1", "docker.io/library/alpine:1", "alpine:1" },
		{ "silo/base:latest", "docker.io/silo/base:latest", "silo/base:latest" },
		{ "localhost/x", "localhost/x", "localhost/x" },
		{ "localhost:5000/x/y:1", "localhost:5000/x/y:1", "localhost:5000/x/y:1" },
		{ "Upper/x", "Upper/x", "Upper/x" }, /* a host name may have capitals */
		{ "gcr.io/a/b-c__d.e_f---g", "gcr.io/a/b-c__d.e_f---g", "gcr.io/a/b-c__d.e_f---g" },
		{ "[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x" },
		{ "a:T_1.x-", "docker.io/library/a:T_1.x-", "a:T_1.x-" },
		{ "a@sha256:" HEX, "docker.io/library/a@sha256:" HEX, "a@sha256:" HEX },
		{ "a:1@sha256:" HEX, "docker.io/library/a:1@sha256:" HEX, "a:1@sha256:" HEX },
		{ "FOO", NULL, "invalid reference format: repository name (library/FOO) must be lowercase" },
		{ "a/Foo", NULL, "invalid reference format: repository name (a/Foo) must be lowercase" },
		{ "", NULL, "invalid reference format" },
		{ ":1", NULL, "invalid reference format" },
		{ "a:", NULL, "invalid reference format" },
		{ "a:-x", NULL, "invalid reference format" },
		{ "a b", NULL, "invalid reference format" },
		{ "a//b", NULL, "invalid reference format" },
		{ "/a", NULL, "invalid reference format" },
		{ "a/", NULL, "invalid reference format" },
		{ "../a", NULL, "invalid reference format" },
		{ "a..b", NULL, "invalid reference format" },
		{ "a___b", NULL, "invalid reference format" },
		{ "-a", NULL, "invalid reference format" },
		{ "a-", NULL, "invalid reference format" },
		{ "h.x:port/a", NULL, "invalid reference format" },
		{ "-h.x/a", NULL, "invalid reference format" },
		{ "a@sha256:12", NULL, "invalid checksum digest length" },
		{ "a@md5:0123456789abcdef0123456789abcdef", NULL, "unsupported digest algorithm" },
		{ "a\n", NULL, "invalid reference format" },
		{ "\xc3\xa4", NULL, "invalid reference format" },
		{ HEX, NULL, "invalid repository name (" HEX "), cannot specify 64-byte hexadecimal strings" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct reference r;
		struct err e = { 0 };

		if (reference_parse(cases[i].text, &r, &e)) {
			assert_null(cases[i].normal);
			assert_int_equal(e.kind, ERR_INVALID);
			assert_string_equal(e.msg, cases[i].familiar);
			assert_null(r.name);
			continue;
		}
		autofree char *normal = reference_text(&r, false), *familiar = reference_text(&r, true);

		assert_non_null(cases[i].normal);
		assert_string_equal(normal, cases[i].normal);
		assert_string_equal(familiar, cases[i].familiar);
		assert_string_equal(reference_familiar(normal), cases[i].familiar);
		reference_fini(&r);
	}
}

static void references_are_bounded(void **state)
{
	char text[600];
	struct reference r;
	struct err e;

	memset(text, 'a', sizeof text);
	text[256] = '\0';
	assert_int_equal(reference_parse(text, &r, &e), -1);
	assert_string_equal(e.msg, "repository name must not be more than 255 characters");
	text[200] = ':';
	text[256] = 'a';
	text[200 + 1 + 128] = '\0';
	assert_int_equal(reference_parse(text, &r, &e), 0);
	reference_fini(&r);
	text[200 + 1 + 128] = 'a';
	text[200 + 1 + 129] = '\0';
	assert_int_equal(reference_parse(text, &r, &e), -1);
}

static void default_tag(void **state)
{
	struct reference r;
	struct err e;

	assert_int_equal(reference_parse("a", &r, &e), 0);
	reference_default_tag(&r);
	assert_string_equal(r.tag, "latest");
	reference_fini(&r);
	assert_int_equal(reference_parse("a@sha256:" HEX, &r, &e), 0);
	reference_default_tag(&r);
	assert_null(r.tag);
	reference_fini(&r);
}

static void changes_become_config(void **state)
{
	static const struct {
		const char *line, *config; /* config, or the error */
	} cases[] = {
		{ "CMD [\"a\", \"b\"]", "{\"Cmd\":[\"a\",\"b\"]}" },
		{ "cmd echo hi", "{\"Cmd\":[\"/bin/sh\",\"-c\",\"echo hi\"]}" },
		{ "CMD [1]", "{\"Cmd\":[\"/bin/sh\",\"-c\",\"[1]\"]}" },
		{ "ENTRYPOINT [\"x\"]", "{\"Entrypoint\":[\"x\"]}" },
		{ "ENV a=b c=\"d e\" f='g h' i=j\\ k l=", "{\"Env\":[\"a=b\",\"c=d e\",\"f=g h\",\"i=j k\",\"l=\"]}" },
		{ "ENV a b c", "{\"Env\":[\"a=b c\"]}" },
		{ "LABEL a=b a=c", "{\"Labels\":{\"a\":\"c\"}}" },
		{ "EXPOSE 80 81/udp 90-92/tcp", "{\"ExposedPorts\":{\"80/tcp\":{},\"81/udp\":{},\"90-92/tcp\":{}}}" },
		{ "VOLUME /a /b", "{\"Volumes\":{\"/a\":{},\"/b\":{}}}" },
		{ "VOLUME [\"/a b\"]", "{\"Volumes\":{\"/a b\":{}}}" },
		{ "  USER  bob ", "{\"User\":\"bob\"}" },
		{ "WORKDIR /x", "{\"WorkingDir\":\"/x\"}" },
		{ "STOPSIGNAL 9", "{\"StopSignal\":\"9\"}" },
		{ "ONBUILD RUN x", "{\"OnBuild\":[\"RUN x\"]}" },
		{ "FROM x", "FROM is not a valid change command" },
		{ "", " is not a valid change command" },
		{ "CMD", "CMD requires at least one argument" },
		{ "ENV a", "ENV must have two arguments" },
		{ "USER a b", "USER requires exactly one argument" },
		{ "EXPOSE x", "invalid containerPort: x" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		autojson *config = json_object(), *list = json_pack("[s]", cases[i].line);
		struct err e = { 0 };

		if (changes_apply(list, config, &e)) {
			assert_int_equal(e.kind, ERR_INVALID);
			assert_string_equal(e.msg, cases[i].config);
			continue;
		}
		autofree char *text = json_text(config);

		assert_string_equal(text, cases[i].config);
	}
}

static void filters_are_checked(void **state)
{
	static const char *const keys[] = { "label", "dangling" };
	autojson *list = json_pack("{s:[s,s]}", "label", "a=b", "c");
	autojson *map = json_pack("{s:{s:b, s:b}}", "label", "a=b", 1, "no", 0);
	autojson *unknown = json_pack("{s:[s]}", "x", "y"), *number = json_pack("{s:[i]}", "label", 1);
	autojson *labels = json_pack("{s:s, s:s}", "a", "b", "c", "d");
	autojson *from_list = filter_values(list, "label"), *from_map = filter_values(map, "label");
	struct err e = { 0 };

	assert_int_equal(filter_check(NULL, keys, 2, &e), 0);
	assert_int_equal(filter_check(list, keys, 2, &e), 0);
	assert_int_equal(filter_check(unknown, keys, 2, &e), -1);
	assert_string_equal(e.msg, "invalid filter 'x'");
	assert_int_equal(filter_check(number, keys, 2, &e), -1);
	assert_string_equal(e.msg, "invalid filter 'label'");
	assert_int_equal(json_array_size(from_list), 2);
	assert_int_equal(json_array_size(from_map), 1);
	assert_true(filter_labels(from_list, labels));
	assert_false(filter_labels(from_list, NULL));
}

static void filter_times(void **state)
{
	const struct timespec now = { .tv_sec = 1000000000 };
	struct timespec t;
	struct err e;

	assert_int_equal(filter_time("1h30m", now, &t, &e), 0);
	assert_int_equal(t.tv_sec, 1000000000 - 5400);
	assert_int_equal(filter_time("2024-01-02T03:04:05Z", now, &t, &e), 0);
	assert_int_equal(t.tv_sec, 1704164645);
	assert_int_equal(filter_time("2024-01-02T03:04", now, &t, &e), 0);
	assert_int_equal(filter_time("2024-01-02", now, &t, &e), 0);
	assert_int_equal(filter_time("1700000000", now, &t, &e), 0);
	assert_int_equal(t.tv_sec, 1700000000);
	assert_int_equal(filter_time("1h30", now, &t, &e), -1);
	assert_int_equal(filter_time("", now, &t, &e), -1);
	assert_int_equal(filter_time("h", now, &t, &e), -1);
}

#define OCI_CONFIG "{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"sha256:" HEX "\",\"size\":2}"

static void manifests(void **state)
{
	static const struct {
		const char *text;
		const char *error; /* NULL = good */
	} cases[] = {
		{ "{\"config\":" OCI_CONFIG ",\"layers\":[]}", NULL },
		{ "{\"layers\":[]}", "not an image: media type of the config is \"\"" },
		{ "{\"config\":{\"mediaType\":\"application/vnd.cncf.helm.config.v1+json\"}}",
		  "not an image: media type of the config is \"application/vnd.cncf.helm.config.v1+json\"" },
		{ "{\"config\":" OCI_CONFIG ",\"layers\":[{\"digest\":\"sha256:../../x\",\"size\":1}]}",
		  "descriptor: unsupported digest \"sha256:../../x\"" },
		{ "{\"config\":" OCI_CONFIG ",\"layers\":[{\"digest\":\"sha256:" HEX "\",\"size\":-1}]}",
		  "descriptor sha256:" HEX ": no valid size" },
		{ "{\"config\":" OCI_CONFIG ",\"layers\":[5]}", "descriptor: not an object" },
		{ "{\"config\":" OCI_CONFIG ",\"layers\":{}}",
		  "manifest: invalid value for layers: expected array, got object" },
		{ "[]", "manifest: not an object" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		autojson *doc = json_loads(cases[i].text, 0, NULL);
		struct source_image image;
		struct err e = { 0 };

		assert_non_null(doc);
		assert_int_equal(manifest_oci(doc, &image, &e), cases[i].error ? -1 : 0);
		if (cases[i].error)
			assert_string_equal(e.msg, cases[i].error);
		source_image_fini(&image);
	}
}

static void platforms(void **state)
{
	autojson *index =
		json_loads("{\"manifests\":[{\"n\":1,\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\"}},"
			   "{\"n\":2,\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}}]}",
			   0, NULL);

	assert_true(manifest_is_index(index));
	assert_int_equal(json_int(manifest_pick(index, "amd64"), "n", 0), 2);
	assert_int_equal(json_int(manifest_pick(index, "arm64"), "n", 0), 1);
	assert_null(manifest_pick(index, "s390x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(references_are_normalised),
		cmocka_unit_test(references_are_bounded),
		cmocka_unit_test(default_tag),
		cmocka_unit_test(changes_become_config),
		cmocka_unit_test(filters_are_checked),
		cmocka_unit_test(filter_times),
		cmocka_unit_test(manifests),
		cmocka_unit_test(platforms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
