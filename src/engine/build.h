/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* docker build, with what the engine adds to a builder: the isolation mode and the network of RUN. */
#ifndef SILO_ENGINE_BUILD_H
#define SILO_ENGINE_BUILD_H

#include "build/build.h"
#include "engine/engine.h"

/**
 * engine_build - as build_run() of build/build.h.
 *
 * @o  isolation: as the flag of docker build, "" or NULL = the engine's default; network: as docker run's --network
 */
int engine_build(struct engine *g, const struct build_options *o, int context, const struct registry_client *client,
		 int *exit_code, struct err *e) must_check;
/* At the start: networks of builds that ended with another silod. */
void engine_build_sweep(struct engine *g);
struct builder *engine_builder(struct engine *g);

#endif
