/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/seccomp_profile.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/json.h"
#include "base/own.h"

#define ARCH "amd64"
#define SCMP_ARCH "SCMP_ARCH_X86_64"

static bool list_has(const json_t *list, const char *text)
{
	json_t *entry;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, entry) {
		if (json_is_string(entry) && strcmp(json_string_value(entry), text) == 0)
			return true;
	}
	return false;
}

/* Is this kernel "X.Y" or newer? */
static int kernel_is(const char *least, bool *yes, struct err *e)
{
	int major, minor, my_major = 0, my_minor = 0, n = 0;
	struct utsname u = { 0 };

	if (sscanf(least, "%d.%d%n", &major, &minor, &n) != 2 || least[n])
		return err_set(e, ERR_INVALID, 0, "invalid kernel version: %.64s, expected \"<kernel>.<major>\"",
			       least);
	uname(&u);
	if (sscanf(u.release, "%d.%d", &my_major, &my_minor) != 2)
		return err_set(e, ERR_SYSTEM, 0, "the kernel's version is %.64s", u.release);
	*yes = my_major > major || (my_major == major && my_minor >= minor);
	return 0;
}

/* "includes" and "excludes" of a rule. */
struct condition {
	json_t *arches, *caps;
	const char *kernel;
};

static int read_condition(const json_t *rule, const char *key, struct condition *c, struct err *e)
{
	json_t *j;

	if (json_get_object(rule, key, &j, e) < 0 || json_get_strings(j, "arches", &c->arches, e) < 0 ||
	    json_get_strings(j, "caps", &c->caps, e) < 0 || json_get_str(j, "minKernel", "", &c->kernel, e) < 0)
		return err_prefix(e, "%s", key);
	return 0;
}

/* Does the rule count for a container with these capabilities, here? */
static int rule_counts(const json_t *rule, const json_t *caps, bool *counts, struct err *e)
{
	struct condition in, out;
	bool newer = true, excluded = false;
	json_t *cap;
	size_t i;

	if (read_condition(rule, "includes", &in, e) < 0 || read_condition(rule, "excludes", &out, e) < 0 ||
	    (*in.kernel && kernel_is(in.kernel, &newer, e) < 0) ||
	    (*out.kernel && kernel_is(out.kernel, &excluded, e) < 0))
		return -1;
	*counts = newer && !excluded && !list_has(out.arches, ARCH) &&
		  (json_array_size(in.arches) == 0 || list_has(in.arches, ARCH));
	json_array_foreach(out.caps, i, cap)
		*counts &= !list_has(caps, json_string_value(cap));
	json_array_foreach(in.caps, i, cap)
		*counts &= list_has(caps, json_string_value(cap));
	return 0;
}

/* With "names" whatever the profile has used; no other members than the runtime-spec's. */
static int add_rule(const json_t *rule, const json_t *caps, json_t *out, struct err *e)
{
	static const char *const same[] = { "action", "errnoRet", "args" };
	const char *name;
	json_t *names, *made;
	bool counts;

	if (json_get_str(rule, "name", "", &name, e) < 0 || json_get_strings(rule, "names", &names, e) < 0 ||
	    rule_counts(rule, caps, &counts, e) < 0)
		return -1;
	if (*name && json_array_size(names) > 0)
		return err_set(
			e, ERR_INVALID, 0,
			"both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'");
	if (!counts)
		return 0;
	made = *name ? json_pack("{s:[s]}", "names", name) : json_pack("{s:O?}", "names", names);
	for (size_t i = 0; i < array_len(same); i++) {
		if (json_member(rule, same[i]))
			json_object_set(made, same[i], json_member(rule, same[i]));
	}
	return json_array_append_new(out, made);
}

/* Of this machine's entry in "archMap"; or "architectures". */
static json_t *architectures(const json_t *profile, struct err *e)
{
	json_t *list, *map, *entry, *more, *out;
	const char *name;
	size_t i;

	if (json_get_strings(profile, "architectures", &list, e) < 0 || json_get_array(profile, "archMap", &map, e) < 0)
		return NULL;
	if (json_array_size(list) > 0 && json_array_size(map) > 0) {
		err_set(e, ERR_INVALID, 0,
			"both 'architectures' and 'archMap' are specified in the seccomp profile, use either "
			"'architectures' or 'archMap'");
		return NULL;
	}
	out = list ? json_copy(list) : json_array();
	json_array_foreach(map, i, entry) {
		if (json_get_str(entry, "architecture", "", &name, e) < 0 ||
		    json_get_strings(entry, "subArchitectures", &more, e) < 0) {
			json_decref(out);
			return NULL;
		}
		if (strcmp(name, SCMP_ARCH) == 0) {
			json_array_append_new(out, json_string(name));
			json_array_extend(out, more);
		}
	}
	return out;
}

static json_t *convert(const json_t *profile, const json_t *caps, struct err *e)
{
	static const char *const same[] = { "defaultAction", "defaultErrnoRet", "flags" };
	json_t *arches = architectures(profile, e), *rules, *rule;
	autojson *out = arches ? json_pack("{s:o, s:[]}", "architectures", arches, "syscalls") : NULL;
	size_t i;

	if (!out || json_get_array(profile, "syscalls", &rules, e) < 0)
		return NULL;
	for (i = 0; i < array_len(same); i++) {
		if (json_member(profile, same[i]))
			json_object_set(out, same[i], json_member(profile, same[i]));
	}
	json_array_foreach(rules, i, rule) {
		if (add_rule(rule, caps, json_object_get(out, "syscalls"), e) < 0) {
			err_prefix(e, "syscalls[%zu]", i);
			return NULL;
		}
	}
	return take_ptr(&out);
}

json_t *seccomp_profile_parse(const char *text, const json_t *caps, struct err *e)
{
	autojson *profile = json_parse(text, strlen(text), "seccomp profile", e);
	json_t *out;

	if (!profile) {
		err_prefix(e, "Decoding seccomp profile failed");
		return NULL;
	}
	out = convert(profile, caps, e);
	if (!out)
		err_prefix(e, "seccomp profile");
	return out;
}
