/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* silo/base: the distribution's static busybox as an image, so that a machine without a registry runs something. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "base/tar.h"
#include "image/make.h"

#define BASE_NAME "docker.io/silo/base:latest"
#define APPLETS_BYTES (64 * KIB)

struct file {
	const char *path;
	unsigned mode;
	const char *data; /* NULL = a directory */
};

static const struct file files[] = {
	{ "bin/", 0755, NULL },
	{ "dev/", 0755, NULL },
	{ "etc/", 0755, NULL },
	{ "etc/group", 0644, "root:x:0:\ndaemon:x:1:\ntty:x:5:\nwww-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n" },
	{ "etc/nsswitch.conf", 0644, "hosts: files dns\n" },
	{ "etc/passwd", 0644,
	  "root:x:0:0:root:/root:/bin/sh\n"
	  "daemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
	  "www-data:x:33:33:www-data:/var/www:/bin/false\n"
	  "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n" },
	{ "etc/shadow", 0600, "root:*:::::::\ndaemon:*:::::::\nwww-data:*:::::::\nnobody:*:::::::\n" },
	{ "home/", 0755, NULL },
	{ "proc/", 0755, NULL },
	{ "root/", 0700, NULL },
	{ "run/", 0755, NULL },
	{ "sbin/", 0755, NULL },
	{ "sys/", 0755, NULL },
	{ "tmp/", 01777, NULL },
	{ "usr/", 0755, NULL },
	{ "usr/bin/", 0755, NULL },
	{ "usr/sbin/", 0755, NULL },
	{ "var/", 0755, NULL },
	{ "var/log/", 0755, NULL },
	{ "var/tmp/", 01777, NULL },
	{ "var/www/", 0755, NULL },
};

struct tar {
	int fd;
	time_t mtime;
};

static int tar_header(const struct tar *t, const char *name, unsigned mode, mode_t type, size_t size,
		      const char *target, struct err *e)
{
	const struct tar_entry entry = { .name = (char *)(uintptr_t)name,
					 .link = (char *)(uintptr_t)target,
					 .type = type,
					 .mode = mode,
					 .size = size,
					 .mtime = t->mtime };
	autostr blocks;

	str_init(&blocks, 64 * KIB);
	if (tar_format(&entry, &blocks))
		return err_set(e, ERR_INVALID, 0, "base image: name too long: %s", name);
	return io_write_all(t->fd, blocks.s, blocks.len) ? err_set(e, ERR_SYSTEM, errno, "base image") : 0;
}

static int tar_file(const struct tar *t, const char *name, unsigned mode, const void *data, size_t n, struct err *e)
{
	static const char zeros[TAR_BLOCK];

	if (tar_header(t, name, mode, S_IFREG, n, NULL, e))
		return -1;
	if (io_write_all(t->fd, data, n) || io_write_all(t->fd, zeros, tar_padding(n)))
		return err_set(e, ERR_SYSTEM, errno, "base image");
	return 0;
}

/* What `busybox --list-full` prints: one path a line, relative to the root. */
static int list_applets(const char *busybox, struct str *out, struct err *e)
{
	char *const argv[] = { "busybox", "--list-full", NULL }, *const env[] = { NULL };
	posix_spawn_file_actions_t fa;
	char buf[4096];
	int pipe_fds[2], rc, status = -1;
	ssize_t n;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC))
		return err_set(e, ERR_SYSTEM, errno, "pipe");
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, pipe_fds[1], 1);
	rc = posix_spawn(&pid, busybox, &fa, NULL, argv, env);
	posix_spawn_file_actions_destroy(&fa);
	close(pipe_fds[1]);
	while (!rc && ((n = read(pipe_fds[0], buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR)))
		if (n > 0)
			str_add(out, buf, (size_t)n);
	close(pipe_fds[0]);
	if (rc)
		return err_set(e, ERR_SYSTEM, rc, "%s", busybox);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status || out->full || !out->len)
		return err_set(e, ERR_SYSTEM, 0, "%s --list-full failed", busybox);
	return 0;
}

static int add_applets(const struct tar *t, const char *busybox, struct err *e)
{
	char *save = NULL;
	autostr list;

	str_init(&list, APPLETS_BYTES);
	if (list_applets(busybox, &list, e))
		return -1;
	for (char *line = strtok_r(list.s, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!strcmp(line, "linuxrc") || !strcmp(line, "bin/busybox"))
			continue;
		if (tar_header(t, line, 0777, S_IFLNK, 0, "/bin/busybox", e))
			return -1;
	}
	return 0;
}

static int write_tar(const struct tar *t, const char *busybox, const struct str *program, struct err *e)
{
	static const char end[TAR_END_BYTES];

	for (size_t i = 0; i < array_len(files); i++) {
		const struct file *f = &files[i];

		if (f->data ? tar_file(t, f->path, f->mode, f->data, strlen(f->data), e)
			    : tar_header(t, f->path, f->mode, S_IFDIR, 0, NULL, e))
			return -1;
	}
	if (tar_file(t, "bin/busybox", 0755, program->s, program->len, e) || add_applets(t, busybox, e))
		return -1;
	if (io_write_all(t->fd, end, sizeof(end)) || lseek(t->fd, 0, SEEK_SET))
		return err_set(e, ERR_SYSTEM, errno, "base image");
	return 0;
}

/* The same busybox gives the same image: all times are that of its binary. */
static int make_base(struct image_store *s, const char *busybox, struct err *e)
{
	autojson *config = json_pack("{s:[s], s:[s]}", "Cmd", "sh", "Env",
				     "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	char id[IMAGE_ID_MAX], created[TIME_TEXT_MAX];
	struct timespec built = { 0 };
	struct stat st;
	autowork w = { 0 };
	autostr program;

	str_init(&program, 64 * MIB);
	if (stat(busybox, &st))
		return err_set(e, ERR_SYSTEM, errno, "%s (install busybox-static)", busybox);
	if (io_read_file(AT_FDCWD, busybox, &program, e) || work_open(s, "base", &w, e))
		return -1;
	built.tv_sec = st.st_mtime;
	time_format(&built, created);
	autoclose int fd = openat(w.fd, "base.tar", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	const struct tar t = { .fd = fd, .mtime = st.st_mtime };
	const struct make m = { .name = BASE_NAME, .config = config, .created = created,
				.created_by = "silo: the distribution's busybox" };

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, errno, "base image");
	return write_tar(&t, busybox, &program, e) ? -1 : make_image(&w, fd, &m, id, e);
}

int image_make_base(struct image_store *s, const char *busybox_path, struct err *e)
{
	struct err lookup = { 0 };
	autojson *row = image_row(s, BASE_NAME, &lookup);

	if (row)
		return 0;
	return make_base(s, busybox_path, e) ? err_prefix(e, "silo/base") : 0;
}
