/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The layers of an image as one read-only disk for the guest, made once by mkfs.erofs. Several layers are merged by
 * an overlay that only the helper child sees. Owners, modes, times and xattrs stay as they are.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "image/store.h"

#define LOG_TAIL 300

/* All that the child needs, made before fork(): after it only system calls are allowed (silod has threads). */
struct build {
	const char *mkfs;
	char *output;   /* absolute */
	char *source;   /* absolute: a layer, or the mount point of the overlay */
	char *overlay;  /* mount options, relative to the work directory; NULL = one layer */
	char *work;     /* absolute */
	int log;
};

static void build_fini(struct build *b)
{
	free(b->output);
	free(b->source);
	free(b->overlay);
	free(b->work);
	close_fd(&b->log);
}

static const char *find_mkfs(struct err *e)
{
	static const char *const places[] = { "/usr/bin/mkfs.erofs", "/usr/sbin/mkfs.erofs", "/sbin/mkfs.erofs",
					      "/usr/local/bin/mkfs.erofs", "/usr/local/sbin/mkfs.erofs" };

	for (size_t i = 0; i < array_len(places); i++)
		if (!access(places[i], X_OK))
			return places[i];
	err_set(e, ERR_SYSTEM, 0, "mkfs.erofs is missing: install erofs-utils");
	return NULL;
}

/* Never returns. Exit codes below 100 are mkfs.erofs' own. */
static void child(const struct build *b)
{
	char *const argv[] = { "mkfs.erofs", "-d0", b->output, b->source, NULL };
	char *const env[] = { "LC_ALL=C", NULL };

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		_exit(101);
	/* Short relative names: the options of mount(2) are one page, and an image may have 125 layers. */
	if (b->overlay &&
	    (chdir(b->work) || mount("overlay", b->source, "overlay", MS_RDONLY | MS_NODEV | MS_NOSUID, b->overlay)))
		_exit(102);
	if (dup2(b->log, 1) < 0 || dup2(b->log, 2) < 0)
		_exit(103);
	execve(b->mkfs, argv, env);
	_exit(104);
}

static int run_child(struct build *b, struct err *e)
{
	char text[LOG_TAIL + 1] = "";
	ssize_t n;
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return err_set(e, ERR_SYSTEM, errno, "fork");
	if (!pid)
		child(b);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_set(e, ERR_SYSTEM, errno, "waitpid");
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	n = pread(b->log, text, LOG_TAIL, 0);
	text[n > 0 ? n : 0] = '\0';
	return err_set(e, ERR_SYSTEM, 0, "mkfs.erofs failed (status %d): %s", status, text);
}

/* Links "0" (topmost), "1", ... to the layers, and the options that name them. */
static int prepare_overlay(struct work *w, const json_t *dirs, struct build *b, struct err *e)
{
	autostr options;

	str_init(&options, 4000);
	str_puts(&options, "lowerdir=");
	for (size_t i = 0; i < json_array_size(dirs); i++) {
		char name[16];

		snprintf(name, sizeof(name), "%zu", i);
		if (symlinkat(json_string_value(json_array_get(dirs, i)), w->fd, name))
			return err_set(e, ERR_SYSTEM, errno, "layer link");
		str_printf(&options, "%s%s", i ? ":" : "", name);
	}
	if (mkdirat(w->fd, "merged", 0700))
		return err_set(e, ERR_SYSTEM, errno, "mount point");
	b->overlay = str_take(&options);
	b->source = xasprintf("%s/merged", b->work);
	return 0;
}

static int build(struct image_store *s, const json_t *dirs, const char *tmp_path, struct err *e)
{
	autowork w = { 0 };
	struct build b = { .log = -1 };
	int rc = -1;

	if (work_open(s, "erofs", &w, e))
		return -1;
	b.mkfs = find_mkfs(e);
	b.output = xstrdup(tmp_path);
	b.work = xasprintf("%s/tmp/images/%s", s->o.root, w.name);
	b.log = openat(w.fd, "log", O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND, 0600);
	if (json_array_size(dirs) == 1)
		b.source = xstrdup(json_string_value(json_array_get(dirs, 0)));
	if (b.log < 0)
		err_set(e, ERR_SYSTEM, errno, "log of mkfs.erofs");
	else if (b.mkfs && (b.source || !prepare_overlay(&w, dirs, &b, e)))
		rc = run_child(&b, e);
	build_fini(&b);
	return rc;
}

/* Made aside, recorded as not on disk yet, renamed: whoever sees the name sees a whole image. */
static int publish(struct image_store *s, const char *chain, const char *tmp_path, const char *path, struct err *e)
{
	if (sync_pending(s, chain, SYNC_DISK, e))
		return -1;
	if (chmod(tmp_path, 0644) || rename(tmp_path, path))
		return err_set(e, ERR_SYSTEM, errno, "%s", path);
	sync_wake(s);
	return 0;
}

static int build_once(struct image_store *s, const json_t *dirs, const char *layer_path, const char *path,
		      struct err *e)
{
	autofree char *chain = xasprintf("sha256:%s", strrchr(layer_path, '/') + 1);
	autofree char *tmp_path = xasprintf("%s.tmp", path);
	autoclose int lock = open(layer_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (lock < 0)
		return err_set(e, ERR_SYSTEM, errno, "%s", layer_path);
	while (flock(lock, LOCK_EX))
		if (errno != EINTR)
			return err_set(e, ERR_SYSTEM, errno, "%s", layer_path);
	/* Another caller may have made it while we waited. */
	if (!access(path, R_OK))
		return 0;
	unlink(tmp_path);
	if (!build(s, dirs, tmp_path, e) && !publish(s, chain, tmp_path, path, e))
		return 0;
	unlink(tmp_path);
	return -1;
}

char *image_erofs(struct image_store *s, const char *id, struct err *e)
{
	autojson *dirs = image_layer_dirs(s, id, e);
	const char *top = json_string_value(json_array_get(dirs, 0));

	if (!dirs)
		return NULL;
	if (!top) {
		err_set(e, ERR_INVALID, 0, "image %s has no layers", id);
		return NULL;
	}
	autofree char *layer_path = xstrndup(top, strlen(top) - strlen("/diff"));
	autofree char *path = xasprintf("%s/image.erofs", layer_path);

	if (access(path, R_OK) && build_once(s, dirs, layer_path, path, e)) {
		err_prefix(e, "disk of image %.19s", id);
		return NULL;
	}
	return take_ptr(&path);
}
