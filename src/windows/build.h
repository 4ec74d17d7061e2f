/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making the Windows base from the distribution's packages of Wine: fetched with a private configuration of apt, unpacked,
 * stripped, baked (Wine's own first start, done once), tuned, pruned, packed. Inside one work directory, which is the
 * process's working directory: all paths here are relative to it. For a single-threaded process.
 */
#ifndef SILO_WINDOWS_BUILD_H
#define SILO_WINDOWS_BUILD_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/* Places in the work directory. */
#define BUILD_PACKAGES "packages" /* *.deb, and apt's own state */
#define BUILD_UNPACKED "unpacked" /* what was in them */
#define BUILD_ROOT "root"         /* the container's root file system */
#define BUILD_TRIPLET "usr/lib/x86_64-linux-gnu"
#define BUILD_DLLS BUILD_ROOT "/" BUILD_TRIPLET "/wine/x86_64-windows"
#define BUILD_PREFIX BUILD_ROOT "/wine"
#define BUILD_SYSTEM32 BUILD_PREFIX "/drive_c/windows/system32"

struct windows_build {
	const char *lib_dir; /* has silo-winit and guest/ with the Windows programs */
	void (*progress)(const char *text);
	json_t *layers; /* name of each layer made: its diff id */
};

/* Run argv; its output is in the error, and nowhere else. */
int build_run(const char *const *argv, struct err *e) must_check;
int build_copy(const char *from, const char *to, unsigned mode, struct err *e) must_check;

/* Steps, in the order of build.c. packages.c */
int build_fetch(void *arg, struct err *e);
int build_unpack(void *arg, struct err *e);
/* tree.c */
int build_linux_side(void *arg, struct err *e);
int build_dlls(void *arg, struct err *e);
int build_programs(void *arg, struct err *e);
/* bake.c */
int build_bake(void *arg, struct err *e);
int build_tune(void *arg, struct err *e);
/* prune.c */
int build_link_copies(void *arg, struct err *e);
int build_prune_core(void *arg, struct err *e);
int build_prune_nano(void *arg, struct err *e);
/* classes.c */
int build_prune_classes(void *arg, struct err *e);

#endif
