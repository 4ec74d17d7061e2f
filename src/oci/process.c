/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The "process" object of the runtime-spec. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "oci/reader.h"
#include "oci/spec.h"
#include "os/rlimit.h"

#define ID_MAX 4294967294ll /* (uid_t)-1 means "leave" to the kernel: never an id */

static int parse_group(struct oci_user *u, const json_t *item, size_t i, struct err *e)
{
	json_int_t v = json_integer_value(item);

	if (json_is_string(item)) {
		u->group_names[u->n_group_names++] = json_string_value(item);
		return 0;
	}
	if (!json_is_integer(item) || v < 0 || v > ID_MAX)
		return err_set(e, ERR_INVALID, 0, "additionalGids[%zu]: not a group id", i);
	u->groups[u->n_groups++] = (gid_t)v;
	return 0;
}

static int parse_user(const json_t *process, struct oci_user *u, struct err *e)
{
	int64_t uid, gid, mask;
	json_t *j, *list, *item;
	size_t i;

	if (json_get_object(process, "user", &j, e))
		return -1;
	if (read_int(j, "uid", 0, 0, ID_MAX, &uid, e) || read_int(j, "gid", 0, 0, ID_MAX, &gid, e) ||
	    read_int(j, "umask", OCI_UMASK_UNSET, 0, 0777, &mask, e) ||
	    json_get_str(j, "username", NULL, &u->username, e) || json_get_array(j, "additionalGids", &list, e))
		return err_prefix(e, "user");
	u->uid = (uid_t)uid;
	u->gid = (gid_t)gid;
	u->umask = (int)mask;
	if (u->username && !*u->username)
		u->username = NULL;
	u->groups = xcalloc(json_array_size(list) + 1, sizeof(*u->groups));
	u->group_names = xcalloc(json_array_size(list) + 1, sizeof(*u->group_names));
	json_array_foreach(list, i, item) {
		if (parse_group(u, item, i, e))
			return err_prefix(e, "user");
	}
	return 0;
}

static int parse_cap_set(const json_t *caps, const char *key, uint64_t *out, struct err *e)
{
	autofree const char **names = NULL;
	size_t n;

	if (read_strings(caps, key, &names, &n, e))
		return -1;
	for (size_t i = 0; i < n; i++) {
		int number = caps_parse(names[i]);

		/* of another kernel: the specification wants a warning, not an error */
		if (number < 0)
			log_warn("process.capabilities.%s: unknown capability \"%s\"", key, names[i]);
		else
			*out |= 1ull << number;
	}
	return 0;
}

static int parse_caps(const json_t *process, struct oci_process *p, struct err *e)
{
	json_t *j;

	if (json_get_object(process, "capabilities", &j, e))
		return -1;
	p->has_caps = j;
	if (parse_cap_set(j, "bounding", &p->caps.bounding, e) ||
	    parse_cap_set(j, "effective", &p->caps.effective, e) ||
	    parse_cap_set(j, "inheritable", &p->caps.inheritable, e) ||
	    parse_cap_set(j, "permitted", &p->caps.permitted, e) || parse_cap_set(j, "ambient", &p->caps.ambient, e))
		return err_prefix(e, "capabilities");
	return 0;
}

/* Limits are unsigned 64-bit; JSON integers beyond INT64_MAX arrive as reals: both -1 and 2^64-1 mean unlimited. */
static int read_limit(const json_t *obj, const char *key, uint64_t *out, struct err *e)
{
	json_t *j = json_member(obj, key);

	if (json_is_integer(j)) {
		*out = json_integer_value(j) < 0 ? UINT64_MAX : (uint64_t)json_integer_value(j);
		return 0;
	}
	if (json_is_real(j) && json_real_value(j) >= 9.2e18) {
		*out = UINT64_MAX;
		return 0;
	}
	return err_set(e, ERR_INVALID, 0, "%s: a number is expected", key);
}

static int parse_rlimit(const json_t *j, void *arg, struct err *e)
{
	struct oci_process *p = arg;
	struct oci_rlimit *r = &p->rlimits[p->n_rlimits];
	const char *type;

	if (json_get_str(j, "type", "", &type, e) || read_limit(j, "soft", &r->soft, e) ||
	    read_limit(j, "hard", &r->hard, e))
		return -1;
	r->resource = rlimit_parse(type);
	if (r->resource < 0)
		return err_set(e, ERR_INVALID, 0, "type: unknown limit \"%s\"", type);
	for (size_t i = 0; i < p->n_rlimits; i++) {
		if (p->rlimits[i].resource == r->resource)
			return err_set(e, ERR_INVALID, 0, "type: \"%s\" is given twice", type);
	}
	p->n_rlimits++;
	return 0;
}

static int parse_terminal(const json_t *j, struct oci_process *p, struct err *e)
{
	int64_t rows, cols;
	json_t *size;

	if (json_get_bool(j, "terminal", false, &p->terminal, e) || json_get_object(j, "consoleSize", &size, e) ||
	    read_int(size, "height", 0, 0, UINT16_MAX, &rows, e) || read_int(size, "width", 0, 0, UINT16_MAX, &cols, e))
		return -1;
	p->rows = (uint16_t)rows;
	p->cols = (uint16_t)cols;
	return 0;
}

static int parse_fields(const json_t *j, struct oci_process *p, struct err *e)
{
	int64_t adj;

	if (parse_terminal(j, p, e) || parse_user(j, &p->user, e) || parse_caps(j, p, e) ||
	    read_strings(j, "args", &p->args, &p->n_args, e) || read_strings(j, "env", &p->env, &p->n_env, e) ||
	    json_get_str(j, "cwd", "/", &p->cwd, e) ||
	    json_get_bool(j, "noNewPrivileges", false, &p->no_new_privs, e) ||
	    json_get_bool(j, "reportsExit", false, &p->reports_exit, e))
		return -1;
	p->rlimits = xcalloc(read_count(j, "rlimits") + 1, sizeof(*p->rlimits));
	if (read_each(j, "rlimits", parse_rlimit, p, e) || read_int(j, "oomScoreAdj", 0, -1000, 1000, &adj, e) ||
	    oci_scheduling_parse(j, &p->scheduling, e) ||
	    json_get_str(j, "apparmorProfile", NULL, &p->apparmor_profile, e) ||
	    json_get_str(j, "selinuxLabel", NULL, &p->selinux_label, e))
		return -1;
	p->oom_score_adj = (int)adj;
	p->has_oom_score_adj = json_member(j, "oomScoreAdj");
	if (!p->n_args || !p->args[0][0])
		return err_set(e, ERR_INVALID, 0, "args: at least the program is needed");
	if (!*p->cwd)
		p->cwd = "/";
	if (p->cwd[0] != '/')
		return err_set(e, ERR_INVALID, 0, "cwd: \"%s\" is not an absolute path", p->cwd);
	return 0;
}

int oci_process_parse(const json_t *j, struct oci_process *p, struct err *e)
{
	*p = (struct oci_process){ 0 };
	if (!json_is_object(j))
		return err_set(e, ERR_INVALID, 0, "process: an object is expected");
	if (parse_fields(j, p, e)) {
		oci_process_fini(p);
		return err_prefix(e, "process");
	}
	return 0;
}

void oci_process_fini(struct oci_process *p)
{
	free(p->user.groups);
	free(p->user.group_names);
	free(p->args);
	free(p->env);
	free(p->rlimits);
	*p = (struct oci_process){ 0 };
}
