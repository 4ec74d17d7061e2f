/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Virtual machines that wait for their container. */
#include <stdlib.h>

#include "base/json.h"
#include "base/own.h"
#include "isolation/hyperv/backend.h"
#include "isolation/hyperv/devices.h"

/* Handlers while a container is rehearsed: its end, and the end of the machine. */
struct rehearsal {
	const struct isolation_events *waiting; /* the events of the one who waits with it */
	bool ended;
};

static void on_exited(void *arg, struct process *p unused_arg, int exit_code unused_arg)
{
	((struct rehearsal *)arg)->ended = true;
}

static void on_lost(void *arg, const struct err *why)
{
	struct rehearsal *r = arg;

	r->ended = true;
	r->waiting->sandbox_lost(r->waiting->arg, why);
}

static int run_container(struct sandbox *s, const struct bundle *b, const struct rehearsal *r, struct err *e)
{
	struct process_io io = { .in = -1, .out = -1, .err = -1, .tty_fd = -1 };
	struct container *c = isolation_hyperv.container_create(s, b, &io, e);
	int rc;

	if (!c)
		return -1;
	rc = isolation_hyperv.container_start(c, e);
	while (rc == 0 && !r->ended)
		rc = loop_once(s->loop, -1, e) < 0 ? -1 : 0;
	isolation_hyperv.container_delete(c);
	return rc;
}

/* The whole way of a container, from its disks to its end. What was plugged in for it is forgotten. */
static int rehearse(struct sandbox *s, const struct bundle *b, const struct isolation_events *ev, struct err *e)
{
	struct rehearsal r = { .waiting = ev };
	const struct isolation_events mine = { .arg = &r, .process_exited = on_exited, .sandbox_lost = on_lost };
	autojson *request = json_object();
	int rc;

	sandbox_belongs(s, b, &mine);
	s->settled = true; /* what is translated now is what it waits with */
	rc = vm_attach_disks(s->vm, b->rootfs.image, b->rootfs.disk, e) || sandbox_setup(s, e) ||
			     run_container(s, b, &r, e) || agent_order(s, "reset", request, e)
		     ? -1
		     : 0;
	s->bundle = NULL;
	s->events = *ev;
	return rc;
}

struct sandbox *standby_open(const struct standby_options *o, struct loop *l, const struct isolation_events *ev,
			     struct err *e)
{
	const struct vm_options vm = {
		.id = o->id, .template_dir = o->template_dir, .uid = o->uid, .later_bytes = o->disk_bytes
	};
	struct sandbox *s = sandbox_start(&vm, l, ev, e);

	if (!s || !rehearse(s, o->rehearsal, ev, e))
		return s;
	isolation_hyperv.sandbox_close(s);
	return NULL;
}

/* Its cgroup; it gets there while the guest is being told who it is. */
static int move_machine(struct sandbox *s, const struct bundle *b, struct err *e)
{
	const char *template = json_str(json_object_get(b->silo, "vm"), "template", "");

	if (allowance_open(&s->allowance, b, template, e))
		return -1;
	return allowance_move(&s->allowance, vm_pid(s->vm), e);
}

/* What belongs to the machine's command line can't come later. */
static int check_late(const struct bundle *b, struct err *e)
{
	if (devices_wanted(b->config))
		return err_set(e, ERR_INVALID, 0, "a machine that waits has no devices of the host");
	return 0;
}

int standby_take(struct sandbox *s, const struct bundle *b, const struct isolation_events *ev, struct err *e)
{
	sandbox_belongs(s, b, ev);
	if (!check_late(b, e) && !sandbox_check(b, e) && !move_machine(s, b, e) && !sandbox_plug_first(s, e) &&
	    !vm_attach_disks(s->vm, b->rootfs.image, b->rootfs.disk, e) && !sandbox_setup(s, e) &&
	    !allowance_moved(&s->allowance, e))
		return 0;
	isolation_hyperv.sandbox_close(s);
	return -1;
}
