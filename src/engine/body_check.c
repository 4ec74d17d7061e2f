/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a request may ask for. Everything that isn't there yet is refused by name: an option that is quietly ignored
 * would be a container less confined, or less capable, than its user believes. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/str.h"
#include "engine/body.h"
#include "engine/body_limits.h"
#include "engine/health.h"
#include "engine/log_config.h"
#include "engine/seccomp_profile.h"
#include "engine/signals.h"
#include "engine/spec.h"
#include "windows/process.h"

static bool given(const json_t *j)
{
	switch (j ? json_typeof(j) : JSON_NULL) {
	case JSON_STRING:
		return json_string_length(j) > 0;
	case JSON_ARRAY:
		return json_array_size(j) > 0;
	case JSON_OBJECT:
		return json_object_size(j) > 0;
	case JSON_INTEGER:
		return json_integer_value(j) != 0;
	case JSON_TRUE:
		return true;
	default:
		return false;
	}
}

bool body_is_port(const char *text)
{
	size_t digits = strspn(text, "0123456789");
	const char *rest = text + digits;

	if (digits == 0 || digits > 5 || strtol(text, NULL, 10) > 65535)
		return false;
	if (*rest == '-') {
		size_t more = strspn(rest + 1, "0123456789");

		if (more == 0 || more > 5 || strtol(rest + 1, NULL, 10) > 65535)
			return false;
		rest += 1 + more;
	}
	return !*rest || strcasecmp(rest, "/tcp") == 0 || strcasecmp(rest, "/udp") == 0 ||
	       strcasecmp(rest, "/sctp") == 0;
}

static int check_env(const json_t *env, struct err *e)
{
	const json_t *entry;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)env, i, entry) {
		const char *text = json_string_value(entry);

		if (!*text || *text == '=')
			return err_set(e, ERR_INVALID, 0, "invalid environment variable: %s", text);
	}
	return 0;
}

static bool is_hostname(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i]))
			return false;
	}
	return n <= 64;
}

int body_check_config(const json_t *config, struct err *e)
{
	const char *dir = json_str(config, "WorkingDir", ""), *name = json_str(config, "Hostname", "");
	const char *key;
	json_t *value;

	if (*dir && *dir != '/' && !windows_path_has_drive(dir))
		return err_set(e, ERR_INVALID, 0,
			       "the working directory '%s' is invalid, it needs to be an absolute path", dir);
	if (!is_hostname(name))
		return err_set(e, ERR_INVALID, 0, "invalid hostname format: %s", name);
	if (!is_hostname(json_str(config, "Domainname", "")))
		return err_set(e, ERR_INVALID, 0, "invalid domainname format: %s", json_str(config, "Domainname", ""));
	if (signal_parse(json_str(config, "StopSignal", ""), 1, e) < 0)
		return -1;
	json_object_foreach(json_object_get(config, "ExposedPorts"), key, value) {
		if (!body_is_port(key))
			return err_set(e, ERR_INVALID, 0, "invalid port specification: \"%s\"", key);
	}
	return check_env(json_object_get(config, "Env"), e) < 0 ? -1 : health_check_config(config, e);
}

/* Given and not there yet: refused with this text. */
static const struct {
	const char *key, *what;
} refused[] = {
	{ "Cgroup", "sharing a cgroup" },
};

/* Options with a closed set of values; joins: or "container:X". */
static const struct {
	const char *key, *option, *what;
	bool joins;
	const char *values[5];
} choices[] = {
	{ "IpcMode", "ipc", "IPC", true, { "private", "shareable", "none", "host" } },
	{ "PidMode", "pid", "PID", true, { "", "private", "host" } },
	{ "UTSMode", "uts", "UTS", false, { "", "private", "host" } },
	{ "UsernsMode", "userns", "userns", false, { "", "host" } },
	{ "CgroupnsMode", "cgroupns", "cgroup namespace", false, { "private", "host" } },
};

/* What belongs to the host's kernel, or to another one: a container in a VM can't have it. */
static int check_shared(const json_t *host, struct err *e)
{
	for (size_t i = 0; i < array_len(choices); i++) {
		const char *value = json_str(host, choices[i].key, "");

		if (strcmp(value, "host") == 0 || str_starts(value, "container:"))
			return err_set(
				e, ERR_INVALID, 0,
				"--%s=%s is not possible with hyperv isolation: the container has a kernel of its own",
				choices[i].option, value);
	}
	return 0;
}

static int check_choices(const json_t *host, struct err *e)
{
	for (size_t i = 0; i < array_len(choices); i++) {
		const char *value = json_str(host, choices[i].key, "");
		bool known = choices[i].joins && str_starts(value, "container:") && value[strlen("container:")];

		for (size_t k = 0; k < array_len(choices[i].values) && choices[i].values[k]; k++)
			known |= strcmp(value, choices[i].values[k]) == 0;
		if (!known)
			return err_set(e, ERR_INVALID, 0, "invalid %s mode: %s", choices[i].what, value);
	}
	return 0;
}

static int check_restart(const json_t *host, struct err *e)
{
	static const char *const names[] = { "no", "always", "unless-stopped", "on-failure" };
	const json_t *policy = json_object_get(host, "RestartPolicy");
	const char *name = json_str(policy, "Name", "no");
	int64_t retries = json_int(policy, "MaximumRetryCount", 0);
	bool known = false;

	for (size_t i = 0; i < array_len(names); i++)
		known |= strcmp(name, names[i]) == 0;
	if (!known)
		return err_set(
			e, ERR_INVALID, 0,
			"invalid restart policy: unknown policy '%s'; use one of 'no', 'always', 'on-failure', or "
			"'unless-stopped'",
			name);
	if (retries && strcmp(name, "on-failure") != 0)
		return err_set(e, ERR_INVALID, 0,
			       "invalid restart policy: maximum retry count can only be used with 'on-failure'");
	if (retries < 0)
		return err_set(e, ERR_INVALID, 0, "invalid restart policy: maximum retry count cannot be negative");
	if (json_bool(host, "AutoRemove", false) && strcmp(name, "no") != 0)
		return err_set(e, ERR_INVALID, 0, "can't create 'AutoRemove' container with restart policy");
	return 0;
}

static int check_log(const json_t *host, struct err *e)
{
	return log_config_check(json_object_get(host, "LogConfig"), e);
}

static int check_caps(const json_t *host, const char *key, struct err *e)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(host, key), i, entry) {
		char cap[32];

		if (spec_cap_name(json_string_value(entry), cap) < 0)
			return err_set(e, ERR_INVALID, 0, "invalid %s: unknown capability: \"%s\"", key,
				       json_string_value(entry));
	}
	return 0;
}

/* Values of --security-opt that Silo knows; the others are refused. Both separators: old clients send a colon. */
/* The profile itself, as clients send it. What is in its rules shows when it is compiled, at the start. */
static int check_profile(const json_t *host, const char *text, struct err *e)
{
	autojson *caps = spec_caps(host);
	autojson *seccomp = seccomp_profile_parse(text, caps, e);

	return seccomp ? 0 : -1;
}

static int check_security(const json_t *host, struct err *e)
{
	static const char *const known[] = { "no-new-privileges",       "no-new-privileges=true",
					     "no-new-privileges=false", "no-new-privileges:true",
					     "no-new-privileges:false", "seccomp=unconfined",
					     "seccomp:unconfined",      "seccomp=builtin",
					     "apparmor=unconfined",     "apparmor:unconfined",
					     "label=disable",           "label:disable" };
	const json_t *entry;
	size_t i, k;

	json_array_foreach(json_object_get(host, "SecurityOpt"), i, entry) {
		if (str_starts(json_string_value(entry), "seccomp={")) {
			if (check_profile(host, json_string_value(entry) + strlen("seccomp="), e) < 0)
				return -1;
			continue;
		}
		for (k = 0; k < array_len(known) && strcmp(json_string_value(entry), known[k]) != 0; k++)
			;
		if (k == array_len(known))
			return err_set(e, ERR_INVALID, 0, "invalid --security-opt: \"%.100s\" is not supported by Silo",
				       json_string_value(entry));
	}
	return 0;
}

/* Lines of /etc/hosts and /etc/resolv.conf come from here: no line breaks, no control characters. */
static int check_lines(const json_t *host, struct err *e)
{
	static const char *const keys[] = { "ExtraHosts", "Dns", "DnsOptions", "DnsSearch" };

	for (size_t k = 0; k < array_len(keys); k++) {
		const json_t *entry;
		size_t i;

		json_array_foreach(json_object_get(host, keys[k]), i, entry) {
			const char *text = json_string_value(entry);

			for (const char *p = text; p && *p; p++) {
				if ((unsigned char)*p <= ' ')
					return err_set(e, ERR_INVALID, 0, "invalid value for %s: %s", keys[k], text);
			}
			if (!text || (k == 0 && !strchr(text, ':')))
				return err_set(e, ERR_INVALID, 0, "bad format for add-host: \"%s\"", text ? text : "");
		}
	}
	return 0;
}

/* A name is looked up in the image's /etc/group at the start. */
static int check_groups(const json_t *host, struct err *e)
{
	json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(host, "GroupAdd"), i, entry) {
		const char *text = json_string_value(entry);

		if (!*text || strpbrk(text, ":\n"))
			return err_set(e, ERR_INVALID, 0, "invalid group: \"%.64s\"", text);
	}
	return 0;
}

static int check_paths(const json_t *host, struct err *e)
{
	static const char *const keys[] = { "MaskedPaths", "ReadonlyPaths" };

	for (size_t k = 0; k < array_len(keys); k++) {
		json_t *entry;
		size_t i;

		json_array_foreach(json_object_get(host, keys[k]), i, entry) {
			if (*json_string_value(entry) != '/')
				return err_set(e, ERR_INVALID, 0,
					       "invalid value for %s: \"%.64s\" is not an absolute path", keys[k],
					       json_string_value(entry));
		}
	}
	return 0;
}

static int check_runtime(const json_t *host, struct err *e)
{
	static const char *const names[] = { "silo", "runc", "io.containerd.runc.v2" };
	const char *runtime = json_str(host, "Runtime", "silo");

	for (size_t i = 0; i < array_len(names); i++) {
		if (strcmp(runtime, names[i]) == 0)
			return 0;
	}
	return err_set(e, ERR_INVALID, 0, "unknown or invalid runtime name: %s", runtime);
}

/* Which networks there are is known elsewhere: here only what can't be. */
static int check_network(const json_t *host, bool hyperv, struct err *e)
{
	const char *mode = json_str(host, "NetworkMode", "");
	bool joins = str_starts(mode, "container:");
	bool publishes =
		given(json_object_get(host, "PortBindings")) || given(json_object_get(host, "PublishAllPorts"));

	if (hyperv && strcmp(mode, "host") == 0)
		return err_set(e, ERR_INVALID, 0,
			       "host network is not possible with hyperv isolation: a virtual machine has its "
			       "own network stack");
	if (joins && publishes)
		return err_set(e, ERR_INVALID, 0,
			       "conflicting options: port publishing and the container type network mode");
	return 0;
}

/* Docker's text where no driver is there. */
static int no_device_driver(const json_t *request, struct err *e)
{
	json_t *either, *driver, *name;
	autostr text;
	size_t i, k;

	str_init(&text, 256);
	json_array_foreach(json_member(request, "Capabilities"), i, either) {
		str_puts(&text, i ? " [" : "[");
		json_array_foreach(either, k, name)
			str_printf(&text, "%s%s", k ? " " : "", json_is_string(name) ? json_string_value(name) : "");
		str_puts(&text, "]");
	}
	driver = json_member(request, "Driver");
	return err_set(e, ERR_INVALID, 0, "could not select device driver \"%.64s\" with capabilities: [%s]",
		       json_is_string(driver) ? json_string_value(driver) : "", text.s ? text.s : "");
}

int body_check_host(const json_t *host, bool hyperv, json_t *warnings, struct err *e)
{
	static int (*const checks[])(const json_t *, struct err *) = { check_choices,  check_restart, check_log,
								       check_security, check_lines,   check_groups,
								       check_paths,   check_runtime };

	if (hyperv && check_shared(host, e) < 0)
		return -1;
	for (size_t i = 0; i < array_len(refused); i++) {
		if (given(json_object_get(host, refused[i].key)))
			return err_set(e, ERR_UNSUPPORTED, 0, "%s: not supported yet by Silo", refused[i].what);
	}
	for (size_t i = 0; i < array_len(checks); i++) {
		if (checks[i](host, e) < 0)
			return -1;
	}
	if (check_caps(host, "CapAdd", e) < 0 || check_caps(host, "CapDrop", e) < 0)
		return -1;
	if (check_network(host, hyperv, e) < 0)
		return -1;
	if (given(json_object_get(host, "DeviceRequests")))
		return no_device_driver(json_array_get(json_object_get(host, "DeviceRequests"), 0), e);
	return body_check_limits(host, hyperv, warnings, e);
}
