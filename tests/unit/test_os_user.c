/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "os/user.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "# comment\n"
			     "broken\n"
			     ":x:0:0:::\n"
			     "neg:x:-1:0::/:/\n"
			     "big:x:4294967296:0::/:/\n"
			     "plus:x:+5:0::/:/\n"
			     "app:x:1000:1001:app:/home/app:/bin/sh\n"
			     "0x10:x:77:77::relative:/\n"
			     "last:x:9:9";
static const char group[] =
	"root:x:0:\nwheel:x:10:root,app\nextra:x:2000:x,app,y\nappx:x:2001:appx\nbad:x:99999999999:app\n"
	"app:x:1001:\n";

struct user_case {
	const char *spec;
	const char *error; /* NULL: ok */
	uid_t uid;
	gid_t gid;
	size_t n_groups;
	const char *home;
};

static const struct user_case user_cases[] = {
	{ "", NULL, 0, 0, 1, "/root" },
	{ "root", NULL, 0, 0, 1, "/root" },
	{ "app", NULL, 1000, 1001, 2, "/home/app" },
	{ "1000", NULL, 1000, 1001, 2, "/home/app" },
	{ "1000:", NULL, 1000, 1001, 2, "/home/app" },
	{ "app:wheel", NULL, 1000, 10, 0, "/home/app" },
	{ "app:7", NULL, 1000, 7, 0, "/home/app" },
	{ "0:", NULL, 0, 0, 1, "/root" },
	{ ":10", NULL, 0, 10, 0, "/root" },
	{ "4242", NULL, 4242, 0, 0, "" },
	{ "4242:4343", NULL, 4242, 4343, 0, "" },
	{ "00", NULL, 0, 0, 1, "/root" },
	{ "last", NULL, 9, 9, 0, "" },
	{ "0x10", NULL, 77, 77, 0, "" },
	{ "2147483647", NULL, 2147483647, 0, 0, "" },
	{ "2147483648", "range" },
	{ "4294967296", "range" },
	{ "18446744073709551616", "range" },
	{ "app:4294967296", "range" },
	{ "+0", "unable to find user +0: no matching entries in passwd file" },
	{ "-1", "unable to find user -1: no matching entries in passwd file" },
	{ " 0", "unable to find user  0: no matching entries in passwd file" },
	{ "nosuch", "unable to find user nosuch: no matching entries in passwd file" },
	{ "neg", "unable to find user neg" },
	{ "big", "unable to find user big" },
	{ "plus", "unable to find user plus" },
	{ "# comment", "unable to find user" },
	{ "app:nosuch", "unable to find group nosuch: no matching entries in group file" },
	{ "app:+0", "unable to find group +0: no matching entries in group file" },
	{ "app:bad", "unable to find group bad" },
	{ "app:wheel:x", "unable to find group wheel:x" },
};

static void test_resolve(void **state)
{
	static struct user_ids ids;

	for (size_t i = 0; i < array_len(user_cases); i++) {
		const struct user_case *c = &user_cases[i];
		struct err e = { 0 };
		int r = user_resolve(c->spec, passwd, group, &ids, &e);

		if (c->error) {
			if (!r || !strstr(e.msg, c->error))
				fail_msg("\"%s\": %d \"%s\"", c->spec, r, e.msg);
			continue;
		}
		if (r)
			fail_msg("\"%s\": %s", c->spec, e.msg);
		if (ids.uid != c->uid || ids.gid != c->gid || ids.n_groups != c->n_groups || strcmp(ids.home, c->home))
			fail_msg("\"%s\": %u:%u %zu groups, home %s", c->spec, ids.uid, ids.gid, ids.n_groups,
				 ids.home);
	}
}

static void test_empty_files(void **state)
{
	static struct user_ids ids;
	struct err e;

	assert_int_equal(user_resolve("12:13", "", "", &ids, &e), 0);
	assert_int_equal(ids.gid, 13);
	assert_int_equal(user_resolve("", "", "", &ids, &e), 0);
	assert_int_equal(user_resolve("root", "", "", &ids, &e), -1);
	assert_int_equal(user_add_group("wheel", group, &ids, &e), 0);
	assert_int_equal(user_add_group("wheel", group, &ids, &e), 0);
	assert_int_equal(ids.n_groups, 1);
	assert_int_equal(user_add_group("x", group, &ids, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_resolve), cmocka_unit_test(test_empty_files) };

	return cmocka_run_group_tests_name("os_user", tests, NULL, NULL);
}
