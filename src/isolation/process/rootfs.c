/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The root file system: a prepared directory or an overlay of unpacked layers (in a guest: of its mounted disks). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "isolation/process/child.h"
#include "os/mount.h"

#define OVERLAY_LAYERS_MAX 128
#define LEGACY_OPTIONS_MAX 4000 /* mount(2) takes one page */

static int attach_at(int mount, const char *path, struct err *e)
{
	autoclose int target = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (target < 0)
		return err_set(e, ERR_SYSTEM, errno, "open %s", path);
	return mount_attach(mount, target, e);
}

/* One "lowerdir+" a layer (Linux 6.5): no limit on the sum of their lengths. */
static int overlay_new(const char **layers, size_t n, const char *upper, const char *work, bool is_volatile,
		       struct err *e)
{
	autofree char **texts = xcalloc(n + 3, sizeof(*texts));
	size_t used = 0;
	int fd;

	for (size_t i = 0; i < n; i++)
		texts[used++] = xasprintf("lowerdir+=%s", layers[i]);
	texts[used++] = xasprintf("upperdir=%s", upper);
	texts[used++] = xasprintf("workdir=%s", work);
	if (is_volatile)
		texts[used++] = xstrdup("volatile");
	fd = fs_mount("overlay", "overlay", (const char *const *)texts, used, 0, e);
	for (size_t i = 0; i < used; i++)
		free(texts[i]);
	return fd;
}

static int legacy_options(struct str *o, const char **layers, size_t n, const char *upper, const char *work,
			  bool is_volatile, struct err *e)
{
	str_puts(o, "lowerdir=");
	for (size_t i = 0; i < n; i++) {
		if (strpbrk(layers[i], ":,\\"))
			return err_set(e, ERR_INVALID, 0, "layer %s: ':' and ',' are not possible here", layers[i]);
		str_printf(o, "%s%s", i ? ":" : "", layers[i]);
	}
	str_printf(o, ",upperdir=%s,workdir=%s%s", upper, work, is_volatile ? ",volatile" : "");
	return o->full ? err_set(e, ERR_LIMIT, 0, "too many layers for this kernel (Linux 6.5 has no limit)") : 0;
}

/* Attached at `work` right away: older kernels can't have it detached with more than 255 bytes of options. */
static int overlay_legacy(const char **layers, size_t n, const char *upper, const char *work, bool is_volatile,
			  struct err *e)
{
	autostr options;
	int fd;

	str_init(&options, LEGACY_OPTIONS_MAX);
	if (legacy_options(&options, layers, n, upper, work, is_volatile, e))
		return -1;
	if (mount("overlay", work, "overlay", 0, options.s))
		return err_set(e, ERR_SYSTEM, errno, "mount overlay");
	fd = open(work, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : err_set(e, ERR_SYSTEM, errno, "open %s", work);
}

/* Attached over its own work directory: nobody else needs that path in this mount namespace. */
static int overlay_mount(const char **layers, size_t n, const char *upper, const char *work, bool is_volatile,
			 struct err *e)
{
	struct err why = { 0 };
	int fd;

	if (!n || n > OVERLAY_LAYERS_MAX)
		return err_set(e, ERR_INVALID, 0, "%zu layers", n);
	fd = overlay_new(layers, n, upper, work, is_volatile, &why);
	if (fd < 0 && why.sys == EINVAL)
		return overlay_legacy(layers, n, upper, work, is_volatile, e);
	if (fd < 0) {
		if (e)
			*e = why;
		return -1;
	}
	if (attach_at(fd, work, e)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* In a user namespace the way to its root may be closed: any place will do until the root is changed. */
static int attach_tree(int tree, const char *path, struct err *e)
{
	struct err why = { 0 };

	if (!attach_at(tree, path, &why))
		return 0;
	return why.sys == EACCES ? attach_at(tree, "/sys", e) : attach_at(tree, path, e);
}

int child_open_root(void *arg, struct err *e)
{
	struct child *ch = arg;
	const struct rootfs *r = &ch->c->b->rootfs;

	if (!r->path || ch->root_tree >= 0)
		return 0;
	ch->root_tree = mount_clone(AT_FDCWD, r->path, true, e);
	if (ch->root_tree < 0)
		return -1;
	/* in a guest it is a share, all of which are mounted so that none harms the agent */
	if (!strcmp(ch->c->b->isolation, "hyperv") &&
	    mount_change(ch->root_tree, 0, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, false, e))
		return -1;
	/* what is mounted later outside doesn't show up inside, nor the other way round */
	return mount_change(ch->root_tree, 0, 0, MS_PRIVATE, true, e);
}

int child_mount_root(void *arg, struct err *e)
{
	struct child *ch = arg;
	const struct rootfs *r = &ch->c->b->rootfs;

	if (child_open_root(ch, e) || mount_all_private(e))
		return -1;
	if (r->path)
		ch->root = attach_tree(ch->root_tree, r->path, e) ? -1 : ch->root_tree;
	else if (r->n_layers)
		ch->root = overlay_mount(r->layers, r->n_layers, r->upper, r->work, r->is_volatile, e);
	else
		return err_set(e, ERR_INVALID, 0, "rootfs: path or layers are needed");
	return ch->root < 0 ? -1 : 0;
}
