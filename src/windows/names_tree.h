/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names of drive C: without regard to case: a path as a layer of a Windows image writes it becomes the path as the files
 * below write it ("Windows/System32" is "windows/system32"), and where there is none yet, what the layer wrote first.
 */
#ifndef SILO_WINDOWS_NAMES_TREE_H
#define SILO_WINDOWS_NAMES_TREE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

#define NAMES_MAX 4000000 /* of one layer and what lies below it */

struct name;
struct names_tree;

/* lower: the root file system below the layer, borrowed, or -1: nothing; start: path of drive C: in it. */
struct names_tree *names_tree_new(int lower, const char *start);
void names_tree_free(struct names_tree *t);
struct name *names_root(struct names_tree *t);
/* The name in a directory, or NULL where neither the layer nor what lies below has it. ERR_LIMIT. */
int names_find(struct names_tree *t, struct name *dir, const char *text, struct name **out, struct err *e) must_check;
/* The same, and a new one is made. */
struct name *names_get(struct names_tree *t, struct name *dir, const char *text, struct err *e) must_check;
/* Whether this layer has it, rather than one below. */
bool names_is_own(const struct name *n);
void names_set_own(struct name *n, bool own);
/* Its path from the root of the file system: heap string. */
char *names_path(const struct name *n);

#endif
