/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who "--user X" is, according to /etc/passwd and /etc/group of a container. No NSS: the files belong to the image and
 * are read as hostile text. Numbers are decimal digits only, 0..2147483647 (Docker's range), so "+0", " 0" or 2^32 are
 * never taken for root.
 */
#ifndef SILO_OS_USER_H
#define SILO_OS_USER_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

#define USER_GROUPS_MAX 1024

struct user_ids {
	uid_t uid;
	gid_t gid;
	gid_t groups[USER_GROUPS_MAX]; /* supplementary */
	size_t n_groups;
	char home[256]; /* "" = none found */
};

/**
 * user_resolve - pure: "user", "uid", "user:group", "uid:gid", ... against the text of both files.
 *
 * Docker's rules: digits are always a number; a known user without ":group" gets the groups that list it; an unknown
 * number is fine and has group 0. Texts of the errors are Docker's ("unable to find user X: no matching entries in
 * passwd file").
 */
int user_resolve(const char *spec, const char *passwd, const char *group, struct user_ids *out,
		 struct err *e) must_check;
/* One more supplementary group by name or number. */
int user_add_group(const char *name, const char *group, struct user_ids *ids, struct err *e) must_check;
/* Home directory of a uid; leaves home as it is when there is none. */
void user_find_home(uid_t uid, const char *passwd, char *home, size_t size);

#endif
