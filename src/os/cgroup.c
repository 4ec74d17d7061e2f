/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "os/cgroup_priv.h"

/* v1 hierarchies that every container gets: for limits that `update` may set later, for statistics, for pause. */
static const char *const v1_always[] = { "memory", "cpu", "cpuacct", "pids", "devices", "freezer", "blkio" };
static const char *const v2_controllers[] = { "cpu", "memory", "pids", "io", "cpuset" };

bool controllers_have(const char *list, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = list; *p; p += strspn(p, ",")) {
		size_t len = strcspn(p, ",");

		if (len == n && !strncmp(p, name, n))
			return true;
		p += len;
	}
	return false;
}

int cgroup_read(int dir, const char *file, char *buf, size_t size)
{
	autoclose int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
	return n < 0 ? -1 : 0;
}

int cgroup_write(int dir, const char *file, const char *text)
{
	autoclose int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -1 : 0;
}

struct hierarchy *cgroup_hierarchy(struct cgroup *cg, const char *controller)
{
	for (size_t i = 0; i < cg->n; i++) {
		if (cg->version == 2 || controllers_have(cg->h[i].controllers, controller))
			return &cg->h[i];
	}
	return NULL;
}

int cgroup_dir(const struct cgroup *cg, const char *controller)
{
	struct hierarchy *h = cgroup_hierarchy((struct cgroup *)cg, controller);

	return h ? h->dir : -1;
}

static void add_hierarchy(struct cgroup *cg, const char *mount, const char *controllers)
{
	if (cg->n == CGROUP_HIERARCHIES_MAX)
		return;
	cg->h[cg->n++] = (struct hierarchy){ xstrdup(mount), xstrdup(controllers), -1, -1, false };
}

/* Super options of a v1 mount hold the controllers between other words: keep those that we know. */
static void add_v1(struct cgroup *cg, const char *mount, char *super)
{
	static const char *const known[] = {
		"memory", "cpu", "cpuacct", "pids", "devices", "freezer", "blkio", "cpuset"
	};
	autostr list;
	char *save = NULL;

	str_init(&list, 256);
	for (char *word = strtok_r(super, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		for (size_t i = 0; i < array_len(known); i++) {
			if (!strcmp(known[i], word) && !cgroup_hierarchy(cg, word))
				str_printf(&list, "%s%s", list.len ? "," : "", word);
		}
	}
	if (list.len)
		add_hierarchy(cg, mount, list.s);
}

/* Line: "36 35 98:0 /root /mount/point opts [tags] - type source superoptions" (proc_pid_mountinfo(5)). */
void cgroup_parse_mounts(struct cgroup *cg, char *text)
{
	char v2_mount[256] = "";
	char *save = NULL;

	cg->version = 1;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char mount[256], type[32], super[512];
		char *tail = strstr(line, " - ");

		if (!tail || sscanf(line, "%*s %*s %*s %*s %255s", mount) != 1 ||
		    sscanf(tail, " - %31s %*s %511s", type, super) != 2)
			continue;
		if (!strcmp(type, "cgroup"))
			add_v1(cg, mount, super);
		else if (!strcmp(type, "cgroup2") && !*v2_mount)
			strcpy(v2_mount, mount);
	}
	/* Hybrid: where v1 has the controllers, v2 has none of them. */
	if (!cg->n && *v2_mount) {
		cg->version = 2;
		add_hierarchy(cg, v2_mount, "");
	}
}

int cgroup_find_hierarchies(struct cgroup *cg, struct err *e)
{
	autostr text;

	str_init(&text, 4 * MIB);
	if (io_read_file(AT_FDCWD, "/proc/self/mountinfo", &text, e))
		return -1;
	cgroup_parse_mounts(cg, text.s);
	return cg->n ? 0 : err_set(e, ERR_SYSTEM, 0, "no cgroup file system is mounted");
}

/* A v1 cpuset is unusable until it has CPUs and memory nodes: inherit the parent's. */
static void cpuset_inherit(int parent, int dir)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	char text[1024];

	for (size_t i = 0; i < array_len(files); i++) {
		if (!cgroup_read(dir, files[i], text, sizeof(text)) && text[0] <= '\n' &&
		    !cgroup_read(parent, files[i], text, sizeof(text)))
			cgroup_write(dir, files[i], text);
	}
}

static void v2_enable_controllers(int dir)
{
	for (size_t i = 0; i < array_len(v2_controllers); i++) {
		char word[32] = "+";

		strcat(word, v2_controllers[i]);
		cgroup_write(dir, "cgroup.subtree_control", word); /* not available here: no such limits */
	}
}

/* One directory level: returns its fd. */
static int level_make(struct cgroup *cg, struct hierarchy *h, int parent, const char *name, bool leaf, struct err *e)
{
	bool made = !mkdirat(parent, name, 0755);
	int dir;

	if (!made && errno != EEXIST)
		return err_set(e, ERR_SYSTEM, errno, "create cgroup %s%s", h->mount, cg->path);
	if (leaf)
		h->made = made;
	dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_set(e, ERR_SYSTEM, errno, "open cgroup %s%s", h->mount, cg->path);
	if (cg->version == 2 && faccessat(dir, "pids.max", F_OK, 0))
		v2_enable_controllers(parent);
	if (made && cg->version == 1 && controllers_have(h->controllers, "cpuset"))
		cpuset_inherit(parent, dir);
	return dir;
}

int hierarchy_make(struct cgroup *cg, struct hierarchy *h, struct err *e)
{
	autofree char *path = xstrdup(cg->path);
	autoclose int dir = open(h->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *save = NULL;
	char *name = strtok_r(path, "/", &save);

	if (dir < 0)
		return err_set(e, ERR_SYSTEM, errno, "open %s", h->mount);
	while (name) {
		char *next = strtok_r(NULL, "/", &save);
		int child = level_make(cg, h, dir, name, !next, e);

		if (child < 0)
			return -1;
		close_fd(&dir);
		dir = child;
		name = next;
	}
	h->dir = take_fd(&dir);
	if (cg->version == 2)
		return 0;
	h->tasks = openat(h->dir, "tasks", O_WRONLY | O_CLOEXEC);
	return h->tasks >= 0 ? 0 : err_set(e, ERR_SYSTEM, errno, "open tasks of %s%s", h->mount, cg->path);
}

static int make_directories(struct cgroup *cg, struct err *e)
{
	if (cg->version == 2)
		return hierarchy_make(cg, &cg->h[0], e);
	for (size_t i = 0; i < array_len(v1_always); i++) {
		struct hierarchy *h = cgroup_hierarchy(cg, v1_always[i]);

		if (h && h->dir < 0 && hierarchy_make(cg, h, e))
			return -1;
	}
	return 0;
}

static bool read_frozen(const struct cgroup *cg)
{
	char text[64] = "";
	int dir = cgroup_dir(cg, "freezer");

	if (dir < 0 || cgroup_read(dir, cg->version == 1 ? "freezer.state" : "cgroup.freeze", text, sizeof(text)))
		return false;
	return !strncmp(text, "FR", 2) || text[0] == '1';
}

/* A directory that was there before must be a left-over, not somebody's. */
static int check_empty(const struct cgroup *cg, struct err *e)
{
	autojson *pids = NULL;
	bool all_ours = true;

	for (size_t i = 0; i < cg->n; i++)
		all_ours &= cg->h[i].dir < 0 || cg->h[i].made;
	if (all_ours)
		return 0;
	pids = cgroup_pids(cg, e);
	if (!pids)
		return -1;
	if (json_array_size(pids))
		return err_set(e, ERR_CONFLICT, 0, "cgroup %s is in use", cg->path);
	/* nobody who enters it would come any further */
	return read_frozen(cg) ? err_set(e, ERR_CONFLICT, 0, "container's cgroup unexpectedly frozen") : 0;
}

static void cgroup_free(struct cgroup *cg)
{
	for (size_t i = 0; i < cg->n; i++) {
		close_fd(&cg->h[i].dir);
		close_fd(&cg->h[i].tasks);
		free(cg->h[i].mount);
		free(cg->h[i].controllers);
	}
	close_fd(&cg->oom);
	close_fd(&cg->oom_control);
	free(cg->path);
	free(cg);
}

/* The path is joined to mount points: it must not walk out of them. */
static bool path_is_safe(const char *path)
{
	return path[0] == '/' && path[1] && !strstr(path, "/../") && !str_ends(path, "/..") && strlen(path) < 512;
}

static void sleep_ms(int ms)
{
	struct timespec t = { .tv_nsec = ms * 1000000l };

	nanosleep(&t, NULL);
}

/* Nested cgroups of the container go first. depth bounds a hostile tree. */
static void remove_children(int dir, int depth)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		autoclose int child = -1;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		if (unlinkat(dir, entry->d_name, AT_REMOVEDIR) == 0 || depth <= 0)
			continue;
		child = openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (child >= 0)
			remove_children(child, depth - 1);
		unlinkat(dir, entry->d_name, AT_REMOVEDIR);
	}
	if (d)
		closedir(d);
}

/* An exiting process leaves its cgroup a moment after its parent has reaped it. */
static void hierarchy_remove(const struct cgroup *cg, const struct hierarchy *h)
{
	autofree char *path = xasprintf("%s%s", h->mount, cg->path);

	for (int tries = 0; tries < 200; tries++) {
		if (rmdir(path) == 0 || errno == ENOENT)
			return;
		if (errno != EBUSY && errno != ENOTEMPTY)
			break;
		if (tries == 1)
			remove_children(h->dir, 32);
		sleep_ms(tries < 20 ? 1 : 5);
	}
	log_warn("remove cgroup %s: %s", path, strerror(errno));
}

void cgroup_remove(struct cgroup *cg)
{
	if (!cg)
		return;
	for (size_t i = 0; i < cg->n; i++) {
		if (cg->h[i].dir >= 0)
			hierarchy_remove(cg, &cg->h[i]);
	}
	cgroup_free(cg);
}

/* After a failure: directories that another container may be using stay. */
static void remove_made(struct cgroup *cg)
{
	for (size_t i = 0; i < cg->n; i++) {
		if (!cg->h[i].made)
			close_fd(&cg->h[i].dir);
	}
	cgroup_remove(cg);
}

static struct cgroup *cgroup_alloc(const char *path)
{
	struct cgroup *cg = xcalloc(1, sizeof(*cg));

	cg->version = 1;
	cg->path = xstrdup(path);
	cg->oom = cg->oom_control = -1;
	return cg;
}

static struct cgroup *cgroup_make(const char *path, const struct cgroup_limits *l, bool adopt, struct err *e)
{
	struct cgroup *cg;

	if (!path_is_safe(path)) {
		err_set(e, ERR_INVALID, 0, "linux.cgroupsPath \"%s\" must be an absolute path", path);
		return NULL;
	}
	cg = cgroup_alloc(path);
	if (cgroup_find_hierarchies(cg, e) || make_directories(cg, e) || (!adopt && check_empty(cg, e))) {
		remove_made(cg);
		return NULL;
	}
	if (cgroup_apply(cg, l, e) || cgroup_apply_devices(cg, l, e)) {
		cgroup_remove(cg);
		return NULL;
	}
	return cg;
}

struct cgroup *cgroup_new(const char *path, const struct cgroup_limits *l, struct err *e)
{
	return cgroup_make(path, l, false, e);
}

struct cgroup *cgroup_adopt(const char *path, const struct cgroup_limits *l, struct err *e)
{
	return cgroup_make(path, l, true, e);
}

struct cgroup *cgroup_none(void)
{
	return cgroup_alloc("");
}

bool cgroup_is_none(const struct cgroup *cg)
{
	return !cg->n;
}

static int open_existing(struct cgroup *cg, struct hierarchy *h, struct err *e)
{
	autofree char *path = xasprintf("%s%s", h->mount, cg->path);

	h->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (h->dir < 0)
		return errno == ENOENT ? 0 : err_set(e, ERR_SYSTEM, errno, "open cgroup %s", path);
	if (cg->version == 2)
		return 0;
	h->tasks = openat(h->dir, "tasks", O_WRONLY | O_CLOEXEC);
	return h->tasks >= 0 ? 0 : err_set(e, ERR_SYSTEM, errno, "open tasks of %s", path);
}

struct cgroup *cgroup_open(const char *path, struct err *e)
{
	struct cgroup *cg = cgroup_alloc(path);
	size_t found = 0;
	bool bad;

	bad = !path_is_safe(path) || cgroup_find_hierarchies(cg, e);
	for (size_t i = 0; i < cg->n && !bad; i++) {
		bad = open_existing(cg, &cg->h[i], e);
		found += cg->h[i].dir >= 0;
	}
	if (!bad && found) {
		cg->frozen = read_frozen(cg);
		return cg;
	}
	if (!bad)
		err_set(e, ERR_NOT_FOUND, 0, "there is no cgroup %s", path);
	cgroup_free(cg);
	return NULL;
}

void cgroup_close(struct cgroup *cg)
{
	if (cg)
		cgroup_free(cg);
}

int cgroup_clone_fd(const struct cgroup *cg)
{
	return cg->version == 2 ? cg->h[0].dir : -1;
}

int cgroup_attach_self(const struct cgroup *cg, struct err *e)
{
	for (size_t i = 0; i < cg->n; i++) {
		if (cg->h[i].tasks >= 0 && write(cg->h[i].tasks, "0", 1) != 1)
			return err_set(e, ERR_SYSTEM, errno, "enter cgroup %s%s", cg->h[i].mount, cg->path);
	}
	return 0;
}

int cgroup_attach(const struct cgroup *cg, pid_t pid, struct err *e)
{
	char text[24];

	snprintf(text, sizeof(text), "%d", pid);
	for (size_t i = 0; i < cg->n; i++) {
		if (cg->h[i].dir >= 0 && cgroup_write(cg->h[i].dir, "cgroup.procs", text))
			return err_set(e, ERR_SYSTEM, errno, "move into cgroup %s%s", cg->h[i].mount, cg->path);
	}
	return 0;
}

bool cgroup_is_v2(void)
{
	struct cgroup *cg = cgroup_alloc("/");
	bool v2 = !cgroup_find_hierarchies(cg, NULL) && cg->version == 2;

	cgroup_free(cg);
	return v2;
}

bool cgroup_supports(const char *controller, const char *const *files, size_t n)
{
	struct cgroup *cg = cgroup_alloc("/silo");
	struct hierarchy *h;
	bool found = false;

	h = cgroup_find_hierarchies(cg, NULL) ? NULL : cgroup_hierarchy(cg, controller);
	if (h && h->dir < 0 && hierarchy_make(cg, h, NULL))
		h = NULL;
	for (size_t i = 0; h && i < n; i++)
		found |= files[i] && !faccessat(h->dir, files[i], F_OK, 0);
	cgroup_free(cg);
	return found;
}
