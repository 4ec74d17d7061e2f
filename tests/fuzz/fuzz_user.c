/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* "--user" text, /etc/passwd and /etc/group of a hostile image, divided by NUL bytes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "os/user.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct user_ids ids;
	autofree char *text = xcalloc(1, n + 3);
	const char *passwd, *group;
	struct err e = { 0 };

	memcpy(text, data, n);
	passwd = text + strlen(text) + 1;
	group = passwd > text + n ? text + n : passwd + strlen(passwd) + 1;
	if (passwd > text + n)
		passwd = text + n;
	if (group > text + n)
		group = text + n;
	if (user_resolve(text, passwd, group, &ids, &e)) {
		if (e.kind == ERR_NONE)
			abort();
		return 0;
	}
	/* Ids are in Docker's range, a number means itself, nobody but the image's own entry or 0 is root. */
	if (ids.uid > INT32_MAX || ids.gid > INT32_MAX || ids.n_groups > USER_GROUPS_MAX)
		abort();
	if (text[0] && strspn(text, "0123456789") == strlen(text) && strtoull(text, NULL, 10) != ids.uid)
		abort();
	if (strspn(text, "+- \t") && !strstr(passwd, text) && !strchr(text, ':'))
		abort();
	return 0;
}
