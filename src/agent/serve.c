/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "agent/agent.h"
#include "base/json.h"
#include "base/log.h"

#define RECONNECT_MS 5

static const struct agent_op {
	const char *name;
	agent_op_fn *run;
} agent_ops[] = {
	{ "create", op_create }, { "delete", op_delete },       { "exec", op_exec },     { "freeze", op_freeze },
	{ "network", op_network }, { "reset", op_reset },   { "resize", op_resize },     { "setup", op_setup },
	{ "signal", op_signal },   { "start", op_start },   { "stats", op_stats },       { "sync", op_sync },
	{ "time_sync", op_time_sync }, { "top", op_top }, { "update", op_update },
};

static int run_op(struct agent *a, const char *name, const json_t *request, json_t **answer, struct err *e)
{
	for (size_t i = 0; i < array_len(agent_ops); i++) {
		if (strcmp(agent_ops[i].name, name) != 0)
			continue;
		if (!a->set_up && agent_ops[i].run != op_setup)
			return err_set(e, ERR_CONFLICT, 0, "%s before setup", name);
		return agent_ops[i].run(a, request, answer, e);
	}
	return err_set(e, ERR_UNSUPPORTED, 0, "the agent has no operation %s", name);
}

static void on_request(void *arg, int64_t id, const char *op, const json_t *body)
{
	struct agent *a = arg;
	autojson *answer = NULL;
	struct err e = { 0 };
	int rc = run_op(a, op, body, &answer, &e);

	channel_reply(a->channel, id, answer, rc ? &e : NULL);
	containers_sweep(a);
}

static void on_event(void *arg, const char *name, const json_t *body)
{
	if (!strcmp(name, "socket_connected"))
		agent_socket_connected(arg, body);
}

static int connect_channel(struct agent *a, struct err *e);

static void on_reconnect(void *arg, uint32_t events)
{
	struct err e;

	if (connect_channel(arg, &e)) {
		log_error("%s", e.msg);
		agent_power_off();
	}
}

/*
 * Between the template's snapshot and the clone's start nobody holds the other end of the port, which reads as end of
 * file. Once the host has spoken its end means that the VM is of no use any more.
 */
static void on_broken(void *arg, const struct err *why)
{
	struct agent *a = arg;
	struct err e;

	if (a->set_up || why->kind != ERR_NOT_FOUND) {
		log_error("agent channel: %s", why->msg);
		agent_power_off();
	}
	channel_free(a->channel);
	a->channel = NULL;
	if (!loop_timer(a->loop, RECONNECT_MS, on_reconnect, a, &e)) {
		log_error("%s", e.msg);
		agent_power_off();
	}
}

static int connect_channel(struct agent *a, struct err *e)
{
	const struct channel_handlers handlers = {
		.arg = a, .request = on_request, .event = on_event, .broken = on_broken
	};

	a->channel = channel_new(a->loop, a->port, &handlers, e);
	return a->channel ? 0 : -1;
}

void agent_serve(struct agent *a, struct err *e)
{
	a->loop = loop_new(e);
	if (!a->loop || connect_channel(a, e))
		return;
	/* The template's snapshot is taken when this has arrived: whatever comes next happens in a clone. */
	channel_event(a->channel, "ready", NULL);
	if (!loop_run(a->loop, e))
		err_set(e, ERR_SYSTEM, 0, "the loop has ended");
}
