/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One build, from the context to the tagged image. */
#include "build/build.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "build/dockerfile.h"
#include "build/internal.h"
#include "image/beneath.h"
#include "image/digest.h"
#include "image/reference.h"

/* --- the builder ------------------------------------------------------------------------------------------------------ */

/* A builder that silod's end has told to end may still be at it: what it keeps goes next time. */
static void remove_left(const char *path)
{
	struct err e = { 0 };

	if (io_remove_tree(AT_FDCWD, path, &e) < 0)
		log_warn("left by a build: %s", e.msg);
}

/* Steps of builds that ended with their silod: also those that were made and never started wait for ever. */
static void end_containers(struct builder *b)
{
	autofree char *root = xasprintf("%s/builder-oci", b->o.exec_root);
	DIR *d = opendir(root);
	struct dirent *de;

	while (d && (de = readdir(d))) {
		struct argv a = { 0 };
		struct err e = { 0 };

		if (*de->d_name == '.')
			continue;
		argv_add(&a, xstrdup("setpriv"));
		argv_add(&a, xstrdup("--pdeathsig=TERM"));
		argv_add(&a, xasprintf("%s/silo", b->o.lib_dir));
		argv_add(&a, xasprintf("--root=%s", root));
		argv_add(&a, xstrdup("delete"));
		argv_add(&a, xstrdup("--force"));
		argv_add(&a, xstrdup(de->d_name));
		autofree char *said = buildah_ask(b, &a, &e);

		if (!said)
			log_warn("left by a build: %s", e.msg);
		argv_fini(&a);
	}
	if (d)
		closedir(d);
}

struct builder *builder_open(const struct builder_options *o)
{
	struct builder *b = xcalloc(1, sizeof(*b));
	autofree char *jobs = NULL;

	b->o = *o;
	b->o.root = NULL;
	b->o.exec_root = xstrdup(o->exec_root);
	b->o.lib_dir = xstrdup(o->lib_dir);
	b->o.vm_dir = xstrdup(o->vm_dir);
	b->dir = xasprintf("%s/builder", o->root);
	pthread_mutex_init(&b->lock, NULL);
	jobs = xasprintf("%s/jobs", b->dir);
	end_containers(b);
	remove_left(jobs);
	return b;
}

void builder_stop(struct builder *b)
{
	if (b)
		b->stopping = true;
}

void builder_close(struct builder *b)
{
	if (!b)
		return;
	pthread_mutex_destroy(&b->lock);
	free((char *)(uintptr_t)b->o.exec_root);
	free((char *)(uintptr_t)b->o.lib_dir);
	free((char *)(uintptr_t)b->o.vm_dir);
	free(b->dir);
	free(b);
}

/* What builds of an earlier silod left in buildah's storage: containers that nobody will end. lock held. */
static int sweep(struct builder *b, struct err *e)
{
	autofree char *run = xasprintf("%s/builder", b->o.exec_root);
	autofree char *said = NULL;
	struct argv a = { 0 };

	if (b->swept)
		return 0;
	/* Again: what was told to end may have made one more before it did. */
	end_containers(b);
	/* It lists mounts of the other silod's mount namespace, which went with it. */
	remove_left(run);
	buildah_argv(b, &a, "rm");
	argv_add(&a, xstrdup("--all"));
	said = buildah_ask(b, &a, e);
	argv_fini(&a);
	b->swept = said;
	return said ? 0 : -1;
}

static int enter(struct builder *b, struct err *e)
{
	autofree char *jobs = xasprintf("%s/jobs", b->dir);
	int rc;

	if (buildah_check(e) < 0)
		return -1;
	pthread_mutex_lock(&b->lock);
	rc = io_mkdir_all(jobs, 0700, e) || buildah_configure(b, e) || sweep(b, e) ? -1 : 0;
	b->running += rc == 0;
	pthread_mutex_unlock(&b->lock);
	return rc;
}

static void leave(struct builder *b)
{
	pthread_mutex_lock(&b->lock);
	b->running--;
	pthread_mutex_unlock(&b->lock);
}

int build_prune(struct builder *b, int64_t *bytes, struct err *e)
{
	autofree char *storage = xasprintf("%s/storage", b->dir);
	autofree char *mount = xasprintf("%s/overlay", storage);
	int rc = -1;

	*bytes = 0;
	pthread_mutex_lock(&b->lock);
	if (b->running) {
		err_set(e, ERR_CONFLICT, 0, "the build cache is in use: a build is running");
	} else {
		*bytes = io_tree_bytes(open(storage, O_RDONLY | O_DIRECTORY | O_CLOEXEC), 64);
		/* buildah mounts this directory on itself, and leaves it so. */
		(void)umount2(mount, MNT_DETACH);
		rc = io_remove_tree(AT_FDCWD, storage, e);
	}
	pthread_mutex_unlock(&b->lock);
	return rc;
}

/* --- one build ---------------------------------------------------------------------------------------------------------- */

static int check_tags(struct build *x, struct err *e)
{
	const json_t *tag;
	size_t i;

	json_array_foreach(x->o->tags, i, tag) {
		autoreference ref = { 0 };

		if (reference_parse(json_is_string(tag) ? json_string_value(tag) : "", &ref, e) < 0)
			return err_prefix(e, "invalid argument \"%.200s\" for -t", json_string_value(tag));
		if (ref.digest)
			return err_set(e, ERR_INVALID, 0, "refusing to create a tag with a digest reference");
	}
	return 0;
}

static int make_dirs(struct build *x, struct err *e)
{
	x->dir = xasprintf("%s/jobs/XXXXXX", x->b->dir);
	if (!mkdtemp(x->dir))
		return err_set(e, ERR_SYSTEM, errno, "%s", x->dir);
	x->context = xasprintf("%s/context", x->dir);
	return mkdir(x->context, 0755) ? err_set(e, ERR_SYSTEM, errno, "%s", x->context) : 0;
}

/* The copy that is built from: what the context has can be a link, or change. */
static int read_dockerfile(struct build *x, struct str *text, struct err *e)
{
	autoclose int context = open(x->context, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoclose int fd = context < 0 ? -1 : beneath_open(context, x->o->dockerfile, O_RDONLY | O_NONBLOCK);
	autofree char *copy = xasprintf("%s/Dockerfile", x->dir);
	struct stat st;
	char path[32];

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return err_set(e, ERR_INVALID, 0, "Cannot locate specified Dockerfile: %.200s", x->o->dockerfile);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (io_read_file(AT_FDCWD, path, text, e) < 0)
		return -1;
	if (!text->len)
		return err_set(e, ERR_INVALID, 0, "the Dockerfile (%.200s) cannot be empty", x->o->dockerfile);
	if (strlen(text->s) != text->len)
		return err_set(e, ERR_INVALID, 0, "the Dockerfile (%.200s) is not a text", x->o->dockerfile);
	return io_write_file(AT_FDCWD, copy, text->s, text->len, 0600, false, e);
}

static int provide(struct build *x, struct err *e)
{
	autojson *images = NULL;
	autostr text;

	str_init(&text, DOCKERFILE_BYTES_MAX);
	if (read_dockerfile(x, &text, e) < 0)
		return -1;
	images = dockerfile_images(text.s, x->o->args, x->o->target, e);
	return images ? bases_provide(x, images, e) : -1;
}

static int idle(void *arg)
{
	const struct build *x = arg;

	return x->client->gone && x->client->gone(x->client->arg);
}

static int run_steps(struct build *x, struct err *e)
{
	const struct buildah_reader reader = { .line = steps_line, .idle = idle, .arg = x };
	struct argv a = { 0 };
	int rc = command_build(x, &a, e) < 0 ? -1 : buildah_run(x->b, &a, -1, &reader, e);

	argv_fini(&a);
	return rc > 0 ? steps_failure(x, rc, e) : rc;
}

/* --- the result, into Silo's store ------------------------------------------------------------------------------------------ */

struct transfer {
	struct build *x;
	const char *id;
	int out, status;
	struct err err;
};

/* In a thread of its own: buildah writes the archive while the store reads it. */
static void *send_image(void *arg)
{
	struct transfer *t = arg;
	const struct buildah_reader reader = { .line = steps_line, .idle = idle, .arg = t->x };
	struct argv a = { 0 };

	buildah_argv(t->x->b, &a, "push");
	argv_add(&a, xstrdup("--quiet"));
	argv_add(&a, xasprintf("--signature-policy=%s/policy.json", t->x->b->dir));
	argv_add(&a, xstrdup(t->id));
	argv_add(&a, xstrdup("docker-archive:/dev/stdout"));
	t->status = buildah_run(t->x->b, &a, t->out, &reader, &t->err);
	argv_fini(&a);
	close_fd(&t->out);
	return NULL;
}

static int no_progress(void *arg, const json_t *line)
{
	return idle(arg);
}

static int take_image(struct build *x, const char *id, struct err *e)
{
	struct transfer t = { .x = x, .id = id };
	pthread_t thread;
	int fds[2], rc;

	if (pipe2(fds, O_CLOEXEC))
		return err_set(e, ERR_SYSTEM, errno, "pipe");
	t.out = fds[1];
	rc = pthread_create(&thread, NULL, send_image, &t);
	if (rc) {
		close(fds[0]);
		close(fds[1]);
		return err_set(e, ERR_SYSTEM, rc, "thread");
	}
	rc = image_load(x->b->o.images, fds[0], true, no_progress, x, e);
	close(fds[0]);
	pthread_join(thread, NULL);
	if (t.status < 0)
		return *e = t.err, -1;
	return t.status > 0 ? steps_failure(x, t.status, e) : rc;
}

static int say(struct build *x, const char *format, const char *what)
{
	autojson *line = json_pack("{s:o}", "stream", json_sprintf(format, what));

	return x->client->progress ? x->client->progress(x->client->arg, line) : 0;
}

static int tag_image(struct build *x, const char *id, struct err *e)
{
	const json_t *tag;
	size_t i;

	json_array_foreach(x->o->tags, i, tag) {
		autoreference ref = { 0 };
		autofree char *shown = NULL;

		if (reference_parse(json_string_value(tag), &ref, e) < 0)
			return -1;
		reference_default_tag(&ref);
		if (image_tag(x->b->o.images, id, ref.name, ref.tag, e) < 0)
			return -1;
		shown = reference_text(&ref, true);
		if (!x->o->quiet)
			(void)say(x, "Successfully tagged %s\n", shown);
	}
	return 0;
}

static int keep_result(struct build *x, struct err *e)
{
	autofree char *path = xasprintf("%s/iid", x->dir);
	autojson *aux = NULL;
	autostr id;

	str_init(&id, IMAGE_ID_MAX);
	if (io_read_file(AT_FDCWD, path, &id, e) < 0)
		return -1;
	id.s[strcspn(id.s, "\n")] = '\0';
	if (!digest_check(id.s))
		return err_set(e, ERR_SYSTEM, 0, "buildah: bad image id");
	if (take_image(x, id.s, e) < 0)
		return -1;
	aux = json_pack("{s:{s:s}}", "aux", "ID", id.s);
	(void)x->client->progress(x->client->arg, aux);
	if (x->o->quiet)
		(void)say(x, "%s\n", id.s);
	else
		(void)say(x, "Successfully built %.12s\n", strchr(id.s, ':') + 1);
	return tag_image(x, id.s, e);
}

int build_run(struct builder *b, const struct build_options *o, int context, const struct registry_client *client,
	      int *exit_code, struct err *e)
{
	struct build x = { .b = b, .o = o, .client = client, .contexts = json_array(), .exit_code = 1 };
	int rc = -1;

	str_init(&x.failure, 4 * KIB);
	if (enter(b, e) == 0) {
		if (check_tags(&x, e) == 0 && make_dirs(&x, e) == 0)
			rc = image_unpack_context(b->o.images, context, x.context, e) || provide(&x, e) ||
					     run_steps(&x, e) || keep_result(&x, e)
				     ? -1
				     : 0;
		if (x.context)
			remove_left(x.dir);
		leave(b);
	}
	*exit_code = x.exit_code;
	str_fini(&x.failure);
	json_decref(x.contexts);
	free(x.context);
	free(x.dir);
	return rc;
}
