/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The VM's network card gets its wire: a tap device of silod's making, plugged into the hub that the card is on. */
#include "base/io.h"
#include "base/json.h"
#include "isolation/hyperv/vm_launch.h"

#define ATTACH_MS 10000

int vm_attach_network(struct vm *v, int tap, struct err *e)
{
	struct qmp *q = vm_qmp(v);

	q->deadline_ms = time_monotonic_ms() + ATTACH_MS;

	if (qmp_call(q, "getfd", json_pack("{s:s}", "fdname", "tap"), tap, NULL, e) ||
	    qmp_call(q, "netdev_add",
		     json_pack("{s:s, s:s, s:s, s:b}", "type", "tap", "id", "tap0", "fd", "tap", "vhost", 0), -1, NULL,
		     e) ||
	    qmp_call(q, "netdev_add",
		     json_pack("{s:s, s:s, s:i, s:s}", "type", "hubport", "id", "wire0", "hubid", 0, "netdev", "tap0"),
		     -1, NULL, e))
		return err_prefix(e, "network of the virtual machine");
	return 0;
}
