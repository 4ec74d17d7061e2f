/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the host shares with this virtual machine. */
#include <errno.h>
#include <sys/mount.h>

#include "agent/agent.h"
#include "base/io.h"
#include "isolation/hyperv/guest_docs.h"

/*
 * mmap: as without a cache, so that a change on one side is seen on the other, but files can be mapped writable. The
 * guest's kernel checks permissions, with access lists: the server on the other side may do anything.
 */
#define OPTIONS "trans=virtio,version=9p2000.L,msize=262144,cache=mmap,access=client,posixacl"

int agent_mount_shares(struct agent *a, struct err *e)
{
	if (a->shares)
		return 0;
	if (io_mkdir_all(GUEST_SHARES_DIR, 0755, e))
		return -1;
	if (mount(GUEST_SHARES_TAG, GUEST_SHARES_DIR, "9p", MS_NOSUID | MS_NODEV, OPTIONS))
		return err_set(e, ERR_SYSTEM, errno, "mount what the host shares (9p)");
	a->shares = true;
	return 0;
}
