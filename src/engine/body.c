/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/body.h"

#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/health.h"

enum type { STR, INT, BOOL, STRINGS, STRMAP, SETMAP, OBJECT, ARRAY };
enum absent { OMIT, ZERO, NUL, EMPTY }; /* how inspect shows a key that wasn't given */

struct field {
	const char *name;
	enum type type;
	enum absent absent;
};

/* clang-format off */
static const struct field config_fields[] = {
	{ "Hostname", STR, ZERO },        { "Domainname", STR, ZERO },    { "User", STR, ZERO },
	{ "AttachStdin", BOOL, ZERO },    { "AttachStdout", BOOL, ZERO }, { "AttachStderr", BOOL, ZERO },
	{ "ExposedPorts", SETMAP, OMIT }, { "Tty", BOOL, ZERO },          { "OpenStdin", BOOL, ZERO },
	{ "StdinOnce", BOOL, ZERO },      { "Env", STRINGS, NUL },        { "Cmd", STRINGS, NUL },
	{ "Healthcheck", OBJECT, OMIT },  { "ArgsEscaped", BOOL, OMIT },  { "Image", STR, ZERO },
	{ "Volumes", SETMAP, NUL },       { "WorkingDir", STR, ZERO },    { "Entrypoint", STRINGS, NUL },
	{ "NetworkDisabled", BOOL, OMIT },{ "MacAddress", STR, OMIT },    { "OnBuild", STRINGS, NUL },
	{ "Labels", STRMAP, EMPTY },      { "StopSignal", STR, OMIT },    { "StopTimeout", INT, OMIT },
	{ "Shell", STRINGS, OMIT },
};

static const struct field host_fields[] = {
	{ "Binds", STRINGS, NUL },           { "ContainerIDFile", STR, ZERO },      { "LogConfig", OBJECT, EMPTY },
	{ "NetworkMode", STR, ZERO },        { "PortBindings", OBJECT, EMPTY },     { "RestartPolicy", OBJECT, EMPTY },
	{ "AutoRemove", BOOL, ZERO },        { "VolumeDriver", STR, ZERO },         { "VolumesFrom", STRINGS, NUL },
	{ "ConsoleSize", ARRAY, EMPTY },     { "Annotations", STRMAP, OMIT },       { "CapAdd", STRINGS, NUL },
	{ "CapDrop", STRINGS, NUL },         { "CgroupnsMode", STR, ZERO },         { "Dns", STRINGS, EMPTY },
	{ "DnsOptions", STRINGS, EMPTY },    { "DnsSearch", STRINGS, EMPTY },       { "ExtraHosts", STRINGS, NUL },
	{ "GroupAdd", STRINGS, NUL },        { "IpcMode", STR, ZERO },              { "Cgroup", STR, ZERO },
	{ "Links", STRINGS, NUL },           { "OomScoreAdj", INT, ZERO },          { "PidMode", STR, ZERO },
	{ "Privileged", BOOL, ZERO },        { "PublishAllPorts", BOOL, ZERO },     { "ReadonlyRootfs", BOOL, ZERO },
	{ "SecurityOpt", STRINGS, NUL },     { "StorageOpt", STRMAP, OMIT },        { "Tmpfs", STRMAP, OMIT },
	{ "UTSMode", STR, ZERO },            { "UsernsMode", STR, ZERO },           { "ShmSize", INT, ZERO },
	{ "Sysctls", STRMAP, OMIT },         { "Runtime", STR, ZERO },              { "Isolation", STR, ZERO },
	{ "CpuShares", INT, ZERO },          { "Memory", INT, ZERO },               { "NanoCpus", INT, ZERO },
	{ "KernelMemory", INT, OMIT },       { "KernelMemoryTCP", INT, OMIT },
	{ "CgroupParent", STR, ZERO },       { "BlkioWeight", INT, ZERO },          { "BlkioWeightDevice", ARRAY, EMPTY },
	{ "BlkioDeviceReadBps", ARRAY, EMPTY },   { "BlkioDeviceWriteBps", ARRAY, EMPTY },
	{ "BlkioDeviceReadIOps", ARRAY, EMPTY },  { "BlkioDeviceWriteIOps", ARRAY, EMPTY },
	{ "CpuPeriod", INT, ZERO },          { "CpuQuota", INT, ZERO },             { "CpuRealtimePeriod", INT, ZERO },
	{ "CpuRealtimeRuntime", INT, ZERO }, { "CpusetCpus", STR, ZERO },           { "CpusetMems", STR, ZERO },
	{ "Devices", ARRAY, EMPTY },         { "DeviceCgroupRules", STRINGS, NUL }, { "DeviceRequests", ARRAY, NUL },
	{ "MemoryReservation", INT, ZERO },  { "MemorySwap", INT, ZERO },           { "MemorySwappiness", INT, NUL },
	{ "OomKillDisable", BOOL, NUL },     { "PidsLimit", INT, NUL },             { "Ulimits", ARRAY, EMPTY },
	{ "CpuCount", INT, ZERO },           { "CpuPercent", INT, ZERO },           { "IOMaximumIOps", INT, ZERO },
	{ "IOMaximumBandwidth", INT, ZERO }, { "Mounts", ARRAY, OMIT },             { "MaskedPaths", STRINGS, OMIT },
	{ "ReadonlyPaths", STRINGS, OMIT },  { "Init", BOOL, OMIT },
};

static const struct field exec_fields[] = {
	{ "User", STR, ZERO },          { "Privileged", BOOL, ZERO },   { "Tty", BOOL, ZERO },
	{ "ConsoleSize", ARRAY, OMIT }, { "AttachStdin", BOOL, ZERO },  { "AttachStdout", BOOL, ZERO },
	{ "AttachStderr", BOOL, ZERO }, { "DetachKeys", STR, OMIT },    { "Env", STRINGS, NUL },
	{ "WorkingDir", STR, ZERO },    { "Cmd", STRINGS, NUL },        { "Detach", BOOL, ZERO },
};
/* clang-format on */

static json_t *zero_of(enum type type)
{
	switch (type) {
	case STR:
		return json_string("");
	case INT:
		return json_integer(0);
	case BOOL:
		return json_false();
	case STRINGS:
	case ARRAY:
		return json_array();
	default:
		return json_object();
	}
}

static json_t *absent_value(const struct field *f)
{
	switch (f->absent) {
	case ZERO:
	case EMPTY:
		return zero_of(f->type);
	case NUL:
		return json_null();
	default:
		return NULL;
	}
}

static int check_map(const json_t *map, const struct field *f, struct err *e)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)map, key, value) {
		if (f->type == STRMAP && !json_is_string(value))
			return err_set(e, ERR_INVALID, 0, "invalid value for %s.%s: expected string", f->name, key);
		if (f->type == SETMAP && !json_is_object(value) && !json_is_null(value))
			return err_set(e, ERR_INVALID, 0, "invalid value for %s.%s: expected object", f->name, key);
	}
	return 0;
}

/* The value of one field of obj, checked: new reference in *out, NULL when absent. */
static int field_value(const json_t *obj, const struct field *f, json_t **out, struct err *e)
{
	json_t *borrowed = NULL;
	const char *text;
	int64_t number;
	bool flag;
	int rc = 0;

	*out = NULL;
	if (!json_member(obj, f->name))
		return 0;
	switch (f->type) {
	case STR:
		rc = json_get_str(obj, f->name, "", &text, e);
		*out = rc ? NULL : json_string(text);
		return rc;
	case INT:
		rc = json_get_int(obj, f->name, 0, &number, e);
		*out = rc ? NULL : json_integer(number);
		return rc;
	case BOOL:
		rc = json_get_bool(obj, f->name, false, &flag, e);
		*out = rc ? NULL : json_boolean(flag);
		return rc;
	case STRINGS: /* old clients send a single string for a list of one */
		if (json_is_string(json_member(obj, f->name))) {
			*out = json_pack("[O]", json_member(obj, f->name));
			return 0;
		}
		rc = json_get_strings(obj, f->name, &borrowed, e);
		break;
	case ARRAY:
		rc = json_get_array(obj, f->name, &borrowed, e);
		break;
	case OBJECT:
	case STRMAP:
	case SETMAP:
		rc = json_get_object(obj, f->name, &borrowed, e);
		if (!rc)
			rc = check_map(borrowed, f, e);
		break;
	}
	if (!rc)
		*out = json_deep_copy(borrowed);
	return rc;
}

static json_t *canonical(const json_t *obj, const struct field *fields, size_t n, const char *what, struct err *e)
{
	autojson *out = json_object();

	if (obj && !json_is_object(obj) && !json_is_null(obj)) {
		err_set(e, ERR_INVALID, 0, "invalid value for %s: expected object", what);
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		json_t *value;

		if (field_value(obj, &fields[i], &value, e) < 0)
			return NULL;
		if (!value)
			value = absent_value(&fields[i]);
		if (value)
			json_object_set_new(out, fields[i].name, value);
	}
	return take_ptr(&out);
}

json_t *body_config(const json_t *obj, struct err *e)
{
	return canonical(obj, config_fields, array_len(config_fields), "the request body", e);
}

/* Sub-objects in Docker's spelling, with its defaults. */
static int host_nested(json_t *host, struct err *e)
{
	json_t *log = json_object_get(host, "LogConfig"), *restart = json_object_get(host, "RestartPolicy");
	json_t *options, *console = json_object_get(host, "ConsoleSize");
	const char *type, *policy;
	int64_t retries;

	if (json_get_str(log, "Type", "", &type, e) < 0 || json_get_object(log, "Config", &options, e) < 0 ||
	    json_get_str(restart, "Name", "", &policy, e) < 0 ||
	    json_get_int(restart, "MaximumRetryCount", 0, &retries, e) < 0)
		return -1;
	options = options ? json_incref(options) : json_object();
	json_object_set_new(host, "LogConfig",
			    json_pack("{s:s, s:o}", "Type", *type ? type : "json-file", "Config", options));
	json_object_set_new(
		host, "RestartPolicy",
		json_pack("{s:s, s:I}", "Name", *policy ? policy : "no", "MaximumRetryCount", (json_int_t)retries));
	if (json_array_size(console) != 2)
		json_object_set_new(host, "ConsoleSize", json_pack("[i, i]", 0, 0));
	return 0;
}

/* What Docker's daemon fills in when the request leaves it open. */
static void host_defaults(json_t *host)
{
	static const struct {
		const char *key, *value;
	} texts[] = { { "NetworkMode", "bridge" },
		      { "IpcMode", "private" },
		      { "CgroupnsMode", "private" },
		      { "Runtime", "silo" } };

	for (size_t i = 0; i < array_len(texts); i++) {
		const char *now = json_str(host, texts[i].key, "");

		if (!*now || strcmp(now, "default") == 0)
			json_object_set_new(host, texts[i].key, json_string(texts[i].value));
	}
	if (json_int(host, "ShmSize", 0) == 0)
		json_object_set_new(host, "ShmSize", json_integer(64 * MIB));
}

json_t *body_host(const json_t *obj, struct err *e)
{
	autojson *host = canonical(obj, host_fields, array_len(host_fields), "HostConfig", e);

	if (!host || host_nested(host, e) < 0)
		return NULL;
	host_defaults(host);
	return take_ptr(&host);
}

json_t *body_exec(const json_t *obj, struct err *e)
{
	return canonical(obj, exec_fields, array_len(exec_fields), "the request body", e);
}

/* --- merge with the image ---------------------------------------------------------------------------------------- */

static bool is_empty(const json_t *j)
{
	return !j || json_is_null(j) || (json_is_string(j) && !*json_string_value(j)) ||
	       (json_is_array(j) && json_array_size(j) == 0) || (json_is_object(j) && json_object_size(j) == 0);
}

static size_t env_name_len(const char *entry)
{
	return strcspn(entry, "=");
}

/* The image's variables that the request doesn't set come after those of the request, as Docker does. */
static void merge_env(json_t *config, const json_t *image)
{
	json_t *from = json_object_get(image, "Env"), *to = json_object_get(config, "Env"), *entry;
	json_t *merged = json_array();
	size_t i, k;

	if (json_is_array(to))
		json_array_extend(merged, to);
	json_array_foreach(from, i, entry) {
		const char *text = json_string_value(entry);
		size_t n = text ? env_name_len(text) : 0;
		bool given = !text;

		for (k = 0; k < json_array_size(to) && !given; k++) {
			const char *mine = json_string_value(json_array_get(to, k));

			given = env_name_len(mine) == n && strncmp(mine, text, n) == 0;
		}
		if (!given)
			json_array_append(merged, entry);
	}
	json_object_set_new(config, "Env", merged);
}

/* Keys of a map: the request's win. */
static void merge_map(json_t *config, const json_t *image, const char *key)
{
	json_t *from = json_object_get(image, key), *merged;

	if (!json_is_object(from) || json_object_size(from) == 0)
		return;
	merged = json_deep_copy(from);
	if (json_is_object(json_object_get(config, key)))
		json_object_update(merged, json_object_get(config, key));
	json_object_set_new(config, key, merged);
}

void body_merge_image(json_t *config, const json_t *image)
{
	static const char *const texts[] = { "User", "WorkingDir", "StopSignal" };
	static const char *const maps[] = { "Labels", "ExposedPorts", "Volumes" };
	static const char *const plain[] = { "Shell" };
	json_t *health = health_merge(json_object_get(config, "Healthcheck"), json_object_get(image, "Healthcheck"));

	for (size_t i = 0; i < array_len(texts); i++) {
		const char *value = json_str(image, texts[i], "");

		if (*value && is_empty(json_object_get(config, texts[i])))
			json_object_set_new(config, texts[i], json_string(value));
	}
	for (size_t i = 0; i < array_len(maps); i++)
		merge_map(config, image, maps[i]);
	for (size_t i = 0; i < array_len(plain); i++) {
		if (is_empty(json_object_get(config, plain[i])) && !is_empty(json_object_get(image, plain[i])))
			json_object_set(config, plain[i], json_object_get(image, plain[i]));
	}
	if (health)
		json_object_set_new(config, "Healthcheck", health);
	merge_env(config, image);
	/* An entrypoint of the request's own also drops the image's arguments. [""] = no entrypoint. */
	if (is_empty(json_object_get(config, "Entrypoint"))) {
		if (is_empty(json_object_get(config, "Cmd"))) {
			if (!is_empty(json_object_get(image, "Cmd")))
				json_object_set(config, "Cmd", json_object_get(image, "Cmd"));
			/* Whether it is a command line of Windows already. */
			if (json_bool(image, "ArgsEscaped", false))
				json_object_set_new(config, "ArgsEscaped", json_true());
		}
		if (!is_empty(json_object_get(image, "Entrypoint")))
			json_object_set(config, "Entrypoint", json_object_get(image, "Entrypoint"));
	} else if (json_array_size(json_object_get(config, "Entrypoint")) == 1 &&
		   is_empty(json_array_get(json_object_get(config, "Entrypoint"), 0))) {
		json_object_set_new(config, "Entrypoint", json_null());
	}
}
