/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hooks. Source: runtime-spec config.md "POSIX-platform Hooks". */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "oci/hooks.h"
#include "os/pidfd.h"

#define OUTPUT_MAX 2048
#define ARGS_MAX 1024

struct hook {
	const char *path, *argv[ARGS_MAX + 1], *env[ARGS_MAX + 1];
	bool own_env;      /* else the runtime's, as with runc and crun */
	int64_t timeout_s; /* 0 = none */
};

static int read_list(const json_t *j, const char *key, const char **out, struct err *e)
{
	json_t *list, *item;
	size_t i;

	if (json_get_strings(j, key, &list, e))
		return -1;
	if (json_array_size(list) > ARGS_MAX)
		return err_set(e, ERR_LIMIT, 0, "%s: more than %d", key, ARGS_MAX);
	json_array_foreach(list, i, item)
		out[i] = json_string_value(item);
	return 0;
}

static int parse(const json_t *j, struct hook *h, struct err *e)
{
	memset(h, 0, sizeof(*h));
	if (json_get_str(j, "path", "", &h->path, e) || read_list(j, "args", h->argv, e) ||
	    read_list(j, "env", h->env, e) || json_get_int(j, "timeout", 0, &h->timeout_s, e))
		return -1;
	if (h->path[0] != '/')
		return err_set(e, ERR_INVALID, 0, "path: \"%s\" is not an absolute path", h->path);
	if (json_member(j, "timeout") && (h->timeout_s <= 0 || h->timeout_s > 1000000))
		return err_set(e, ERR_INVALID, 0, "timeout: must be greater than zero");
	h->own_env = json_member(j, "env");
	if (!h->argv[0])
		h->argv[0] = h->path;
	return 0;
}

static _Noreturn void child(const struct hook *h, int root, int in, int out)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || (root >= 0 && (fchdir(root) || chroot("."))))
		_exit(126);
	close_range(3, ~0u, 0);
	execve(h->path, (char *const *)h->argv, h->own_env ? (char *const *)h->env : environ);
	dprintf(2, "%s: %s", h->path, strerror(errno));
	_exit(127);
}

static int wait_end(int pidfd, int64_t timeout_s, int *code, struct err *e)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int64_t deadline = time_monotonic_ms() + timeout_s * 1000;
	int n;

	do {
		int64_t left = deadline - time_monotonic_ms();

		n = poll(&p, 1, !timeout_s ? -1 : left > 0 ? (int)left : 0);
	} while (n < 0 && errno == EINTR);
	if (n == 0) {
		(void)!pidfd_signal(pidfd, SIGKILL, NULL);
		(void)!pidfd_wait(pidfd, true, code, NULL);
		return err_set(e, ERR_TIMEOUT, 0, "timeout of %lld s", (long long)timeout_s);
	}
	return pidfd_wait(pidfd, true, code, e) == 1 ? 0 : -1;
}

/* Files in memory instead of pipes: a hook that doesn't read its state, or writes a lot, blocks nobody. */
static int memory_file(const char *content, struct err *e)
{
	autoclose int fd = (int)syscall(SYS_memfd_create, "hook", 1u /* MFD_CLOEXEC */);

	if (fd < 0 || io_write_all(fd, content, strlen(content)) || lseek(fd, 0, SEEK_SET))
		return err_set(e, ERR_SYSTEM, errno, "memfd");
	return take_fd(&fd);
}

static int run(const struct hook *h, const char *state, int root, struct err *e)
{
	autoclose int in = memory_file(state, e), out = in < 0 ? -1 : memory_file("", e), pidfd = -1;
	char text[OUTPUT_MAX + 1] = "";
	int code = 0;
	pid_t pid;
	ssize_t n;

	if (out < 0)
		return -1;
	pid = pidfd_clone(0, -1, &pidfd, e);
	if (pid < 0)
		return -1;
	if (pid == 0)
		child(h, root, in, out);
	if (wait_end(pidfd, h->timeout_s, &code, e))
		return -1;
	if (!code)
		return 0;
	n = pread(out, text, OUTPUT_MAX / 8, 0);
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return err_set(e, ERR_SYSTEM, 0, "exit status %d: %s", code, text);
}

int hooks_run(const json_t *config, const char *kind, const json_t *state, int root, struct err *e)
{
	autofree struct hook *h = xcalloc(1, sizeof(*h));
	autofree char *text = NULL;
	json_t *hooks, *list, *j;
	size_t i;

	if (json_get_object(config, "hooks", &hooks, e) || json_get_array(hooks, kind, &list, e))
		return -1;
	if (!json_array_size(list))
		return 0;
	text = json_text(state);
	json_array_foreach(list, i, j) {
		if (parse(j, h, e) || run(h, text, root, e))
			return err_prefix(e, "error running %s hook #%zu", kind, i);
	}
	return 0;
}

static int check_kind(const json_t *hooks, const char *kind, struct hook *h, struct err *e)
{
	json_t *list, *j;
	size_t i;

	if (json_get_array(hooks, kind, &list, e))
		return err_prefix(e, "hooks");
	json_array_foreach(list, i, j) {
		if (!json_is_object(j))
			return err_set(e, ERR_INVALID, 0, "hooks.%s[%zu]: an object is expected", kind, i);
		if (parse(j, h, e))
			return err_prefix(e, "hooks.%s[%zu]", kind, i);
	}
	return 0;
}

int hooks_check(const json_t *config, struct err *e)
{
	static const char *const kinds[] = { "prestart",       "createRuntime", "createContainer",
					     "startContainer", "poststart",     "poststop" };
	autofree struct hook *h = xcalloc(1, sizeof(*h));
	json_t *hooks;

	if (json_get_object(config, "hooks", &hooks, e))
		return -1;
	for (size_t i = 0; i < array_len(kinds); i++) {
		if (check_kind(hooks, kinds[i], h, e))
			return -1;
	}
	return 0;
}

bool hooks_any(const json_t *config, const char *const *kinds, size_t n)
{
	const json_t *hooks = json_member(config, "hooks");

	for (size_t i = 0; i < n; i++) {
		if (json_array_size(json_member(hooks, kinds[i])))
			return true;
	}
	return false;
}
