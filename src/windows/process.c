/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/process.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "windows/layout.h"

#define COMMAND_BYTES_MAX (64 * KIB)

/* Docker's set without what a Windows program has no call for. NET_RAW: ping. */
static const char *const capabilities[] = { "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER",  "CAP_FSETID",
					    "CAP_KILL",  "CAP_NET_RAW",      "CAP_SETPCAP", "CAP_NET_BIND_SERVICE" };

/* Wine has one user, who may do everything: the names differ, the rights don't. */
static const char *const users[] = { "ContainerAdministrator", "ContainerUser", "root", "0" };

bool windows_is(const json_t *config)
{
	return json_is_string(json_object_get(config, WINDOWS_KEY));
}

/* --- command line --------------------------------------------------------------------------------------------------- */

static void add_backslashes(struct str *out, size_t n)
{
	while (n-- > 0)
		str_puts(out, "\\");
}

/* Source: Microsoft, "Parsing C command-line arguments". */
static void add_quoted(struct str *out, const char *arg)
{
	size_t slashes = 0;

	if (*arg && !strpbrk(arg, " \t\n\v\"")) {
		str_puts(out, arg);
		return;
	}
	str_puts(out, "\"");
	for (; *arg; arg++) {
		if (*arg == '\\') {
			slashes++;
			continue;
		}
		add_backslashes(out, *arg == '"' ? 2 * slashes + 1 : slashes);
		slashes = 0;
		str_add(out, arg, 1);
	}
	add_backslashes(out, 2 * slashes);
	str_puts(out, "\"");
}

char *windows_command_line(const json_t *args, bool escaped)
{
	json_t *arg;
	autostr out;
	size_t i;

	str_init(&out, COMMAND_BYTES_MAX);
	json_array_foreach((json_t *)(uintptr_t)args, i, arg) {
		if (i)
			str_puts(&out, " ");
		if (i == 0 && escaped)
			str_puts(&out, json_string_value(arg));
		else
			add_quoted(&out, json_string_value(arg));
	}
	return out.full ? NULL : str_take(&out);
}

/* --- paths ---------------------------------------------------------------------------------------------------------- */

static bool is_slash(char c)
{
	return c == '\\' || c == '/';
}

bool windows_path_has_drive(const char *path)
{
	return isalpha((unsigned char)path[0]) && path[1] == ':' && (is_slash(path[2]) || !path[2]);
}

/* "\\.\pipe\": the length, or 0. */
static size_t pipe_prefix(const char *path)
{
	bool is = is_slash(path[0]) && is_slash(path[1]) && path[2] == '.' && is_slash(path[3]) &&
		  !strncasecmp(path + 4, "pipe", 4) && is_slash(path[8]);

	return is ? 9 : 0;
}

const char *windows_pipe_name(const char *path)
{
	const char *name = path + pipe_prefix(path);

	if (name == path || !*name || *name == '.' || strlen(name) > WINDOWS_PIPE_NAME_MAX)
		return NULL;
	for (const char *at = name; *at; at++)
		if ((unsigned char)*at < ' ' || strchr("/\\:*?\"<>|", *at))
			return NULL;
	return name;
}

bool windows_pipe_split(const char *spec, char **source, char **target, char **mode)
{
	const char *colon = strchr(spec, ':'), *end;

	*source = *target = *mode = NULL;
	if (!pipe_prefix(spec) && (!colon || !pipe_prefix(colon + 1)))
		return false;
	*source = xstrndup(spec, colon ? (size_t)(colon - spec) : strlen(spec));
	if (!colon)
		return true;
	end = windows_path_has_drive(colon + 1) ? strchr(colon + 3, ':') : strchr(colon + 1, ':');
	*target = xstrndup(colon + 1, end ? (size_t)(end - colon - 1) : strlen(colon + 1));
	*mode = end ? xstrdup(end + 1) : NULL;
	return true;
}

char *windows_path(const char *path, struct err *e)
{
	bool drive = windows_path_has_drive(path);
	char letter = drive ? (char)tolower((unsigned char)path[0]) : 'c';
	const char *rest = drive ? path + 2 : path;
	char *out;

	if (letter == 'c' && drive && !rest[rest[0] != '\0']) {
		err_set(e, ERR_INVALID, 0, "destination path (%s) cannot be 'c:' or 'c:\\'", path);
		return NULL;
	}
	if ((!drive && !is_slash(*rest)) || (is_slash(rest[0]) && is_slash(rest[1])) || strstr(rest, "..")) {
		err_set(e, ERR_INVALID, 0, "invalid volume specification: '%s'", path);
		return NULL;
	}
	out = letter == 'c' ? xasprintf(WINDOWS_DRIVE_C "%s", rest) : xasprintf(WINDOWS_DRIVES "/%c%s", letter, rest);
	for (char *at = out; *at; at++)
		if (*at == '\\')
			*at = '/';
	for (size_t n = strlen(out); n > 1 && out[n - 1] == '/'; n--)
		out[n - 1] = '\0';
	return out;
}

char *windows_path_shown(const char *path)
{
	static const char drives[] = WINDOWS_DRIVES "/";
	char *out;

	if (str_starts(path, WINDOWS_DRIVE_C "/"))
		out = xasprintf("C:%s", path + strlen(WINDOWS_DRIVE_C));
	else if (str_starts(path, drives) && path[strlen(drives)])
		out = xasprintf("%c:%s", toupper((unsigned char)path[strlen(drives)]),
				path[strlen(drives) + 1] ? path + strlen(drives) + 1 : "\\");
	else
		return xstrdup(path);
	for (char *at = out; *at; at++)
		if (*at == '/')
			*at = '\\';
	return out;
}

char *windows_bind(const char *text, struct err *e)
{
	const char *destination = text;
	bool drive;
	size_t n;

	if (!windows_path_has_drive(text) && text[strcspn(text, ":")])
		destination = text + strcspn(text, ":") + 1;
	drive = isalpha((unsigned char)destination[0]) && destination[1] == ':';
	n = drive ? 2 + strcspn(destination + 2, ":") : strcspn(destination, ":");
	autofree char *wanted = xstrndup(destination, n);
	autofree char *path = windows_path(wanted, e);

	return path ? xasprintf("%.*s%s%s", (int)(destination - text), text, path, destination + n) : NULL;
}

/* --- process -------------------------------------------------------------------------------------------------------- */

static int check_user(const char *name, struct err *e)
{
	for (size_t i = 0; i < array_len(users); i++)
		if (!strcasecmp(users[i], name))
			return 0;
	return *name ? err_set(e, ERR_INVALID, 0,
			       "unable to find user %s: a Windows container has ContainerAdministrator and "
			       "ContainerUser",
			       name)
		     : 0;
}

/* As Windows writes it: a drive and backslashes. */
static char *directory(const char *cwd)
{
	char *out = windows_path_has_drive(cwd) ? xstrdup(cwd)
						: xasprintf("C:%s%s", is_slash(*cwd) || !*cwd ? "" : "\\", cwd);

	for (char *at = out; *at; at++)
		if (*at == '/')
			*at = '\\';
	if (!out[2]) {
		char *whole = xasprintf("%s\\", out);

		own_free(&out);
		return whole;
	}
	return out;
}

static json_t *caps_object(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < array_len(capabilities); i++)
		json_array_append_new(list, json_string(capabilities[i]));
	return json_pack("{s:O, s:O, s:o, s:[], s:[]}", "bounding", list, "effective", list, "permitted", list,
			 "inheritable", "ambient");
}

int windows_process(json_t *process, bool escaped, struct err *e)
{
	json_t *user = json_object_get(process, "user");
	const char *name = json_str(user, "username", "");
	autofree char *command = windows_command_line(json_object_get(process, "args"), escaped);
	autofree char *cwd = directory(json_str(process, "cwd", ""));

	if (check_user(name, e))
		return -1;
	if (!command)
		return err_set(e, ERR_LIMIT, 0, "the command line is longer than Windows allows");
	json_object_set_new(process, "args",
			    json_pack("[s, s, s, s, s, s]", WINDOWS_INIT, "--cwd", cwd, "--user",
				      strcasecmp(name, "ContainerUser") ? "ContainerAdministrator" : "ContainerUser",
				      command));
	json_object_set_new(process, "cwd", json_string("/"));
	json_object_set_new(process, "user", json_pack("{s:i, s:i}", "uid", 0, "gid", 0));
	json_object_set_new(process, "capabilities", caps_object());
	json_object_set_new(process, "noNewPrivileges", json_true());
	json_object_set_new(process, "reportsExit", json_true());
	return 0;
}
