/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The helper's main loop: one thread per operation; silod decides how many run at once. */
#include "registry/serve.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"
#include "base/msg.h"
#include "base/own.h"
#include "registry/client.h"

#define JOB_STACK_BYTES (512 * KIB)

static struct http *take_connection(struct client *c, struct err *e)
{
	struct http *h = NULL;

	pthread_mutex_lock(&c->lock);
	if (c->n_idle)
		h = c->idle[--c->n_idle];
	pthread_mutex_unlock(&c->lock);
	return h ? h : http_new(e);
}

static void put_connection(struct client *c, struct http *h)
{
	pthread_mutex_lock(&c->lock);
	if (h && c->n_idle < CLIENT_CONNECTIONS_MAX) {
		c->idle[c->n_idle++] = h;
		h = NULL;
	}
	pthread_mutex_unlock(&c->lock);
	http_free(h);
}

static void answer(struct job *j, json_t *result, const struct err *e)
{
	struct err ignored;
	autojson *reply = result ? json_pack("{s:o}", "done", result) : msg_error(e);

	if (!result)
		json_object_set_new(reply, "code", json_string(j->code));
	if (msg_send(j->reply, reply, NULL, 0, &ignored))
		return; /* cancelled */
}

static void *run_job(void *arg)
{
	struct job *j = arg;
	struct err e = { 0 };
	json_t *result = NULL;

	j->http = take_connection(j->client, &e);
	if (j->http)
		result = operation_run(j, &e);
	put_connection(j->client, j->http);
	answer(j, result, &e);
	close_fd(&j->reply);
	close_fd(&j->file);
	close_fd(&j->file2);
	json_decref((json_t *)(uintptr_t)j->args);
	free(j->identity_token);
	free(j);
	return NULL;
}

static void start_job(struct client *c, json_t *message, const int *fds, size_t n_fds)
{
	struct job *j = xcalloc(1, sizeof(*j));
	pthread_attr_t attr;
	pthread_t thread;

	j->client = c;
	j->args = message;
	j->reply = n_fds > 0 ? fds[0] : -1;
	j->file = n_fds > 1 ? fds[1] : -1;
	j->file2 = n_fds > 2 ? fds[2] : -1;
	for (size_t i = 3; i < n_fds; i++)
		close(fds[i]);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, JOB_STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, run_job, j))
		run_job(j);
	pthread_attr_destroy(&attr);
}

int registry_serve(struct err *e)
{
	static struct client c; /* its threads use it to the end of the process */
	json_t *message = msg_recv(REGISTRY_CONTROL_FD, -1, NULL, NULL, e);

	if (!message)
		return -1;
	if (curl_global_init(CURL_GLOBAL_ALL))
		return err_set(e, ERR_SYSTEM, 0, "curl");
	if (client_init(&c, message, e) || helper_jail(&c, e))
		return -1;
	autojson *ready = json_pack("{s:{}}", "done");

	if (msg_send(REGISTRY_CONTROL_FD, ready, NULL, 0, e))
		return -1;
	for (;;) {
		int fds[MSG_FDS_MAX];
		size_t n_fds = 0;

		message = msg_recv(REGISTRY_CONTROL_FD, -1, fds, &n_fds, e);
		if (!message)
			return e->kind == ERR_NOT_FOUND ? 0 : -1;
		start_job(&c, message, fds, n_fds);
	}
}
