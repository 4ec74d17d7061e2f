/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A network card gets its wire: a tap device of silod's making, in the place of what led nowhere (shim_wires.c). */
#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "isolation/hyperv/vm_launch.h"

#define PLUG_MS 10000
#define FIRST_FD_SET 2000 /* away from those of the disks */

static int unplug(struct vm *v, int card, struct err *e)
{
	autofree char *path = xasprintf(VMWP_WIRES "%d", card);

	return vm_order(v, path, e);
}

/* QEMU's descriptor of that number is its card's wire from now on; it is only a copy. */
static int plug(struct vm *v, int card, int fd, struct err *e)
{
	autofree char *path = xasprintf(VMWP_WIRES "%d/%d", card, fd);

	return vm_order(v, path, e);
}

int vm_plug_card(struct vm *v, int card, int tap, struct err *e)
{
	struct qmp *q = vm_qmp(v);
	int set = FIRST_FD_SET + card;
	autojson *given = NULL;
	struct err ignored;

	q->deadline_ms = time_monotonic_ms() + PLUG_MS;
	if (qmp_call(q, "add-fd", json_pack("{s:i}", "fdset-id", set), tap, &given, e))
		return err_prefix(e, "network of the virtual machine");
	int rc = plug(v, card, (int)json_int(given, "fd", -1), e);

	/* A device that is unplugged has to go: nothing else may hold it. */
	if (qmp_call(q, "remove-fd", json_pack("{s:i}", "fdset-id", set), -1, NULL, rc ? &ignored : e) == 0 && rc == 0)
		return 0;
	(void)!unplug(v, card, &ignored);
	return err_prefix(e, "network of the virtual machine");
}

int vm_unplug_card(struct vm *v, int card, struct err *e)
{
	return unplug(v, card, e) ? err_prefix(e, "network of the virtual machine") : 0;
}
