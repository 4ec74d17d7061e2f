/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* silo create | run | start | exec */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "cmd/oci.h"

#define PROCESS_BYTES_MAX (1 * MIB)
#define FDS_MAX 1024

#define AT(member) offsetof(struct launch_options, member)
static const struct cli_option create_options[] = {
	{ "bundle", 'b', CLI_STRING, AT(bundle) },
	{ "console-socket", 0, CLI_STRING, AT(console_socket) },
	{ "pid-file", 0, CLI_STRING, AT(pid_file) },
	{ "preserve-fds", 0, CLI_NUMBER, AT(preserve_fds) },
	{ "no-pivot", 0, CLI_FLAG, AT(no_pivot) },
	{ "no-new-keyring", 0, CLI_FLAG, AT(no_new_keyring) },
	{ "detach", 'd', CLI_FLAG, AT(detach) },
	{ "keep", 0, CLI_FLAG, AT(keep) },
};
#undef AT

/* Those of run only are at the end of the table. */
#define CREATE_OPTIONS (array_len(create_options) - 2)

/* $LISTEN_FDS (sd_listen_fds(3)) is passed on with its descriptors. */
static int check_fds(struct launch_options *o, struct err *e)
{
	const char *listen = getenv("LISTEN_FDS");
	int n = listen ? atoi(listen) : 0;

	if (n > 0 && n < FDS_MAX) {
		o->listen_fds = n;
		o->preserve_fds += n;
	}
	for (int fd = 3; fd < 3 + o->preserve_fds; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			return err_set(e, ERR_INVALID, 0, "--preserve-fds: descriptor %d is not open", fd);
		fcntl(fd, F_SETFD, 0);
	}
	return 0;
}

int oci_create(const struct runtime *rt, int argc, char **argv, struct err *e)
{
	struct launch_options o = { .runtime = rt };
	int first = cli_parse(argc, argv, create_options, CREATE_OPTIONS, &o, e);
	const char *id = first < 0 ? NULL : cli_id(argc, argv, first, e);

	return !id || check_fds(&o, e) ? -1 : runtime_create(rt, id, &o, e);
}

int oci_run(const struct runtime *rt, int argc, char **argv, struct err *e)
{
	struct launch_options o = { .runtime = rt };
	int first = cli_parse(argc, argv, create_options, array_len(create_options), &o, e);
	const char *id = first < 0 ? NULL : cli_id(argc, argv, first, e);

	if (!id || check_fds(&o, e))
		return -1;
	return runtime_run(rt, id, &o, e);
}

int oci_start(const struct runtime *rt, int argc, char **argv, struct err *e)
{
	int first = cli_parse(argc, argv, NULL, 0, NULL, e);
	const char *id = first < 0 ? NULL : cli_id(argc, argv, first, e);

	return id ? runtime_start(rt, id, e) : -1;
}

/* ---- exec ---- */

struct exec_options {
	struct launch_options launch;
	const char *process, *cwd, *user, *label, *apparmor;
	bool tty, no_new_privs;
	json_t *env, *groups, *caps;
};

#define AT(member) offsetof(struct exec_options, member)
static const struct cli_option exec_options[] = {
	{ "console-socket", 0, CLI_STRING, AT(launch.console_socket) },
	{ "pid-file", 0, CLI_STRING, AT(launch.pid_file) },
	{ "preserve-fds", 0, CLI_NUMBER, AT(launch.preserve_fds) },
	{ "detach", 'd', CLI_FLAG, AT(launch.detach) },
	{ "process", 'p', CLI_STRING, AT(process) },
	{ "cwd", 0, CLI_STRING, AT(cwd) },
	{ "env", 'e', CLI_LIST, AT(env) },
	{ "tty", 't', CLI_FLAG, AT(tty) },
	{ "user", 'u', CLI_STRING, AT(user) },
	{ "additional-gids", 'g', CLI_LIST, AT(groups) },
	{ "process-label", 0, CLI_STRING, AT(label) },
	{ "apparmor", 0, CLI_STRING, AT(apparmor) },
	{ "no-new-privs", 0, CLI_FLAG, AT(no_new_privs) },
	{ "cap", 'c', CLI_LIST, AT(caps) },
	{ "ignore-paused", 0, CLI_FLAG, AT(launch.ignore_paused) },
	{ "cgroup", 0, CLI_REFUSED, 0 },
};
#undef AT

static int parse_id(const char **p, json_int_t *out)
{
	char *end;

	if (**p < '0' || **p > '9')
		return -1;
	*out = strtoll(*p, &end, 10);
	*p = end;
	return *out <= 4294967294ll ? 0 : -1;
}

/* "1000" or "1000:1000": numbers only, as with runc. */
static int set_user(json_t *process, const char *text, struct err *e)
{
	json_int_t uid, gid = 0;
	const char *p = text;
	json_t *user = json_object();

	json_object_set_new(process, "user", user);
	if (parse_id(&p, &uid) || (*p == ':' && (p++, parse_id(&p, &gid))) || *p)
		return err_set(e, ERR_INVALID, 0, "--user: \"%s\" is not UID[:GID]", text);
	json_object_set_new(user, "uid", json_integer(uid));
	json_object_set_new(user, "gid", json_integer(gid));
	return 0;
}

static int set_groups(json_t *process, const json_t *groups, struct err *e)
{
	json_t *list = json_array(), *item;
	size_t i;

	json_object_set_new(json_object_get(process, "user"), "additionalGids", list);
	json_array_foreach((json_t *)(uintptr_t)groups, i, item) {
		const char *p = json_string_value(item);
		json_int_t gid;

		if (parse_id(&p, &gid) || *p)
			return err_set(e, ERR_INVALID, 0, "--additional-gids: \"%s\" is no number",
				       json_string_value(item));
		json_array_append_new(list, json_integer(gid));
	}
	return 0;
}

static void add_caps(json_t *process, const json_t *caps)
{
	static const char *const sets[] = { "bounding", "effective", "permitted" };
	json_t *all = json_object_get(process, "capabilities");

	if (!caps)
		return;
	if (!all) {
		all = json_object();
		json_object_set_new(process, "capabilities", all);
	}
	for (size_t i = 0; i < array_len(sets); i++) {
		json_t *set = json_object_get(all, sets[i]);

		if (!set) {
			set = json_array();
			json_object_set_new(all, sets[i], set);
		}
		json_array_extend(set, (json_t *)(uintptr_t)caps);
	}
}

/* In place of what the container has under the same name. */
static void set_env(json_t *process, const json_t *changes)
{
	json_t *env = json_object_get(process, "env"), *change;
	size_t i;

	if (!env) {
		env = json_array();
		json_object_set_new(process, "env", env);
	}
	json_array_foreach((json_t *)(uintptr_t)changes, i, change) {
		const char *text = json_string_value(change);
		size_t n = strcspn(text, "=");

		for (size_t k = json_array_size(env); k-- > 0;) {
			const char *old = json_string_value(json_array_get(env, k));

			if (old && strcspn(old, "=") == n && !strncmp(old, text, n))
				json_array_remove(env, k);
		}
		json_array_append(env, change);
	}
}

/* The container's own process with other arguments. */
static json_t *build_process(const json_t *config, const struct exec_options *o, char **args, struct err *e)
{
	autojson *p = json_deep_copy(json_object_get(config, "process"));
	json_t *list = json_array();

	json_object_set_new(p, "args", list);
	for (; *args; args++)
		json_array_append_new(list, json_string(*args));
	json_object_set_new(p, "terminal", json_boolean(o->tty));
	json_object_del(p, "consoleSize");
	if (o->cwd)
		json_object_set_new(p, "cwd", json_string(o->cwd));
	set_env(p, o->env);
	if (!json_is_object(json_object_get(p, "user")))
		json_object_set_new(p, "user", json_object());
	if ((o->user && set_user(p, o->user, e)) || (o->groups && set_groups(p, o->groups, e)))
		return NULL;
	add_caps(p, o->caps);
	if (o->no_new_privs)
		json_object_set_new(p, "noNewPrivileges", json_true());
	if (o->label)
		json_object_set_new(p, "selinuxLabel", json_string(o->label));
	if (o->apparmor)
		json_object_set_new(p, "apparmorProfile", json_string(o->apparmor));
	return take_ptr(&p);
}

static json_t *make_process(const struct runtime *rt, const char *id, const struct exec_options *o, char **args,
			    struct err *e)
{
	struct record *r;
	json_t *p = NULL;

	if (o->process)
		return json_parse_file(AT_FDCWD, o->process, PROCESS_BYTES_MAX, e);
	r = record_open(rt, id, false, e);
	if (r && !record_config(r, e))
		p = build_process(r->config, o, args, e);
	record_close(r);
	return p;
}

int oci_exec(const struct runtime *rt, int argc, char **argv, struct err *e)
{
	struct exec_options o = { .launch.runtime = rt };
	int first = cli_parse_front(argc, argv, exec_options, array_len(exec_options), &o, e);
	autojson *process = NULL;
	int rc = -1;

	if (first >= 0 && (first == argc || (first + 1 == argc && !o.process)))
		first = err_set(e, ERR_INVALID, 0,
				first == argc ? "exec: container id is needed" : "process args cannot be empty");
	if (first >= 0 && !check_fds(&o.launch, e))
		process = make_process(rt, argv[first], &o, argv + first + 1, e);
	if (process) {
		if (o.tty)
			json_object_set_new(process, "terminal", json_true());
		rc = runtime_exec(rt, argv[first], process, &o.launch, e);
	}
	json_decref(o.env);
	json_decref(o.groups);
	json_decref(o.caps);
	return rc < 0 ? err_prefix(e, "exec failed") : rc;
}
