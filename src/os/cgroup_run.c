/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is done to the processes of a cgroup: list, signal, freeze, watch for the OOM killer. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "os/cgroup_priv.h"

#define FREEZE_TIMEOUT_MS 2000
#define KILL_ROUNDS 100
#define DEPTH_MAX 32
#define MOVE_ROUNDS 64

/* The directory whose cgroup.procs is complete. */
static int procs_dir(const struct cgroup *cg)
{
	int dir = cgroup_dir(cg, "freezer");

	return dir >= 0 ? dir : cgroup_dir(cg, "pids");
}

static int collect(int dir, int depth, json_t *out, struct err *e)
{
	autostr text;
	DIR *d;
	struct dirent *entry;
	int copy;
	char *save = NULL;

	str_init(&text, 16 * MIB);
	if (io_read_file(dir, "cgroup.procs", &text, e))
		return -1;
	for (char *line = text.len ? strtok_r(text.s, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		long pid = strtol(line, NULL, 10);

		if (pid > 0)
			json_array_append_new(out, json_integer(pid));
	}
	copy = depth > 0 ? openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	d = copy >= 0 ? fdopendir(copy) : NULL;
	while (d && (entry = readdir(d))) {
		autoclose int child = -1;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		child = openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (child >= 0)
			collect(child, depth - 1, out, NULL); /* may vanish at any moment */
	}
	if (d)
		closedir(d);
	return 0;
}

/* Those that are born meanwhile are found by the next round. */
static int move_down(int top, int below, struct err *e)
{
	for (int round = 0; round < MOVE_ROUNDS; round++) {
		autojson *pids = json_array();
		json_t *pid;
		char text[24];
		size_t i;

		if (collect(top, 0, pids, e))
			return -1;
		if (json_array_size(pids) == 0)
			return 0;
		json_array_foreach(pids, i, pid) {
			snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(pid));
			if (cgroup_write(below, "cgroup.procs", text) && errno != ESRCH)
				return err_set(e, ERR_SYSTEM, errno, "move process %s", text);
		}
	}
	return err_set(e, ERR_SYSTEM, 0, "there are always new processes");
}

int cgroup_make_room(struct err *e)
{
	struct cgroup cg = { .oom = -1 };
	autoclose int top = -1, below = -1;
	bool busy;

	if (cgroup_find_hierarchies(&cg, e))
		return -1;
	top = cg.version == 2 ? open(cg.h[0].mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	busy = top >= 0 && !faccessat(top, "cgroup.type", F_OK, 0); /* the host's root has no type */
	for (size_t i = 0; i < cg.n; i++) {
		free(cg.h[i].mount);
		free(cg.h[i].controllers);
	}
	if (!busy)
		return 0;
	if (mkdirat(top, "init", 0755) && errno != EEXIST)
		return err_set(e, ERR_SYSTEM, errno, "make a cgroup");
	below = openat(top, "init", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return below < 0 ? err_set(e, ERR_SYSTEM, errno, "open a cgroup") : move_down(top, below, e);
}

int cgroup_open_of(const struct cgroup *cg, pid_t pid, struct err *e)
{
	autofree char *file = xasprintf("/proc/%d/cgroup", (int)pid), *path = NULL;
	autostr text;
	const char *line;
	size_t n = strlen(cg->path);
	int fd;

	str_init(&text, 64 * KIB);
	if (io_read_file(AT_FDCWD, file, &text, e))
		return -1;
	line = text.s && str_starts(text.s, "0::") ? text.s + strlen("0::") : "";
	if (cg->version != 2 || strncmp(line, cg->path, n) != 0 || (line[n] != '/' && line[n] != '\n'))
		return err_set(e, ERR_NOT_FOUND, 0, "process %d has left its cgroup", (int)pid);
	path = xasprintf("%s%.*s", cg->h[0].mount, (int)strcspn(line, "\n"), line);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_set(e, ERR_SYSTEM, errno, "open cgroup %s", path) : fd;
}

json_t *cgroup_pids(const struct cgroup *cg, struct err *e)
{
	json_t *out = json_array();
	int dir = procs_dir(cg);

	if (dir < 0) {
		err_set(e, ERR_UNSUPPORTED, 0, "no pids or freezer cgroup");
	} else if (!collect(dir, DEPTH_MAX, out, e)) {
		return out;
	}
	json_decref(out);
	return NULL;
}

static int signal_all(const struct cgroup *cg, int signo, size_t *n, struct err *e)
{
	autojson *pids = cgroup_pids(cg, e);
	json_t *pid;
	size_t i;

	if (!pids)
		return -1;
	*n = json_array_size(pids);
	json_array_foreach(pids, i, pid) {
		if (kill((pid_t)json_integer_value(pid), signo) && errno != ESRCH)
			return err_set(e, ERR_SYSTEM, errno, "signal %d", signo);
	}
	return 0;
}

/* v1 has no atomic kill: stop everything, so that nothing forks away, mark it, let it run into its death. */
static int kill_all_v1(struct cgroup *cg, struct err *e)
{
	bool stopped = cgroup_freeze(cg, true, NULL) == 0;
	size_t n = 1;
	int r = 0;

	for (int i = 0; i < (stopped ? 1 : KILL_ROUNDS) && n && !r; i++)
		r = signal_all(cg, SIGKILL, &n, e);
	if (stopped && cgroup_freeze(cg, false, r ? NULL : e))
		return -1;
	return r;
}

int cgroup_signal(struct cgroup *cg, int signo, struct err *e)
{
	size_t n = 1;

	if (cgroup_is_none(cg))
		return 0;
	if (signo != SIGKILL)
		return signal_all(cg, signo, &n, e);
	if (cg->version == 1)
		return kill_all_v1(cg, e);
	if (!cgroup_write(cg->h[0].dir, "cgroup.kill", "1"))
		return 0;
	/* before Linux 5.14 */
	for (int i = 0; i < KILL_ROUNDS && n; i++) {
		if (signal_all(cg, SIGKILL, &n, e))
			return -1;
	}
	return 0;
}

/* The v1 freezer works when it is asked again; it sends no event. */
static bool freeze_v1(int dir, bool frozen)
{
	const char *want = frozen ? "FROZEN" : "THAWED";
	int64_t deadline = time_monotonic_ms() + FREEZE_TIMEOUT_MS;
	struct timespec pause = { .tv_nsec = 500000 };
	char state[32];

	for (;;) {
		if (cgroup_write(dir, "freezer.state", want) || cgroup_read(dir, "freezer.state", state, sizeof(state)))
			return false;
		if (!strncmp(state, want, strlen(want)))
			return true;
		errno = ETIMEDOUT;
		if (time_monotonic_ms() > deadline)
			return false;
		nanosleep(&pause, NULL);
	}
}

static bool freeze_v2(int dir, bool frozen)
{
	const char *want = frozen ? "frozen 1" : "frozen 0";
	int64_t deadline = time_monotonic_ms() + FREEZE_TIMEOUT_MS;
	autoclose int events = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC);
	char text[256];

	if (events < 0 || cgroup_write(dir, "cgroup.freeze", frozen ? "1" : "0"))
		return false;
	for (;;) {
		struct pollfd p = { .fd = events, .events = POLLPRI };
		int64_t left = deadline - time_monotonic_ms();
		ssize_t n = pread(events, text, sizeof(text) - 1, 0);

		if (n < 0)
			return false;
		text[n] = '\0';
		if (strstr(text, want))
			return true;
		errno = ETIMEDOUT;
		if (left <= 0)
			return false;
		poll(&p, 1, (int)left);
	}
}

int cgroup_freeze(struct cgroup *cg, bool frozen, struct err *e)
{
	int dir = cgroup_dir(cg, "freezer");
	bool done;

	if (dir < 0)
		return err_set(e, ERR_UNSUPPORTED, 0, "this kernel has no cgroup freezer");
	done = cg->version == 1 ? freeze_v1(dir, frozen) : freeze_v2(dir, frozen);
	if (!done) {
		int sys = errno;

		cgroup_write(dir, cg->version == 1 ? "freezer.state" : "cgroup.freeze",
			     cg->version == 1 ? "THAWED" : "0");
		return err_set(e, sys == ETIMEDOUT ? ERR_TIMEOUT : ERR_SYSTEM, sys, frozen ? "freeze" : "thaw");
	}
	cg->frozen = frozen;
	return 0;
}

bool cgroup_is_frozen(const struct cgroup *cg)
{
	return cg->frozen;
}

static int oom_open_v1(struct cgroup *cg, int dir, struct err *e)
{
	char line[64];

	cg->oom = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	cg->oom_control = openat(dir, "memory.oom_control", O_RDONLY | O_CLOEXEC);
	if (cg->oom >= 0 && cg->oom_control >= 0) {
		snprintf(line, sizeof(line), "%d %d", cg->oom, cg->oom_control);
		if (!cgroup_write(dir, "cgroup.event_control", line))
			return cg->oom;
	}
	return err_set(e, ERR_SYSTEM, errno, "watch for OOM");
}

static int oom_open_v2(struct cgroup *cg, int dir, struct err *e)
{
	char path[64];

	/* inotify wants a name; ours of the open directory can't be exchanged. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d/memory.events", dir);
	cg->oom = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (cg->oom >= 0 && inotify_add_watch(cg->oom, path, IN_MODIFY) >= 0)
		return cg->oom;
	return err_set(e, ERR_SYSTEM, errno, "watch for OOM");
}

int cgroup_oom_fd(struct cgroup *cg, struct err *e)
{
	int dir = cgroup_dir(cg, "memory");

	if (cg->oom >= 0)
		return cg->oom;
	if (dir < 0)
		return err_set(e, ERR_UNSUPPORTED, 0, "no memory cgroup");
	return cg->version == 1 ? oom_open_v1(cg, dir, e) : oom_open_v2(cg, dir, e);
}

bool cgroup_oom_drain(struct cgroup *cg)
{
	char buf[4096];
	int64_t kills;

	while (read(cg->oom, buf, cg->version == 1 ? 8 : sizeof(buf)) > 0)
		;
	if (cg->version == 1)
		return true;
	kills = cgroup_oom_kills(cg);
	if (kills == cg->oom_kills)
		return false;
	cg->oom_kills = kills;
	return true;
}

int64_t cgroup_oom_kills(const struct cgroup *cg)
{
	int dir = cgroup_dir(cg, "memory");
	char text[512];
	const char *p;

	if (dir < 0 || cgroup_read(dir, cg->version == 1 ? "memory.oom_control" : "memory.events", text, sizeof(text)))
		return 0;
	p = strstr(text, "oom_kill ");
	return p ? strtoll(p + strlen("oom_kill "), NULL, 10) : 0;
}
