/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* --network=container:X: the network namespace of X, or its virtual machine. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/networking.h"
#include "network/netns.h"

static bool is_hyperv(const struct container *c)
{
	return strcmp(c->isolation, "hyperv") == 0;
}

static int check_kinds(const struct container *c, const struct container *other, const char *ref, struct err *e)
{
	if (is_hyperv(c) == is_hyperv(other))
		return 0;
	if (is_hyperv(c))
		return err_set(e, ERR_INVALID, 0,
			       "--network=container:%s: that container has process isolation; a container with hyperv "
			       "isolation can only join the virtual machine of another one",
			       ref);
	return err_set(e, ERR_INVALID, 0,
		       "--network=container:%s: that container's network is inside its virtual machine, which only a "
		       "container with hyperv isolation can join",
		       ref);
}

int join_check(struct engine *g, const struct container *c, const char *ref, struct err *e)
{
	autorecord *other = table_find(g, ref, NULL);

	return other ? check_kinds(c, other, ref, e) : 0;
}

static pid_t running_pid(struct container *c, struct err *e)
{
	pid_t pid = record_running_pid(c);

	return pid > 0 ? pid : err_set(e, ERR_CONFLICT, 0, "cannot join network of a non running container: %s", c->id);
}

/* Whose the machine is that c runs in: c may have joined it itself. */
static int find_machine(struct engine *g, struct container *c, struct net_setup *out, struct err *e)
{
	autojson *host = record_host(c);
	const char *mode = json_str(host, "NetworkMode", "");

	if (!str_starts(mode, "container:")) {
		snprintf(out->machine, sizeof(out->machine), "%s", c->id);
		return 0;
	}
	/* It runs: so does the one that it has joined, and no circle is possible. */
	return join_container(g, c, mode + strlen("container:"), out, e);
}

int join_container(struct engine *g, const struct container *c, const char *ref, struct net_setup *out, struct err *e)
{
	autorecord *other = table_find(g, ref, e);
	pid_t pid;

	if (!other || check_kinds(c, other, ref, e) < 0)
		return -1;
	pid = running_pid(other, e);
	if (pid < 0)
		return -1;
	if (is_hyperv(other))
		return find_machine(g, other, out, e);
	out->fd = netns_of(pid, e);
	return out->fd < 0 ? -1 : 0;
}
