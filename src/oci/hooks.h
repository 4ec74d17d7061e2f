/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hooks of config.json. Source: runtime-spec config.md "POSIX-platform Hooks". */
#ifndef SILO_OCI_HOOKS_H
#define SILO_OCI_HOOKS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/**
 * hooks_run - run the hooks of one kind, one after the other, until one fails. From a single-threaded process.
 *
 * @kind   "prestart", "createRuntime", ...
 * @state  what they get on their stdin.
 * @root   directory that is their root, or -1: the caller's.
 */
int hooks_run(const json_t *config, const char *kind, const json_t *state, int root, struct err *e) must_check;
/* Are all of them well formed? */
int hooks_check(const json_t *config, struct err *e) must_check;
/* Are there hooks of one of these kinds? Pure. */
bool hooks_any(const json_t *config, const char *const *kinds, size_t n);

#endif
