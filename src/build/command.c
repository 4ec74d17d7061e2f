/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the options of the API to the arguments of `buildah bud`. Values never begin an argument: none can be an option. */
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "build/internal.h"

/* Options whose value is a text, or a number that isn't 0. */
static const struct option {
	const char *format;
	size_t offset;
	bool is_number;
} options[] = {
	{ "--network=%s", offsetof(struct build_options, network), false },
	{ "--dns=%s", offsetof(struct build_options, dns), false },
	{ "--target=%s", offsetof(struct build_options, target), false },
	{ "--cpuset-cpus=%s", offsetof(struct build_options, cpuset_cpus), false },
	{ "--cpuset-mems=%s", offsetof(struct build_options, cpuset_mems), false },
	{ "--cgroup-parent=%s", offsetof(struct build_options, cgroup_parent), false },
	{ "--memory=%s", offsetof(struct build_options, memory), true },
	{ "--memory-swap=%s", offsetof(struct build_options, memory_swap), true },
	{ "--cpu-shares=%s", offsetof(struct build_options, cpu_shares), true },
	{ "--cpu-period=%s", offsetof(struct build_options, cpu_period), true },
	{ "--cpu-quota=%s", offsetof(struct build_options, cpu_quota), true },
	{ "--shm-size=%s", offsetof(struct build_options, shm_size), true },
};

static void add_value(struct argv *a, const char *format, const char *value)
{
	size_t n = strcspn(format, "%");

	argv_add(a, xasprintf("%.*s%s", (int)n, format, value));
}

static void add_options(const struct build_options *o, struct argv *a)
{
	for (size_t i = 0; i < array_len(options); i++) {
		const char *at = (const char *)o + options[i].offset;
		char number[24];

		if (options[i].is_number) {
			snprintf(number, sizeof(number), "%" PRId64, *(const int64_t *)at);
			if (*(const int64_t *)at)
				add_value(a, options[i].format, number);
		} else if (*(const char *const *)at) {
			add_value(a, options[i].format, *(const char *const *)at);
		}
	}
}

/* {name: value} as name=value; null: just the name, where that means something. */
static int add_pairs(struct argv *a, const char *format, const json_t *pairs, bool null_allowed, struct err *e)
{
	const char *key;
	const json_t *value;

	json_object_foreach((json_t *)(uintptr_t)pairs, key, value) {
		if (!*key || strchr(key, '=') || (!json_is_string(value) && !json_is_null(value)))
			return err_set(e, ERR_INVALID, 0, "invalid build argument or label: \"%.100s\"", key);
		autofree char *pair = xasprintf("%s=%s", key, json_is_string(value) ? json_string_value(value) : "");

		if (json_is_string(value) || !null_allowed)
			add_value(a, format, pair);
	}
	return 0;
}

static int add_ulimits(struct argv *a, const json_t *ulimits, struct err *e)
{
	const json_t *u;
	size_t i;

	json_array_foreach(ulimits, i, u) {
		const char *name;
		int64_t soft, hard;

		if (json_get_str(u, "Name", "", &name, e) || json_get_int(u, "Soft", 0, &soft, e) ||
		    json_get_int(u, "Hard", soft, &hard, e))
			return -1;
		argv_add(a, xasprintf("--ulimit=%s=%" PRId64 ":%" PRId64, name, soft, hard));
	}
	return 0;
}

static void add_contexts(struct argv *a, const json_t *contexts)
{
	const json_t *c;
	size_t i;

	json_array_foreach(contexts, i, c)
		add_value(a, "--build-context=%s", json_string_value(c));
}

static int add_hosts(struct argv *a, const json_t *hosts, struct err *e)
{
	const json_t *h;
	size_t i;

	json_array_foreach(hosts, i, h) {
		if (!json_is_string(h) || !strchr(json_string_value(h), ':'))
			return err_set(e, ERR_INVALID, 0, "bad format for add-host: \"%.100s\"",
				       json_is_string(h) ? json_string_value(h) : "");
		add_value(a, "--add-host=%s", json_string_value(h));
	}
	return 0;
}

int command_build(const struct build *x, struct argv *a, struct err *e)
{
	static const char *const fixed[] = { "--isolation=oci", "--format=docker", "--layers", "--pull-never",
					     "--identity-label=false" };
	const struct build_options *o = x->o;

	buildah_argv(x->b, a, "build");
	for (size_t i = 0; i < array_len(fixed); i++)
		argv_add(a, xstrdup(fixed[i]));
	argv_add(a, xasprintf("--runtime=%s/silo", x->b->o.lib_dir));
	argv_add(a, xasprintf("--runtime-flag=root=%s/builder-oci", x->b->o.exec_root));
	argv_add(a, xasprintf("--runtime-flag=isolation=%s", o->isolation));
	argv_add(a, xasprintf("--runtime-flag=lib-dir=%s", x->b->o.lib_dir));
	argv_add(a, xasprintf("--runtime-flag=vm-dir=%s", x->b->o.vm_dir));
	argv_add(a, xasprintf("--signature-policy=%s/policy.json", x->b->dir));
	argv_add(a, xasprintf("--iidfile=%s/iid", x->dir));
	argv_add(a, xasprintf("--file=%s/Dockerfile", x->dir));
	add_options(o, a);
	add_contexts(a, x->contexts);
	if (add_pairs(a, "--build-arg=%s", o->args, true, e) || add_pairs(a, "--label=%s", o->labels, false, e) ||
	    add_ulimits(a, o->ulimits, e) || add_hosts(a, o->extra_hosts, e))
		return -1;
	if (o->no_cache)
		argv_add(a, xstrdup("--no-cache"));
	if (o->squash)
		argv_add(a, xstrdup("--squash"));
	argv_add(a, xstrdup(x->context));
	return 0;
}
