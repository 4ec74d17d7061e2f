/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/pipes.h"

#include <dirent.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "base/unix.h"
#include "engine/mount_points.h"
#include "engine/state.h"
#include "windows/layout.h"
#include "windows/process.h"

#define CONFIG_TEXT "invalid mount config for type \"npipe\": "

/* --- create ------------------------------------------------------------------------------------------------------- */

static bool is_socket(const char *path)
{
	struct stat st;

	return *path == '/' && path[1] != '/' && stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

static json_t *new_point(const char *source, const char *target, struct err *e)
{
	const char *name = windows_pipe_name(target);

	if (!windows_pipe_name(source) && !is_socket(source))
		err_set(e, ERR_INVALID, 0, CONFIG_TEXT "'%s' is not a valid pipe path", source);
	else if (!name)
		err_set(e, ERR_INVALID, 0, CONFIG_TEXT "'%s' is not a valid pipe path", target);
	else
		return json_pack("{s:s, s:s, s:o, s:s, s:s, s:b, s:s}", "Type", "npipe", "Source", source,
				 "Destination", json_sprintf(WINDOWS_PIPES "/%s", name), PIPE_NAME, name, "Mode", "",
				 "RW", 1, "Propagation", "");
	return NULL;
}

json_t *pipe_bind(const char *text, const char *source, const char *target, const char *mode, struct err *e)
{
	json_t *point = NULL;

	if (!target)
		err_set(e, ERR_INVALID, 0, "the source of a named pipe is missing");
	else if (mode && strcmp(mode, "rw") != 0)
		err_set(e, ERR_INVALID, 0, "invalid mode: %s", mode);
	else
		point = new_point(source, target, e);
	if (!point)
		err_prefix(e, "invalid volume specification: '%s'", text);
	return point;
}

json_t *pipe_mount(const json_t *mount, struct err *e)
{
	static const char *const extra[] = { "BindOptions", "VolumeOptions", "TmpfsOptions" };
	const char *source, *target;
	bool readonly;

	if (json_get_str(mount, "Source", "", &source, e) < 0 || json_get_str(mount, "Target", "", &target, e) < 0 ||
	    json_get_bool(mount, "ReadOnly", false, &readonly, e) < 0)
		return NULL;
	for (size_t i = 0; i < array_len(extra); i++) {
		if (json_object_size(json_member(mount, extra[i])) == 0)
			continue;
		err_set(e, ERR_INVALID, 0, CONFIG_TEXT "field %s must not be specified", extra[i]);
		return NULL;
	}
	if (*source && *target && !readonly)
		return new_point(source, target, e);
	err_set(e, ERR_INVALID, 0, CONFIG_TEXT "field %s must not be %s",
		!*source   ? "Source"
		: !*target ? "Target"
			   : "ReadOnly",
		*source && *target ? "specified" : "empty");
	return NULL;
}

bool pipes_wanted(const json_t *host)
{
	json_t *point;
	size_t i;

	json_array_foreach(json_object_get(host, MOUNT_POINTS), i, point)
		if (json_object_get(point, PIPE_NAME))
			return true;
	return false;
}

/* --- start -------------------------------------------------------------------------------------------------------- */

int pipes_make_places(const struct engine *g, struct err *e)
{
	autofree char *pipes = xasprintf("%s/pipes", g->exec_root);
	autofree char *meet = xasprintf("%s/meet", g->exec_root);

	return io_mkdir_all(pipes, 0755, e) || io_mkdir_all(meet, 0700, e) ? -1 : 0;
}

/* Windows doesn't tell upper from lower case in names of pipes. Heap string. */
static char *socket_of(const struct engine *g, const char *name)
{
	autofree char *dir = xasprintf("%s/pipes", g->exec_root);
	DIR *d = opendir(dir);
	char *found = NULL;

	for (struct dirent *entry; d && !found && (entry = readdir(d));)
		if (strcasecmp(entry->d_name, name) == 0)
			found = xasprintf("%s/%s", dir, entry->d_name);
	if (d)
		closedir(d);
	return found ? found : xasprintf("%s/%s", dir, name);
}

/* Rewrite the mount: from the pipe's name to the socket of this start. */
static void settle(const struct engine *g, const struct container *c, json_t *mount, const char *name, json_t *served)
{
	const char *source = json_str(mount, "source", ""), *host_name = windows_pipe_name(source);
	autofree char *path = host_name ? socket_of(g, host_name) : xstrdup(source);
	bool client = !host_name || unix_is_served(path);
	autofree char *meet = xasprintf("%s/meet/%.12s-%zu", g->exec_root, c->id, json_array_size(served));

	json_object_set_new(mount, "source", json_string(client ? path : meet));
	json_object_set_new(mount, "destination",
			    json_sprintf(WINDOWS_PIPES "/%s/%s", client ? "client" : "server", name));
	if (!client)
		json_array_append_new(served, json_pack("{s:s, s:s}", "listen", path, "meet", meet));
}

int pipes_settle(const struct engine *g, const struct container *c, json_t *spec, json_t *silo, bool files_only,
		 struct err *e)
{
	static const char prefix[] = WINDOWS_PIPES "/";
	json_t *mounts = json_object_get(spec, "mounts"), *served = json_array();

	json_object_set_new(silo, "pipes", served);
	if (pipes_make_places(g, e))
		return -1;
	for (size_t i = json_array_size(mounts); i-- > 0;) {
		json_t *mount = json_array_get(mounts, i);
		autofree char *destination = xstrdup(json_str(mount, "destination", ""));

		if (!str_starts(destination, prefix))
			continue;
		if (files_only)
			json_array_remove(mounts, i);
		else
			settle(g, c, mount, destination + strlen(prefix), served);
	}
	return 0;
}
