/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program buildah: its arguments, its configuration, its run. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "build/internal.h"

#define BUILDAH "/usr/bin/buildah"
/* Ends buildah, kindly, so that it can end what it runs, when the thread that waits for it is gone. */
#define LAUNCHER "/usr/bin/setpriv"
#define IDLE_MS 1000
#define END_MS 20000 /* from SIGTERM to SIGKILL */

/* --- arguments ------------------------------------------------------------------------------------------------------- */

void argv_add(struct argv *a, char *arg)
{
	if (a->n + 2 > a->cap) {
		a->cap = a->cap ? 2 * a->cap : 32;
		a->v = xrealloc(a->v, a->cap * sizeof(*a->v));
	}
	a->v[a->n++] = arg;
	a->v[a->n] = NULL;
}

void argv_fini(struct argv *a)
{
	for (size_t i = 0; i < a->n; i++)
		free(a->v[i]);
	free(a->v);
	*a = (struct argv){ 0 };
}

void buildah_argv(const struct builder *b, struct argv *a, const char *command)
{
	argv_add(a, xstrdup("setpriv"));
	argv_add(a, xstrdup("--pdeathsig=TERM"));
	argv_add(a, xstrdup(BUILDAH));
	argv_add(a, xasprintf("--root=%s/storage", b->dir));
	argv_add(a, xasprintf("--runroot=%s/builder", b->o.exec_root));
	argv_add(a, xstrdup("--storage-driver=overlay"));
	argv_add(a, xstrdup(command));
}

/* --- configuration --------------------------------------------------------------------------------------------------- */

int buildah_check(struct err *e)
{
	if (access(BUILDAH, X_OK) == 0)
		return 0;
	return err_set(e, ERR_UNSUPPORTED, 0,
		       "docker build needs buildah, which is not installed on this host: apt-get "
		       "install buildah");
}

/* Which registries and signatures: none is asked, whatever the host's files say. */
int buildah_configure(const struct builder *b, struct err *e)
{
	static const struct {
		const char *name, *text;
	} files[] = {
		{ "policy.json", "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}\n" },
		{ "registries.conf",
		  "unqualified-search-registries = [\"docker.io\"]\nshort-name-mode = \"disabled\"\n" },
		{ "containers.conf", "" },
		{ "storage.conf", "[storage]\ndriver = \"overlay\"\n" },
	};

	for (size_t i = 0; i < array_len(files); i++) {
		autofree char *path = xasprintf("%s/%s", b->dir, files[i].name);

		if (io_write_file(AT_FDCWD, path, files[i].text, strlen(files[i].text), 0600, false, e) < 0)
			return -1;
	}
	return 0;
}

/* --- one run ----------------------------------------------------------------------------------------------------------- */

static int spawn(const struct builder *b, struct argv *a, int out, int lines, pid_t *pid)
{
	autofree char *home = xasprintf("HOME=%s", b->dir);
	autofree char *tmp = xasprintf("TMPDIR=%s/jobs", b->dir);
	autofree char *registries = xasprintf("CONTAINERS_REGISTRIES_CONF=%s/registries.conf", b->dir);
	autofree char *containers = xasprintf("CONTAINERS_CONF=%s/containers.conf", b->dir);
	autofree char *storage = xasprintf("CONTAINERS_STORAGE_CONF=%s/storage.conf", b->dir);
	char *const env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			      "LC_ALL=C.UTF-8",
			      home,
			      tmp,
			      registries,
			      containers,
			      storage,
			      NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int rc;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out < 0 ? lines : out, 1);
	posix_spawn_file_actions_adddup2(&actions, lines, 2);
	posix_spawn_file_actions_addclosefrom_np(&actions, 3);
	rc = posix_spawn(pid, LAUNCHER, &actions, &attr, a->v, env);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return rc;
}

/* Complete lines of buf to the reader; at the end, or when the buffer is full, also what has no end yet. */
static int pass_lines(const struct buildah_reader *r, char *buf, size_t *n, bool all)
{
	size_t done = 0;

	while (done < *n) {
		char *end = memchr(buf + done, '\n', *n - done);
		size_t len = end ? (size_t)(end - buf) - done + 1 : *n - done;

		if (!end && !all && done + len < STEP_LINE_MAX)
			break;
		if (!end && !all && done)
			break; /* make room first */
		if (r->line(r->arg, buf + done, len))
			return -1;
		done += len;
	}
	memmove(buf, buf + done, *n - done);
	*n -= done;
	return 0;
}

/* Until the program closes its output. -1: the reader wants no more. */
static int read_lines(const struct builder *b, int fd, const struct buildah_reader *r)
{
	autofree char *buf = xmalloc(STEP_LINE_MAX);
	size_t n = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int ready = poll(&p, 1, IDLE_MS);
		ssize_t got;

		if (b->stopping || (r->idle && r->idle(r->arg)))
			return -1;
		if (ready <= 0)
			continue;
		got = read(fd, buf + n, STEP_LINE_MAX - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return pass_lines(r, buf, &n, true);
		n += (size_t)got;
		if (pass_lines(r, buf, &n, false))
			return -1;
	}
}

/* The group, so that nothing which buildah started goes on. */
static int end_program(pid_t pid, bool kindly)
{
	int64_t until = time_monotonic_ms() + (kindly ? END_MS : 0);
	siginfo_t info = { 0 };

	if (kindly)
		kill(-pid, SIGTERM);
	while (kindly && time_monotonic_ms() < until && !info.si_pid) {
		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
			break;
		if (!info.si_pid)
			poll(NULL, 0, 20);
	}
	return kindly ? kill(-pid, SIGKILL) : 0;
}

int buildah_run(const struct builder *b, struct argv *a, int out, const struct buildah_reader *r, struct err *e)
{
	int fds[2], rc, status;
	bool ended;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return err_set(e, ERR_SYSTEM, errno, "pipe");
	rc = spawn(b, a, out, fds[1], &pid);
	close(fds[1]);
	if (rc) {
		close(fds[0]);
		return err_set(e, ERR_SYSTEM, rc, "start %s", BUILDAH);
	}
	ended = read_lines(b, fds[0], r) == 0;
	end_program(pid, !ended);
	close(fds[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!ended)
		return err_set(e, ERR_TIMEOUT, 0, "build cancelled");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* --- short commands ------------------------------------------------------------------------------------------------------ */

static int keep_text(void *arg, const char *text, size_t n)
{
	(void)str_add(arg, text, n); /* what doesn't fit isn't wanted */
	return 0;
}

char *buildah_ask(const struct builder *b, struct argv *a, struct err *e)
{
	struct buildah_reader r = { .line = keep_text };
	autostr text;
	char *last;
	int rc;

	str_init(&text, 64 * KIB);
	r.arg = &text;
	rc = buildah_run(b, a, -1, &r, e);
	while (text.len && text.s[text.len - 1] == '\n')
		text.s[--text.len] = '\0';
	last = text.len ? strrchr(text.s, '\n') : NULL;
	last = last ? last + 1 : text.len ? text.s : "";
	if (rc == 0)
		return xstrdup(last);
	if (rc > 0)
		err_set(e, ERR_SYSTEM, 0, "buildah: %.400s", last);
	return NULL;
}
