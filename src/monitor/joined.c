/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Several containers in one sandbox: whoever made the sandbox is its owner, and its process is the monitor of those that
 * join it, too. Each has a socket, a log and an exit record of its own; they share the loop. The owner's end is theirs.
 */
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/own.h"
#include "monitor/core.h"

static void joined_free(struct monitor *j)
{
	autofree char *dir = (char *)(uintptr_t)j->o.bundle_dir, *path = (char *)(uintptr_t)j->o.socket_path;

	monitor_close(j);
}

/* "streams": which of the three have a descriptor, in their order after the listener's. */
static void take_streams(struct monitor_options *o, const json_t *request, int *fds, size_t n_fds)
{
	const json_t *wanted = json_object_get(request, "streams");
	size_t next = 1;

	for (size_t i = 0; i < array_len(o->streams); i++)
		if (json_is_true(json_array_get(wanted, i)) && next < n_fds)
			o->streams[i] = take_fd(&fds[next++]);
}

int monitor_join(struct monitor *m, const json_t *request, int *fds, size_t n_fds, struct err *e)
{
	const char *dir = json_str(request, "bundle", NULL);
	struct monitor_options o = { .stop_fd = -1,
				     .loop = m->loop,
				     .stand_in = json_object_get(request, "streams"),
				     .streams = { -1, -1, -1 } };
	struct monitor *j;
	struct stat st;

	if (!dir || n_fds < 1 || fstat(fds[0], &st) || !S_ISSOCK(st.st_mode))
		return err_set(e, ERR_INVALID, 0, "join: a bundle and its socket are needed");
	if (m->owner || !m->sandbox)
		return err_set(e, ERR_CONFLICT, 0, "container %s has no sandbox of its own", m->id);
	if (strcmp(m->isolation->name, "hyperv") != 0)
		return err_set(e, ERR_UNSUPPORTED, 0, "container %s has no virtual machine to join", m->id);
	j = xcalloc(1, sizeof(*j));
	j->owner = m;
	o.bundle_dir = xstrdup(dir);
	o.socket_path = xasprintf("%s/monitor.sock", dir);
	o.listener = take_fd(&fds[0]);
	take_streams(&o, request, fds, n_fds);
	if (monitor_open(j, &o, e)) {
		joined_free(j);
		return -1;
	}
	j->next_joined = m->joined;
	m->joined = j;
	return 0;
}

bool joined_round(struct monitor *m)
{
	for (struct monitor **at = &m->joined; *at;) {
		struct monitor *j = *at;
		struct err why;

		if (!j->launched && !j->over && monitor_launch(j, &why))
			monitor_failed(j, &why);
		j->launched = true;
		if (monitor_round(j)) {
			at = &j->next_joined;
			continue;
		}
		*at = j->next_joined;
		joined_free(j);
	}
	return m->joined;
}

void joined_lost(struct monitor *m, const struct err *why)
{
	for (struct monitor *j = m->joined; j; j = j->next_joined) {
		monitor_lost(j, why);
		j->over = true;
	}
}

void joined_clean(struct monitor *m)
{
	for (struct monitor *j = m->joined; j; j = j->next_joined) {
		j->over = true;
		monitor_clean_once(j);
	}
}

void joined_free_all(struct monitor *m)
{
	while (m->joined) {
		struct monitor *j = m->joined;

		m->joined = j->next_joined;
		joined_free(j);
	}
}
