/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Deletes files of removed containers in the background, and what killed monitors left in the kernel. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/state.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define KILL_ROUNDS 50 /* of 20 ms */
#define CONFIG_MAX (8 * MIB)

struct job {
	struct job *next;
	char id[ENGINE_ID_MAX];
};

struct reaper {
	struct engine *g;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct job *first, **last;
	bool stop;
};

static void delete_files(struct engine *g, const char *id)
{
	autofree char *data = xasprintf("%s/tmp/removed-%s", g->root, id);
	autofree char *bundle = path_run(g, id, NULL);
	struct err e = { 0 };

	if (io_remove_tree(AT_FDCWD, data, &e) < 0 || io_remove_tree(AT_FDCWD, bundle, &e) < 0)
		log_warn("delete files of container %.12s: %s", id, e.msg);
}

static void *reap_thread(void *arg)
{
	struct reaper *r = arg;

	pthread_mutex_lock(&r->lock);
	while (!r->stop) {
		struct job *j = r->first;

		if (!j) {
			pthread_cond_wait(&r->more, &r->lock);
			continue;
		}
		r->first = j->next;
		if (!r->first)
			r->last = &r->first;
		pthread_mutex_unlock(&r->lock);
		delete_files(r->g, j->id);
		free(j);
		pthread_mutex_lock(&r->lock);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

struct reaper *reaper_new(struct engine *g, struct err *e)
{
	struct reaper *r = xcalloc(1, sizeof(*r));

	r->g = g;
	r->last = &r->first;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->more, NULL);
	errno = pthread_create(&r->thread, NULL, reap_thread, r);
	if (errno) {
		err_set(e, ERR_SYSTEM, errno, "start the reaper");
		free(r);
		return NULL;
	}
	return r;
}

void reaper_free(struct reaper *r)
{
	struct job *j;

	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_broadcast(&r->more);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	while ((j = r->first)) { /* what is left is found at the next start */
		r->first = j->next;
		free(j);
	}
	pthread_cond_destroy(&r->more);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

void reaper_add(struct reaper *r, const char *id)
{
	struct job *j = xcalloc(1, sizeof(*j));

	snprintf(j->id, sizeof(j->id), "%s", id);
	pthread_mutex_lock(&r->lock);
	*r->last = j;
	r->last = &j->next;
	pthread_cond_broadcast(&r->more);
	pthread_mutex_unlock(&r->lock);
}

/* --- what a killed monitor leaves behind ---------------------------------------------------------------------------- */

static void kill_members(const char *dir)
{
	autofree char *path = xasprintf("%s/cgroup.procs", dir);
	autostr text;
	char *rest, *line;

	str_init(&text, 1 * MIB);
	if (io_read_file(AT_FDCWD, path, &text, NULL) < 0 || !text.s)
		return;
	rest = text.s;
	while ((line = strsep(&rest, "\n"))) {
		pid_t pid = (pid_t)strtol(line, NULL, 10);

		if (pid > 1)
			kill(pid, SIGKILL);
	}
}

/* v1 keeps frozen processes from dying. */
static void thaw_cgroup(const char *dir)
{
	autofree char *v1 = xasprintf("%s/freezer.state", dir);
	autofree char *v2 = xasprintf("%s/cgroup.freeze", dir);

	if (access(v1, W_OK) == 0 && io_write_kernel(AT_FDCWD, v1, "THAWED", NULL) < 0)
		log_warn("thaw %s", dir);
	if (access(v2, W_OK) == 0 && io_write_kernel(AT_FDCWD, v2, "0", NULL) < 0)
		log_warn("thaw %s", dir);
}

/* Children first. depth bounds what a container may have nested. */
static void remove_cgroup(const char *dir, int depth)
{
	DIR *d = opendir(dir);
	struct dirent *entry;

	if (!d)
		return;
	thaw_cgroup(dir);
	while (depth > 0 && (entry = readdir(d))) {
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
			autofree char *sub = xasprintf("%s/%s", dir, entry->d_name);

			remove_cgroup(sub, depth - 1);
		}
	}
	closedir(d);
	for (int i = 0; i < KILL_ROUNDS && rmdir(dir) < 0 && errno == EBUSY; i++) {
		kill_members(dir);
		poll(NULL, 0, 20);
	}
}

/* Where its bundle says that its cgroup is (--cgroup-parent), else the usual place. Heap string. */
static char *cgroup_of(struct engine *g, const char *id)
{
	autofree char *path = path_run(g, id, "config.json");
	autojson *config = json_parse_file(AT_FDCWD, path, CONFIG_MAX, NULL);
	const char *cgroup = json_str(json_object_get(config, "linux"), "cgroupsPath", "");

	return str_ends(cgroup, id) && !strstr(cgroup, "..") ? xstrdup(cgroup) : xasprintf("/silo/%s", id);
}

void clean_leftovers(struct engine *g, const char *id)
{
	autofree char *socket_path = path_run(g, id, "monitor.sock");
	autofree char *cgroup = cgroup_of(g, id);
	autofree char *unified = xasprintf(CGROUP_ROOT "%s", cgroup);
	DIR *d = opendir(CGROUP_ROOT);
	struct dirent *entry;

	unlink(socket_path);
	remove_cgroup(unified, 16);
	while (d && (entry = readdir(d))) {
		autofree char *dir = xasprintf(CGROUP_ROOT "/%s%s", entry->d_name, cgroup);

		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			remove_cgroup(dir, 16);
	}
	if (d)
		closedir(d);
}
