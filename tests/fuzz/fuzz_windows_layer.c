/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A layer of a Windows image without its jail and without layers below: whatever it says it ends, what comes out can be
 * unpacked, and nothing is left beside it. Runs in /dev/shm. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "windows/layer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static int work = -1; /* the one directory of this process */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char dir[] = "/dev/shm/fuzz-windows-layer-XXXXXX";

	umask(0);
	if (!mkdtemp(dir))
		abort();
	work = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

/* What was converted is an archive that the extractor takes. A file may stand where a directory is wanted: that's told. */
static void unpack_again(int converted)
{
	const struct unpack_limits limits = { .entries = 100, .bytes = 2 << 20 };
	struct unpack_result result;
	struct err e = { 0 };

	if (mkdirat(work, "target", 0700))
		abort();
	autoclose int root = openat(work, "target", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (unpack_run(converted, root, -1, UNPACK_LAYER, &limits, &result, &e) && e.kind == ERR_NONE)
		abort();
	if (io_remove_tree(work, "target", &e))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct unpack_limits limits = { .entries = 50, .bytes = 1 << 20 };
	autoclose int in = memfd_create("tar", MFD_CLOEXEC), out = -1;
	struct unpack_result result;
	struct err e = { 0 };
	int rc;

	if (io_write_all(in, data, n) || lseek(in, 0, SEEK_SET))
		abort();
	rc = windows_layer_convert(in, work, -1, -1, &limits, &result, &e);
	if (rc && e.kind == ERR_NONE)
		abort();
	out = openat(work, UNPACK_CONVERTED, O_RDONLY | O_CLOEXEC);
	if (!rc)
		unpack_again(out);
	unlinkat(work, UNPACK_CONVERTED, 0);
	return 0;
}
