/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Named pipes that a Windows container shares with the host. \\.\pipe\x of the host is the unix socket EXEC_ROOT/pipes/x;
 * a source may be the path of another socket, too. Whoever has been there first is the server: where a program of the
 * host listens when the container starts, the container's programs are its clients; else its monitor listens there,
 * and a program of the container is the server (monitor/pipes.h).
 */
#ifndef SILO_ENGINE_PIPES_H
#define SILO_ENGINE_PIPES_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

struct engine;
struct container;

#define PIPE_NAME "pipe" /* member of a mount point: it is this pipe in the container */

/* Points of -v SOURCE:TARGET[:MODE] (target, mode: NULL = none) and --mount type=npipe, with Docker's texts. New, or NULL. */
json_t *pipe_bind(const char *text, const char *source, const char *target, const char *mode, struct err *e) must_check;
json_t *pipe_mount(const json_t *mount, struct err *e) must_check;

/* Who is the server is known at a start, not before. */
bool pipes_wanted(const json_t *host);
/* Where host programs have their pipes. */
int pipes_make_places(const struct engine *g, struct err *e) must_check;
/**
 * pipes_settle - find out which direction each pipe has, for this start: sources and destinations of the mounts in config.json,
 * and what the monitor has to listen on in silo.json.
 *
 * @files_only  nothing will run: they are left out
 */
int pipes_settle(const struct engine *g, const struct container *c, json_t *spec, json_t *silo, bool files_only,
		 struct err *e) must_check;

#endif
