/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Power cuts. Waiting for the disk after each layer would cost more than unpacking it (syncfs() also writes what others
 * have dirtied), so files are recorded at once and written to disk behind. Until then the table image_pending names
 * them together with the boot: found under another boot, they may have holes, and go. kill -9 loses nothing.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "image/store.h"

#define BOOT_ID_MAX 64

static int boot_id(struct str *out, struct err *e)
{
	str_init(out, BOOT_ID_MAX);
	if (io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", out, e))
		return -1;
	while (out->len && out->s[out->len - 1] == '\n')
		out->s[--out->len] = '\0';
	return 0;
}

int sync_pending(struct image_store *s, const char *chain, enum sync_kind kind, struct err *e)
{
	char unique[17];
	autostr boot;

	if (boot_id(&boot, e))
		return -1;
	random_hex(unique, 8);
	autofree char *token = xasprintf("%s/%s", boot.s, unique);

	return db_exec(s->db, e, "INSERT INTO image_pending VALUES(?, ?, ?)", "ssi", token, chain, (int64_t)kind);
}

void sync_wake(struct image_store *s)
{
	pthread_mutex_lock(&s->sync.lock);
	s->sync.wanted = true;
	pthread_cond_signal(&s->sync.wake);
	pthread_mutex_unlock(&s->sync.lock);
}

/* What is pending before syncfs() is safe after it; what comes meanwhile has another token. */
static void write_out(struct image_store *s)
{
	struct err e = { 0 };
	autojson *rows = db_rows(s->db, &e, "SELECT token FROM image_pending", "");
	size_t i;
	json_t *row;

	if (!json_array_size(rows) || syncfs(s->tmp))
		return;
	json_array_foreach(rows, i, row)
		if (db_exec(s->db, &e, "DELETE FROM image_pending WHERE token = ?", "s", json_str(row, "token", "")))
			log_warn("image store: %s", e.msg);
}

static void *writer(void *arg)
{
	struct image_store *s = arg;

	pthread_mutex_lock(&s->sync.lock);
	while (!s->sync.closing) {
		if (!s->sync.wanted) {
			pthread_cond_wait(&s->sync.wake, &s->sync.lock);
			continue;
		}
		s->sync.wanted = false;
		pthread_mutex_unlock(&s->sync.lock);
		write_out(s);
		pthread_mutex_lock(&s->sync.lock);
	}
	pthread_mutex_unlock(&s->sync.lock);
	return NULL;
}

/* One row of image_pending from another boot. */
static int drop_suspect(struct image_store *s, const char *chain, enum sync_kind kind, struct err *e)
{
	autofree char *disk = xasprintf("%s/image.erofs", digest_hex(chain));

	if (kind == SYNC_DISK) {
		unlinkat(s->layers, disk, 0);
		return 0;
	}
	log_warn("layer %s wasn't on disk when the machine went down: its images are removed", chain);
	if (db_exec(s->db, e, "DELETE FROM images WHERE id IN (SELECT image FROM image_uses WHERE chain = ?)", "s",
		    chain))
		return -1;
	return db_exec(s->db, e, "DELETE FROM image_layers WHERE chain = ?", "s", chain);
}

int sync_recover(struct image_store *s, struct err *e)
{
	autojson *rows = NULL;
	size_t i;
	json_t *row;
	autostr boot;

	if (boot_id(&boot, e))
		return -1;
	autofree char *here = xasprintf("%s/*", boot.s);

	rows = db_rows(s->db, e, "SELECT token, chain, kind FROM image_pending WHERE token NOT GLOB ?", "s", here);
	if (!rows || db_begin(s->db, true, e))
		return -1;
	json_array_foreach(rows, i, row)
		if (drop_suspect(s, json_str(row, "chain", ""), (enum sync_kind)json_int(row, "kind", 0), e) ||
		    db_exec(s->db, e, "DELETE FROM image_pending WHERE token = ?", "s", json_str(row, "token", "")))
			return db_end(s->db, false, NULL), -1;
	return db_end(s->db, true, e);
}

int sync_start(struct image_store *s, struct err *e)
{
	int rc = pthread_create(&s->sync.thread, NULL, writer, s);

	if (rc)
		return err_set(e, ERR_SYSTEM, rc, "writer thread");
	s->sync.started = true;
	/* What an earlier process of this boot left pending. */
	sync_wake(s);
	return 0;
}

void sync_stop(struct image_store *s)
{
	if (!s->sync.started)
		return;
	pthread_mutex_lock(&s->sync.lock);
	s->sync.closing = true;
	pthread_cond_signal(&s->sync.wake);
	pthread_mutex_unlock(&s->sync.lock);
	pthread_join(s->sync.thread, NULL);
}
