/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/own.h"

char *capture_find_program(const char *name)
{
	static const char *const dirs[] = { "/usr/bin", "/bin",           "/usr/sbin",
					    "/sbin",    "/usr/local/bin", "/usr/local/sbin" };

	if (name[0] == '/')
		return access(name, X_OK) ? NULL : xstrdup(name);
	for (size_t i = 0; i < array_len(dirs); i++) {
		autofree char *path = xasprintf("%s/%s", dirs[i], name);

		if (!access(path, X_OK))
			return take_ptr(&path);
	}
	return NULL;
}

static void read_to_end(int fd, struct str *out)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(fd, buf, sizeof buf)) > 0 || (n < 0 && errno == EINTR))
		if (n > 0)
			(void)str_add(out, buf, (size_t)n);
}

static const char *last_line(struct str *out)
{
	char *line;

	while (out->len && out->s[out->len - 1] == '\n')
		out->s[--out->len] = '\0';
	line = out->len ? strrchr(out->s, '\n') : NULL;
	return line ? line + 1 : out->len ? out->s : "no reason given";
}

int capture_output(const char *const *argv, const char *const *envp, struct str *out, struct err *e)
{
	autofree char *path = capture_find_program(argv[0]);
	posix_spawn_file_actions_t actions;
	int ends[2], rc, status = 0;
	pid_t pid;

	if (!path)
		return err_set(e, ERR_UNAVAILABLE, 0, "%s isn't installed", argv[0]);
	if (pipe2(ends, O_CLOEXEC))
		return err_set(e, ERR_SYSTEM, errno, "pipe");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
	rc = posix_spawn(&pid, path, &actions, NULL, (char *const *)argv, (char *const *)envp);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	if (!rc)
		read_to_end(ends[0], out);
	close(ends[0]);
	if (rc)
		return err_set(e, ERR_SYSTEM, rc, "run %s", path);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_set(e, ERR_SYSTEM, errno, "wait for %s", path);
	if (status)
		return err_set(e, ERR_SYSTEM, 0, "%s: %s", path, last_line(out));
	return 0;
}
