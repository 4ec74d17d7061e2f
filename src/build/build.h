/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * docker build: the classic builder's work, done by buildah with Silo as its runtime. Builds live below ROOT/builder,
 * with buildah's own storage, which is the build cache. Base images come out of Silo's store (pulled where they are
 * missing) and the result goes back into it: buildah itself never asks a registry.
 */
#ifndef SILO_BUILD_H
#define SILO_BUILD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "image/image.h"
#include "registry/registry.h"

struct builder;

struct builder_options {
	const char *root;         /* /var/lib/silo: uses builder/ below it */
	const char *exec_root;    /* /run/silo: uses builder/ below it */
	const char *lib_dir;      /* Silo's programs */
	const char *vm_dir;       /* templates of virtual machines */
	struct image_store *images;
	struct registry *registry;
};

/* Removes what interrupted builds left behind. */
struct builder *builder_open(const struct builder_options *o) must_check;
/* Builds that run end soon, with an error; they must have ended before builder_close(). */
void builder_stop(struct builder *b);
void builder_close(struct builder *b);

/* One build. All borrowed; NULL and 0 = not given. */
struct build_options {
	const char *dockerfile; /* path inside the context; "Dockerfile" */
	const char *isolation;  /* of RUN: "process" or "hyperv" */
	const char *network;    /* of RUN: "host", "none", or "ns:" and the path of a namespace */
	const char *dns;        /* name server of RUN */
	const char *target, *cpuset_cpus, *cpuset_mems, *cgroup_parent;
	int64_t memory, memory_swap, cpu_shares, cpu_period, cpu_quota, shm_size; /* bytes, microseconds */
	const json_t *tags;         /* references that shall mean the image */
	const json_t *extra_hosts;  /* "name:address" */
	const json_t *args, *labels; /* {name: string or null} */
	const json_t *ulimits;      /* [{"Name", "Soft", "Hard"}] */
	const json_t *auths;        /* {registry: {"username", "password", ...}} */
	bool no_cache, pull, squash, quiet;
};

/**
 * build_run - build an image.
 *
 * @context    tar of the build context, plain or compressed; read to its end before the first line of progress
 * @client     gets Docker's lines, the last of them {"stream": "Successfully built ..."}; its auth isn't used
 * @exit_code  of a RUN that failed; else 1
 * ERR_INVALID for a bad Dockerfile, option or context, ERR_NOT_FOUND for a base image, ERR_UNSUPPORTED without buildah,
 * ERR_SYSTEM with what the builder said. The store is then as it was, but for pulled base images.
 */
int build_run(struct builder *b, const struct build_options *o, int context, const struct registry_client *client,
	      int *exit_code, struct err *e) must_check;

/* Forget the build cache. *bytes: what that freed. ERR_CONFLICT while something is built. */
int build_prune(struct builder *b, int64_t *bytes, struct err *e) must_check;

#endif
