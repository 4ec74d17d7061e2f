/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* docker cp, diff, export: the Engine API's view of a container's files. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/mount_points.h"
#include "engine/state.h"
#include "engine/talk.h"
#include "image/compression.h"
#include "os/root.h"
#include "windows/layout.h"
#include "windows/process.h"

#define CHUNK_BYTES (128 * KIB)
#define CHANGES_BYTES_MAX (64 * MIB)

/* Docker's text for a path that isn't there. */
static int file_error(const char *ref, const char *path, struct err *e)
{
	if (e->kind == ERR_NOT_FOUND && e->sys)
		return err_set(e, ERR_NOT_FOUND, 0, "Could not find the file %.300s in container %.128s", path, ref);
	return -1;
}

/* Where a path of Windows is, in any form: relative ones begin at "C:\\". ".." ends at the drive's root. */
static char *windows_file(const char *path)
{
	bool drive = windows_path_has_drive(path);
	autofree char *rest = xasprintf("/%s", drive ? path + 2 : path);
	size_t n;

	for (char *at = rest; *at; at++)
		if (*at == '\\')
			*at = '/';
	n = strlen(rest);
	autofree char *clean = path_clean(rest);
	const char *end = str_ends(rest, "/.") ? "/." : rest[n - 1] == '/' ? "/" : "";
	const char *shown = strcmp(clean, "/") == 0 ? "" : clean;

	if (!drive || tolower((unsigned char)*path) == 'c')
		return xasprintf(WINDOWS_DRIVE_C "%s%s", shown, end);
	return xasprintf(WINDOWS_DRIVES "/%c%s%s", tolower((unsigned char)*path), shown, end);
}

/* A request for a path; in a Windows container it is one of Windows. */
static json_t *path_request(struct container *c, const char *op, const char *path)
{
	autojson *config = c ? record_config(c) : NULL;
	bool windows = config && windows_is(config);
	autofree char *place = windows ? windows_file(path) : xstrdup(path);

	return json_pack("{s:s, s:s, s:b}", "op", op, "path", place, "windows", windows);
}

/* A guest may say anything: what is handed on has the form that it must have. */
static json_t *checked_stat(const json_t *head, struct err *e)
{
	const json_t *stat = json_object_get(head, "stat");
	json_t *out = json_pack("{s:s, s:I, s:I, s:s, s:s}", "name", json_str(stat, "name", ""), "size",
				(json_int_t)json_int(stat, "size", 0), "mode",
				(json_int_t)(json_int(stat, "mode", 0) & UINT32_MAX), "mtime",
				json_str(stat, "mtime", "0001-01-01T00:00:00Z"), "linkTarget",
				json_str(stat, "linkTarget", ""));

	if (!json_is_object(stat) || !out) {
		json_decref(out);
		err_set(e, ERR_SYSTEM, 0, "the answer about a file is none");
		return NULL;
	}
	return out;
}

static int copy_out(struct talk *t, engine_sink_fn *sink, void *arg, struct err *e)
{
	autofree char *buf = xmalloc(CHUNK_BYTES);
	ssize_t n;

	while ((n = talk_read(t, buf, CHUNK_BYTES, e)) > 0)
		if (sink(arg, buf, (size_t)n))
			return err_set(e, ERR_TIMEOUT, 0, "client has left");
	return n < 0 ? -1 : 0;
}

json_t *engine_archive_stat(struct engine *g, const char *ref, const char *path, struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	autojson *request = path_request(c, "stat", path);
	autojson *head = NULL;
	struct talk t;
	json_t *stat;

	if (!c)
		return NULL;
	if (talk_open(&t, g, c, request, false, &head, e)) {
		file_error(ref, path, e);
		return NULL;
	}
	stat = checked_stat(head, e);
	talk_close(&t);
	return stat;
}

int engine_archive_get(struct engine *g, const char *ref, const char *path, int (*begin)(void *arg, const json_t *stat),
		       engine_sink_fn *sink, void *arg, struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	autojson *request = path_request(c, "get", path);
	autojson *head = NULL;
	autojson *stat = NULL;
	struct talk t;
	int rc;

	if (!c)
		return -1;
	if (talk_open(&t, g, c, request, false, &head, e))
		return file_error(ref, path, e);
	stat = checked_stat(head, e);
	container_event(g, c, "archive-path", NULL);
	rc = !stat || begin(arg, stat) || copy_out(&t, sink, arg, e);
	talk_close(&t);
	return rc ? -1 : 0;
}

/* Docker's rule: what isn't in a volume is the root file system, and either may be read-only. */
static int check_writable(struct container *c, const char *resolved, struct err *e)
{
	autojson *host = record_host(c);
	json_t *points = json_object_get(host, MOUNT_POINTS), *point;
	const json_t *best = NULL;
	size_t i;

	json_array_foreach(points, i, point) {
		const char *destination = json_str(point, "Destination", "");

		if (path_is_below(resolved, destination) &&
		    strlen(destination) >= strlen(json_str(best, "Destination", "")))
			best = point;
	}
	if (best && !json_bool(best, "RW", true))
		return err_set(e, ERR_FORBIDDEN, 0, "mounted volume is marked read-only");
	if (!best && json_bool(host, "ReadonlyRootfs", false))
		return err_set(e, ERR_FORBIDDEN, 0, "container rootfs is marked read-only");
	return 0;
}

/* By its first bytes, which stay unread. fd: a socket. */
static bool is_compressed(int fd)
{
	char head[COMPRESSION_HEAD];
	ssize_t n = recv(fd, head, sizeof(head), MSG_PEEK);

	return n > 0 && compression_of(head, (size_t)n) != COMPRESSION_NONE;
}

static int send_archive(struct talk *t, int fd, struct err *e)
{
	struct image_inflate *x;
	struct err damaged = { 0 };
	int plain, rc;

	if (!is_compressed(fd))
		return talk_send(t, fd, e);
	x = image_inflate_new(t->g->images, fd, &plain, e);
	if (!x)
		return -1;
	rc = talk_send(t, plain, e);
	close_fd(&plain);
	/* What the helper says is the cause, if it says anything: a tar that ends too early is what follows. */
	if (image_inflate_end(x, &damaged) && rc && e->kind == ERR_INVALID)
		*e = damaged;
	return rc;
}

int engine_archive_put(struct engine *g, const char *ref, const char *path, bool no_overwrite, bool copy_owner, int fd,
		       struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	autojson *config = c ? record_config(c) : NULL;
	const char *user = json_str(config, "User", "");
	autojson *request = path_request(c, "put", path);
	autojson *head = NULL;
	struct talk t;
	int rc;

	if (!c)
		return -1;
	json_object_set_new(request, "no_overwrite", json_boolean(no_overwrite));
	if (copy_owner && *user && !windows_is(config))
		json_object_set_new(request, "owner", json_string(user));
	if (talk_open(&t, g, c, request, true, &head, e))
		return file_error(ref, path, e);
	rc = check_writable(c, json_str(head, "resolved", ""), e) || send_archive(&t, fd, e);
	talk_close(&t);
	if (!rc)
		container_event(g, c, "extract-to-dir", NULL);
	return rc ? -1 : 0;
}

int engine_container_export(struct engine *g, const char *ref, engine_sink_fn *sink, void *arg, struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	autojson *request = json_pack("{s:s}", "op", "export");
	autojson *head = NULL;
	struct talk t;
	int rc;

	if (!c || talk_open(&t, g, c, request, false, &head, e))
		return -1;
	rc = copy_out(&t, sink, arg, e);
	talk_close(&t);
	if (!rc)
		container_event(g, c, "export", NULL);
	return rc;
}

static int add_text(void *arg, const void *data, size_t n)
{
	return str_add(arg, data, n);
}

json_t *engine_container_changes(struct engine *g, const char *ref, struct err *e)
{
	autorecord *c = table_find(g, ref, e);
	autojson *request = json_pack("{s:s}", "op", "diff");
	autojson *head = NULL;
	autojson *list = json_array();
	struct talk t;
	char *save = NULL;
	autostr text;
	int rc;

	str_init(&text, CHANGES_BYTES_MAX);
	if (!c || talk_open(&t, g, c, request, false, &head, e))
		return NULL;
	rc = copy_out(&t, add_text, &text, e);
	talk_close(&t);
	if (text.full)
		err_set(e, ERR_LIMIT, 0, "container %s has too many changes to list", ref);
	if (rc)
		return NULL;
	for (char *line = text.s ? strtok_r(text.s, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		autojson *change = json_parse(line, strlen(line), "change", e);
		const char *path = json_str(change, "Path", NULL);

		if (!path)
			return e->kind ? NULL : (err_set(e, ERR_SYSTEM, 0, "a change without a path"), NULL);
		json_array_append_new(
			list, json_pack("{s:s, s:I}", "Path", path, "Kind", (json_int_t)json_int(change, "Kind", 0)));
	}
	/* Docker sends null for none. */
	return json_array_size(list) ? json_incref(list) : json_null();
}
