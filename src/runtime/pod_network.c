/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/pod_network.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"

struct pod_network {
	int tap;
};

static const char *namespace_path(const json_t *config)
{
	const json_t *ns;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(config, "linux"), "namespaces"), i, ns)
		if (!strcmp(json_str(ns, "type", ""), "network"))
			return json_str(ns, "path", NULL);
	return NULL;
}

struct pod_network *pod_network_connect(const json_t *config, json_t *doc, struct err *e)
{
	struct pod_network *n;

	if (namespace_path(config)) {
		err_set(e, ERR_UNSUPPORTED, 0,
			"linux.namespaces: a network namespace of the caller is not supported yet");
		return NULL;
	}
	n = xcalloc(1, sizeof(*n));
	n->tap = -1;
	return n;
}

int pod_network_tap(const struct pod_network *n)
{
	return n->tap;
}

void pod_network_free(struct pod_network *n)
{
	if (n)
		close_fd(&n->tap);
	free(n);
}

void pod_network_undo(const json_t *doc)
{
}
