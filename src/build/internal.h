/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of a build share. */
#ifndef SILO_BUILD_INTERNAL_H
#define SILO_BUILD_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/str.h"
#include "build/build.h"

#define STEP_LINE_MAX (32 * KIB) /* of the builder's output; a longer line is cut in two */

struct builder {
	struct builder_options o; /* its strings are owned */
	char *dir;                /* ROOT/builder */
	pthread_mutex_t lock;     /* guards running */
	unsigned running;
	bool swept; /* of what builds of another silod left in buildah's storage */
	atomic_bool stopping;
};

struct build {
	struct builder *b;
	const struct build_options *o;
	const struct registry_client *client;
	char *dir;     /* ROOT/builder/jobs/X: context/, Dockerfile, bases, iid */
	char *context; /* DIR/context */
	json_t *contexts; /* "REF=container-image://dir:PATH": images that buildah can't find by a name */
	int exit_code;
	struct str failure; /* what the builder said at its end */
};

/* --- buildah.c: the program ---------------------------------------------------------------------------------------- */
/* A growing argument vector; strings are owned. */
struct argv {
	char **v;
	size_t n, cap;
};
void argv_add(struct argv *a, char *arg); /* taken */
void argv_fini(struct argv *a);
/* "buildah" with its storage, and a command. */
void buildah_argv(const struct builder *b, struct argv *a, const char *command);
/* ERR_UNSUPPORTED that names the package where the program is missing. */
int buildah_check(struct err *e) must_check;
/* Configuration files that keep the host's from having a say. */
int buildah_configure(const struct builder *b, struct err *e) must_check;

/* Called for every line (or piece of one) of what the program says; non-zero ends it. idle: about once a second. */
struct buildah_reader {
	int (*line)(void *arg, const char *text, size_t n);
	int (*idle)(void *arg);
	void *arg;
};
/**
 * buildah_run - run it to its end.
 *
 * @out  receives its stdout (borrowed); -1: stdout goes with stderr, line by line to r
 * Returns its exit code, or -1 with *e. A reader that wants no more: the program is ended, and ERR_TIMEOUT.
 */
int buildah_run(const struct builder *b, struct argv *a, int out, const struct buildah_reader *r,
		struct err *e) must_check;
/* Short commands: what it prints, trimmed (heap), or NULL with its last line as the error. */
char *buildah_ask(const struct builder *b, struct argv *a, struct err *e) must_check;

/* --- bases.c --------------------------------------------------------------------------------------------------------- */
/* Give buildah the images that it will ask for. */
int bases_provide(struct build *x, const json_t *images, struct err *e) must_check;

/* --- steps.c --------------------------------------------------------------------------------------------------------- */
/* A line of buildah's output to the client, in the classic builder's words. Non-zero: the client has left. */
int steps_line(void *build, const char *text, size_t n);
/* *e from what the builder said at its end. Returns -1. */
int steps_failure(struct build *x, int status, struct err *e);

/* --- command.c ------------------------------------------------------------------------------------------------------- */
/* The arguments of `buildah bud`. ERR_INVALID. */
int command_build(const struct build *x, struct argv *a, struct err *e) must_check;

#endif
