/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Links: what is asked for, and the variables that come of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "engine/links.h"

static void test_parse(void **state)
{
	static const struct {
		const char *text, *name, *alias, *error;
	} cases[] = {
		{ "db:database", "db", "database", NULL },
		{ "db", "db", "db", NULL },
		{ "/db:/web/database", "db", "database", NULL },
		{ "", NULL, NULL, "empty string specified for links" },
		{ "a:b:c", NULL, NULL, "bad format for links: a:b:c" },
		{ "db:", NULL, NULL, "bad format for links: db:" },
		{ ":x", NULL, NULL, "bad format for links: :x" },
		{ "db:x y", NULL, NULL, "bad format for links: db:x y" },
		{ "db:x\n1.2.3.4 bank", NULL, NULL, "bad format for links: db:x\n1.2.3.4 bank" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		autofree char *name = NULL;
		autofree char *alias = NULL;
		struct err e;
		int rc = link_parse(cases[i].text, &name, &alias, &e);

		assert_int_equal(rc, cases[i].error ? -1 : 0);
		if (rc < 0) {
			assert_string_equal(e.msg, cases[i].error);
			continue;
		}
		assert_string_equal(name, cases[i].name);
		assert_string_equal(alias, cases[i].alias);
	}
}

static void expect_variables(const char *name, const json_t *config, const char *const *wanted, size_t n)
{
	json_t *got = link_variables(name, "10.0.0.2", config);

	assert_int_equal(json_array_size(got), n);
	for (size_t i = 0; i < n; i++)
		assert_string_equal(json_string_value(json_array_get(got, i)), wanted[i]);
	json_decref(got);
}

static void test_variables(void **state)
{
	static const char *const wanted[] = {
		"MY_DB_PORT=tcp://10.0.0.2:80",    "MY_DB_PORT_80_TCP=tcp://10.0.0.2:80",
		"MY_DB_PORT_80_TCP_ADDR=10.0.0.2", "MY_DB_PORT_80_TCP_PROTO=tcp",
		"MY_DB_PORT_80_TCP_PORT=80",       "MY_DB_PORT_80_UDP=udp://10.0.0.2:80",
		"MY_DB_PORT_80_UDP_ADDR=10.0.0.2", "MY_DB_PORT_80_UDP_PROTO=udp",
		"MY_DB_PORT_80_UDP_PORT=80",       "MY_DB_NAME=/web/my-db",
		"MY_DB_ENV_PASSWORD=a=b",
	};
	json_t *config = json_pack("{s:{s:{}, s:{}}, s:[s, s, s]}", "ExposedPorts", "80/udp", "80/tcp", "Env",
				   "PATH=/bin", "PASSWORD=a=b", "WITHOUT");

	expect_variables("/web/my-db", config, wanted, array_len(wanted));
	json_decref(config);
}

static void test_range(void **state)
{
	static const char *const wanted[] = {
		"DB_PORT=tcp://10.0.0.2:1",    "DB_PORT_1_TCP_START=tcp://10.0.0.2:1",
		"DB_PORT_1_TCP_ADDR=10.0.0.2", "DB_PORT_1_TCP_PROTO=tcp",
		"DB_PORT_1_TCP_PORT_START=1",  "DB_PORT_1_TCP_END=tcp://10.0.0.2:2",
		"DB_PORT_1_TCP_PORT_END=2",    "DB_PORT_1_TCP=tcp://10.0.0.2:1",
		"DB_PORT_1_TCP_ADDR=10.0.0.2", "DB_PORT_1_TCP_PROTO=tcp",
		"DB_PORT_1_TCP_PORT=1",        "DB_PORT_2_TCP=tcp://10.0.0.2:2",
		"DB_PORT_2_TCP_ADDR=10.0.0.2", "DB_PORT_2_TCP_PROTO=tcp",
		"DB_PORT_2_TCP_PORT=2",        "DB_NAME=/web/db",
	};
	json_t *config = json_pack("{s:{s:{}}}", "ExposedPorts", "1-2/tcp");

	expect_variables("/web/db", config, wanted, array_len(wanted));
	json_decref(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_variables),
		cmocka_unit_test(test_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
