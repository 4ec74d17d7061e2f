/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a create request to the runtime spec: canonical bodies, merge with the image, checks, the document. Pure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/own.h"
#include "engine/body.h"
#include "engine/mount_points.h"
#include "engine/spec.h"

static json_t *parse(const char *text)
{
	struct err e = { 0 };
	json_t *j = json_parse(text, strlen(text), "test", &e);

	if (!j)
		fail_msg("%s", e.msg);
	return j;
}

static json_t *config_of(const char *text)
{
	autojson *body = parse(text);
	struct err e = { 0 };
	json_t *config = body_config(body, &e);

	if (!config)
		fail_msg("%s", e.msg);
	return config;
}

static json_t *host_of(const char *text)
{
	autojson *body = parse(text);
	struct err e = { 0 };
	json_t *host = body_host(body, &e);

	if (!host)
		fail_msg("%s", e.msg);
	return host;
}

static json_t *spec_of(const char *config_text, const char *host_text, struct err *e)
{
	autojson *config = config_of(config_text);
	autojson *host = host_of(host_text);
	struct spec_input in = { .id = "abc", .hostname = "box", .config = config, .host = host };

	return spec_make(&in, e);
}

static void keys_match_without_case(void **state)
{
	autojson *config =
		config_of("{\"image\": \"a\", \"CMD\": \"one\", \"tTy\": true, \"unknown\": 1, \"Env\": null}");

	assert_string_equal(json_str(config, "Image", ""), "a");
	assert_true(json_bool(config, "Tty", false));
	assert_string_equal(json_string_value(json_array_get(json_object_get(config, "Cmd"), 0)), "one");
	assert_true(json_is_null(json_object_get(config, "Env")));
	assert_null(json_object_get(config, "unknown"));
}

static void wrong_types_are_named(void **state)
{
	static const struct {
		const char *body, *word;
	} cases[] = { { "{\"Cmd\": 5}", "Cmd" },
		      { "{\"Tty\": \"yes\"}", "Tty" },
		      { "{\"Env\": [1]}", "Env" },
		      { "{\"Labels\": {\"a\": 1}}", "Labels" },
		      { "[]", "body" } };

	for (size_t i = 0; i < array_len(cases); i++) {
		autojson *body = parse(cases[i].body);
		struct err e = { 0 };

		assert_null(body_config(body, &e));
		assert_int_equal(e.kind, ERR_INVALID);
		assert_non_null(strstr(e.msg, cases[i].word));
	}
}

static void image_fills_what_is_open(void **state)
{
	autojson *image =
		parse("{\"Env\": [\"A=1\", \"B=2\"], \"Cmd\": [\"icmd\"], \"Entrypoint\": [\"ient\"], \"User\": \"u\","
		      "\"Labels\": {\"x\": \"image\", \"y\": \"image\"}, \"WorkingDir\": \"/w\"}");
	static const struct {
		const char *body, *args;
	} cases[] = {
		{ "{}", "[\"ient\",\"icmd\"]" },
		{ "{\"Cmd\": [\"c\"]}", "[\"ient\",\"c\"]" },
		{ "{\"Entrypoint\": [\"e\"]}", "[\"e\"]" },
		{ "{\"Entrypoint\": [\"\"], \"Cmd\": [\"c\"]}", "[\"c\"]" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		autojson *config = config_of(cases[i].body);
		struct err e = { 0 };

		body_merge_image(config, image);
		autojson *args = spec_args(config, &e);
		autofree char *text = json_text(args);

		assert_string_equal(text, cases[i].args);
	}
	autojson *config = config_of("{\"Env\": [\"B=mine\"], \"Labels\": {\"x\": \"mine\"}}");

	body_merge_image(config, image);
	autofree char *env = json_text(json_object_get(config, "Env"));
	autofree char *labels = json_text(json_object_get(config, "Labels"));

	assert_string_equal(env, "[\"B=mine\",\"A=1\"]");
	assert_string_equal(labels, "{\"x\":\"mine\",\"y\":\"image\"}");
	assert_string_equal(json_str(config, "WorkingDir", ""), "/w");
}

static void no_command(void **state)
{
	autojson *config = config_of("{}");
	struct err e = { 0 };

	assert_null(spec_args(config, &e));
	assert_string_equal(e.msg, "no command specified");
}

static void defaults_are_dockers(void **state)
{
	struct err e = { 0 };
	autojson *spec = spec_of("{\"Cmd\": [\"sh\"], \"Tty\": true, \"User\": \"1000:users\"}", "{}", &e);
	json_t *process = json_object_get(spec, "process"), *linux_ = json_object_get(spec, "linux");
	autofree char *env = json_text(json_object_get(process, "env"));

	assert_string_equal(env,
			    "[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\"HOSTNAME=box\","
			    "\"TERM=xterm\"]");
	assert_int_equal(json_array_size(json_object_get(json_object_get(process, "capabilities"), "bounding")), 14);
	assert_int_equal(json_array_size(json_object_get(json_object_get(process, "capabilities"), "inheritable")), 0);
	assert_string_equal(json_str(process, "cwd", ""), "/");
	assert_string_equal(json_str(json_object_get(process, "user"), "username", ""), "1000:users");
	assert_string_equal(json_str(linux_, "cgroupsPath", ""), "/silo/abc");
	assert_int_equal(json_array_size(json_object_get(linux_, "namespaces")), 6);
	assert_true(json_array_size(json_object_get(linux_, "maskedPaths")) > 8);
	assert_int_equal(json_array_size(json_object_get(linux_, "readonlyPaths")), 5);
}

static void user_environment_wins(void **state)
{
	struct err e = { 0 };
	autojson *spec = spec_of("{\"Cmd\": [\"sh\"], \"Env\": [\"PATH=/x\", \"HOSTNAME\", \"A=1\"]}", "{}", &e);
	autofree char *env = json_text(json_object_get(json_object_get(spec, "process"), "env"));

	assert_string_equal(env, "[\"PATH=/x\",\"A=1\"]");
}

static size_t count_caps(const char *host_text)
{
	autojson *host = host_of(host_text);
	autojson *caps = spec_caps(host);

	return json_array_size(caps);
}

static void capabilities(void **state)
{
	assert_int_equal(count_caps("{}"), 14);
	assert_int_equal(count_caps("{\"CapDrop\": [\"ALL\"]}"), 0);
	assert_int_equal(count_caps("{\"CapDrop\": [\"all\"], \"CapAdd\": [\"NET_ADMIN\", \"CAP_CHOWN\"]}"), 2);
	assert_int_equal(count_caps("{\"CapDrop\": [\"chown\"]}"), 13);
	assert_int_equal(count_caps("{\"CapAdd\": [\"ALL\"]}"), 41);
	assert_int_equal(count_caps("{\"CapAdd\": [\"ALL\"], \"CapDrop\": [\"SYS_ADMIN\"]}"), 40);
	assert_int_equal(count_caps("{\"Privileged\": true}"), 41);
}

static void resources(void **state)
{
	static const struct {
		const char *host, *expected;
	} cases[] = {
		{ "{}", "{}" },
		{ "{\"Memory\": 10485760}", "{\"memory\":{\"limit\":10485760,\"swap\":20971520}}" },
		{ "{\"Memory\": 10485760, \"MemorySwap\": -1}", "{\"memory\":{\"limit\":10485760,\"swap\":-1}}" },
		{ "{\"NanoCpus\": 500000000}", "{\"cpu\":{\"period\":100000,\"quota\":50000}}" },
		{ "{\"PidsLimit\": -1}", "{\"pids\":{\"limit\":-1}}" },
		{ "{\"CpuShares\": 512, \"CpusetCpus\": \"0\"}", "{\"cpu\":{\"shares\":512,\"cpus\":\"0\"}}" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		autojson *host = host_of(cases[i].host);
		autojson *out = spec_resources(host);
		autofree char *text = json_text(out);

		assert_string_equal(text, cases[i].expected);
	}
}

static void binds(void **state)
{
	static const struct {
		const char *text, *type, *source, *destination;
		bool readonly;
		const char *msg;
	} cases[] = {
		{ "/a:/b", "bind", "/a", "/b", false, NULL },
		{ "/a/../c/:/b//x/:ro", "bind", "/c", "/b/x", true, NULL },
		{ "/a:/b:rw,z", "bind", "/a", "/b", false, NULL },
		{ "name:/b:nocopy", "volume", "", "/b", false, NULL },
		{ "/b", "volume", "", "/b", false, NULL },
		{ "/a:/b:zz", NULL, NULL, NULL, false, "invalid mode: zz" },
		{ "/a:/b:ro,rw", NULL, NULL, NULL, false, "invalid mode: ro,rw" },
		{ "/a:ro", NULL, NULL, NULL, false, "invalid volume specification: '/a:ro'" },
		{ "/a:b", NULL, NULL, NULL, false,
		  "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' "
		  "mount path must be absolute" },
		{ "/a:/", NULL, NULL, NULL, false,
		  "invalid volume specification: '/a:/': invalid mount config for type \"bind\": invalid specification: "
		  "destination can't be '/'" },
		{ ":/b", NULL, NULL, NULL, false, "invalid volume specification: ':/b'" },
		{ "/a:/b:ro:x", NULL, NULL, NULL, false, "invalid volume specification: '/a:/b:ro:x'" },
		{ "na:/b:rshared", NULL, NULL, NULL, false,
		  "invalid volume specification: 'na:/b:rshared': invalid mode: rshared" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct err e = { 0 };
		autojson *point = mount_parse_bind(cases[i].text, "", &e);

		if (cases[i].msg) {
			assert_null(point);
			assert_int_equal(e.kind, ERR_INVALID);
			assert_string_equal(e.msg, cases[i].msg);
			continue;
		}
		assert_non_null(point);
		assert_string_equal(json_str(point, "Type", ""), cases[i].type);
		assert_string_equal(json_str(point, "Source", ""), cases[i].source);
		assert_string_equal(json_str(point, "Destination", ""), cases[i].destination);
		assert_int_equal(json_bool(point, "RW", true), !cases[i].readonly);
	}
}

static void sizes(void **state)
{
	int64_t n = 0;

	assert_int_equal(spec_parse_size("10m", &n), 0);
	assert_int_equal(n, 10 * (int64_t)MIB);
	assert_int_equal(spec_parse_size("1.5K", &n), 0);
	assert_int_equal(n, 1536);
	assert_int_equal(spec_parse_size("2GiB", &n), 0);
	assert_int_equal(n, 2 * (int64_t)GIB);
	assert_int_equal(spec_parse_size("", &n), -1);
	assert_int_equal(spec_parse_size("x", &n), -1);
	assert_int_equal(spec_parse_size("-1", &n), -1);
	assert_int_equal(spec_parse_size("1kx", &n), -1);
}

static void what_is_not_there_is_refused(void **state)
{
	static const struct {
		const char *host;
		bool hyperv;
		enum err_kind kind;
		const char *text;
	} cases[] = {
		{ "{}", false, ERR_NONE, "" },
		{ "{\"StorageOpt\": {\"size\": \"1g\"}}", false, ERR_INVALID, "--storage-opt is supported only for overlay" },
		{ "{\"StorageOpt\": {\"size\": \"1g\"}}", true, ERR_NONE, "" },
		{ "{\"StorageOpt\": {\"size\": \"1k\"}}", true, ERR_INVALID, "from 16m to 16t" },
		{ "{\"StorageOpt\": {\"speed\": \"1\"}}", true, ERR_INVALID, "Unknown option speed" },
		{ "{\"CgroupParent\": \"/a/../../b\"}", false, ERR_INVALID, "invalid cgroup parent" },
		{ "{\"CgroupParent\": \"/a\\nb\"}", false, ERR_INVALID, "invalid cgroup parent" },
		{ "{\"CgroupParent\": \"my.slice\"}", false, ERR_NONE, "" },
		{ "{\"CpuRealtimeRuntime\": 5}", true, ERR_INVALID, "kernel does not support CPU real-time scheduler" },
		{ "{\"BlkioWeightDevice\": [{\"Path\": \"/dev/x\", \"Weight\": 5}]}", false, ERR_INVALID, "from 10 to 1000" },
		{ "{\"IpcMode\": \"container:\"}", false, ERR_INVALID, "invalid IPC mode: container:" },
		{ "{\"UTSMode\": \"container:x\"}", false, ERR_INVALID, "invalid UTS mode: container:x" },
		{ "{\"Privileged\": true, \"PidMode\": \"host\"}", false, ERR_NONE, "" },
		{ "{\"PidMode\": \"container:x\"}", false, ERR_NONE, "" },
		{ "{\"PidMode\": \"container:x\"}", true, ERR_INVALID, "--pid=container:x is not possible with hyperv" },
		{ "{\"PidMode\": \"host\"}", true, ERR_INVALID, "--pid=host is not possible with hyperv isolation" },
		{ "{\"NetworkMode\": \"host\"}", false, ERR_NONE, "" },
		{ "{\"NetworkMode\": \"host\"}", true, ERR_INVALID, "hyperv" },
		{ "{\"Memory\": 1000}", false, ERR_INVALID, "Minimum memory limit allowed is 6MB" },
		{ "{\"CapAdd\": [\"NOPE\"]}", false, ERR_INVALID, "invalid CapAdd: unknown capability: \"NOPE\"" },
		{ "{\"SecurityOpt\": [\"seccomp={\"]}", false, ERR_INVALID, "Decoding seccomp profile failed" },
		{ "{\"SecurityOpt\": [\"seccomp={\\\"syscalls\\\": [{\\\"name\\\": \\\"a\\\", \\\"names\\\": [\\\"b\\\"]}]}\"]}",
		  false, ERR_INVALID, "both 'name' and 'names' are specified" },
		{ "{\"SecurityOpt\": [\"seccomp=x.json\"]}", false, ERR_INVALID, "security-opt" },
		{ "{\"MaskedPaths\": [\"proc\"]}", false, ERR_INVALID, "MaskedPaths: \"proc\" is not an absolute path" },
		{ "{\"LogConfig\": {\"Type\": \"local\", \"Config\": {\"tag\": \"x\"}}}", false, ERR_INVALID,
		  "unknown log opt 'tag' for local log driver" },
		{ "{\"LogConfig\": {\"Config\": {\"mode\": \"non-blocking\"}}}", false, ERR_UNSUPPORTED, "non-blocking" },
		{ "{\"LogConfig\": {\"Config\": {\"tag\": \"{{.Name}}/{{ .ID }}\", \"labels\": \"a,b\"}}}", false, ERR_NONE, "" },
		{ "{\"LogConfig\": {\"Config\": {\"tag\": \"{{if}}\"}}}", false, ERR_INVALID, "invalid value for tag" },
		{ "{\"LogConfig\": {\"Type\": \"gelf\"}}", false, ERR_INVALID,
		  "logger: no log driver named 'gelf' is registered" },
		{ "{\"LogConfig\": {\"Config\": {\"max-size\": \"x\"}}}", false, ERR_INVALID, "max-size" },
		{ "{\"ExtraHosts\": [\"a:1\\n2 b\"]}", false, ERR_INVALID, "ExtraHosts" },
		{ "{\"Runtime\": \"kata\"}", false, ERR_INVALID, "unknown or invalid runtime name: kata" },
		{ "{\"RestartPolicy\": {\"Name\": \"sometimes\"}}", false, ERR_INVALID, "invalid restart policy" },
		{ "{\"AutoRemove\": true, \"RestartPolicy\": {\"Name\": \"always\"}}", false, ERR_INVALID,
		  "can't create 'AutoRemove' container with restart policy" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		autojson *host = host_of(cases[i].host);
		autojson *warnings = json_array();
		struct err e = { 0 };
		int rc = body_check_host(host, cases[i].hyperv, warnings, &e);

		assert_int_equal(rc, cases[i].kind ? -1 : 0);
		assert_int_equal(e.kind, cases[i].kind);
		assert_non_null(strstr(e.msg, cases[i].text));
	}
}

static void config_checks(void **state)
{
	static const struct {
		const char *config, *text;
	} cases[] = {
		{ "{\"WorkingDir\": \"x\"}", "the working directory 'x' is invalid, it needs to be an absolute path" },
		{ "{\"Hostname\": \"a b\"}", "invalid hostname format: a b" },
		{ "{\"Env\": [\"=x\"]}", "invalid environment variable: =x" },
		{ "{\"StopSignal\": \"NOPE\"}", "invalid signal: NOPE" },
		{ "{\"ExposedPorts\": {\"x\": {}}}", "invalid port specification: \"x\"" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		autojson *config = config_of(cases[i].config);
		struct err e = { 0 };

		assert_int_equal(body_check_config(config, &e), -1);
		assert_string_equal(e.msg, cases[i].text);
	}
}

static void ulimits(void **state)
{
	struct err e = { 0 };
	autojson *spec = spec_of("{\"Cmd\": [\"x\"]}",
				 "{\"Ulimits\": [{\"Name\": \"nofile\", \"Soft\": 10, \"Hard\": 20}]}", &e);
	autofree char *text = json_text(json_object_get(json_object_get(spec, "process"), "rlimits"));

	assert_string_equal(text, "[{\"type\":\"RLIMIT_NOFILE\",\"soft\":10,\"hard\":20}]");
	assert_null(spec_of("{\"Cmd\": [\"x\"]}", "{\"Ulimits\": [{\"Name\": \"nofile\", \"Soft\": 30, \"Hard\": 20}]}",
			    &e));
	assert_int_equal(e.kind, ERR_INVALID);
	assert_null(spec_of("{\"Cmd\": [\"x\"]}", "{\"Ulimits\": [{\"Name\": \"no-file\", \"Soft\": 1}]}", &e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_match_without_case),
		cmocka_unit_test(wrong_types_are_named),
		cmocka_unit_test(image_fills_what_is_open),
		cmocka_unit_test(no_command),
		cmocka_unit_test(defaults_are_dockers),
		cmocka_unit_test(user_environment_wins),
		cmocka_unit_test(capabilities),
		cmocka_unit_test(resources),
		cmocka_unit_test(binds),
		cmocka_unit_test(sizes),
		cmocka_unit_test(what_is_not_there_is_refused),
		cmocka_unit_test(config_checks),
		cmocka_unit_test(ulimits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
