/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A network card gets its wire: a tap device of silod's making, plugged into the hub that the card is on. */
#include <stdio.h>

#include "base/io.h"
#include "base/json.h"
#include "isolation/hyperv/vm_launch.h"

#define PLUG_MS 10000

struct wire {
	char tap[16], port[16];
};

static struct wire wire_of(struct vm *v, int card)
{
	struct wire w;

	snprintf(w.tap, sizeof w.tap, "tap%d", card);
	snprintf(w.port, sizeof w.port, "wire%d", card);
	vm_qmp(v)->deadline_ms = time_monotonic_ms() + PLUG_MS;
	return w;
}

static int remove_netdev(struct qmp *q, const char *id, struct err *e)
{
	return qmp_call(q, "netdev_del", json_pack("{s:s}", "id", id), -1, NULL, e);
}

int vm_plug_card(struct vm *v, int card, int tap, struct err *e)
{
	struct wire w = wire_of(v, card);
	struct qmp *q = vm_qmp(v);
	struct err ignored;

	if (qmp_call(q, "getfd", json_pack("{s:s}", "fdname", w.tap), tap, NULL, e) ||
	    qmp_call(q, "netdev_add",
		     json_pack("{s:s, s:s, s:s, s:b}", "type", "tap", "id", w.tap, "fd", w.tap, "vhost", 0), -1, NULL,
		     e))
		return err_prefix(e, "network of the virtual machine");
	if (!qmp_call(
		    q, "netdev_add",
		    json_pack("{s:s, s:s, s:i, s:s}", "type", "hubport", "id", w.port, "hubid", card, "netdev", w.tap),
		    -1, NULL, e))
		return 0;
	if (remove_netdev(q, w.tap, &ignored))
		err_prefix(e, "%s", w.tap);
	return err_prefix(e, "network of the virtual machine");
}

int vm_unplug_card(struct vm *v, int card, struct err *e)
{
	struct wire w = wire_of(v, card);

	if (remove_netdev(vm_qmp(v), w.port, e) || remove_netdev(vm_qmp(v), w.tap, e))
		return err_prefix(e, "network of the virtual machine");
	return 0;
}
