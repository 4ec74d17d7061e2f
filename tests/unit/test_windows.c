/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "windows/names.h"
#include "windows/process.h"
#include "windows/registry.h"
#include "windows/resource.h"
#include "windows/version.h"

static void test_command_line(void **state)
{
	static const struct {
		const char *args; /* JSON */
		bool escaped;
		const char *line;
	} cases[] = {
		{ "[\"ping\",\"localhost\",\"-t\"]", false, "ping localhost -t" },
		{ "[\"a b\",\"\"]", false, "\"a b\" \"\"" },
		{ "[\"x\",\"say \\\"hi\\\"\"]", false, "x \"say \\\"hi\\\"\"" },
		{ "[\"x\",\"C:\\\\dir with\\\\\"]", false, "x \"C:\\dir with\\\\\"" },
		{ "[\"x\",\"C:\\\\dir\\\\\"]", false, "x C:\\dir\\" },
		{ "[\"x\",\"\\\\\\\\\\\"\"]", false, "x \"\\\\\\\\\\\"\"" },
		{ "[\"cmd /S /C \\\"a & b\\\"\"]", true, "cmd /S /C \"a & b\"" },
		{ "[\"cmd /C x\",\"y z\"]", true, "cmd /C x \"y z\"" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		autojson *args = json_loads(cases[i].args, 0, NULL);
		autofree char *line = windows_command_line(args, cases[i].escaped);

		assert_non_null(args);
		assert_string_equal(line, cases[i].line);
	}
}

static void test_paths(void **state)
{
	static const char *const good[][2] = {
		{ "C:\\data", "/wine/drive_c/data" },  { "c:/data/", "/wine/drive_c/data" }, { "\\data", "/wine/drive_c/data" },
		{ "/data/x", "/wine/drive_c/data/x" }, { "D:", "/wine/drives/d" },      { "E:\\", "/wine/drives/e" },
		{ "E:\\a", "/wine/drives/e/a" },
	};
	static const char *const bad[] = { "data",           "",          "C:", "c:\\", "\\\\server\\share",
					   "\\\\.\\pipe\\x", "C:\\..\\x", "C:x" };
	static const char *const binds[][2] = {
		{ "/srv:C:\\data", "/srv:/wine/drive_c/data" }, { "vol:D::ro", "vol:/wine/drives/d:ro" },
		{ "vol:D:\\:ro", "vol:/wine/drives/d:ro" }, { "C:\\data", "/wine/drive_c/data" },
		{ "C:\\data:ro", "/wine/drive_c/data:ro" },      { "/srv:/data", "/srv:/wine/drive_c/data" },
	};

	for (size_t i = 0; i < array_len(good); i++) {
		autofree char *path = windows_path(good[i][0], NULL);

		assert_string_equal(path, good[i][1]);
	}
	for (size_t i = 0; i < array_len(bad); i++)
		assert_null(windows_path(bad[i], NULL));
	for (size_t i = 0; i < array_len(binds); i++) {
		autofree char *text = windows_bind(binds[i][0], NULL);

		assert_string_equal(text, binds[i][1]);
	}
	autofree char *shown = windows_path_shown("/wine/drive_c/a/b");
	autofree char *drive = windows_path_shown("/wine/drives/d");

	assert_string_equal(shown, "C:\\a\\b");
	assert_string_equal(drive, "D:\\");
}

/* Source: docs of Windows containers, "Windows container version compatibility". */
static void test_hosts(void **state)
{
	static const struct {
		const char *host, *image;
		bool process, hyperv;
	} cases[] = {
		{ "10.0.14393.5", "10.0.14393.5", true, true },  { "10.0.14393.5", "10.0.14393.6", false, true },
		{ "10.0.17763", "10.0.17763.1", true, true },    { "10.0.17763", "10.0.14393.1", false, true },
		{ "10.0.20348", "10.0.17763.1", false, true },   { "10.0.20348", "10.0.20348.9", true, true },
		{ "10.0.25398", "10.0.20348.1", true, true },    { "10.0.26100", "10.0.20348.1", true, true },
		{ "10.0.26100", "10.0.17763.1", false, true },   { "10.0.20348", "10.0.26100.1", false, false },
		{ "10.0.26100", "10.0.25398.1", true, true },    { "eleven", "10.0.20348.1", false, false },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		assert_int_equal(windows_version_fits(cases[i].host, cases[i].image, false, NULL) == 0,
				 cases[i].process);
		assert_int_equal(windows_version_fits(cases[i].host, cases[i].image, true, NULL) == 0, cases[i].hyperv);
	}
}

static void test_names(void **state)
{
	struct windows_name n;

	assert_int_equal(windows_name_parse("mcr.microsoft.com/windows/servercore:ltsc2019", &n, NULL), 1);
	assert_int_equal(n.version->build, 17763);
	assert_false(n.nano);
	assert_int_equal(windows_name_parse("mcr.microsoft.com/windows/nanoserver:ltsc2025-amd64", &n, NULL), 1);
	assert_int_equal(n.version->build, 26100);
	assert_true(n.nano);
	assert_int_equal(windows_name_parse("silo/windows:nanoserver", &n, NULL), 1);
	assert_int_equal(windows_name_parse("silo/windows:x", &n, NULL), -1);
	assert_int_equal(windows_name_parse("mcr.microsoft.com/windows/servercore", &n, NULL), -1);
	assert_int_equal(windows_name_parse("mcr.microsoft.com/windows:ltsc2019", &n, NULL), 0);
	assert_int_equal(windows_name_parse("alpine", &n, NULL), 0);
	assert_int_equal(windows_name_parse("no such name!", &n, NULL), 0);
}

static void test_registry(void **state)
{
	static const char text[] = "WINE REGISTRY Version 2\n;; All keys relative to REGISTRY\\\\Machine\n\n#arch=win64\n\n"
				   "[Software\\\\A] 5\n#time=1\n\"x\"=\"1\"\n\"long\"=hex:00,\\\n  01,02\n\"y\"=dword:00000002\n\n"
				   "[Software\\\\A\\\\B] 6\n@=\"d\"\n\n[Software\\\\AB] 7\n\"k\"=\"v\"\n";
	char dir[] = "/tmp/silo-test-registry-XXXXXX";
	struct err e = { 0 };
	autostr out;

	assert_non_null(mkdtemp(dir));
	autoclose int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(io_write_file(fd, "r", text, strlen(text), 0600, false, &e), 0);
	struct registry *r = registry_load(fd, "r", &e);

	assert_non_null(r);
	autofree char *none = registry_default(r, "Software\\AB"), *text_of_b = registry_default(r, "software\\a\\b");

	assert_null(none);
	assert_string_equal(text_of_b, "d");
	registry_set(r, "software\\a", "LONG", NULL);
	registry_set_string(r, "Software\\A", "x", "C:\\new \"one\"");
	registry_set(r, "Software\\A", "", "dword:00000001");
	registry_delete(r, "Software\\A\\B");
	registry_set(r, "New\\Key", "n", "dword:00000003");
	assert_int_equal(registry_save(r, fd, "r", &e), 0);
	registry_free(r);
	str_init(&out, MIB);
	assert_int_equal(io_read_file(fd, "r", &out, &e), 0);
	assert_non_null(strstr(out.s, "\"x\"=\"C:\\\\new \\\"one\\\"\"\n"));
	assert_null(strstr(out.s, "\"x\"=\"1\""));
	assert_null(strstr(out.s, "hex:00"));
	assert_null(strstr(out.s, "  01,02"));
	assert_null(strstr(out.s, "A\\\\B]"));
	assert_non_null(strstr(out.s, "[Software\\\\AB] 7\n\"k\"=\"v\"\n"));
	assert_non_null(strstr(out.s, "\"y\"=dword:00000002"));
	assert_non_null(strstr(out.s, "[New\\\\Key] 1700000000\n\"n\"=dword:00000003\n"));
	assert_int_equal(io_write_file(fd, "r", "REGEDIT4\n", 9, 0600, false, &e), 0);
	assert_null(registry_load(fd, "r", &e));
	io_remove_tree(AT_FDCWD, dir, NULL);
}

/* --- resources ------------------------------------------------------------------------------------------------------ */

#define PE_BYTES 2048
#define RESOURCES 512 /* in the file; their address is 0x3000 */

static void put(unsigned char *d, size_t at, uint32_t value, int bytes)
{
	for (int i = 0; i < bytes; i++, value >>= 8)
		d[at + (size_t)i] = (unsigned char)value;
}

/* A directory with entries {number, offset}. */
static void put_directory(unsigned char *d, size_t at, size_t n, const uint32_t (*entries)[2])
{
	put(d, at + 14, (uint32_t)n, 2);
	for (size_t i = 0; i < n; i++) {
		put(d, at + 16 + 8 * i, entries[i][0], 4);
		put(d, at + 20 + 8 * i, entries[i][1], 4);
	}
}

/* String 5 of one block is "old" in two languages, 7 and 1033; there is room for 100 bytes in the first. */
static void make_image(unsigned char d[static PE_BYTES])
{
	static const uint32_t types[][2] = { { 6, 0x80000020 } }, blocks[][2] = { { 1, 0x80000040 } };
	static const uint32_t languages[][2] = { { 7, 0x80 }, { 1033, 0x90 } };

	memset(d, 0, PE_BYTES);
	put(d, 0x3c, 64, 4);
	put(d, 64 + 6, 1, 2);             /* sections */
	put(d, 64 + 20, 200, 2);          /* bytes of the optional header */
	put(d, 64 + 24 + 128, 0x3000, 4); /* the directory of resources */
	put(d, 64 + 24 + 200 + 12, 0x3000, 4);
	put(d, 64 + 24 + 200 + 20, RESOURCES, 4);
	put_directory(d, RESOURCES, 1, types);
	put_directory(d, RESOURCES + 0x20, 1, blocks);
	put_directory(d, RESOURCES + 0x40, 2, languages);
	for (size_t i = 0; i < 2; i++) {
		size_t text = RESOURCES + 0x100 + 0x100 * i;

		put(d, RESOURCES + 0x80 + 0x10 * i, 0x3100 + 0x100 * (uint32_t)i, 4);
		put(d, RESOURCES + 0x84 + 0x10 * i, i ? 38 : 100, 4);
		put(d, text + 10, 3, 2);
		for (size_t k = 0; k < 3; k++)
			put(d, text + 12 + 2 * k, (unsigned char)"old"[k], 2);
	}
}

static void test_resources(void **state)
{
	unsigned char d[PE_BYTES];
	struct err e = { 0 };

	make_image(d);
	assert_int_equal(resource_replace_string(d, sizeof(d), 5, 1033, "old", "a longer text", &e), 0);
	assert_int_equal(d[RESOURCES + 0x90] | d[RESOURCES + 0x91] << 8, 0x3100); /* where the other language was */
	assert_int_equal(d[RESOURCES + 0x94], 2 * 16 + 2 * strlen("a longer text"));
	assert_int_equal(d[RESOURCES + 0x100 + 10], strlen("a longer text"));
	assert_int_equal(d[RESOURCES + 0x100 + 12 + 4], 'l');
	make_image(d);
	assert_int_equal(resource_replace_string(d, sizeof(d), 5, 1033, "new", "x", &e), -1);
	assert_int_equal(resource_replace_string(d, sizeof(d), 21, 1033, "old", "x", &e), -1);
	assert_int_equal(resource_replace_string(d, sizeof(d), 5, 1033, "old",
						 "a text that is longer than what the block of any language has", &e),
			 -1);
	for (size_t n = 0; n < sizeof(d); n++) { /* a file that is cut off, or broken, is no more than an error */
		make_image(d);
		(void)!resource_replace_string(d, n, 5, 1033, "old", "x", &e);
		make_image(d);
		d[n] = 0xff;
		(void)!resource_replace_string(d, sizeof(d), 5, 1033, "old", "x", &e);
	}
}

static void test_process(void **state)
{
	autojson *process = json_pack("{s:[s, s], s:s, s:{s:s}}", "args", "ping", "localhost", "cwd", "/", "user",
				      "username", "containeruser");
	autojson *other = json_pack("{s:[s], s:s, s:{s:s}}", "args", "x", "cwd", "D:/a", "user", "username", "bob");
	struct err e = { 0 };

	assert_int_equal(windows_process(process, false, &e), 0);
	assert_string_equal(json_string_value(json_array_get(json_object_get(process, "args"), 2)), "C:\\");
	assert_string_equal(json_string_value(json_array_get(json_object_get(process, "args"), 5)), "ping localhost");
	assert_string_equal(json_str(process, "cwd", ""), "/");
	assert_true(json_bool(process, "noNewPrivileges", false));
	assert_int_equal(windows_process(other, false, &e), -1);
	assert_int_equal(e.kind, ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_command_line), cmocka_unit_test(test_paths),    cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_names),        cmocka_unit_test(test_registry), cmocka_unit_test(test_process),
		cmocka_unit_test(test_resources),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
