/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SQLite as Silo uses it: one connection behind one recursive mutex, WAL. Values are bound by a type string, one
 * letter an argument: s = const char * (NULL allowed), i = int64_t. Rows come back as JSON objects keyed by column.
 */
#ifndef SILO_BASE_DB_H
#define SILO_BASE_DB_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct db;

struct db *db_open(const char *path, struct err *e) must_check;
void db_close(struct db *d);

/* Run one statement (or, with types "", a script of several). */
int db_exec(struct db *d, struct err *e, const char *sql, const char *types, ...) must_check;
/* New array of row objects, or NULL. */
json_t *db_rows(struct db *d, struct err *e, const char *sql, const char *types, ...) must_check;

/**
 * db_begin - take the mutex and open a transaction; nests (only the outermost counts).
 *
 * @durable  commit with synchronous=FULL: for create, remove and image references.
 * Every db_begin is ended by one db_end(commit). A failed commit rolls back.
 */
int db_begin(struct db *d, bool durable, struct err *e) must_check;
int db_end(struct db *d, bool commit, struct err *e);

#endif
