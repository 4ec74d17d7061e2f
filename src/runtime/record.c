/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The directory of a container: state.json and what lies beside it. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "monitor/client.h"
#include "os/cgroup.h"
#include "runtime/runtime.h"

#define DOC_BYTES_MAX (8 * MIB)

/* Ids become names of directories and of cgroups. */
int record_check_id(const char *id, struct err *e)
{
	size_t n = strlen(id);
	bool good = n && n <= CONTAINER_ID_MAX && isalnum((unsigned char)id[0]);

	for (size_t i = 0; i < n; i++)
		good &= isalnum((unsigned char)id[i]) || strchr("_.+-", id[i]);
	return good ? 0 : err_set(e, ERR_INVALID, 0, "invalid container id format: \"%.140s\"", id);
}

static struct record *record_alloc(const struct runtime *rt, const char *id)
{
	struct record *r = xcalloc(1, sizeof(*r));

	snprintf(r->id, sizeof(r->id), "%s", id);
	r->dir = xasprintf("%s/%s", rt->root, id);
	r->dir_fd = r->pidfd = -1;
	return r;
}

void record_close(struct record *r)
{
	if (!r)
		return;
	close_fd(&r->dir_fd);
	close_fd(&r->pidfd);
	json_decref(r->doc);
	json_decref(r->config);
	free(r->dir);
	free(r);
}

static int lock(struct record *r, struct err *e)
{
	int rc;

	r->dir_fd = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->dir_fd < 0)
		return errno == ENOENT ? err_set(e, ERR_NOT_FOUND, 0, "container does not exist")
				       : err_set(e, ERR_SYSTEM, errno, "open %s", r->dir);
	do {
		rc = flock(r->dir_fd, LOCK_EX);
	} while (rc && errno == EINTR);
	return rc ? err_set(e, ERR_SYSTEM, errno, "lock %s", r->dir) : 0;
}

static int make_directory(const struct runtime *rt, const char *dir, struct err *e)
{
	if (mkdir(dir, 0711) == 0)
		return 0;
	if (errno == ENOENT) {
		if (io_mkdir_all(rt->root, 0711, e))
			return -1;
		if (mkdir(dir, 0711) == 0)
			return 0;
	}
	if (errno == EEXIST)
		return err_set(e, ERR_CONFLICT, 0, "container with given ID already exists");
	return err_set(e, ERR_SYSTEM, errno, "create %s", dir);
}

struct record *record_new(const struct runtime *rt, const char *id, struct err *e)
{
	struct record *r;

	if (record_check_id(id, e))
		return NULL;
	r = record_alloc(rt, id);
	if (!make_directory(rt, r->dir, e) && !lock(r, e))
		return r;
	record_close(r);
	return NULL;
}

/* Field 22 of /proc/PID/stat, when the process was started: tells it from a later one of the same pid. Field 3: 'Z' for
 * one that has ended and isn't reaped. 0 = there is none. */
static int64_t process_start(pid_t pid, char *state)
{
	char path[40], text[1024];
	autoclose int fd = -1;
	char *p;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	p = strrchr(text, ')');
	if (!p || p[1] != ' ')
		return 0;
	*state = p[2];
	p += 2;
	for (int field = 3; field < 22 && p; field++) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	return p ? strtoll(p, NULL, 10) : 0;
}

/* The pid may have been given to another process since: the descriptor is opened first, then compared. */
static void find_process(struct record *r)
{
	int64_t started = json_int(r->doc, "pid_start", 0);
	autoclose int fd = -1;
	char state = 0;

	r->pid = (pid_t)json_int(r->doc, "pid", 0);
	fd = r->pid > 0 ? (int)syscall(SYS_pidfd_open, r->pid, 0) : -1;
	if (fd >= 0 && process_start(r->pid, &state) == started && state != 'Z' && state != 'X')
		r->pidfd = take_fd(&fd);
}

struct record *record_open(const struct runtime *rt, const char *id, bool locked, struct err *e)
{
	struct record *r;

	if (record_check_id(id, e))
		return NULL;
	r = record_alloc(rt, id);
	if (locked && lock(r, e))
		goto bad;
	if (!locked) {
		r->dir_fd = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (r->dir_fd < 0) {
			err_set(e, ERR_NOT_FOUND, 0, "container does not exist");
			goto bad;
		}
	}
	r->doc = json_parse_file(r->dir_fd, "state.json", DOC_BYTES_MAX, e);
	if (!r->doc) {
		if (e && e->kind == ERR_NOT_FOUND)
			err_set(e, ERR_NOT_FOUND, 0, "container does not exist");
		goto bad;
	}
	r->hyperv = !strcmp(json_str(r->doc, "isolation", ""), "hyperv");
	find_process(r);
	return r;
bad:
	record_close(r);
	return NULL;
}

void record_remove(struct record *r)
{
	struct err ignored;

	scope_forget(r);
	(void)!io_remove_tree(AT_FDCWD, r->dir, &ignored);
}

int record_write(const struct record *r, const char *name, const json_t *doc, struct err *e)
{
	autofree char *text = json_text(doc);

	return io_write_file(r->dir_fd, name, text, strlen(text), 0600, false, e);
}

int record_save(struct record *r, pid_t pid, struct err *e)
{
	char state;

	r->pid = pid;
	json_object_set_new(r->doc, "pid", json_integer(pid));
	json_object_set_new(r->doc, "pid_start", json_integer(process_start(pid, &state)));
	if (r->pidfd < 0)
		r->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return record_write(r, "state.json", r->doc, e);
}

int record_config(struct record *r, struct err *e)
{
	if (!r->config)
		r->config = json_parse_file(r->dir_fd, "config.json", DOC_BYTES_MAX, e);
	return r->config ? 0 : -1;
}

const char *status_name(enum container_status s)
{
	static const char *const names[] = { "created", "running", "paused", "stopped" };

	return names[s];
}

/* A monitor knows; without an answer its container has ended. */
static enum container_status monitor_status(const struct record *r)
{
	struct err ignored;
	autojson *state = r->pidfd < 0 ? NULL : monitor_state(r->dir, &ignored);
	const char *text = json_str(state, "status", "stopped");

	for (int s = STATUS_CREATED; s < STATUS_STOPPED; s++) {
		if (!strcmp(text, status_name((enum container_status)s)))
			return (enum container_status)s;
	}
	return STATUS_STOPPED;
}

enum container_status record_status(const struct record *r)
{
	struct cgroup *cg;
	bool frozen;

	if (r->hyperv)
		return monitor_status(r);
	if (r->pidfd < 0)
		return STATUS_STOPPED;
	cg = record_cgroup(r, NULL);
	frozen = cg && cgroup_is_frozen(cg);
	cgroup_close(cg);
	if (frozen)
		return STATUS_PAUSED;
	return faccessat(r->dir_fd, "go", F_OK, 0) ? STATUS_RUNNING : STATUS_CREATED;
}

json_t *record_state(const struct record *r, enum container_status status)
{
	json_t *annotations = json_object_get(r->doc, "annotations");
	json_t *state = json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s}", "ociVersion", OCI_VERSION, "id", r->id, "pid",
				  status == STATUS_STOPPED ? 0 : (int)r->pid, "status", status_name(status), "bundle",
				  json_str(r->doc, "bundle", ""), "rootfs", json_str(r->doc, "rootfs", ""), "created",
				  json_str(r->doc, "created", ""));

	if (json_object_size(annotations))
		json_object_set(state, "annotations", annotations);
	json_object_set_new(state, "owner", json_string(json_str(r->doc, "owner", "")));
	return state;
}

struct bundle *record_bundle(struct record *r, struct err *e)
{
	json_t *silo;
	struct bundle *b;

	if (record_config(r, e))
		return NULL;
	silo = json_deep_copy(json_object_get(r->doc, "silo"));
	b = bundle_new(json_incref(r->config), silo, e);
	if (!b) {
		json_decref(r->config);
		json_decref(silo);
	}
	return b;
}

struct cgroup *record_cgroup(const struct record *r, struct err *e)
{
	const char *path = json_str(r->doc, "cgroup", "");

	return *path ? cgroup_open(path, e) : cgroup_none();
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

json_t *record_list(const struct runtime *rt)
{
	struct dirent **names = NULL;
	int n = scandir(rt->root, &names, NULL, by_name);
	json_t *list = json_array();

	for (int i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.')
			json_array_append_new(list, json_string(names[i]->d_name));
		free(names[i]);
	}
	free(names);
	return list;
}

int write_pid_file(const char *path, pid_t pid, struct err *e)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", pid);

	return path ? io_write_file(AT_FDCWD, path, text, (size_t)n, 0644, false, e) : 0;
}
