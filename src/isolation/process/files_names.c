/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of files as Windows has them: without regard to case, with backslashes. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"
#include "isolation/process/files.h"
#include "os/root.h"

/* What `name` is called in the directory `path`: itself where it is there, else one that differs in case only. Heap string. */
static char *spell_one(const struct files *f, const char *path, const char *name)
{
	int dir = root_try_open(f->root, *path ? path : "/", O_RDONLY | O_DIRECTORY, 0, 0);
	DIR *list = dir < 0 ? NULL : fdopendir(dir);
	char *found = NULL;
	struct stat st;

	if (!list) {
		close_fd(&dir);
		return xstrdup(name);
	}
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		for (struct dirent *d; !found && (d = readdir(list));)
			if (strcasecmp(d->d_name, name) == 0)
				found = xstrdup(d->d_name);
	closedir(list);
	return found ? found : xstrdup(name);
}

/* What is opened afterwards is looked up anew, inside the root: the tree may have changed meanwhile. */
char *files_spell(const struct files *f, const char *path)
{
	autofree char *copy = xstrdup(path);
	char *out = xstrdup(""), *rest = copy + 1, *part; /* behind the first slash */

	while ((part = strsep(&rest, "/"))) {
		autofree char *before = out;
		autofree char *name = *part && strcmp(part, ".") != 0 ? spell_one(f, before, part) : xstrdup(part);

		out = xasprintf("%s/%s", before, name);
	}
	return out;
}

void files_windows_name(const char *name, char out[static TAR_NAME_MAX])
{
	bool drive = isalpha((unsigned char)name[0]) && name[1] == ':';

	snprintf(out, TAR_NAME_MAX, "%s", drive ? name + 2 : name);
	for (char *at = out; *at; at++)
		if (*at == '\\')
			*at = '/';
}
