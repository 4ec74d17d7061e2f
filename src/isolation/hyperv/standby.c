/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Virtual machines that wait for their container. */
#include "base/json.h"
#include "isolation/hyperv/backend.h"

static int rehearse(struct sandbox *s, struct err *e)
{
	autojson *request = json_object();

	return agent_order(s, "rehearse", request, e);
}

struct sandbox *standby_open(const struct standby_options *o, struct loop *l, const struct isolation_events *ev,
			     struct err *e)
{
	const struct vm_options vm = {
		.id = o->id, .template_dir = o->template_dir, .uid = o->uid, .later_bytes = o->disk_bytes
	};
	struct sandbox *s = sandbox_start(&vm, l, ev, e);

	if (!s || !rehearse(s, e))
		return s;
	isolation_hyperv.sandbox_close(s);
	return NULL;
}

int standby_take(struct sandbox *s, const struct bundle *b, const struct isolation_events *ev, struct err *e)
{
	int tap = (int)json_int(json_object_get(b->silo, "network"), "tap", 0);

	sandbox_belongs(s, b, ev);
	if (!sandbox_check(b, e) && (tap <= 0 || !vm_attach_network(s->vm, tap, e)) &&
	    !vm_attach_disks(s->vm, b->rootfs.image, b->rootfs.disk, e) && !sandbox_setup(s, e))
		return 0;
	isolation_hyperv.sandbox_close(s);
	return -1;
}
