/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The container's mounts without what isn't files: a copy, so that nobody in the container sees a change. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "isolation/process/files.h"
#include "os/mount.h"
#include "os/root.h"

#define MOUNTINFO_MAX (16 * MIB)

static const char *const virtual_types[] = {
	"proc", "sysfs", "tmpfs",   "devtmpfs", "devpts",     "mqueue",  "cgroup",     "cgroup2",
	"bpf",  "debugfs", "tracefs", "securityfs", "configfs", "hugetlbfs", "fusectl", "pstore",
};

static bool is_virtual(const char *type)
{
	for (size_t i = 0; i < array_len(virtual_types); i++)
		if (!strcmp(virtual_types[i], type))
			return true;
	return false;
}

/* A volume may be a tmpfs, and in a guest the small files of Silo's making are. */
static bool is_bind_destination(const struct bundle *b, const char *path)
{
	for (size_t i = 0; i < b->spec->n_mounts; i++) {
		const struct oci_mount *m = &b->spec->mounts[i];
		autofree char *clean = path_clean(m->destination);

		if (m->source && (!m->type || !is_virtual(m->type)) && !strcmp(clean, path))
			return true;
	}
	for (size_t i = 0; i < b->n_files; i++)
		if (!strcmp(b->files[i].destination, path))
			return true;
	return false;
}

/* Octal escapes of mountinfo, in place. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
		    s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* "ID PARENT MAJ:MIN ROOT MOUNTPOINT OPTIONS [TAGS] - TYPE SOURCE ...": the mount point, if it is to go. */
static char *unwanted(const struct files *f, char *line, bool binds)
{
	char *dash = strstr(line, " - "), *save = NULL, *point = NULL, *type;

	if (!dash)
		return NULL;
	*dash = '\0';
	point = strtok_r(line, " ", &save);
	for (int i = 0; i < 4 && point; i++)
		point = strtok_r(NULL, " ", &save);
	type = strtok_r(dash + 3, " ", &save);
	if (!point || !type || !strcmp(point, "/"))
		return NULL;
	unescape(point);
	if (binds && (!is_virtual(type) || is_bind_destination(f->c->b, point)))
		return NULL;
	return point;
}

/* Newest first: what lies on top goes before what is below. */
static int drop_mounts(const struct files *f, bool binds, struct err *e)
{
	autofree char **lines = NULL;
	size_t n = 0, cap = 0;
	char *save = NULL;
	autostr text;

	str_init(&text, MOUNTINFO_MAX);
	if (io_read_file(f->proc_fs, "self/mountinfo", &text, e))
		return -1;
	for (char *line = strtok_r(text.s, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (n == cap) {
			cap = cap ? 2 * cap : 64;
			lines = xrealloc(lines, cap * sizeof(*lines));
		}
		lines[n++] = line;
	}
	while (n-- > 0) {
		const char *point = unwanted(f, lines[n], binds);

		/* EINVAL: it went together with the one above it. */
		if (point && umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW) && errno != EINVAL && errno != ENOENT)
			return err_set(e, ERR_SYSTEM, errno, "detach %.200s", point);
	}
	return 0;
}

int files_enter(struct files *f, bool binds, struct err *e)
{
	autoclose int root = -1;

	f->proc_fs = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (f->proc_fs < 0)
		return err_set(e, ERR_SYSTEM, errno, "open /proc");
	if (setns(f->c->init.pidfd, CLONE_NEWNS))
		return err_set(e, ERR_SYSTEM, errno, "join the container's mounts");
	if (unshare(CLONE_NEWNS) || chdir("/"))
		return err_set(e, ERR_SYSTEM, errno, "copy the container's mounts");
	if (mount_all_private(e) || drop_mounts(f, binds, e))
		return -1;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_set(e, ERR_SYSTEM, errno, "open the container's root");
	/* A name that becomes a device between two looks at it can't be opened as one. */
	if (mount_change(root, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, 0, 0, true, e))
		return -1;
	f->root = take_fd(&root);
	return files_drop_rights(false, e);
}
