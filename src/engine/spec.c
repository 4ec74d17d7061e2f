/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/spec.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/spec_devices.h"
#include "engine/spec_parts.h"
#include "windows/process.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Docker's defaults, moby oci/defaults.go as documented in the Engine's security documentation. */
static const char *const masked_paths[] = { "/proc/asound",     "/proc/acpi",        "/proc/interrupts",
					    "/proc/kcore",      "/proc/keys",        "/proc/latency_stats",
					    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
					    "/proc/scsi",       "/sys/firmware",     "/sys/devices/virtual/powercap" };
static const char *const readonly_paths[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
					      "/proc/sysrq-trigger" };

static const struct {
	const char *destination, *type, *source;
	const char *options[6];
} default_mounts[] = {
	{ "/proc", "proc", "proc", { "nosuid", "noexec", "nodev" } },
	{ "/dev", "tmpfs", "tmpfs", { "nosuid", "strictatime", "mode=755", "size=65536k" } },
	{ "/dev/pts", "devpts", "devpts", { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5" } },
	{ "/sys", "sysfs", "sysfs", { "nosuid", "noexec", "nodev", "ro" } },
	{ "/sys/fs/cgroup", "cgroup", "cgroup", { "ro", "nosuid", "noexec", "nodev" } },
	{ "/dev/mqueue", "mqueue", "mqueue", { "nosuid", "noexec", "nodev" } },
};

static json_t *strings(const char *const *list, size_t n)
{
	json_t *a = json_array();

	for (size_t i = 0; i < n && list[i]; i++)
		json_array_append_new(a, json_string(list[i]));
	return a;
}

json_t *spec_args(const json_t *config, struct err *e)
{
	json_t *args = json_array();
	const json_t *entry = json_object_get(config, "Entrypoint"), *cmd = json_object_get(config, "Cmd");

	if (json_is_array(entry))
		json_array_extend(args, (json_t *)(uintptr_t)entry);
	if (json_is_array(cmd))
		json_array_extend(args, (json_t *)(uintptr_t)cmd);
	if (json_array_size(args) > 0 && json_string_length(json_array_get(args, 0)) > 0)
		return args;
	json_decref(args);
	err_set(e, ERR_INVALID, 0, "no command specified");
	return NULL;
}

/* PATH, HOSTNAME, with a tty TERM, and what links give come first; what image and user say follows and wins ("NAME" alone
 * removes). */
static json_t *make_env(const struct spec_input *in, bool tty, const json_t *more)
{
	const json_t *lists[] = { json_object_get(in->config, "Env"), more };
	json_t *env = json_array(), *entry;
	size_t i;

	if (!windows_is(in->config)) {
		json_array_append_new(env, json_string(DEFAULT_PATH));
		json_array_append_new(env, json_sprintf("HOSTNAME=%s", in->hostname));
	}
	if (tty && !windows_is(in->config))
		json_array_append_new(env, json_string("TERM=xterm"));
	json_array_extend(env, (json_t *)(uintptr_t)in->links);
	for (size_t l = 0; l < array_len(lists); l++) {
		json_array_foreach((json_t *)(uintptr_t)lists[l], i, entry) {
			const char *text = json_string_value(entry);
			size_t n = strcspn(text, "=");

			for (size_t k = json_array_size(env); k-- > 0;) {
				const char *old = json_string_value(json_array_get(env, k));

				if (strncmp(old, text, n) == 0 && old[n] == '=')
					json_array_remove(env, k);
			}
			if (text[n] == '=')
				json_array_append(env, entry);
		}
	}
	return env;
}

static json_t *make_caps(const struct spec_input *in)
{
	autojson *caps = spec_caps(in->host);

	/* Nothing inheritable or ambient: CVE-2022-24769. */
	return json_pack("{s:O, s:O, s:O, s:[], s:[]}", "bounding", caps, "effective", caps, "permitted", caps,
			 "inheritable", "ambient");
}

static bool no_new_privileges(const json_t *host)
{
	bool on = false;
	json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(host, "SecurityOpt"), i, entry) {
		const char *text = json_string_value(entry);

		if (str_starts(text, "no-new-privileges"))
			on = !str_ends(text, "false");
	}
	return on;
}

/* A name is looked up inside the root file system, by whoever has it: the raw text goes along. */
static json_t *make_user(const struct spec_input *in, const char *user)
{
	/* nobody said anything: root, with the groups that he has in the image */
	const char *name = *user || windows_is(in->config) ? user : "0";
	json_t *out = json_pack("{s:i, s:i, s:s}", "uid", 0, "gid", 0, "username", name);
	json_t *groups = json_object_get(in->host, "GroupAdd"), *gids = json_array(), *entry;
	size_t i;

	json_array_foreach(groups, i, entry)
		json_array_append(gids, entry); /* names and numbers */
	json_object_set_new(out, "additionalGids", gids);
	return out;
}

static json_t *make_rlimits(const json_t *host, struct err *e)
{
	autojson *out = json_array();
	json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(host, "Ulimits"), i, entry) {
		const char *name;
		int64_t soft, hard;
		char type[48] = "RLIMIT_";

		if (json_get_str(entry, "Name", "", &name, e) < 0 || json_get_int(entry, "Soft", 0, &soft, e) < 0 ||
		    json_get_int(entry, "Hard", soft, &hard, e) < 0)
			return NULL;
		if (!*name || strlen(name) > 16 || strspn(name, "abcdefghijklmnopqrstuvwxyz") != strlen(name)) {
			err_set(e, ERR_INVALID, 0, "invalid ulimit type: %s", name);
			return NULL;
		}
		if (hard >= 0 && (soft > hard || soft < 0)) {
			err_set(e, ERR_INVALID, 0,
				"ulimit soft limit must be less than or equal to hard limit: %lld > %lld",
				(long long)soft, (long long)hard);
			return NULL;
		}
		for (size_t k = 0; name[k]; k++)
			type[7 + k] = (char)(name[k] - 'a' + 'A');
		json_array_append_new(out, json_pack("{s:s, s:I, s:I}", "type", type, "soft", (json_int_t)soft, "hard",
						     (json_int_t)hard));
	}
	return take_ptr(&out);
}

static json_t *make_process(const struct spec_input *in, struct err *e)
{
	bool tty = json_bool(in->config, "Tty", false);
	const char *dir = json_str(in->config, "WorkingDir", "");
	json_t *args = spec_args(in->config, e);
	json_t *rlimits = args ? make_rlimits(in->host, e) : NULL, *process;

	if (!rlimits) {
		json_decref(args);
		return NULL;
	}
	process = json_pack("{s:b, s:o, s:o, s:s, s:o, s:o, s:b, s:o}", "terminal", tty, "user",
			    make_user(in, json_str(in->config, "User", "")), "args", args, "cwd", *dir ? dir : "/",
			    "env", make_env(in, tty, NULL), "capabilities", make_caps(in), "noNewPrivileges",
			    no_new_privileges(in->host), "rlimits", rlimits);
	if (windows_is(in->config) && windows_process(process, json_bool(in->config, "ArgsEscaped", false), e) < 0) {
		json_decref(process);
		return NULL;
	}
	if (json_int(in->host, "OomScoreAdj", 0))
		json_object_set(process, "oomScoreAdj", json_object_get(in->host, "OomScoreAdj"));
	return process;
}

json_t *spec_exec_process(const struct spec_input *in, const json_t *exec, struct err *e)
{
	bool tty = json_bool(exec, "Tty", false), privileged = json_bool(exec, "Privileged", false);
	const char *dir = json_str(exec, "WorkingDir", ""), *user = json_str(exec, "User", "");
	json_t *rlimits = make_rlimits(in->host, e), *args = json_object_get(exec, "Cmd"), *process;

	if (!rlimits)
		return NULL;
	if (!*dir)
		dir = json_str(in->config, "WorkingDir", "");
	if (!*user)
		user = json_str(in->config, "User", "");
	process = json_pack("{s:b, s:o, s:O, s:s, s:o, s:o, s:b, s:o}", "terminal", tty, "user", make_user(in, user),
			    "args", args, "cwd", *dir ? dir : "/", "env",
			    make_env(in, tty, json_object_get(exec, "Env")), "capabilities", make_caps(in),
			    "noNewPrivileges", no_new_privileges(in->host), "rlimits", rlimits);
	if (windows_is(in->config) && windows_process(process, false, e) < 0) {
		json_decref(process);
		return NULL;
	}
	if (privileged) {
		autojson *host = json_pack("{s:b}", "Privileged", 1);
		struct spec_input all = { .host = host };

		json_object_set_new(process, "capabilities", make_caps(&all));
	}
	return process;
}

static json_t *make_namespaces(const struct spec_input *in)
{
	static const struct {
		const char *type, *key; /* key: its member in HostConfig, where "host" means the host's */
	} kinds[] = { { "pid", "PidMode" },
		      { "mount", NULL },
		      { "ipc", "IpcMode" },
		      { "uts", "UTSMode" },
		      { "cgroup", "CgroupnsMode" } };
	json_t *list = json_array();

	for (size_t i = 0; i < array_len(kinds); i++) {
		if (!kinds[i].key || strcmp(json_str(in->host, kinds[i].key, ""), "host") != 0)
			json_array_append_new(list, json_pack("{s:s}", "type", kinds[i].type));
	}
	/* hyperv: the VM's network is the container's. */
	if (!in->hyperv && strcmp(json_str(in->host, "NetworkMode", ""), "host") != 0)
		json_array_append_new(list, json_pack("{s:s}", "type", "network"));
	return list;
}

/* What the request says, be it an empty list (--security-opt systempaths=unconfined); else Docker's, none with
 * --privileged. */
static json_t *path_list(const json_t *host, const char *key, const char *const *usual, size_t n)
{
	json_t *given = json_object_get(host, key);

	if (json_is_array(given))
		return json_incref(given);
	return json_bool(host, "Privileged", false) ? json_array() : strings(usual, n);
}

static json_t *make_linux(const struct spec_input *in)
{
	json_t *out = json_pack("{s:o, s:o}", "namespaces", make_namespaces(in), "resources", spec_resources(in->host));
	json_t *sysctls = json_object_get(in->host, "Sysctls");
	const char *parent = json_str(in->host, "CgroupParent", "");

	if (!*parent)
		parent = "/silo";
	json_object_set_new(out, "cgroupsPath", json_sprintf("%s%s/%s", *parent == '/' ? "" : "/", parent, in->id));
	json_object_set_new(out, "maskedPaths",
			    path_list(in->host, "MaskedPaths", masked_paths, array_len(masked_paths)));
	json_object_set_new(out, "readonlyPaths",
			    path_list(in->host, "ReadonlyPaths", readonly_paths, array_len(readonly_paths)));
	if (json_object_size(sysctls) > 0)
		json_object_set(out, "sysctl", sysctls);
	return out;
}

static json_t *make_mounts(const json_t *host)
{
	bool privileged = json_bool(host, "Privileged", false);
	json_t *list = json_array();
	json_t *shm_size = json_sprintf("size=%lld", (long long)json_int(host, "ShmSize", 64 * MIB));

	for (size_t i = 0; i < array_len(default_mounts); i++) {
		json_t *options = strings(default_mounts[i].options, array_len(default_mounts[i].options));

		/* A privileged container may write to /sys and to its cgroups. */
		for (size_t k = json_array_size(options); privileged && k-- > 0;) {
			if (strcmp(json_string_value(json_array_get(options, k)), "ro") == 0)
				json_array_remove(options, k);
		}
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o}", "destination",
						      default_mounts[i].destination, "type", default_mounts[i].type,
						      "source", default_mounts[i].source, "options", options));
	}
	if (strcmp(json_str(host, "IpcMode", ""), "none") == 0) {
		json_decref(shm_size);
	} else if (strcmp(json_str(host, "IpcMode", ""), "host") == 0) {
		json_decref(shm_size);
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:[s, s, s, s]}", "destination", "/dev/shm",
						      "type", "bind", "source", "/dev/shm", "options", "rbind",
						      "nosuid", "noexec", "nodev"));
	} else {
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:[s, s, s, s, o]}", "destination", "/dev/shm",
						      "type", "tmpfs", "source", "shm", "options", "nosuid", "noexec",
						      "nodev", "mode=1777", shm_size));
	}
	return list;
}

json_t *spec_make(const struct spec_input *in, struct err *e)
{
	json_t *process = make_process(in, e);
	json_t *user_mounts = process ? spec_user_mounts(in, e) : NULL, *mounts, *spec;

	if (!user_mounts) {
		json_decref(process);
		return NULL;
	}
	mounts = make_mounts(in->host);
	json_array_extend(mounts, user_mounts);
	json_decref(user_mounts);
	spec = json_pack("{s:s, s:o, s:{s:s, s:b}, s:s, s:o, s:o}", "ociVersion", "1.2.0", "process", process, "root",
			 "path", "rootfs", "readonly", json_bool(in->host, "ReadonlyRootfs", false), "hostname",
			 in->hostname, "mounts", mounts, "linux", make_linux(in));
	if (devices_add(json_object_get(spec, "linux"), in->host, in->hyperv, e) < 0) {
		json_decref(spec);
		return NULL;
	}
	if (strcmp(json_str(in->host, "UTSMode", ""), "host") == 0)
		json_object_del(spec, "hostname"); /* else it would be the host's that is set */
	else if (*json_str(in->config, "Domainname", ""))
		json_object_set(spec, "domainname", json_object_get(in->config, "Domainname"));
	if (json_object_size(json_object_get(in->host, "Annotations")) > 0)
		json_object_set(spec, "annotations", json_object_get(in->host, "Annotations"));
	return spec;
}
