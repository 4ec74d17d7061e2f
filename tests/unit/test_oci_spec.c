/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <sched.h>
#include <sys/resource.h>

#include "base/json.h"
#include "base/own.h"
#include "oci/bundle.h"
#include "os/cgroup.h"

static json_t *parse(const char *text)
{
	struct err e = { 0 };
	json_t *j = json_parse(text, strlen(text), "test", &e);

	if (!j)
		fail_msg("%s: %s", text, e.msg);
	return j;
}

#define MINIMAL "\"ociVersion\":\"1.2.0\""

static void test_full(void **state)
{
	autojson *j =
		parse("{" MINIMAL ",\"root\":{\"path\":\"rootfs\",\"readonly\":true},\"hostname\":\"h\",\"process\":{"
		      "\"terminal\":true,\"consoleSize\":{\"height\":24,\"width\":80},\"user\":{\"uid\":5,\"gid\":6,"
		      "\"additionalGids\":[7,\"wheel\"],\"username\":\"bob\",\"umask\":63},\"args\":[\"a\",\"b\"],"
		      "\"env\":[\"X=1\"],\"cwd\":\"/w\",\"capabilities\":{\"bounding\":[\"CAP_CHOWN\",\"CAP_BPF\"]},"
		      "\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":1,\"hard\":-1}],"
		      "\"noNewPrivileges\":true,\"oomScoreAdj\":-5},\"mounts\":[{\"destination\":\"/proc\","
		      "\"type\":\"proc\",\"source\":\"proc\",\"options\":[\"nosuid\"]}],\"linux\":{\"namespaces\":["
		      "{\"type\":\"pid\"},{\"type\":\"network\",\"path\":\"/n\"}],\"sysctl\":{\"net.x\":\"1\"},"
		      "\"maskedPaths\":[\"/a\"],\"readonlyPaths\":[\"/b\",\"/c\"],\"cgroupsPath\":\"/silo/x\","
		      "\"resources\":{\"memory\":{\"limit\":1000},\"cpu\":{\"quota\":-1,\"cpus\":\"0-1\"},"
		      "\"pids\":{\"limit\":9},\"devices\":[{\"allow\":false,\"access\":\"rwm\"}],\"blockIO\":{"
		      "\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":0,\"rate\":5}],"
		      "\"throttleWriteIOPSDevice\":[{\"major\":8,\"minor\":1,\"rate\":6}]}}}}");
	struct err e = { 0 };
	struct oci_spec *s = oci_spec_parse(j, &e);

	if (!s)
		fail_msg("%s", e.msg);
	assert_true(s->root_readonly && s->process.terminal && s->process.no_new_privs);
	assert_int_equal(s->process.rows, 24);
	assert_int_equal(s->process.user.uid, 5);
	assert_int_equal(s->process.user.n_groups, 1);
	assert_string_equal(s->process.user.group_names[0], "wheel");
	assert_int_equal(s->process.user.umask, 077);
	assert_string_equal(s->process.args[1], "b");
	assert_null(s->process.args[2]);
	assert_true(s->process.caps.bounding == (1ull | 1ull << 39));
	assert_int_equal(s->process.rlimits[0].resource, RLIMIT_NOFILE);
	assert_true(s->process.rlimits[0].hard == UINT64_MAX);
	assert_true(s->process.has_oom_score_adj && s->process.oom_score_adj == -5);
	assert_string_equal(oci_spec_namespace(s, CLONE_NEWNET)->path, "/n");
	assert_null(oci_spec_namespace(s, CLONE_NEWUTS));
	assert_int_equal(s->n_readonly_paths, 2);
	assert_int_equal(s->limits.memory_bytes, 1000);
	assert_int_equal(s->limits.cpu_quota_us, -1);
	assert_true(s->limits.cpu_shares == CGROUP_UNSET);
	assert_int_equal(s->limits.n_devices, 1);
	assert_int_equal(s->limits.n_throttles, 2);
	assert_int_equal(s->limits.throttles[0].kind, THROTTLE_READ_BPS);
	assert_int_equal(s->limits.throttles[1].kind, THROTTLE_WRITE_IOPS);
	oci_spec_free(s);
}

/* Every wrong document is refused with a text that names the member. */
static void test_wrong(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "{}", "ociVersion" },
		{ "{\"ociVersion\":\"2.0\"}", "ociVersion" },
		{ "{" MINIMAL ",\"process\":[]}", "process" },
		{ "{" MINIMAL ",\"process\":{}}", "process: args" },
		{ "{" MINIMAL ",\"process\":{\"args\":[]}}", "process: args" },
		{ "{" MINIMAL ",\"process\":{\"args\":[1]}}", "args" },
		{ "{" MINIMAL ",\"process\":{\"args\":[\"a\"],\"cwd\":\"x\"}}", "process: cwd" },
		{ "{" MINIMAL ",\"process\":{\"args\":[\"a\"],\"user\":{\"uid\":4294967295}}}", "process: user: uid" },
		{ "{" MINIMAL ",\"process\":{\"args\":[\"a\"],\"user\":{\"uid\":-1}}}", "process: user: uid" },
		{ "{" MINIMAL ",\"process\":{\"args\":[\"a\"],\"user\":{\"additionalGids\":[-2]}}}", "additionalGids[0]" },
		{ "{" MINIMAL ",\"process\":{\"args\":[\"a\"],\"capabilities\":{\"ambient\":[1]}}}", "capabilities: invalid value for ambient" },
		{ "{" MINIMAL ",\"process\":{\"args\":[\"a\"],\"rlimits\":[{\"type\":\"X\",\"soft\":1,\"hard\":1}]}}",
		  "rlimits[0]: type" },
		{ "{" MINIMAL ",\"process\":{\"args\":[\"a\"],\"oomScoreAdj\":2000}}", "oomScoreAdj" },
		{ "{" MINIMAL ",\"mounts\":[{\"destination\":\"x\"}]}", "mounts[0]: destination" },
		{ "{" MINIMAL ",\"mounts\":[5]}", "mounts[0]" },
		{ "{" MINIMAL ",\"linux\":{\"namespaces\":[{\"type\":\"x\"}]}}", "linux: namespaces[0]: type" },
		{ "{" MINIMAL ",\"linux\":{\"namespaces\":[{\"type\":\"user\"}]}}", "linux: uidMappings: a new user" },
		{ "{" MINIMAL ",\"linux\":{\"uidMappings\":[{\"containerID\":0,\"hostID\":0,\"size\":1}]}}", "no user namespace" },
		{ "{" MINIMAL ",\"linux\":{\"intelRdt\":{}}}", "linux: intelRdt" },
		{ "{" MINIMAL ",\"linux\":{\"timeOffsets\":{\"boottime\":{\"secs\":5}}}}", "timeOffsets: need" },
		{ "{" MINIMAL ",\"linux\":{\"personality\":{\"domain\":\"X\"}}}", "personality.domain" },
		{ "{" MINIMAL ",\"process\":{\"args\":[\"a\"],\"scheduler\":{\"policy\":\"X\"}}}", "scheduler: policy" },
		{ "{" MINIMAL ",\"process\":{\"args\":[\"a\"],\"ioPriority\":{\"class\":\"X\"}}}", "ioPriority: class" },
		{ "{" MINIMAL ",\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"pid\"}]}}", "given twice" },
		{ "{" MINIMAL ",\"linux\":{\"sysctl\":{\"a\":1}}}", "linux: sysctl.a" },
		{ "{" MINIMAL ",\"linux\":{\"resources\":{\"memory\":{\"limit\":-2}}}}", "resources: memory: limit" },
		{ "{" MINIMAL ",\"linux\":{\"resources\":{\"cpu\":{\"cpus\":\"0\\n1\"}}}}", "cpu.cpus" },
		{ "{" MINIMAL ",\"linux\":{\"resources\":{\"devices\":[{\"type\":\"z\"}]}}}", "devices[0]: type" },
		{ "{" MINIMAL ",\"linux\":{\"rootfsPropagation\":\"x\"}}", "rootfsPropagation" },
		{ "{" MINIMAL ",\"linux\":{\"devices\":[{\"path\":\"null\",\"type\":\"c\"}]}}", "devices[0]: path" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		autojson *j = parse(cases[i].text);
		struct err e = { 0 };

		assert_null(oci_spec_parse(j, &e));
		if (!strstr(e.msg, cases[i].message))
			fail_msg("%s: \"%s\" has no \"%s\"", cases[i].text, e.msg, cases[i].message);
	}
}

static void test_bundle(void **state)
{
	static const struct {
		const char *silo, *message; /* NULL = accepted */
	} cases[] = {
		{ "{\"id\":\"a1\",\"rootfs\":{\"path\":\"/r\"}}", NULL },
		{ "{\"id\":\"a1\",\"rootfs\":{\"image\":\"/dev/vda\",\"disk\":\"/dev/vdb\"}}", NULL },
		{ "{\"id\":\"a1\",\"rootfs\":{\"path\":\"/r\"},\"seccomp_data\":\"BgAAAAAA/38=\"}", NULL },
		{ "{\"id\":\"../x\",\"rootfs\":{\"path\":\"/r\"}}", "id" },
		{ "{\"id\":\"a/b\",\"rootfs\":{\"path\":\"/r\"}}", "id" },
		{ "{\"id\":\"a1\"}", "rootfs" },
		{ "{\"id\":\"a1\",\"rootfs\":{\"layers\":[\"/l\"]}}", "upper and work" },
		{ "{\"id\":\"a1\",\"rootfs\":{\"path\":\"/r\"},\"seccomp_data\":\"AAAA\"}", "no filter" },
		{ "{\"id\":\"a1\",\"rootfs\":{\"path\":\"/r\"},\"seccomp_data\":\"A*\"}", "base64" },
		{ "{\"id\":\"a1\",\"rootfs\":{\"path\":\"/r\"},\"files\":[{\"destination\":\"/x\"}]}", "files[0]" },
		{ "{\"id\":\"a1\",\"rootfs\":{\"path\":\"/r\"},\"files\":[{\"destination\":\"x\",\"data\":\"\"}]}",
		  "files[0]: destination" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		autojson *config = parse("{" MINIMAL "}");
		autojson *silo = parse(cases[i].silo);
		struct err e = { 0 };
		struct bundle *b = bundle_new(config, silo, &e);

		if (cases[i].message) {
			assert_null(b);
			if (!strstr(e.msg, cases[i].message))
				fail_msg("%s: \"%s\"", cases[i].silo, e.msg);
			continue;
		}
		if (!b)
			fail_msg("%s: %s", cases[i].silo, e.msg);
		config = silo = NULL;
		bundle_free(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_bundle),
	};

	return cmocka_run_group_tests_name("oci_spec", tests, NULL, NULL);
}
