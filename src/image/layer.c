/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parent's side of silo-unpack. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "image/beneath.h"
#include "image/compression.h"
#include "image/store.h"

#define NOTES_MAX 64
#define FEED_BYTES (256 * KIB)
#define RESERVE_BYTES (256 * MIB) /* never fill the disk to the brim */

/* A running helper and what it has said. */
struct helper {
	pid_t pid;
	int records;
	struct unpack_limits limits;
	char **paths;
	size_t n_paths, cap_paths;
	json_t *notes;           /* borrowed, or NULL */
	unpack_file_fn *on_file; /* told of complete files; or NULL */
	void *arg;
	struct unpack_result result;
	bool done; /* the result has come */
};

/* What the file system can take, at most what a layer may have. */
static uint64_t space(int dir)
{
	struct statvfs vfs;
	uint64_t free_bytes;

	if (fstatvfs(dir, &vfs))
		return UNPACK_LAYER_BYTES;
	free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	free_bytes = free_bytes > RESERVE_BYTES ? free_bytes - RESERVE_BYTES : 0;
	return free_bytes < UNPACK_LAYER_BYTES ? free_bytes : UNPACK_LAYER_BYTES;
}

static int spawn(const char *program, char *const *argv, int in, int out, int dir, pid_t *pid)
{
	char *const env[] = { NULL };
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none;
	int rc;

	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, in, 0);
	posix_spawn_file_actions_adddup2(&fa, out, 1);
	posix_spawn_file_actions_adddup2(&fa, dir, UNPACK_TARGET_FD);
	rc = posix_spawn(pid, program, &fa, &attr, argv, env);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	return rc;
}

static int helper_start(struct image_store *s, enum unpack_mode mode, int in, int dir, struct helper *h, struct err *e)
{
	bool archive = mode == UNPACK_ARCHIVE;
	char entries[24], bytes[24];
	char *const argv[] = { "silo-unpack", (char *)(uintptr_t)unpack_mode_names[mode], entries, bytes, NULL };
	int pipe_fds[2], rc;

	h->limits = (struct unpack_limits){ archive ? UNPACK_ARCHIVE_ENTRIES : UNPACK_LAYER_ENTRIES, space(dir) };
	snprintf(entries, sizeof(entries), "%llu", (unsigned long long)h->limits.entries);
	snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)h->limits.bytes);
	if (pipe2(pipe_fds, O_CLOEXEC))
		return err_set(e, ERR_SYSTEM, errno, "pipe");
	rc = spawn(s->o.unpack_path, argv, in, pipe_fds[1], dir, &h->pid);
	close(pipe_fds[1]);
	h->records = pipe_fds[0];
	return rc ? err_set(e, ERR_SYSTEM, rc, "%s", s->o.unpack_path) : 0;
}

/* The helper decodes hostile bytes: what it says is checked like any other input. */
static int record_opaque(struct helper *h, const char *path, struct err *e)
{
	if (h->n_paths >= h->limits.entries)
		return err_set(e, ERR_LIMIT, 0, "too many opaque directories");
	if (h->n_paths == h->cap_paths) {
		h->cap_paths = h->cap_paths ? 2 * h->cap_paths : 64;
		h->paths = xrealloc(h->paths, h->cap_paths * sizeof(*h->paths));
	}
	h->paths[h->n_paths++] = xstrdup(path);
	return 0;
}

/* A line for the user. Only so many, and only what can be shown. */
static void record_note(struct helper *h, char *text)
{
	if (json_array_size(h->notes) >= NOTES_MAX)
		return;
	for (char *at = text; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
	json_array_append_new(h->notes, json_sprintf("%.300s", text));
}

static int record_file(struct helper *h, const char *payload, size_t n, struct err *e)
{
	struct unpack_file f;

	if (n <= sizeof(f))
		return err_set(e, ERR_SYSTEM, 0, "silo-unpack: bad record");
	memcpy(&f, payload, sizeof(f));
	f.digest[DIGEST_MAX - 1] = '\0';
	if (!digest_check(f.digest))
		return err_set(e, ERR_SYSTEM, 0, "silo-unpack: bad digest");
	if (h->on_file)
		h->on_file(h->arg, &f, payload + sizeof(f));
	return 0;
}

/* One record. Returns 1 after the result, 0 for more to come, -1. */
static int record_next(struct helper *h, struct err *e)
{
	char payload[UNPACK_PAYLOAD_MAX + 1];
	struct unpack_record head;

	if (io_read_full(h->records, &head, sizeof(head)))
		return err_set(e, ERR_SYSTEM, 0, "silo-unpack ended without a result");
	if (head.length > UNPACK_PAYLOAD_MAX || io_read_full(h->records, payload, head.length))
		return err_set(e, ERR_SYSTEM, 0, "silo-unpack: bad record");
	payload[head.length] = '\0';
	if (head.type == UNPACK_OPAQUE)
		return record_opaque(h, payload, e);
	if (head.type == UNPACK_NOTE)
		return record_note(h, payload), 0;
	if (head.type == UNPACK_FILE)
		return record_file(h, payload, head.length, e);
	if (head.type == UNPACK_RESULT && head.length == sizeof(h->result)) {
		memcpy(&h->result, payload, sizeof(h->result));
		h->result.diff_id[DIGEST_MAX - 1] = '\0';
		return digest_check(h->result.diff_id) ? 1 : err_set(e, ERR_SYSTEM, 0, "silo-unpack: bad digest");
	}
	if (head.type == UNPACK_ERROR && head.length == sizeof(struct err)) {
		struct err sent;

		memcpy(&sent, payload, sizeof(sent));
		sent.msg[sizeof(sent.msg) - 1] = '\0';
		return err_set(e, sent.kind == ERR_INVALID || sent.kind == ERR_LIMIT ? sent.kind : ERR_SYSTEM, 0, "%s",
			       sent.msg);
	}
	return err_set(e, ERR_SYSTEM, 0, "silo-unpack: unknown record");
}

static int helper_read(struct helper *h, struct err *e)
{
	int rc;

	while ((rc = record_next(h, e)) == 0)
		;
	h->done = rc > 0;
	return rc < 0 ? -1 : 0;
}

static void helper_end(struct helper *h)
{
	for (size_t i = 0; i < h->n_paths; i++)
		free(h->paths[i]);
	free(h->paths);
	close_fd(&h->records);
	if (h->pid <= 0)
		return;
	/* It has ended, or it must: its result isn't wanted any more. */
	kill(h->pid, SIGKILL);
	while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
		;
	h->pid = 0;
}

/* trusted.* xattrs need CAP_SYS_ADMIN in the initial user namespace, which the helper gave up. */
static int mark_opaque(int dir, struct helper *h, struct err *e)
{
	for (size_t i = 0; i < h->n_paths; i++) {
		autoclose int fd = beneath_open(dir, *h->paths[i] ? h->paths[i] : ".", O_RDONLY | O_DIRECTORY);

		if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
			continue; /* replaced by a later entry */
		if (fd < 0 || fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0))
			return err_set(e, ERR_SYSTEM, errno, "opaque directory %.200s", h->paths[i]);
	}
	return 0;
}

static int unpack_all(struct image_store *s, enum unpack_mode mode, int fd, int dir, unpack_file_fn *on_file, void *arg,
		      struct err *e)
{
	struct helper h = { .records = -1, .on_file = on_file, .arg = arg };
	int rc = helper_start(s, mode, fd, dir, &h, e) || helper_read(&h, e);

	helper_end(&h);
	return rc ? -1 : 0;
}

int archive_unpack(struct image_store *s, int fd, int dir, unpack_file_fn *on_file, void *arg, struct err *e)
{
	return unpack_all(s, UNPACK_ARCHIVE, fd, dir, on_file, arg, e);
}

int image_unpack_context(struct image_store *s, int fd, const char *path, struct err *e)
{
	autoclose int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 ? err_set(e, ERR_SYSTEM, errno, "%s", path)
		       : unpack_all(s, UNPACK_CONTEXT, fd, dir, NULL, NULL, e);
}

/* Give the helper n bytes. It may have to be listened to meanwhile: it doesn't read while nobody takes its records. */
static int feed_piece(struct helper *h, int to, const char *data, size_t n, struct err *e)
{
	while (n) {
		struct pollfd p[] = { { .fd = to, .events = POLLOUT }, { .fd = h->records, .events = POLLIN } };
		ssize_t w = write(to, data, n);
		int rc;

		if (w > 0) {
			data += w;
			n -= (size_t)w;
			continue;
		}
		if (w < 0 && errno != EAGAIN && errno != EINTR)
			return helper_read(h, e) ? -1 : err_set(e, ERR_SYSTEM, 0, "silo-unpack ended too early");
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return err_set(e, ERR_SYSTEM, errno, "poll");
		rc = p[1].revents ? record_next(h, e) : 0;
		if (rc)
			return rc < 0 ? -1 : err_set(e, ERR_SYSTEM, 0, "silo-unpack ended too early");
	}
	return 0;
}

/* Pass on what the file has beyond `from`, up to `have`. *fed: 0, or why the helper wants no more. */
static int feed_until(struct helper *h, int fd, int to, int64_t from, int64_t have, struct digest *d, struct err *fed,
		      struct err *e)
{
	autofree char *buf = xmalloc(FEED_BYTES);

	while (from < have) {
		size_t want = have - from < (int64_t)FEED_BYTES ? (size_t)(have - from) : FEED_BYTES;
		ssize_t n = pread(fd, buf, want, from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(e, ERR_SYSTEM, n ? errno : 0, "reading the blob");
		digest_add(d, buf, (size_t)n);
		if (fed->kind == ERR_NONE)
			(void)feed_piece(h, to, buf, (size_t)n, fed);
		from += n;
	}
	return 0;
}

/* The blob to the end. A blob that isn't what it should be is that first, and bad to unpack second. */
static int feed_growing(struct helper *h, int fd, int *to, const struct blob_growth *g, const char *expected,
			struct layer *l, struct err *e)
{
	struct err fed = { 0 };
	int64_t have = 0, now;
	struct digest d;

	digest_init(&d);
	while ((now = g->wait(g->arg, have, e)) > have) {
		if (feed_until(h, fd, *to, have, now, &d, &fed, e))
			return -1;
		have = now;
	}
	if (now < 0)
		return -1;
	l->blob_bytes = d.bytes;
	digest_end(&d, l->blob);
	if (*expected && strcmp(expected, l->blob) != 0)
		return err_set(e, ERR_INVALID, 0, "filesystem layer verification failed for digest %s", expected);
	close_fd(to);
	if (fed.kind == ERR_NONE)
		return 0;
	*e = fed;
	return -1;
}

static int unpack_growing(struct image_store *s, int fd, int dir, const struct blob_growth *g, const char *expected,
			  struct layer *l, struct helper *h, struct err *e)
{
	autoclose int to = -1;
	int ends[2], rc;

	if (pipe2(ends, O_CLOEXEC))
		return err_set(e, ERR_SYSTEM, errno, "pipe");
	to = ends[1];
	/* Ours only: the helper's end is another file description. */
	fcntl(to, F_SETFL, O_NONBLOCK);
	fcntl(to, F_SETPIPE_SZ, (int)FEED_BYTES);
	rc = helper_start(s, UNPACK_LAYER, ends[0], dir, h, e);
	close(ends[0]);
	return rc ? -1 : feed_growing(h, fd, &to, g, expected, l, e);
}

/* A whole file. Where l names its digest that is known to be right. */
static int unpack_file(struct image_store *s, int fd, int dir, struct layer *l, struct helper *h, struct err *e)
{
	bool plain = compression_of_file(fd) == COMPRESSION_NONE, hashed = *l->blob;
	struct stat st;

	if (helper_start(s, plain && hashed ? UNPACK_HASHED : UNPACK_LAYER, fd, dir, h, e))
		return -1;
	/* Hash the blob while the helper unpacks it: both read the same pages of the page cache. */
	if (!plain)
		return hashed ? 0 : digest_of_file(fd, l->blob, &l->blob_bytes, e);
	/* The digest of a tar as it is is the diff id, which the helper finds out. */
	if (helper_read(h, e))
		return -1;
	if (fstat(fd, &st) || !h->result.plain || h->result.tar_bytes != (uint64_t)st.st_size)
		return err_set(e, ERR_SYSTEM, 0, "silo-unpack didn't read the whole layer");
	memcpy(hashed ? h->result.diff_id : l->blob, hashed ? l->blob : h->result.diff_id, sizeof(l->blob));
	l->blob_bytes = h->result.tar_bytes;
	return 0;
}

static int unpack_and_hash(struct image_store *s, int fd, int dir, const struct blob_growth *g, const char *expected,
			   struct layer *l, struct helper *h, struct err *e)
{
	if (g ? unpack_growing(s, fd, dir, g, expected, l, h, e) : unpack_file(s, fd, dir, l, h, e))
		return -1;
	if (*expected && strcmp(expected, l->blob) != 0)
		return err_set(e, ERR_INVALID, 0, "blob %s: digest mismatch, got %s", expected, l->blob);
	if ((!h->done && helper_read(h, e)) || mark_opaque(dir, h, e))
		return -1;
	if (*l->diff_id && strcmp(l->diff_id, h->result.diff_id) != 0)
		return err_set(e, ERR_INVALID, 0, "expected %s, got %s", l->diff_id, h->result.diff_id);
	memcpy(l->diff_id, h->result.diff_id, sizeof(l->diff_id));
	l->file_bytes = h->result.file_bytes;
	return 0;
}

/* Only gzip and zstd are known to others' engines: what came in another way is kept as the plain tar that it is. */
static int keep_plain(struct work *w, int fd, const struct helper *h, struct layer *l, struct err *e)
{
	autofree char *again = xasprintf("/proc/self/fd/%d", fd);
	autoclose int in = open(again, O_RDONLY | O_CLOEXEC); /* from its beginning */
	autoclose int out = openat(w->fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char bytes[24], digest[DIGEST_MAX];
	char *const argv[] = { "silo-unpack", (char *)(uintptr_t)unpack_mode_names[UNPACK_STREAM], "0", bytes, NULL };
	uint64_t n = 0;
	pid_t pid;
	int rc;

	if (in < 0 || out < 0)
		return err_set(e, ERR_SYSTEM, errno, "work directory");
	snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)h->result.tar_bytes);
	rc = spawn(w->store->o.unpack_path, argv, in, out, w->fd, &pid);
	if (rc)
		return err_set(e, ERR_SYSTEM, rc, "%s", w->store->o.unpack_path);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (digest_of_file(out, digest, &n, e))
		return -1;
	if (strcmp(digest, l->diff_id) != 0)
		return err_set(e, ERR_SYSTEM, 0, "storing layer %s", l->diff_id);
	memcpy(l->blob, digest, sizeof(l->blob));
	l->blob_bytes = n;
	close_fd(&l->blob_fd);
	l->blob_fd = take_fd(&out);
	return 0;
}

int layer_unpack(struct work *w, int fd, const struct blob_growth *growth, const char *expected, struct layer *l,
		 struct err *e)
{
	struct helper h = { .records = -1 };
	char diff[40], unique[9];
	int rc;

	/* By the hash of its name ext4 places it: see work_open(). */
	random_hex(unique, 4);
	snprintf(l->dir, sizeof(l->dir), "layer%u-%s", __atomic_fetch_add(&w->next, 1, __ATOMIC_RELAXED), unique);
	snprintf(diff, sizeof(diff), "%s/diff", l->dir);
	if (mkdirat(w->fd, l->dir, 0700) || mkdirat(w->fd, diff, 0755))
		return err_set(e, ERR_SYSTEM, errno, "layer directory");
	autoclose int dir = openat(w->fd, diff, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* Whatever the umask: an archive without an entry for its root gets Docker's mode. */
	if (dir < 0 || fchmod(dir, 0755))
		return err_set(e, ERR_SYSTEM, errno, "layer directory");
	rc = unpack_and_hash(w->store, fd, dir, growth, expected, l, &h, e);
	helper_end(&h);
	return rc || compression_of_file(fd) < COMPRESSION_BZIP2 ? rc : keep_plain(w, fd, &h, l, e);
}

int layer_convert(struct image_store *s, int blob, int dir, json_t *notes, char diff_id[static DIGEST_MAX],
		  struct err *e)
{
	struct helper h = { .records = -1, .notes = notes };
	int rc;

	/* The helper reads from the descriptor's offset. */
	if (lseek(blob, 0, SEEK_SET))
		return err_set(e, ERR_SYSTEM, errno, "blob of a layer");
	rc = helper_start(s, UNPACK_WINDOWS, blob, dir, &h, e) || helper_read(&h, e) ? -1 : 0;
	helper_end(&h);
	memcpy(diff_id, h.result.diff_id, DIGEST_MAX);
	return rc;
}

bool layer_known(struct image_store *s, const char *chain)
{
	autojson *rows = db_rows(s->db, NULL, "SELECT 1 FROM image_layers WHERE chain = ?", "s", chain);

	return json_array_size(rows) > 0;
}

struct image_inflate {
	struct work work;
	pid_t pid;
};

struct image_inflate *image_inflate_new(struct image_store *s, int fd, int *out, struct err *e)
{
	char *const argv[] = { "silo-unpack", (char *)(uintptr_t)unpack_mode_names[UNPACK_STREAM], "0", "0", NULL };
	struct image_inflate *x = xcalloc(1, sizeof(*x));
	int ends[2], rc;

	x->work.fd = -1;
	*out = -1;
	if (work_open(s, "inflate", &x->work, e) || pipe2(ends, O_CLOEXEC)) {
		if (!e->kind)
			err_set(e, ERR_SYSTEM, errno, "pipe");
		image_inflate_end(x, NULL);
		return NULL;
	}
	rc = spawn(s->o.unpack_path, argv, fd, ends[1], x->work.fd, &x->pid);
	close(ends[1]);
	*out = ends[0];
	if (!rc)
		return x;
	err_set(e, ERR_SYSTEM, rc, "%s", s->o.unpack_path);
	x->pid = 0;
	close_fd(out);
	image_inflate_end(x, NULL);
	return NULL;
}

int image_inflate_end(struct image_inflate *x, struct err *e)
{
	int status = 0;

	while (x->pid > 0 && waitpid(x->pid, &status, 0) < 0 && errno == EINTR)
		;
	work_close(&x->work);
	free(x);
	return status ? err_set(e, ERR_INVALID, 0, "the archive's compression is damaged") : 0;
}
