/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The default seccomp profile: what a container may ask of the kernel. Compiled to classic BPF with libseccomp (some
 * 15 ms) once per set of capabilities that makes a difference, and kept on disk.
 */
#ifndef SILO_ENGINE_SECCOMP_H
#define SILO_ENGINE_SECCOMP_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

/**
 * seccomp_profile_file - path of the compiled filter (array of struct sock_filter) for a process.
 *
 * @cache_dir  Silo's own directory for compiled filters; must exist.
 * @caps       array of "CAP_X": the bounding set of the container; NULL = none.
 * @profile    NULL, "" or "builtin" = default; "unconfined" = no filter; else a profile's JSON, as the Docker CLI
 *             sends it.
 * @path       receives a heap string, or NULL for unconfined.
 * @flags      SECCOMP_FILTER_FLAG_* of the profile, added to what is there.
 *
 * Several callers at once are fine: the file is replaced atomically by one with the same content.
 */
int seccomp_profile_file(const char *cache_dir, const json_t *caps, const char *profile, char **path, unsigned *flags,
			 struct err *e) must_check;

/* The compiled default filter for these capabilities, appended to out. What seccomp_profile_file() caches. */
int seccomp_compile(const json_t *caps, struct str *out, struct err *e) must_check;

#endif
