/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Wine's registry files (system.reg, user.reg) as text that can be edited: sections "[Key\\Sub] time" with lines
 * "name"=value. Keys are given with single backslashes, relative to the file's root; names are UTF-8, without regard to case.
 * Source: Wine, server/registry.c, "WINE REGISTRY Version 2".
 */
#ifndef SILO_WINDOWS_REGISTRY_H
#define SILO_WINDOWS_REGISTRY_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

struct registry;

struct registry *registry_load(int dirfd, const char *path, struct err *e) must_check;
/* The same from the file's text. NULL: it is none of Wine's. */
struct registry *registry_parse(const char *text);
void registry_free(struct registry *r);
/* As the file has it; out is initialised. */
int registry_text(const struct registry *r, struct str *out, struct err *e) must_check;
/* Replaces the file. */
int registry_save(const struct registry *r, int dirfd, const char *path, struct err *e) must_check;

/* text: the value as the file has it: "\"text\"", "dword:0000000a", "hex:00,01". NULL deletes the value. The key is made. */
void registry_set(struct registry *r, const char *key, const char *name, const char *text);
/* The same for a string, quoted on the way. */
void registry_set_string(struct registry *r, const char *key, const char *name, const char *value);
/* Several at once. name "" is the default value. */
struct registry_value {
	const char *name;
	const char *text;
};
void registry_set_all(struct registry *r, const char *key, const struct registry_value *values, size_t n);
/* All values of the key, which is made, go. */
void registry_clear(struct registry *r, const char *key);
/* The key and all below it. */
void registry_delete(struct registry *r, const char *key);
/* The default value of a key where it is a string, as it was set. Heap string, or NULL. */
char *registry_default(struct registry *r, const char *key);
/* fn for each key, in the order of the file, until it returns true; it changes nothing. */
void registry_each(struct registry *r, bool (*fn)(const char *key, void *arg), void *arg);

#endif
