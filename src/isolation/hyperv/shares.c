/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/shares.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/own.h"
#include "isolation/hyperv/guest_docs.h"
#include "os/mount.h"

#define OPTIONS_MAX 64

static int parse_options(const json_t *mount, struct mount_options *o, struct err *e)
{
	const char *options[OPTIONS_MAX];
	const json_t *option;
	size_t i, n = 0;

	json_array_foreach(json_object_get(mount, "options"), i, option) {
		if (!json_is_string(option) || n == OPTIONS_MAX)
			return err_set(e, ERR_INVALID, 0, "bad options");
		options[n++] = json_string_value(option);
	}
	return mount_options_parse(options, n, o, e);
}

/* What isn't content has its meaning in the kernel that it belongs to. */
static int check_kind(int share, const char *source, struct err *e)
{
	struct stat st;

	if (fstat(share, &st))
		return err_set(e, ERR_SYSTEM, errno, "%s", source);
	if (S_ISDIR(st.st_mode) || S_ISREG(st.st_mode))
		return 0;
	return err_set(e, ERR_UNSUPPORTED, 0,
		       "%s: only directories and regular files can be bound into a virtual machine", source);
}

static int open_share(const json_t *mount, struct err *e)
{
	const char *source = json_str(mount, "source", ""), *subpath = json_str(mount, "subpath", NULL);
	struct mount_options o;
	autoclose int fd = -1;

	if (parse_options(mount, &o, e))
		return -1;
	fd = subpath ? mount_clone_beneath(source, subpath, o.recursive, e)
		     : mount_clone(AT_FDCWD, source, o.recursive, e);
	if (fd < 0 || check_kind(fd, source, e) ||
	    mount_change(fd, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, MS_PRIVATE, true, e) ||
	    mount_change(fd, o.set & MOUNT_ATTR_RDONLY, 0, 0, false, e) ||
	    mount_change(fd, o.rec_set & MOUNT_ATTR_RDONLY, 0, 0, true, e))
		return -1;
	return take_fd(&fd);
}

int shares_open(const json_t *config, struct shares *s, struct err *e)
{
	const json_t *mount;
	size_t i;

	s->n = 0;
	json_array_foreach(json_object_get(config, "mounts"), i, mount) {
		if (!guest_is_bind(mount))
			continue;
		if (s->n == JAIL_SHARES_MAX)
			return err_set(e, ERR_LIMIT, 0, "a hyperv container has at most %d bind mounts and volumes",
				       JAIL_SHARES_MAX);
		s->fds[s->n] = open_share(mount, e);
		if (s->fds[s->n] < 0)
			return err_prefix(e, "%s", json_str(mount, "destination", ""));
		s->n++;
	}
	return 0;
}

int shares_add_root(struct shares *s, const char *path, struct err *e)
{
	autoclose int fd = -1;

	if (s->n == JAIL_SHARES_MAX)
		return err_set(e, ERR_LIMIT, 0, "a hyperv container has at most %d bind mounts and volumes",
			       JAIL_SHARES_MAX - 1);
	fd = mount_clone(AT_FDCWD, path, true, e);
	if (fd < 0 || mount_change(fd, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, MS_PRIVATE, true, e))
		return err_prefix(e, "root file system");
	s->fds[s->n++] = take_fd(&fd);
	return 0;
}

void shares_close(struct shares *s)
{
	while (s->n)
		close_fd(&s->fds[--s->n]);
}
