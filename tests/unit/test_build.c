/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which images a Dockerfile asks for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/own.h"
#include "build/dockerfile.h"

/* Images as "a b", or the error. */
static void check(const char *text, const char *target, const char *expected)
{
	autojson *args = json_pack("{s:s, s:n}", "GIVEN", "given", "EMPTY");
	struct err e = { 0 };
	autojson *images = dockerfile_images(text, args, target, &e);
	autofree char *joined = xstrdup("");
	const json_t *image;
	size_t i;

	json_array_foreach(images, i, image) {
		char *more = xasprintf("%s%s%s", joined, i ? " " : "", json_string_value(image));

		own_free(&joined);
		joined = more;
	}
	assert_string_equal(images ? joined : e.msg, expected);
}

static void test_from(void **state)
{
	check("FROM a\n", NULL, "a");
	check("from --platform=linux/amd64 a:1@sha256:0 as X\nFROM b\nFROM x\nFROM a:1@sha256:0\n", NULL,
	      "a:1@sha256:0 b");
	check("FROM scratch\nCOPY --chown=1 --from=c:2 /x /y\nCOPY --from=0 x y\n", NULL, "c:2");
	check("FROM a AS one\nFROM b AS two\nFROM c\n", "one", "a");
	check("FROM a AS one\nFROM b AS two\nFROM c\n", "TWO", "a b");
	check("FROM a AS one\nFROM b AS two\nFROM c\n", "1", "a b");
	check("FROM a\nRUN --mount=type=bind,from=d,source=/x --network=none echo --mount=from=no\n", NULL, "a d");
}

static void test_variables(void **state)
{
	check("ARG A=x GIVEN=default\nFROM $A/${GIVEN}:${NONE:-1}\n", NULL, "x/given:1");
	check("ARG A=x\nFROM ${A:+y}${NONE:+z}\nFROM '$A'b\n", NULL, "y $Ab");
	check("ARG A=\"x\"\nFROM \"$A\"\\b\n", NULL, "xb");
	check("ARG EMPTY=kept\nFROM $EMPTY\n", NULL, "kept");
	check("FROM $GIVEN\n", NULL, "base name ($GIVEN) should not be blank"); /* never declared */
	check("FROM a\nARG B=b\nFROM a$B\n", NULL, "a");                       /* of a stage */
	check("FROM ${A:-${B:-${C:-${D:-${E:-${F:-${G:-${H:-${I:-${J:-x\n", NULL, "${I:-${J:-x");
}

static void test_lines(void **state)
{
	check("# syntax=x\n# escape=`\n\nFROM `\n# between\n\n  a\nRUN c:\\\n", NULL, "a");
	check("# a comment\n# escape=`\nFROM \\\r\n a\r\n", NULL, "a");
	check("FROM a\nRUN x \\\n FROM b\n", NULL, "a");
	check("FROM a", NULL, "a");
	check("FROM a\n\\\n", NULL, "a");
}

static void test_errors(void **state)
{
	check("", NULL, "file with no instructions");
	check("# only this\n", NULL, "file with no instructions");
	check("ARG A\n", NULL, "file with no instructions");
	check("\n\nFROM a b\n", NULL, "dockerfile parse error on line 3: FROM requires either one or three arguments");
	check("FROM\n", NULL, "dockerfile parse error on line 1: FROM requires either one or three arguments");
	check("FROM a\nFOO \\\n x\n", NULL, "dockerfile parse error on line 2: unknown instruction: FOO");
	check("ENV a=b\nFROM a\n", NULL, "dockerfile parse error on line 1: no build stage in current context");
	check("FROM a\n", "x", "failed to reach build target x in Dockerfile");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from),
		cmocka_unit_test(test_variables),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
