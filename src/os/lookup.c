/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/lookup.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

const char *lookup_env(const char *const *env, const char *name)
{
	size_t n = strlen(name);
	const char *found = NULL;

	for (; env && *env; env++) {
		if (!strncmp(*env, name, n) && (*env)[n] == '=')
			found = *env + n + 1;
	}
	return found;
}

void lookup_go_error(int sys, char out[static 128])
{
	snprintf(out, 128, "%s", strerror(sys));
	out[0] = (char)tolower((unsigned char)out[0]);
}

/* 0, or errno: EISDIR, EACCES or what stat said. */
static int check_executable(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return errno;
	if (S_ISDIR(st.st_mode))
		return EISDIR;
	if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS))
		return EACCES;
	return st.st_mode & 0111 ? 0 : EACCES;
}

static int lookup_path_error(const char *name, int sys, struct err *e)
{
	char text[128];

	lookup_go_error(sys, text);
	if (sys == EISDIR || sys == EACCES)
		return err_set(e, ERR_NOT_EXECUTABLE, 0, "exec: \"%s\": %s", name, text);
	return err_set(e, sys == ENOENT || sys == ENOTDIR ? ERR_NO_COMMAND : ERR_NOT_EXECUTABLE, 0,
		       "exec: \"%s\": stat %s: %s", name, name, text);
}

int lookup_command(const char *name, const char *const *env, char *path, size_t size, struct err *e)
{
	const char *dirs = lookup_env(env, "PATH");
	int sys;

	if (strchr(name, '/')) {
		sys = check_executable(name);
		if (sys)
			return lookup_path_error(name, sys, e);
		if ((size_t)snprintf(path, size, "%s", name) >= size)
			return lookup_path_error(name, ENAMETOOLONG, e);
		return 0;
	}
	for (const char *p = dirs ? dirs : PATH_DEFAULT; *name && *p;) {
		size_t n = strcspn(p, ":");

		/* An empty or relative element would mean the working directory: Go refuses those. */
		if (*p == '/' && (size_t)snprintf(path, size, "%.*s/%s", (int)n, p, name) < size &&
		    !check_executable(path))
			return 0;
		p += n + (p[n] == ':');
	}
	return err_set(e, ERR_NO_COMMAND, 0, "exec: \"%s\": executable file not found in $PATH", name);
}

int lookup_exec_error(const char *path, int sys, struct err *e)
{
	char text[128];

	lookup_go_error(sys, text);
	return err_set(e, sys == ENOENT || sys == ENOTDIR ? ERR_NO_COMMAND : ERR_NOT_EXECUTABLE, 0, "exec %s: %s", path,
		       text);
}
