/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "isolation/hyperv/guest_docs.h"

static const struct guest_places places = { .image = GUEST_IMAGE_DEVICE, .disk = GUEST_DISK_DEVICE, .device = -1 };

static json_t *parse(const char *text)
{
	struct err e;
	json_t *j = json_parse(text, strlen(text), "test", &e);

	assert_non_null(j);
	return j;
}

static void test_config(void **state)
{
	struct err e;
	autojson *config = parse("{\"hooks\":{},\"process\":{\"args\":[\"a\"],\"apparmorProfile\":\"x\"},"
				 "\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"}],"
				 "\"linux\":{\"cgroupsPath\":\"/x/y\",\"namespaces\":[{\"type\":\"pid\"},"
				 "{\"type\":\"network\",\"path\":\"/proc/1/ns/net\"},{\"type\":\"mount\"}],"
				 "\"resources\":{\"pids\":{\"limit\":5}}}}");
	autojson *before = json_deep_copy(config);
	autojson *guest = guest_config(config, "abc", 1, &places, &e);
	autojson *expected = parse("{\"process\":{\"args\":[\"a\"]},"
				   "\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"}],"
				   "\"linux\":{\"cgroupsPath\":\"/silo/abc\",\"namespaces\":[{\"type\":\"pid\"},"
				   "{\"type\":\"mount\"}],\"resources\":{\"pids\":{\"limit\":5}}}}");

	assert_non_null(guest);
	assert_true(json_equal(guest, expected));
	assert_true(json_equal(config, before));
}

/* Numbers of the host's CPUs, memory nodes and devices mean nothing in the guest. */
static void test_resources(void **state)
{
	static const struct {
		const char *asked;
		int64_t cpus;
		const char *guest;
	} cases[] = { { "1", 1, "0" }, { "0-1", 1, "0" }, { "2-3,7", 4, "0-2" }, { "2-3,7", 2, "0-1" } };

	for (size_t i = 0; i < array_len(cases); i++) {
		autojson *resources = json_pack("{s:{s:s, s:s, s:i}, s:{s:i}, s:{s:i}}", "cpu", "cpus", cases[i].asked,
						"mems", "1", "shares", 5, "blockIO", "weight", 10, "pids", "limit", 5);
		autojson *guest = guest_resources(resources, cases[i].cpus);
		autojson *expected = json_pack("{s:{s:s, s:i}, s:{s:i}}", "cpu", "cpus", cases[i].guest, "shares", 5,
					       "pids", "limit", 5);

		assert_true(json_equal(guest, expected));
	}
}

/* Sources are numbered by their order among the binds; nothing of the host's paths is told to the guest. */
static void test_shares(void **state)
{
	autojson *config =
		parse("{\"mounts\":[{\"destination\":\"/a\",\"type\":\"bind\",\"source\":\"/srv\","
		      "\"subpath\":\"x\"},{\"destination\":\"/t\",\"type\":\"tmpfs\"},"
		      "{\"destination\":\"/b\",\"type\":\"none\",\"source\":\"/etc/x\",\"options\":[\"rbind\"]}]}");
	struct err e = { 0 };
	autojson *guest = guest_config(config, "abc", 1, &places, &e);
	const json_t *mounts = json_object_get(guest, "mounts");

	assert_non_null(guest);
	assert_string_equal(json_str(json_array_get(mounts, 0), "source", ""), GUEST_SHARES_DIR "/0");
	assert_null(json_object_get(json_array_get(mounts, 0), "subpath"));
	assert_string_equal(json_str(json_array_get(mounts, 2), "source", ""), GUEST_SHARES_DIR "/1");
}

/* One that joins a machine has the next numbers, for shares and disks; what is of a neighbour in it is no share. */
static void test_joined(void **state)
{
	autojson *config =
		parse("{\"mounts\":[{\"destination\":\"/dev/shm\",\"type\":\"bind\",\"source\":\"/dev/shm\","
		      "\"container\":\"pod\"},{\"destination\":\"/a\",\"type\":\"bind\",\"source\":\"/srv\"}],"
		      "\"linux\":{\"devices\":[{\"path\":\"/dev/a\",\"type\":\"b\",\"source\":\"/dev/sda\"}],"
		      "\"namespaces\":[{\"type\":\"ipc\",\"container\":\"pod\"}]}}");
	const struct guest_places later = { .share = 7, .device = 14 };
	struct err e = { 0 };
	autojson *guest = guest_config(config, "abc", 1, &later, &e);
	const json_t *mounts = json_object_get(guest, "mounts"), *linux_part = json_object_get(guest, "linux");

	assert_non_null(guest);
	assert_string_equal(json_str(json_array_get(mounts, 0), "source", ""), "/dev/shm");
	assert_string_equal(json_str(json_array_get(mounts, 1), "source", ""), GUEST_SHARES_DIR "/7");
	assert_int_equal(json_int(json_array_get(json_object_get(linux_part, "devices"), 0), "target", -1), 14);
	assert_string_equal(json_str(json_array_get(json_object_get(linux_part, "namespaces"), 0), "container", ""),
			    "pod");
}

/* Disks are numbered, and what the host calls them isn't told; other devices are the guest's. */
static void test_devices(void **state)
{
	autojson *config = parse("{\"linux\":{\"devices\":[{\"path\":\"/dev/fuse\",\"type\":\"c\"},"
				 "{\"path\":\"/dev/a\",\"type\":\"b\",\"source\":\"/dev/sda\"},"
				 "{\"path\":\"/dev/b\",\"type\":\"b\",\"source\":\"/srv/image\"}]}}");
	struct err e = { 0 };
	autojson *guest = guest_config(config, "abc", 1, &places, &e);
	const json_t *devices = json_object_get(json_object_get(guest, "linux"), "devices");

	assert_non_null(guest);
	assert_null(json_object_get(json_array_get(devices, 0), "disk"));
	assert_int_equal(json_int(json_array_get(devices, 1), "disk", -1), 0);
	assert_int_equal(json_int(json_array_get(devices, 2), "disk", -1), 1);
	assert_null(json_object_get(json_array_get(devices, 2), "source"));
}

static void test_refused(void **state)
{
	static const struct {
		const char *config, *msg;
	} cases[] = {
		{ "{\"mounts\":[{\"destination\":\"/d\",\"type\":\"none\",\"source\":\"/srv\",\"options\":[\"rbind\","
		  "\"rslave\"]}]}",
		  "/d: propagation \"rslave\" can't reach into a virtual machine" },
		{ "{\"mounts\":[{\"destination\":\"/d\",\"type\":\"nfs\",\"source\":\"h:/srv\"}]}",
		  "a hyperv container has no file system of type \"nfs\" for /d" },
		{ "{\"linux\":{\"namespaces\":[{\"type\":\"pid\",\"path\":\"/proc/1/ns/pid\"}]}}",
		  "a hyperv container can't share the pid namespace of the host or of another container" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		autojson *config = parse(cases[i].config);
		struct err e;

		assert_null(guest_config(config, "abc", 1, &places, &e));
		assert_int_equal(e.kind, ERR_UNSUPPORTED);
		assert_string_equal(e.msg, cases[i].msg);
	}
}

static void test_silo(void **state)
{
	struct err e;
	char path[] = "/tmp/test-guest-docs-XXXXXX";
	int fd = mkstemp(path);
	struct bundle_file files[] = { { "/etc/hosts", path, NULL }, { "/etc/hostname", NULL, "h\n" } };
	struct bundle b = { .id = "abc",
			    .isolation = "hyperv",
			    .files = files,
			    .n_files = 2,
			    .init_path = "/usr/libexec/silo/silo-init",
			    .seccomp = (unsigned char *)"\1\2\3\4",
			    .seccomp_bytes = 4 };

	assert_true(fd >= 0);
	assert_int_equal(io_write_all(fd, "127.0.0.1 localhost\n", 20), 0);
	autojson *silo = guest_silo(&b, &places, &e);
	autojson *expected = parse(
		"{\"id\":\"abc\",\"isolation\":\"hyperv\",\"rootfs\":{\"image\":\"/dev/vda\",\"disk\":\"/dev/vdb\"},"
		"\"files\":[{\"destination\":\"/etc/hosts\",\"data\":\"127.0.0.1 localhost\\n\"},"
		"{\"destination\":\"/etc/hostname\",\"data\":\"h\\n\"}],\"seccomp_data\":\"AQIDBA==\",\"init\":\"/"
		"silo-init\"}");

	assert_true(json_equal(silo, expected));
	assert_int_equal(io_write_all(fd, "\xff\xfe", 2), 0);
	assert_null(guest_silo(&b, &places, &e));
	assert_int_equal(e.kind, ERR_INVALID);
	unlink(path);
	assert_null(guest_silo(&b, &places, &e));
	close_fd(&fd);
}

/* RFC 4648, section 10 */
static void test_base64(void **state)
{
	static const char *const cases[][2] = { { "", "" },	     { "f", "Zg==" },	      { "fo", "Zm8=" },
						{ "foo", "Zm9v" },   { "foob", "Zm9vYg==" },  { "fooba", "Zm9vYmE=" },
						{ "foobar", "Zm9vYmFy" } };

	for (size_t i = 0; i < array_len(cases); i++) {
		autofree char *text = base64_encode((const unsigned char *)cases[i][0], strlen(cases[i][0]));

		assert_string_equal(text, cases[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),  cmocka_unit_test(test_resources), cmocka_unit_test(test_shares),
		cmocka_unit_test(test_devices), cmocka_unit_test(test_refused),   cmocka_unit_test(test_silo),
		cmocka_unit_test(test_base64),  cmocka_unit_test(test_joined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
