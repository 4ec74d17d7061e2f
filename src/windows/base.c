/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "image/digest.h"

#define RECIPE "3" /* counts changes of how the base is made that the programs in it don't show */
#define PROGRAM_BYTES_MAX (64 * MIB)

static int add_program(struct str *out, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char digest[DIGEST_MAX];
	autostr data;

	str_init(&data, PROGRAM_BYTES_MAX);
	if (io_read_file(AT_FDCWD, path, &data, e))
		return -1;
	digest_of(data.s ? data.s : "", data.len, digest);
	return str_printf(out, "%s %s\n", slash ? slash + 1 : path, digest)
		       ? err_set(e, ERR_LIMIT, 0, "too many programs")
		       : 0;
}

static int wanted(const struct dirent *d)
{
	return d->d_name[0] != '.' && (str_ends(d->d_name, ".exe") || str_ends(d->d_name, ".com") ||
				       str_ends(d->d_name, ".so.6") || str_ends(d->d_name, ".so"));
}

char *windows_base_stamp(const char *lib_dir, struct err *e)
{
	autofree char *guest = xasprintf("%s/guest", lib_dir);
	autofree char *winit = xasprintf("%s/silo-winit", lib_dir);
	struct dirent **names = NULL;
	int n = scandir(guest, &names, wanted, alphasort), failed = 0;
	char digest[DIGEST_MAX];
	autostr text;

	str_init(&text, MIB);
	str_puts(&text, RECIPE "\n");
	if (n < 0)
		failed = err_set(e, ERR_SYSTEM, errno, "%s", guest);
	else
		failed = add_program(&text, winit, e);
	for (int i = 0; i < n; i++) {
		autofree char *path = xasprintf("%s/%s", guest, names[i]->d_name);

		failed = failed || add_program(&text, path, e);
		free(names[i]);
	}
	free(names);
	digest_of(text.s, text.len, digest);
	return failed ? NULL : xstrdup(digest);
}

bool windows_base_ready(const char *path, const char *lib_dir)
{
	autofree char *expected = windows_base_stamp(lib_dir, NULL);
	autofree char *file = xasprintf("%s/" WINDOWS_BASE_STAMP, path);
	autojson *stamp = expected ? json_parse_file(AT_FDCWD, file, MIB, &(struct err){ 0 }) : NULL;

	return stamp && !strcmp(json_str(stamp, "stamp", ""), expected);
}
