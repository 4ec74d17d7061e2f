/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/db.h"
#include "base/io.h"
#include "base/json.h"
#include "base/own.h"

struct fixture {
	char dir[32];
	char *path;
	struct db *db;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof *f);
	struct err e;

	strcpy(f->dir, "/tmp/silo-db-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	f->path = xasprintf("%s/state.db", f->dir);
	f->db = db_open(f->path, &e);
	*state = f;
	return f->db ? db_exec(f->db, &e, "CREATE TABLE t(k TEXT PRIMARY KEY, n INTEGER); CREATE TABLE u(x)", "") : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct err e;

	db_close(f->db);
	io_remove_tree(AT_FDCWD, f->dir, &e);
	free(f->path);
	free(f);
	return 0;
}

static int64_t count(struct db *db)
{
	struct err e;
	autojson *rows = db_rows(db, &e, "SELECT count(*) AS n FROM t", "");

	return json_int(json_array_get(rows, 0), "n", -1);
}

static void values_come_back(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };

	assert_int_equal(db_exec(f->db, &e, "INSERT INTO t VALUES(?, ?)", "si", "a'\"; DROP TABLE t;", INT64_MAX), 0);
	assert_int_equal(db_exec(f->db, &e, "INSERT INTO t VALUES(?, ?)", "si", "ü", INT64_MIN), 0);
	assert_int_equal(db_exec(f->db, &e, "INSERT INTO t(k) VALUES(?)", "s", "null"), 0);
	autojson *rows = db_rows(f->db, &e, "SELECT k, n FROM t ORDER BY rowid", "");

	assert_int_equal(json_array_size(rows), 3);
	assert_string_equal(json_str(json_array_get(rows, 0), "k", ""), "a'\"; DROP TABLE t;");
	assert_true(json_int(json_array_get(rows, 0), "n", 0) == INT64_MAX);
	assert_true(json_int(json_array_get(rows, 1), "n", 0) == INT64_MIN);
	assert_true(json_is_null(json_object_get(json_array_get(rows, 2), "n")));
	assert_int_equal(db_exec(f->db, &e, "INSERT INTO u VALUES(?)", "s", NULL), 0);
}

static void errors_have_a_kind(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };

	assert_int_equal(db_exec(f->db, &e, "INSERT INTO t VALUES('a', 1)", ""), 0);
	assert_int_equal(db_exec(f->db, &e, "INSERT INTO t VALUES(?, ?)", "si", "a", (int64_t)2), -1);
	assert_int_equal(e.kind, ERR_CONFLICT);
	assert_null(db_rows(f->db, &e, "SELECT nonsense FROM t", ""));
	assert_int_equal(e.kind, ERR_SYSTEM);
	assert_non_null(strstr(e.msg, "nonsense"));
	assert_null(db_open("/nonexistent/x.db", &e));
	assert_non_null(strstr(e.msg, "/nonexistent/x.db"));
}

static void transactions_nest(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };

	assert_int_equal(db_begin(f->db, true, &e), 0);
	assert_int_equal(db_exec(f->db, &e, "INSERT INTO t VALUES('a', 1)", ""), 0);
	assert_int_equal(db_begin(f->db, false, &e), 0);
	assert_int_equal(db_exec(f->db, &e, "INSERT INTO t VALUES('b', 1)", ""), 0);
	assert_int_equal(db_end(f->db, true, &e), 0);
	assert_int_equal(db_end(f->db, false, &e), 0);
	assert_int_equal(count(f->db), 0);
	/* An inner step that was undone can't be committed by the outer one. */
	assert_int_equal(db_begin(f->db, false, &e), 0);
	assert_int_equal(db_begin(f->db, false, &e), 0);
	assert_int_equal(db_exec(f->db, &e, "INSERT INTO t VALUES('c', 1)", ""), 0);
	assert_int_equal(db_end(f->db, false, &e), 0);
	assert_int_equal(db_end(f->db, true, &e), -1);
	assert_int_equal(count(f->db), 0);
	/* The level of durability is back to normal, whatever happened. */
	autojson *rows = db_rows(f->db, &e, "PRAGMA synchronous", "");

	assert_int_equal(json_int(json_array_get(rows, 0), "synchronous", -1), 1);
}

static void survives_reopening(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };

	assert_int_equal(db_begin(f->db, true, &e), 0);
	assert_int_equal(db_exec(f->db, &e, "INSERT INTO t VALUES('a', 1)", ""), 0);
	assert_int_equal(db_end(f->db, true, &e), 0);
	db_close(f->db);
	f->db = db_open(f->path, &e);
	assert_non_null(f->db);
	assert_int_equal(count(f->db), 1);
}

static void *add_many(void *arg)
{
	struct err e;

	for (int i = 0; i < 200; i++)
		if (db_begin(arg, false, &e) ||
		    db_exec(arg, &e, "UPDATE t SET n = (SELECT n FROM t WHERE k = 'c') + 1 WHERE k = 'c'", "") ||
		    db_end(arg, true, &e))
			return arg;
	return NULL;
}

static void threads_take_turns(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[4];
	struct err e;
	void *failed;

	assert_int_equal(db_exec(f->db, &e, "INSERT INTO t VALUES('c', 0)", ""), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_many, f->db), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	autojson *rows = db_rows(f->db, &e, "SELECT n FROM t", "");

	assert_int_equal(json_int(json_array_get(rows, 0), "n", 0), 800);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(values_come_back, setup, teardown),
		cmocka_unit_test_setup_teardown(errors_have_a_kind, setup, teardown),
		cmocka_unit_test_setup_teardown(transactions_nest, setup, teardown),
		cmocka_unit_test_setup_teardown(survives_reopening, setup, teardown),
		cmocka_unit_test_setup_teardown(threads_take_turns, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
