/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The image store from a shell, on a private root: image-driver ROOT UNPACK COMMAND [ARGUMENTS]. Answers are JSON on
 * stdout; an error is "kind: text" on stderr and exit code 1. $IMAGE_USERS is a JSON list: the containers of any image.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "image/image.h"

static int print(json_t *j)
{
	autofree char *text = j ? json_text(j) : NULL;

	if (text)
		puts(text);
	json_decref(j);
	return text ? 0 : -1;
}

static int progress(void *arg, const json_t *line)
{
	autofree char *text = json_text(line);

	puts(text);
	return 0;
}

static void event(void *arg, const char *action, const char *id, const char *name)
{
	fprintf(stderr, "event %s %s %s\n", action, id, name);
}

static json_t *users(void *arg, const char *image_id)
{
	const char *text = getenv("IMAGE_USERS");

	return text ? json_loads(text, 0, NULL) : NULL;
}

static json_t *parse_arg(const char *text)
{
	return text && *text ? json_loads(text, 0, NULL) : NULL;
}

static int do_load(struct image_store *s, char **a, struct err *e)
{
	return image_load(s, 0, a[0] && !strcmp(a[0], "-q"), progress, NULL, e);
}

struct twice {
	struct image_store *s;
	int fd;
	int rc;
	struct err e;
};

static void *load_one(void *arg)
{
	struct twice *t = arg;

	t->rc = image_load(t->s, t->fd, true, NULL, NULL, &t->e);
	return NULL;
}

/* The same archive from two threads at once. */
static int do_load_twice(struct image_store *s, char **a, struct err *e)
{
	struct twice t[2] = { { .s = s }, { .s = s } };
	autoclose int spool = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	pthread_t threads[2];
	char buf[4096], name[64];
	ssize_t n;

	while ((n = read(0, buf, sizeof(buf))) > 0)
		if (io_write_all(spool, buf, (size_t)n))
			return err_set(e, ERR_SYSTEM, 0, "spool");
	snprintf(name, sizeof(name), "/proc/self/fd/%d", spool);
	for (int i = 0; i < 2; i++) {
		t[i].fd = open(name, O_RDONLY | O_CLOEXEC);
		pthread_create(&threads[i], NULL, load_one, &t[i]);
	}
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		close(t[i].fd);
		if (t[i].rc)
			*e = t[i].e;
	}
	return t[0].rc || t[1].rc ? -1 : puts("Loaded image twice") < 0;
}

static int do_import(struct image_store *s, char **a, struct err *e)
{
	autojson *changes = a[0] ? parse_arg(a[1]) : NULL;
	char id[IMAGE_ID_MAX];

	return image_import(s, 0, a[0], changes, NULL, NULL, id, e) ? -1 : puts(id) < 0;
}

static int do_list(struct image_store *s, char **a, struct err *e)
{
	autojson *filters = parse_arg(a[0]);

	return print(image_list(s, true, filters, true, e));
}

static int do_inspect(struct image_store *s, char **a, struct err *e)
{
	return print(image_inspect(s, a[0], e));
}

static int do_history(struct image_store *s, char **a, struct err *e)
{
	return print(image_history(s, a[0], e));
}

static int do_tag(struct image_store *s, char **a, struct err *e)
{
	return image_tag(s, a[0], a[1], a[1] ? a[2] : NULL, e);
}

static int do_rmi(struct image_store *s, char **a, struct err *e)
{
	return print(image_remove(s, a[0], a[1] && !strcmp(a[1], "-f"), false, e));
}

static int do_prune(struct image_store *s, char **a, struct err *e)
{
	autojson *filters = parse_arg(a[0]);

	return print(image_prune(s, filters, e));
}

static int do_df(struct image_store *s, char **a, struct err *e)
{
	return print(image_disk_usage(s, e));
}

static int do_dirs(struct image_store *s, char **a, struct err *e)
{
	char id[IMAGE_ID_MAX];

	return image_resolve(s, a[0], id, e) ? -1 : print(image_layer_dirs(s, id, e));
}

struct disk {
	struct image_store *s;
	const char *id;
	char *path;
	struct err e;
};

static void *make_disk(void *arg)
{
	struct disk *d = arg;

	d->path = image_erofs(d->s, d->id, &d->e);
	return NULL;
}

/* Two callers at once: one builds, both get it. */
static int do_erofs(struct image_store *s, char **a, struct err *e)
{
	char id[IMAGE_ID_MAX];
	struct disk d[2] = { { .s = s, .id = id }, { .s = s, .id = id } };
	pthread_t threads[2];
	int rc;

	if (image_resolve(s, a[0], id, e))
		return -1;
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, make_disk, &d[i]);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	*e = d[0].path ? d[1].e : d[0].e;
	rc = !d[0].path || !d[1].path || strcmp(d[0].path, d[1].path) ? -1 : puts(d[0].path) < 0;
	free(d[0].path);
	free(d[1].path);
	return rc;
}

static int do_base(struct image_store *s, char **a, struct err *e)
{
	return image_make_base(s, a[0], e);
}

static const struct {
	const char *name;
	int n_args; /* at least */
	int (*run)(struct image_store *s, char **a, struct err *e);
} commands[] = {
	{ "load", 0, do_load }, { "import", 0, do_import },   { "list", 0, do_list },       { "inspect", 1, do_inspect },
	{ "tag", 2, do_tag },   { "history", 1, do_history }, { "rmi", 1, do_rmi },         { "prune", 0, do_prune },
	{ "load-twice", 0, do_load_twice },
	{ "df", 0, do_df },     { "dirs", 1, do_dirs },       { "erofs", 1, do_erofs },     { "base", 1, do_base },
};

static int run(struct image_store *s, int argc, char **argv, struct err *e)
{
	for (size_t i = 0; i < array_len(commands); i++)
		if (!strcmp(argv[0], commands[i].name) && argc > commands[i].n_args)
			return commands[i].run(s, argv + 1, e);
	return err_set(e, ERR_INVALID, 0, "unknown command %s", argv[0]);
}

int main(int argc, char **argv)
{
	struct err e = { 0 };
	int rc = 1;

	log_init("image-driver", LOG_LEVEL_DEBUG);
	if (argc < 4)
		return 2;
	const struct image_store_options o = {
		.root = argv[1], .unpack_path = argv[2], .event = event, .users = users
	};
	autofree char *path = xasprintf("%s/state.db", argv[1]);
	struct db *db = io_mkdir_all(argv[1], 0700, &e) ? NULL : db_open(path, &e);
	struct image_store *s = db ? image_store_open(&o, db, &e) : NULL;

	if (s && !run(s, argc - 3, argv + 3, &e))
		rc = 0;
	else
		fprintf(stderr, "%s: %s\n", err_kind_name(e.kind), e.msg);
	image_store_close(s);
	db_close(db);
	return rc;
}
