/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The extractor without its jail: whatever the archive says, it ends, and nothing appears beside the target. The first
 * byte chooses the mode. Runs in /dev/shm, best as an ordinary user.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "image/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static int work = -1; /* the one directory of this process; holds "target" only */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char dir[] = "/dev/shm/fuzz-tar-XXXXXX";

	umask(0);
	if (!mkdtemp(dir))
		abort();
	work = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

static void check_alone(void)
{
	struct stat st;

	/* One subdirectory is one link more: anything else that is a directory shows; files would not have a parent. */
	if (fstat(work, &st) || st.st_nlink != 3)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct unpack_limits limits = { .entries = 50, .bytes = 1 << 20 };
	struct unpack_result result;
	struct err e = { 0 };

	if (n < 1 || mkdirat(work, "target", 0700))
		return 0;
	autoclose int root = openat(work, "target", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoclose int in = memfd_create("tar", MFD_CLOEXEC);

	if (io_write_all(in, data + 1, n - 1) || lseek(in, 0, SEEK_SET))
		abort();
	if (unpack_run(in, root, -1, data[0] & 1 ? UNPACK_LAYER : UNPACK_ARCHIVE, &limits, &result, &e) &&
	    e.kind == ERR_NONE)
		abort();
	check_alone();
	if (io_remove_tree(work, "target", &e))
		abort();
	return 0;
}
