/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copies of small directory trees. */
#ifndef SILO_OS_TREE_H
#define SILO_OS_TREE_H

#include "base/err.h"

/* Copy what is in the directory `from` into the directory `to`: files, directories, symlinks, with owners and modes.
 * No symlink is followed. ERR_LIMIT at 64 levels. Devices, FIFOs and sockets are left out. */
int tree_copy(int from, int to, struct err *e) must_check;

#endif
