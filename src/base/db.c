/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/db.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"

struct db {
	sqlite3 *sql;
	pthread_mutex_t lock; /* recursive */
	int depth;            /* of db_begin */
	bool broken;          /* an inner db_end(false): the outermost must not commit */
	bool durable;
};

/* A broken UNIQUE or FOREIGN KEY is something the caller can act on; all the rest is the host's trouble. */
static int sql_failed(struct db *d, struct err *e)
{
	enum err_kind kind = sqlite3_errcode(d->sql) == SQLITE_CONSTRAINT ? ERR_CONFLICT : ERR_SYSTEM;

	return err_set(e, kind, 0, "state database: %s", sqlite3_errmsg(d->sql));
}

static int sql_script(struct db *d, const char *sql, struct err *e)
{
	return sqlite3_exec(d->sql, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : sql_failed(d, e);
}

static void lock_init(pthread_mutex_t *lock)
{
	pthread_mutexattr_t a;

	pthread_mutexattr_init(&a);
	pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(lock, &a);
	pthread_mutexattr_destroy(&a);
}

struct db *db_open(const char *path, struct err *e)
{
	const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
	struct db *d = xcalloc(1, sizeof(*d));
	int rc;

	lock_init(&d->lock);
	rc = sqlite3_open_v2(path, &d->sql, flags, NULL);
	if (rc != SQLITE_OK) {
		err_set(e, ERR_SYSTEM, 0, "state database: %s: %s", path, sqlite3_errstr(rc));
		db_close(d);
		return NULL;
	}
	sqlite3_busy_timeout(d->sql, 5000);
	if (sql_script(d, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;", e)) {
		err_prefix(e, "%s", path);
		db_close(d);
		return NULL;
	}
	return d;
}

void db_close(struct db *d)
{
	if (!d)
		return;
	sqlite3_close(d->sql);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static int bind_all(struct db *d, sqlite3_stmt *st, const char *types, va_list ap, struct err *e)
{
	int rc = SQLITE_OK;

	for (int i = 0; types[i] && rc == SQLITE_OK; i++) {
		if (types[i] == 's')
			/* The arguments outlive the statement: it is finalized before the caller goes on. */
			rc = sqlite3_bind_text(st, i + 1, va_arg(ap, const char *), -1, SQLITE_STATIC);
		else if (types[i] == 'i')
			rc = sqlite3_bind_int64(st, i + 1, va_arg(ap, int64_t));
		else
			return err_set(e, ERR_SYSTEM, 0, "state database: unknown type letter '%c'", types[i]);
	}
	return rc == SQLITE_OK ? 0 : sql_failed(d, e);
}

static json_t *column_value(sqlite3_stmt *st, int i)
{
	json_t *v;

	switch (sqlite3_column_type(st, i)) {
	case SQLITE_INTEGER:
		return json_integer(sqlite3_column_int64(st, i));
	case SQLITE_FLOAT:
		return json_real(sqlite3_column_double(st, i));
	case SQLITE_NULL:
		return json_null();
	default:
		v = json_stringn((const char *)sqlite3_column_text(st, i), (size_t)sqlite3_column_bytes(st, i));
		return v ? v : json_null();
	}
}

static json_t *row_object(sqlite3_stmt *st)
{
	json_t *row = json_object();

	for (int i = 0; i < sqlite3_column_count(st); i++)
		json_object_set_new_nocheck(row, sqlite3_column_name(st, i), column_value(st, i));
	return row;
}

/* Prepare, bind, step to the end; rows are appended to *rows where it isn't NULL. Called locked. */
static int run(struct db *d, struct err *e, json_t *rows, const char *sql, const char *types, va_list ap)
{
	sqlite3_stmt *st = NULL;
	int rc, failed;

	if (sqlite3_prepare_v2(d->sql, sql, -1, &st, NULL) != SQLITE_OK)
		return sql_failed(d, e);
	failed = bind_all(d, st, types, ap, e);
	while (!failed && (rc = sqlite3_step(st)) != SQLITE_DONE) {
		if (rc != SQLITE_ROW)
			failed = sql_failed(d, e);
		else if (rows)
			json_array_append_new(rows, row_object(st));
	}
	sqlite3_finalize(st);
	return failed;
}

int db_exec(struct db *d, struct err *e, const char *sql, const char *types, ...)
{
	va_list ap;
	int rc;

	va_start(ap, types);
	pthread_mutex_lock(&d->lock);
	rc = types[0] ? run(d, e, NULL, sql, types, ap) : sql_script(d, sql, e);
	pthread_mutex_unlock(&d->lock);
	va_end(ap);
	return rc;
}

json_t *db_rows(struct db *d, struct err *e, const char *sql, const char *types, ...)
{
	json_t *rows = json_array();
	va_list ap;
	int rc;

	va_start(ap, types);
	pthread_mutex_lock(&d->lock);
	rc = run(d, e, rows, sql, types, ap);
	pthread_mutex_unlock(&d->lock);
	va_end(ap);
	if (!rc)
		return rows;
	json_decref(rows);
	return NULL;
}

int db_begin(struct db *d, bool durable, struct err *e)
{
	pthread_mutex_lock(&d->lock);
	if (d->depth++)
		return 0;
	/* The level can only be changed outside a transaction. */
	d->broken = false;
	d->durable = durable;
	if ((durable && sql_script(d, "PRAGMA synchronous=FULL", e)) || sql_script(d, "BEGIN IMMEDIATE", e)) {
		d->depth = 0;
		sqlite3_exec(d->sql, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
		pthread_mutex_unlock(&d->lock);
		return -1;
	}
	return 0;
}

/* The outermost end: called locked with depth already 0. */
static int finish(struct db *d, bool commit, struct err *e)
{
	int rc = 0;

	if (commit && d->broken)
		rc = err_set(e, ERR_SYSTEM, 0, "state database: an inner transaction was rolled back");
	else if (commit)
		rc = sql_script(d, "COMMIT", e);
	/* SQLite may have rolled back by itself (disk full): then there is nothing left to roll back. */
	if ((!commit || rc) && !sqlite3_get_autocommit(d->sql))
		sqlite3_exec(d->sql, "ROLLBACK", NULL, NULL, NULL);
	if (d->durable)
		sqlite3_exec(d->sql, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
	return rc;
}

int db_end(struct db *d, bool commit, struct err *e)
{
	int rc = 0;

	if (--d->depth == 0)
		rc = finish(d, commit, e);
	else if (!commit)
		d->broken = true;
	pthread_mutex_unlock(&d->lock);
	return rc;
}
