/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/user.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ID_MAX 2147483647ull
#define FIELDS_MAX 7
#define NO_ID (-1)

/* One piece of the text: not NUL-terminated. */
struct slice {
	const char *s;
	size_t n;
};

static struct slice slice_of(const char *s)
{
	return (struct slice){ s, strlen(s) };
}

static bool slice_is(struct slice a, struct slice b)
{
	return a.n == b.n && !memcmp(a.s, b.s, a.n);
}

static bool is_digits(struct slice t)
{
	for (size_t i = 0; i < t.n; i++) {
		if (t.s[i] < '0' || t.s[i] > '9')
			return false;
	}
	return t.n > 0;
}

/* Value, or NO_ID when it isn't a number in range. */
static int64_t parse_id(struct slice t)
{
	uint64_t v = 0;

	if (!is_digits(t))
		return NO_ID;
	for (size_t i = 0; i < t.n; i++) {
		v = v * 10 + (uint64_t)(t.s[i] - '0');
		if (v > ID_MAX)
			return NO_ID;
	}
	return (int64_t)v;
}

/* Next line of *text taken apart at ':'. Missing fields are empty. False at the end. */
static bool next_entry(const char **text, struct slice field[static FIELDS_MAX])
{
	const char *p = *text;
	const char *end;

	if (!*p)
		return false;
	end = p + strcspn(p, "\n");
	*text = *end ? end + 1 : end;
	for (size_t i = 0; i < FIELDS_MAX; i++) {
		const char *colon = p < end ? memchr(p, ':', (size_t)(end - p)) : NULL;
		const char *stop = colon && i + 1 < FIELDS_MAX ? colon : end;

		field[i] = (struct slice){ p, (size_t)(stop - p) };
		p = stop < end ? stop + 1 : end;
	}
	return true;
}

/* Whether name is an element of the comma-separated list. */
static bool list_has(struct slice list, struct slice name)
{
	const char *p = list.s;
	const char *end = list.s + list.n;

	while (p <= end && name.n) {
		const char *comma = p < end ? memchr(p, ',', (size_t)(end - p)) : NULL;
		const char *stop = comma ? comma : end;

		if (slice_is((struct slice){ p, (size_t)(stop - p) }, name))
			return true;
		p = stop + 1;
	}
	return false;
}

static int out_of_range(struct slice what, struct err *e)
{
	return err_set(e, ERR_SYSTEM, 0, "uids and gids must be in range 0-%llu: %.*s", ID_MAX, (int)what.n, what.s);
}

static int add_group(struct user_ids *ids, gid_t gid, struct err *e)
{
	for (size_t i = 0; i < ids->n_groups; i++) {
		if (ids->groups[i] == gid)
			return 0;
	}
	if (ids->n_groups == USER_GROUPS_MAX)
		return err_set(e, ERR_LIMIT, 0, "more than %d supplementary groups", USER_GROUPS_MAX);
	ids->groups[ids->n_groups++] = gid;
	return 0;
}

static void copy_home(struct slice home, char *out, size_t size)
{
	if (home.n == 0 || home.n >= size || home.s[0] != '/')
		return;
	memcpy(out, home.s, home.n);
	out[home.n] = '\0';
}

/* name:passwd:uid:gid:gecos:home:shell. Fills uid, gid, home; *name is empty when no entry matched. */
static int find_user(struct slice user, const char *passwd, struct user_ids *out, struct slice *name, struct err *e)
{
	bool numeric = is_digits(user);
	int64_t wanted = user.n ? parse_id(user) : 0;
	struct slice f[FIELDS_MAX];

	*name = (struct slice){ "", 0 };
	if (numeric && wanted == NO_ID)
		return out_of_range(user, e);
	while (next_entry(&passwd, f)) {
		int64_t uid = parse_id(f[2]);
		int64_t gid = parse_id(f[3]);

		if (uid == NO_ID || gid == NO_ID || !f[0].n)
			continue;
		if (numeric || !user.n ? uid != wanted : !slice_is(f[0], user))
			continue;
		out->uid = (uid_t)uid;
		out->gid = (gid_t)gid;
		copy_home(f[5], out->home, sizeof(out->home));
		*name = f[0];
		return 0;
	}
	if (user.n && !numeric)
		return err_set(e, ERR_SYSTEM, 0, "unable to find user %.*s: no matching entries in passwd file",
			       (int)user.n, user.s);
	out->uid = (uid_t)wanted;
	return 0;
}

/* Number of a group by name or digits. name:passwd:gid:members. */
static int find_group(struct slice group, const char *text, gid_t *out, struct err *e)
{
	int64_t gid = parse_id(group);
	struct slice f[FIELDS_MAX];

	if (is_digits(group)) {
		if (gid == NO_ID)
			return out_of_range(group, e);
		*out = (gid_t)gid;
		return 0;
	}
	while (next_entry(&text, f)) {
		gid = parse_id(f[2]);
		if (gid != NO_ID && slice_is(f[0], group)) {
			*out = (gid_t)gid;
			return 0;
		}
	}
	return err_set(e, ERR_SYSTEM, 0, "unable to find group %.*s: no matching entries in group file", (int)group.n,
		       group.s);
}

static int find_memberships(struct slice name, const char *text, struct user_ids *out, struct err *e)
{
	struct slice f[FIELDS_MAX];

	while (next_entry(&text, f)) {
		int64_t gid = parse_id(f[2]);

		if (gid != NO_ID && list_has(f[3], name) && add_group(out, (gid_t)gid, e))
			return -1;
	}
	return 0;
}

int user_resolve(const char *spec, const char *passwd, const char *group, struct user_ids *out, struct err *e)
{
	size_t n = strcspn(spec, ":");
	struct slice user = { spec, n };
	struct slice wanted_group = slice_of(spec[n] ? spec + n + 1 : "");
	struct slice name;

	out->uid = 0;
	out->gid = 0;
	out->n_groups = 0;
	out->home[0] = '\0';
	if (find_user(user, passwd, out, &name, e))
		return -1;
	if (wanted_group.n)
		return find_group(wanted_group, group, &out->gid, e);
	return name.n ? find_memberships(name, group, out, e) : 0;
}

int user_add_group(const char *name, const char *group, struct user_ids *ids, struct err *e)
{
	gid_t gid;

	if (find_group(slice_of(name), group, &gid, e))
		return -1;
	return add_group(ids, gid, e);
}

void user_find_home(uid_t uid, const char *passwd, char *home, size_t size)
{
	struct slice f[FIELDS_MAX];

	while (next_entry(&passwd, f)) {
		if (f[0].n && parse_id(f[2]) == (int64_t)uid) {
			copy_home(f[5], home, size);
			return;
		}
	}
}
