/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/windows.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/state.h"
#include "windows/base.h"
#include "windows/images.h"
#include "windows/process.h"
#include "windows/version.h"

/* --- create --------------------------------------------------------------------------------------------------------- */

int windows_platform_check(const char *arch, const char *version, unsigned *build, struct err *e)
{
	unsigned revision;

	if (strcmp(arch, "amd64") != 0)
		return err_set(e, ERR_INVALID, 0,
			       "image platform (windows/%.32s) is not supported: Windows containers run programs for "
			       "amd64 only",
			       arch);
	return windows_version_parse(version, build, &revision)
		       ? err_set(e, ERR_INVALID, 0, "image config: invalid os.version \"%.64s\"", version)
		       : 0;
}

int windows_config_settle(json_t *config, const json_t *image, struct err *e)
{
	const char *version = json_str(image, "os.version", ""), *arch = json_str(image, "architecture", "amd64");
	unsigned build;

	json_object_del(config, WINDOWS_KEY);
	if (strcmp(json_str(image, "os", "linux"), "windows") != 0) {
		const char *dir = json_str(config, "WorkingDir", "");

		return windows_path_has_drive(dir)
			       ? err_set(e, ERR_INVALID, 0,
					 "the working directory '%s' is invalid, it needs to be an absolute path", dir)
			       : 0;
	}
	if (windows_platform_check(arch, version, &build, e))
		return -1;
	json_object_set_new(config, WINDOWS_KEY, json_string(version));
	return 0;
}

static bool is_set(const json_t *value)
{
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_STRING:
		return json_string_length(value) > 0;
	case JSON_ARRAY:
		return json_array_size(value) > 0;
	case JSON_OBJECT:
		return json_object_size(value) > 0;
	case JSON_INTEGER:
		return json_integer_value(value) != 0;
	default:
		return json_is_true(value);
	}
}

int windows_host_check(const json_t *host, struct err *e)
{
	/* Not supported by Windows containers anywhere, or without a meaning for them. */
	static const struct {
		const char *key, *option;
	} refused[] = {
		{ "Privileged", "--privileged" },   { "CapAdd", "--cap-add" },       { "CapDrop", "--cap-drop" },
		{ "Devices", "--device" },          { "DeviceCgroupRules", "--device-cgroup-rule" },
		{ "GroupAdd", "--group-add" },      { "Init", "--init" },            { "ReadonlyRootfs", "--read-only" },
		{ "SecurityOpt", "--security-opt" }, { "Sysctls", "--sysctl" },      { "Tmpfs", "--tmpfs" },
		{ "Ulimits", "--ulimit" },
	};
	/* Shared memory, shared synchronisation objects, shared process namespaces. */
	static const struct {
		const char *key, *option, *what;
	} shared[] = {
		{ "IpcMode", "ipc", "shared memory and shared synchronisation objects" },
		{ "PidMode", "pid", "shared process namespaces" },
		{ "UTSMode", "uts", "shared host names" },
		{ "UsernsMode", "userns", "user namespaces" },
	};

	for (size_t i = 0; i < array_len(refused); i++)
		if (is_set(json_object_get(host, refused[i].key)))
			return err_set(e, ERR_INVALID, 0, "%s is not supported for Windows containers",
				       refused[i].option);
	for (size_t i = 0; i < array_len(shared); i++) {
		const char *value = json_str(host, shared[i].key, "");

		if (strcmp(value, "host") == 0 || strcmp(value, "shareable") == 0 || str_starts(value, "container:"))
			return err_set(e, ERR_INVALID, 0,
				       "--%s=%s is not supported for Windows containers: they have no %s",
				       shared[i].option, value, shared[i].what);
	}
	return 0;
}

int windows_isolation_check(const struct engine *g, const json_t *config, bool asked, const char **isolation,
			    struct err *e)
{
	const char *host = json_str(g->config, "windows-host-version", NULL);
	const char *image = json_str(config, WINDOWS_KEY, NULL);

	if (!host || !image)
		return 0;
	if (g->prefer_process && !asked && windows_version_fits(host, image, false, NULL))
		*isolation = "hyperv";
	return windows_version_fits(host, image, strcmp(*isolation, "hyperv") == 0, e);
}

/* --- pull ----------------------------------------------------------------------------------------------------------- */

struct pulling {
	image_progress_fn *progress;
	void *arg;
};

static int say(const struct pulling *p, const char *id, const char *text)
{
	autojson *line = json_pack("{s:s}", "status", text);

	if (id)
		json_object_set_new(line, "id", json_string(id));
	return p->progress(p->arg, line);
}

static int spawn_builder(struct engine *g, const char *dir, int *out, pid_t *pid)
{
	autofree char *program = xasprintf("%s/silo-windows-base", g->lib_dir);
	char *const argv[] = { "silo-windows-base", (char *)(uintptr_t)dir, g->lib_dir, NULL };
	char *const env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int fds[2], rc;
	sigset_t none;

	if (pipe2(fds, O_CLOEXEC))
		return errno;
	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
	posix_spawn_file_actions_adddup2(&actions, fds[1], 2);
	rc = posix_spawn(pid, program, &actions, &attr, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	close(fds[1]);
	*out = fds[0];
	return rc;
}

/* Its lines are progress; the last one of a failure is the reason. A client that leaves doesn't stop it: the next one
 * finds the base made. */
static int make_base(struct engine *g, const char *dir, const struct pulling *p, struct err *e)
{
	char line[512] = "";
	int out = -1, status = -1, rc;
	pid_t pid = 0;
	FILE *lines;

	rc = spawn_builder(g, dir, &out, &pid);
	if (rc)
		return err_set(e, ERR_SYSTEM, rc, "start silo-windows-base");
	lines = fdopen(out, "r");
	while (lines && fgets(line, sizeof(line), lines)) {
		line[strcspn(line, "\n")] = '\0';
		(void)say(p, "Windows base", line);
	}
	if (lines)
		fclose(lines);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status ? err_set(e, ERR_SYSTEM, 0, "the Windows base can't be made: %s", line) : 0;
}

int engine_windows_pull(struct engine *g, const char *reference, image_progress_fn *progress, void *arg, struct err *e)
{
	const struct pulling p = { progress, arg };
	autofree char *dir = xasprintf("%s/windows", g->vm_dir);
	char id[IMAGE_ID_MAX], text[128];
	struct windows_name name;
	int is = windows_name_parse(reference, &name, e);

	if (is <= 0 || (name.microsoft && !json_bool(g->config, "windows-base-names", true)))
		return is < 0 && json_bool(g->config, "windows-base-names", true) ? -1 : 0;
	snprintf(text, sizeof(text), "%s (version 10.0.%u.%d)", WINDOWS_COMMENT, name.version->build, WINDOWS_REVISION);
	(void)say(&p, NULL, text);
	if (!windows_base_ready(dir, g->lib_dir) && make_base(g, dir, &p, e) < 0)
		return -1;
	if (windows_image_add(g->images, dir, g->lib_dir, &name, id, e) < 0)
		return -1;
	autojson *attributes = json_pack("{s:s}", "name", reference);

	engine_event(g, "image", "pull", reference, attributes);
	snprintf(text, sizeof(text), "Digest: %s", id);
	(void)say(&p, NULL, text);
	autofree char *status = xasprintf("Status: Downloaded newer image for %s", reference);

	(void)say(&p, NULL, status);
	return 1;
}
