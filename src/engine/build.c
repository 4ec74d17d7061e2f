/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The network of RUN is that of a container of Silo's own making, which sleeps while the build runs: addresses, rules
 * and names are then the same as for any container, and are given back the same way, also when silod is killed.
 */
#include "engine/build.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/create.h"
#include "engine/state.h"

#define HOLDER_IMAGE "silo/base"
#define HOLDER_LABEL "io.silo.build"
#define NAME_SERVER "127.0.0.11"

/* The network of one build. */
struct holder {
	char *id;     /* container; NULL = none is needed */
	char *option; /* for build_run() */
	const char *dns;
};

struct builder *engine_builder(struct engine *g)
{
	return g->builder;
}

static json_t *holder_body(const char *mode)
{
	return json_pack("{s:s, s:[s], s:[s], s:{s:s}, s:{s:s, s:s, s:b}}", "Image", HOLDER_IMAGE, "Entrypoint",
			 "sleep", "Cmd", "2147483647", "Labels", HOLDER_LABEL, "", "HostConfig", "Isolation", "process",
			 "NetworkMode", mode, "AutoRemove", true);
}

static void holder_close(struct engine *g, struct holder *h)
{
	struct err e = { 0 };

	if (h->id && engine_container_remove(g, h->id, true, false, &e) < 0 && e.kind != ERR_NOT_FOUND)
		log_warn("network of a build: %s", e.msg);
	free(h->id);
	free(h->option);
}

static int holder_start(struct engine *g, struct holder *h, const char *mode, struct err *e)
{
	autojson *body = holder_body(mode);
	autojson *created = engine_container_create(g, NULL, NULL, body, e);
	autojson *state = NULL;

	if (!created)
		return -1;
	h->id = xstrdup(json_str(created, "Id", ""));
	if (engine_container_start(g, h->id, e) < 0)
		return -1;
	state = engine_container_inspect(g, h->id, false, e);
	if (!state)
		return -1;
	h->option = xasprintf("ns:/proc/%lld/ns/net", (long long)json_int(json_object_get(state, "State"), "Pid", 0));
	return 0;
}

void engine_build_sweep(struct engine *g)
{
	autojson *filters = json_pack("{s:[s]}", "label", HOLDER_LABEL);
	struct err e = { 0 };
	autojson *list = engine_container_list(g, true, 0, false, filters, &e);
	const json_t *c;
	size_t i;

	json_array_foreach(list, i, c) {
		struct holder h = { .id = xstrdup(json_str(c, "Id", "")) };

		holder_close(g, &h);
	}
}

static bool is_default_network(const char *mode)
{
	return !mode || strcmp(mode, "default") == 0 || strcmp(mode, "bridge") == 0;
}

static int holder_open(struct engine *g, const char *mode, const char *isolation, struct holder *h, struct err *e)
{
	if (mode && strcmp(mode, "host") == 0 && strcmp(isolation, "hyperv") == 0)
		return err_set(e, ERR_INVALID, 0,
			       "host network is not possible with hyperv isolation: a virtual machine has its own "
			       "network stack");
	if (mode && (strcmp(mode, "none") == 0 || strcmp(mode, "host") == 0)) {
		h->option = xstrdup(mode);
		return 0;
	}
	if (!is_default_network(mode) && !str_starts(mode, "container:"))
		h->dns = NAME_SERVER;
	return holder_start(g, h, is_default_network(mode) ? "bridge" : mode, e) < 0
		       ? err_prefix(e, "network of the build")
		       : 0;
}

int engine_build(struct engine *g, const struct build_options *o, int context, const struct registry_client *client,
		 int *exit_code, struct err *e)
{
	struct build_options own = *o;
	struct holder h = { 0 };
	int rc = -1;

	*exit_code = 1;
	own.isolation = isolation_choose(o->isolation, g->isolation, g->client_machine, e);
	if (!own.isolation)
		return -1;
	if (holder_open(g, o->network, own.isolation, &h, e) == 0) {
		own.network = h.option;
		own.dns = h.dns;
		rc = build_run(g->builder, &own, context, client, exit_code, e);
	}
	holder_close(g, &h);
	return rc;
}
