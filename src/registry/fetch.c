/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Downloads. A blob that several pulls want at once comes once: each of them reads the one growing file, and checks
 * what it reads itself. A thread per download listens to the helper.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "registry/internal.h"

#define STACK_BYTES (256 * KIB)
#define TICK_NS 200000000

struct fetch {
	struct registry *r;
	struct session *s;
	struct fetch *next;
	char digest[DIGEST_MAX];
	int64_t size;
	json_t *urls;
	int file;
	/* Guarded by the registry's lock. */
	int users, refs; /* refs: users and the thread */
	struct fetch_state state;
	struct err err;
};

static void fetch_free(struct fetch *f)
{
	close_fd(&f->file);
	session_put(f->s);
	json_decref(f->urls);
	free(f);
}

/* With the lock held; gives it up. */
static void put_and_unlock(struct fetch *f)
{
	struct registry *r = f->r;
	bool last = --f->refs == 0;

	pthread_mutex_unlock(&r->lock);
	if (last)
		fetch_free(f);
}

/* Nobody joins it any more. With the lock held. */
static void unlist(struct fetch *f)
{
	struct fetch **p = &f->r->fetches;

	while (*p && *p != f)
		p = &(*p)->next;
	if (*p)
		*p = f->next;
}

static void wait_tick(struct registry *r)
{
	struct timespec until = time_now();

	until.tv_nsec += TICK_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&r->changed, &r->lock, &until);
}

/* False when everybody has left meanwhile. */
static bool take_slot(struct fetch *f)
{
	struct registry *r = f->r;
	bool mine = false;

	pthread_mutex_lock(&r->lock);
	while (!mine && f->users && !r->stopping) {
		mine = r->downloading < r->settings.downloads;
		if (!mine)
			wait_tick(r);
	}
	r->downloading += mine;
	f->state.started = mine;
	pthread_mutex_unlock(&r->lock);
	return mine;
}

/* Only what really is in the file counts. */
static int64_t bytes_there(struct fetch *f, int64_t told)
{
	struct stat st;

	if (fstat(f->file, &st) || st.st_size < told)
		return -1;
	return told <= f->size ? told : f->size;
}

static int on_progress(void *arg, const json_t *m)
{
	struct fetch *f = arg;
	int64_t have = m ? bytes_there(f, json_int(m, "bytes", 0)) : 0;
	bool wanted;

	pthread_mutex_lock(&f->r->lock);
	if (have > f->state.have) {
		f->state.have = have;
		f->state.retry_s = 0;
	}
	if (m && json_int(m, "retry_s", 0) > 0)
		f->state.retry_s = json_int(m, "retry_s", 0);
	wanted = f->users && !f->r->stopping;
	if (m)
		pthread_cond_broadcast(&f->r->changed);
	pthread_mutex_unlock(&f->r->lock);
	return !wanted;
}

static int download(struct fetch *f, struct err *e)
{
	json_t *op = json_pack("{s:s, s:s, s:I, s:O?}", "op", "blob", "digest", f->digest, "size", (json_int_t)f->size,
			       "urls", f->urls);
	autojson *done = session_call(f->s, op, f->file, on_progress, f, NULL, e);

	if (!done)
		return -1;
	if (bytes_there(f, f->size) != f->size)
		return err_set(e, ERR_SYSTEM, 0, "blob %s: the download is incomplete", f->digest);
	return 0;
}

static void *run(void *arg)
{
	struct fetch *f = arg;
	struct registry *r = f->r;
	struct err e = { 0 };
	bool slot = take_slot(f);
	int rc = slot ? download(f, &e) : err_set(&e, ERR_SYSTEM, 0, "context canceled");

	pthread_mutex_lock(&r->lock);
	r->downloading -= slot;
	f->state.complete = rc == 0;
	f->state.failed = rc != 0;
	f->state.retry_s = 0;
	if (!rc)
		f->state.have = f->size;
	f->err = e;
	/* Who wants the blob from here on finds it in the store, or begins anew. */
	unlist(f);
	pthread_cond_broadcast(&r->changed);
	put_and_unlock(f);
	return NULL;
}

/* A file without a name: gone with its last descriptor, and yet the store can give it one. */
static int open_file(int dir)
{
	int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char name[17];

	if (fd >= 0 || errno != EOPNOTSUPP)
		return fd;
	/* This file system can't: a named one, which goes with the directory. */
	random_hex(name, 8);
	return openat(dir, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
}

static struct fetch *fetch_new(struct registry *r, struct session *s, int dir, const char *digest, int64_t size,
			       const json_t *urls, struct err *e)
{
	struct fetch *f = xcalloc(1, sizeof(*f));

	f->r = r;
	f->s = session_get(s);
	f->size = size;
	f->urls = json_incref((json_t *)(uintptr_t)urls);
	f->users = 1;
	f->refs = 2;
	snprintf(f->digest, sizeof(f->digest), "%s", digest);
	f->file = open_file(dir);
	if (f->file >= 0)
		return f;
	err_set(e, ERR_SYSTEM, errno, "file for a download");
	fetch_free(f);
	return NULL;
}

static int start_thread(struct fetch *f, struct err *e)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, run, f);
	pthread_attr_destroy(&attr);
	return rc ? err_set(e, ERR_SYSTEM, rc, "start a download") : 0;
}

struct fetch *fetch_join(struct registry *r, struct session *s, int dir, const char *digest, int64_t size,
			 const json_t *urls, struct err *e)
{
	struct fetch *f;

	pthread_mutex_lock(&r->lock);
	for (f = r->fetches; f && (strcmp(f->digest, digest) != 0 || f->size != size || !f->users); f = f->next)
		;
	if (f) {
		f->users++;
		f->refs++;
		pthread_mutex_unlock(&r->lock);
		return f;
	}
	f = fetch_new(r, s, dir, digest, size, urls, e);
	if (f && start_thread(f, e)) {
		fetch_free(f);
		f = NULL;
	}
	if (f) {
		f->next = r->fetches;
		r->fetches = f;
	}
	pthread_mutex_unlock(&r->lock);
	return f;
}

void fetch_leave(struct fetch *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->r->lock);
	f->users--;
	pthread_cond_broadcast(&f->r->changed);
	put_and_unlock(f);
}

int fetch_file(const struct fetch *f)
{
	return f->file;
}

void fetch_look(struct fetch *f, struct fetch_state *out)
{
	pthread_mutex_lock(&f->r->lock);
	*out = f->state;
	pthread_mutex_unlock(&f->r->lock);
}

int64_t fetch_wait(struct fetch *f, int64_t have, const atomic_bool *cancelled, struct err *e)
{
	int64_t now = -1;

	pthread_mutex_lock(&f->r->lock);
	while (!*cancelled && !f->state.failed && !f->state.complete && f->state.have <= have)
		wait_tick(f->r);
	if (*cancelled)
		err_set(e, ERR_SYSTEM, 0, "context canceled");
	else if (f->state.failed)
		*e = f->err;
	else
		now = f->state.have;
	pthread_mutex_unlock(&f->r->lock);
	return now;
}
