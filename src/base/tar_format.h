/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What reader and writer share. */
#ifndef SILO_BASE_TAR_FORMAT_H
#define SILO_BASE_TAR_FORMAT_H

#include <sys/stat.h>

#include "base/tar.h"

struct ustar {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
	char magic[6], version[2], uname[32], gname[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct ustar) == TAR_BLOCK, "a tar header is one block");

static const struct {
	mode_t type;
	char flag;
} tar_types[] = {
	{ S_IFREG, '0' }, { 0, '1' },       { S_IFLNK, '2' }, { S_IFCHR, '3' },
	{ S_IFBLK, '4' }, { S_IFDIR, '5' }, { S_IFIFO, '6' },
};

#endif
