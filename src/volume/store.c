/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "volume/volume.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "os/mount.h"
#include "volume/local.h"

#define SIZE_DEPTH_MAX 512

struct volume_store {
	char *dir, *tmp; /* ROOT/volumes, ROOT/tmp */
	struct db *db;
	pthread_mutex_t lock;
	json_t *mounted; /* set of names whose options are mounted; this process's mount namespace is its own */
};

void volume_lock(struct volume_store *s)
{
	pthread_mutex_lock(&s->lock);
}

void volume_unlock(struct volume_store *s)
{
	pthread_mutex_unlock(&s->lock);
}

char *volume_path(const struct volume_store *s, const char *name)
{
	return xasprintf("%s/%s/_data", s->dir, name);
}

int volume_check_name(const char *name, struct err *e)
{
	bool good = isalnum((unsigned char)*name);

	for (const char *p = name; *p; p++)
		good = good && (isalnum((unsigned char)*p) || strchr("_.-", *p));
	if (strlen(name) == 1)
		return err_set(
			e, ERR_INVALID, 0,
			"create %s: volume name is too short, names should be at least two alphanumeric characters",
			name);
	if (!good || strlen(name) > VOLUME_NAME_MAX)
		return err_set(
			e, ERR_INVALID, 0,
			"create %.200s: \"%.200s\" includes invalid characters for a local volume name, only "
			"\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use "
			"absolute path",
			name, name);
	return 0;
}

/* --- open, close ----------------------------------------------------------------------------------------------------- */

/* Remove a directory of ROOT/volumes: out of sight first, so that a crash leaves nothing half there. */
static void discard(struct volume_store *s, const char *name)
{
	autofree char *from = xasprintf("%s/%s", s->dir, name);
	autofree char *aside = xasprintf("%s/volume-%s", s->tmp, name);
	struct err e = { 0 };

	io_remove_tree(AT_FDCWD, aside, NULL);
	if (rename(from, aside) < 0 && errno != ENOENT)
		log_warn("rename %s: %s", from, strerror(errno));
	else if (io_remove_tree(AT_FDCWD, aside, &e) < 0)
		log_warn("remove %s: %s", aside, e.msg);
}

static int sweep(struct volume_store *s, struct err *e)
{
	autojson *rows = db_rows(s->db, e, "SELECT name FROM volumes", "");
	autojson *known = json_object();
	DIR *d = rows ? opendir(s->dir) : NULL;
	struct dirent *entry;
	json_t *row;
	size_t i;

	if (!d)
		return rows ? err_set(e, ERR_SYSTEM, errno, "open %s", s->dir) : -1;
	json_array_foreach(rows, i, row)
		json_object_set_new(known, json_str(row, "name", ""), json_true());
	while ((entry = readdir(d))) {
		if (entry->d_name[0] != '.' && !json_object_get(known, entry->d_name))
			discard(s, entry->d_name);
	}
	closedir(d);
	return 0;
}

struct volume_store *volume_store_open(const char *root, struct db *db, struct err *e)
{
	struct volume_store *s = xcalloc(1, sizeof(*s));
	pthread_mutexattr_t recursive;

	s->dir = xasprintf("%s/volumes", root);
	s->tmp = xasprintf("%s/tmp", root);
	s->db = db;
	s->mounted = json_object();
	pthread_mutexattr_init(&recursive);
	pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&s->lock, &recursive);
	pthread_mutexattr_destroy(&recursive);
	if (io_mkdir_all(s->dir, 0701, e) == 0 && io_mkdir_all(s->tmp, 0700, e) == 0 &&
	    db_exec(db, e,
		    "CREATE TABLE IF NOT EXISTS volumes(name TEXT PRIMARY KEY, created TEXT NOT NULL, options TEXT NOT "
		    "NULL, "
		    "labels TEXT NOT NULL) WITHOUT ROWID",
		    "") == 0 &&
	    sweep(s, e) == 0)
		return s;
	volume_store_close(s);
	return NULL;
}

void volume_store_close(struct volume_store *s)
{
	if (!s)
		return;
	json_decref(s->mounted);
	pthread_mutex_destroy(&s->lock);
	free(s->dir);
	free(s->tmp);
	free(s);
}

/* --- records ---------------------------------------------------------------------------------------------------------- */

static json_t *volume_json(struct volume_store *s, const json_t *row)
{
	const char *name = json_str(row, "name", ""), *options = json_str(row, "options", "");
	const char *labels = json_str(row, "labels", "");
	autofree char *path = volume_path(s, name);

	return json_pack("{s:s, s:s, s:o, s:s, s:s, s:o, s:s}", "CreatedAt", json_str(row, "created", ""), "Driver",
			 "local", "Labels", json_loads(labels, JSON_DECODE_ANY, NULL), "Mountpoint", path, "Name", name,
			 "Options", json_loads(options, JSON_DECODE_ANY, NULL), "Scope", "local");
}

/* The volume, or NULL: *e is set only when the database failed. */
static json_t *look_up(struct volume_store *s, const char *name, struct err *e)
{
	autojson *rows = db_rows(s->db, e, "SELECT * FROM volumes WHERE name = ?", "s", name);

	return json_array_size(rows) ? volume_json(s, json_array_get(rows, 0)) : NULL;
}

json_t *volume_get(struct volume_store *s, const char *name, struct err *e)
{
	struct err why = { 0 };
	json_t *v = look_up(s, name, &why);

	if (!v && why.kind)
		*e = why;
	else if (!v)
		err_set(e, ERR_NOT_FOUND, 0, "get %.200s: no such volume", name);
	return v;
}

json_t *volume_list(struct volume_store *s, struct err *e)
{
	autojson *rows = db_rows(s->db, e, "SELECT * FROM volumes ORDER BY name", "");
	json_t *list = rows ? json_array() : NULL, *row;
	size_t i;

	json_array_foreach(rows, i, row)
		json_array_append_new(list, volume_json(s, row));
	return list;
}

/* Made aside and renamed: the directory is there as a whole or not at all. */
static int make_dir(struct volume_store *s, const char *name, struct err *e)
{
	autofree char *aside = xasprintf("%s/volume-XXXXXX", s->tmp);
	autofree char *path = xasprintf("%s/%s", s->dir, name);
	autofree char *data = NULL;

	if (!mkdtemp(aside))
		return err_set(e, ERR_SYSTEM, errno, "create %s", aside);
	data = xasprintf("%s/_data", aside);
	/* 0701: users of containers reach their files, nobody lists the volumes. */
	if (chmod(aside, 0701) < 0 || mkdir(data, 0755) < 0 || chmod(data, 0755) < 0 || rename(aside, path) < 0) {
		err_set(e, ERR_SYSTEM, errno, "create %s", path);
		io_remove_tree(AT_FDCWD, aside, NULL);
		return -1;
	}
	return 0;
}

static char *text_or(const json_t *object, const char *empty)
{
	return json_object_size(object) ? json_text(object) : xstrdup(empty);
}

static int insert(struct volume_store *s, const struct volume_new *v, struct err *e)
{
	autofree char *options = text_or(v->options, "null");
	autofree char *labels = text_or(v->labels, "null");
	struct timespec now = time_now();
	char created[TIME_TEXT_MAX];
	char *dot;

	time_format(&now, created);
	dot = strchr(created, '.');
	if (dot)
		strcpy(dot, "Z"); /* seconds, as Docker shows it */
	if (db_begin(s->db, true, e) < 0)
		return -1;
	if (db_exec(s->db, e, "INSERT INTO volumes(name, created, options, labels) VALUES(?, ?, ?, ?)", "ssss", v->name,
		    created, options, labels) < 0) {
		db_end(s->db, false, NULL);
		return -1;
	}
	return db_end(s->db, true, e);
}

static json_t *make(struct volume_store *s, const struct volume_new *v, struct err *e)
{
	if (volume_check_options(v->options, e) < 0) {
		err_prefix(e, "create %s", v->name);
		return NULL;
	}
	discard(s, v->name);
	if (make_dir(s, v->name, e) < 0)
		return NULL;
	if (insert(s, v, e) < 0) {
		discard(s, v->name);
		return NULL;
	}
	return look_up(s, v->name, e);
}

json_t *volume_create(struct volume_store *s, const struct volume_new *v, bool *made, struct err *e)
{
	struct err why = { 0 };
	json_t *found;

	if (made)
		*made = false;
	if (v->driver && *v->driver && strcmp(v->driver, "local") != 0) {
		err_set(e, ERR_NOT_FOUND, 0,
			"create %.100s: error looking up volume plugin %.100s: plugin \"%.100s\" not found", v->name,
			v->driver, v->driver);
		return NULL;
	}
	if (volume_check_name(v->name, e) < 0)
		return NULL;
	volume_lock(s);
	found = look_up(s, v->name, &why);
	if (!found && why.kind) {
		*e = why;
	} else if (!found) {
		found = make(s, v, e);
		if (made)
			*made = found != NULL;
	}
	volume_unlock(s);
	return found;
}

int volume_remove(struct volume_store *s, const char *name, struct err *e)
{
	int rc;

	volume_lock(s);
	volume_unmount(s, name);
	rc = db_begin(s->db, true, e);
	if (rc == 0) {
		rc = db_exec(s->db, e, "DELETE FROM volumes WHERE name = ?", "s", name);
		if (db_end(s->db, rc == 0, rc == 0 ? e : NULL) < 0)
			rc = -1;
	}
	if (rc == 0)
		discard(s, name);
	volume_unlock(s);
	return rc;
}

/* --- mounts of options -------------------------------------------------------------------------------------------------- */

static int adopt(const char *path, int mount_ns, struct err *e)
{
	autoclose int mount = mount_clone_in(mount_ns, path, e);
	autoclose int target = mount < 0 ? -1 : open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (mount >= 0 && target < 0)
		return err_set(e, ERR_SYSTEM, errno, "open %s", path);
	return mount < 0 ? -1 : mount_attach(mount, target, e);
}

/* What has options is mounted once: by them, or as it is in the mount namespace of another process. */
static int mount_once(struct volume_store *s, const char *name, int mount_ns, struct err *e)
{
	autofree char *path = volume_path(s, name);
	autojson *v = volume_get(s, name, e);
	const json_t *options = json_object_get(v, "Options");

	if (!v)
		return -1;
	if (!json_object_size(options) || json_object_get(s->mounted, name))
		return 0;
	if (mount_ns < 0 && local_mount(options, path, e) < 0)
		return err_prefix(e, "error while mounting volume '%s'", path);
	if (mount_ns >= 0 && adopt(path, mount_ns, e) < 0)
		return -1;
	json_object_set_new(s->mounted, name, json_true());
	return 0;
}

int volume_mount(struct volume_store *s, const char *name, struct err *e)
{
	int rc;

	volume_lock(s);
	rc = mount_once(s, name, -1, e);
	volume_unlock(s);
	return rc;
}

int volume_adopt(struct volume_store *s, const char *name, int mount_ns, struct err *e)
{
	int rc;

	volume_lock(s);
	rc = mount_once(s, name, mount_ns, e);
	volume_unlock(s);
	return rc;
}

void volume_unmount(struct volume_store *s, const char *name)
{
	autofree char *path = volume_path(s, name);

	volume_lock(s);
	if (json_object_get(s->mounted, name)) {
		json_object_del(s->mounted, name);
		if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
			log_warn("unmount %s: %s", path, strerror(errno));
	}
	volume_unlock(s);
}

/* --- content -------------------------------------------------------------------------------------------------------------- */

static bool is_empty(int dir)
{
	int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = again >= 0 ? fdopendir(again) : NULL;
	struct dirent *entry;
	int n = 0;

	if (!d) {
		close_fd(&again);
		return false;
	}
	while ((entry = readdir(d)))
		n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(d);
	return n == 0;
}

/* Aside first: a crash in the middle must not leave a volume that looks filled. */
static int fill_aside(struct volume_store *s, const char *path, int from, struct err *e)
{
	autofree char *aside = xasprintf("%s/volume-XXXXXX", s->tmp);
	autoclose int to = -1;
	int rc;

	if (!mkdtemp(aside))
		return err_set(e, ERR_SYSTEM, errno, "create %s", aside);
	to = open(aside, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		rc = err_set(e, ERR_SYSTEM, errno, "open %s", aside);
	else
		rc = copy_tree(from, to, e);
	if (rc == 0 && rename(aside, path) == 0)
		return 0;
	/* Somebody else has filled it meanwhile: his files stay. */
	if (rc == 0 && errno != ENOTEMPTY && errno != EEXIST)
		rc = err_set(e, ERR_SYSTEM, errno, "fill %s", path);
	io_remove_tree(AT_FDCWD, aside, NULL);
	return rc;
}

int volume_copy_up(struct volume_store *s, const char *name, int from, struct err *e)
{
	autofree char *path = volume_path(s, name);
	autoclose int to = -1;
	bool mounted;
	int rc = 0;

	volume_lock(s); /* not while copying: that may take long */
	mounted = json_object_get(s->mounted, name) != NULL;
	volume_unlock(s);
	to = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		rc = err_set(e, ERR_SYSTEM, errno, "open %s", path);
	else if (is_empty(to))
		rc = mounted ? copy_tree(from, to, e) : fill_aside(s, path, from, e);
	return rc < 0 ? err_prefix(e, "copy the image's files to volume %s", name) : 0;
}

int64_t volume_size(const struct volume_store *s, const char *name)
{
	autofree char *path = volume_path(s, name);

	return io_tree_bytes(open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), SIZE_DEPTH_MAX);
}
