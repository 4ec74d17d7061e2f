/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening names that somebody else wrote: openat2(2), so that no symlink and no ".." leads out of the directory. */
#ifndef SILO_IMAGE_BENEATH_H
#define SILO_IMAGE_BENEATH_H

/**
 * beneath_open - open path as if root were "/": symlinks, absolute ones too, are resolved inside.
 *
 * @flags  as open(2); O_CLOEXEC is added. Nothing is created. Mount points are not crossed.
 * Returns an fd, or -1 with errno.
 */
int beneath_open(int root, const char *path, int flags);

#endif
