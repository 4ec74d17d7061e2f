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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
