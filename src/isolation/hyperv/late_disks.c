/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks on the SCSI bus: plugged into a machine that runs, and out of it. */
#include <fcntl.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "isolation/hyperv/guest_docs.h"
#include "isolation/hyperv/vm_launch.h"

#define PLUG_MS 10000
#define FIRST_FD_SET 1000 /* away from those of the other disks */

static int add_node(struct qmp *q, const char *id, int set, const struct vm_disk *disk, struct err *e)
{
	autofree char *path = xasprintf("/dev/fdset/%d", set);
	bool read_only = disk->read_only;
	json_t *file = json_pack("{s:s, s:s, s:s}", "driver", disk->block ? "host_device" : "file", "filename", path,
				 "locking", "off");
	json_t *node;

	if (!read_only)
		json_object_set_new(file, "discard", json_string("unmap"));
	node = json_pack("{s:s, s:s, s:b, s:s, s:o}", "driver", "raw", "node-name", id, "read-only", read_only,
			 "discard", read_only ? "ignore" : "unmap", "file", file);
	return qmp_call(q, "blockdev-add", node, -1, NULL, e);
}

static int add_device(struct qmp *q, const char *id, int target, struct err *e)
{
	return qmp_call(q, "device_add",
			json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i}", "driver", "scsi-hd", "bus", "scsi.0", "id", id,
				  "drive", id, "channel", 0, "scsi-id", target, "lun", 0),
			-1, NULL, e);
}

int vm_plug_disk(struct vm *v, int target, const struct vm_disk *disk, struct err *e)
{
	autofree char *id = xasprintf("late%d", target);
	struct qmp *q = vm_qmp(v);
	int set = FIRST_FD_SET + target;
	struct err ignored;

	q->deadline_ms = time_monotonic_ms() + PLUG_MS;
	if (qmp_call(q, "add-fd", json_pack("{s:i}", "fdset-id", set), disk->fd, NULL, e))
		return -1;
	/* Without a user the descriptor goes when QEMU next looks at its sets. */
	if (add_node(q, id, set, disk, e))
		return -1;
	if (!add_device(q, id, target, e))
		return 0;
	if (qmp_call(q, "blockdev-del", json_pack("{s:s}", "node-name", id), -1, NULL, &ignored))
		log_warn("%s", ignored.msg);
	return -1;
}

int vm_unplug_disk(struct vm *v, int target, struct err *e)
{
	autofree char *id = xasprintf("late%d", target);
	struct qmp *q = vm_qmp(v);

	q->deadline_ms = time_monotonic_ms() + PLUG_MS;
	if (qmp_call(q, "device_del", json_pack("{s:s}", "id", id), -1, NULL, e))
		return -1;
	autojson *gone = qmp_wait_event(q, "DEVICE_DELETED", e);

	return gone ? qmp_call(q, "blockdev-del", json_pack("{s:s}", "node-name", id), -1, NULL, e) : -1;
}
