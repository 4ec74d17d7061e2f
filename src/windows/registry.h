/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Wine's registry files (system.reg, user.reg) as text that can be edited: sections "[Key\\Sub] time" with lines
 * "name"=value. Keys are given with single backslashes, relative to the file's root; names without regard to case.
 * Source: Wine, server/registry.c, "WINE REGISTRY Version 2".
 */
#ifndef SILO_WINDOWS_REGISTRY_H
#define SILO_WINDOWS_REGISTRY_H

#include "base/err.h"

struct registry;

struct registry *registry_load(int dirfd, const char *path, struct err *e) must_check;
void registry_free(struct registry *r);
/* Replaces the file. */
int registry_save(const struct registry *r, int dirfd, const char *path, struct err *e) must_check;

/* text: the value as the file has it: "\"text\"", "dword:0000000a", "hex:00,01". NULL deletes the value. The key is made. */
void registry_set(struct registry *r, const char *key, const char *name, const char *text);
/* The same for a string, quoted on the way. */
void registry_set_string(struct registry *r, const char *key, const char *name, const char *value);
/* The key and all below it. */
void registry_delete(struct registry *r, const char *key);

#endif
