/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* isolation_hyperv: every call goes to isolation/process in the guest. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/step.h"
#include "isolation/hyperv/backend.h"
#include "isolation/hyperv/devices.h"
#include "isolation/hyperv/guest_docs.h"
#include "isolation/hyperv/vm.h"

/* ---- sandbox ---- */

static void sandbox_close(struct sandbox *s);

/* What can't be done is said before a VM is started for it. */
int sandbox_check(const struct bundle *b, struct err *e)
{
	if ((!b->rootfs.image || !b->rootfs.disk) && !b->rootfs.path)
		return err_set(e, ERR_UNSUPPORTED, 0,
			       "a hyperv container needs an image and a disk as its root file system, or a directory");
	if (b->seccomp_asks)
		return err_set(e, ERR_UNSUPPORTED, 0,
			       "linux.seccomp: SCMP_ACT_NOTIFY can't reach out of a virtual machine");
	const struct guest_places nowhere = { .device = -1 };
	autojson *config = guest_config(b->config, b->id, 1, &nowhere, e);

	return config ? 0 : -1;
}

static int open_vm(void *arg, struct err *e)
{
	struct sandbox *s = arg;

	s->vm = vm_clone(s->options, e);
	return s->vm ? 0 : -1;
}

static void undo_vm(void *arg)
{
	vm_free(((struct sandbox *)arg)->vm);
}

static int open_channel(void *arg, struct err *e)
{
	struct sandbox *s = arg;
	const struct channel_handlers h = { .arg = s, .event = hyperv_event, .broken = hyperv_broken };

	s->channel = channel_new(s->loop, vm_channel(s->vm), &h, e);
	return s->channel ? 0 : -1;
}

static void undo_channel(void *arg)
{
	channel_free(((struct sandbox *)arg)->channel);
}

/* The VM has died. What it still said is in the channel's socket, and then comes its end: the one way to lose it. */
static void on_vm_ended(void *arg, uint32_t events)
{
	struct sandbox *s = arg;

	loop_remove(&s->vm_io);
	(void)shutdown(vm_channel(s->vm), SHUT_RDWR);
}

static void on_qmp(void *arg, uint32_t events)
{
	struct sandbox *s = arg;

	if (!vm_drain(s->vm))
		loop_remove(&s->qmp_io);
}

static int open_watch(void *arg, struct err *e)
{
	struct sandbox *s = arg;

	s->vm_io = loop_add(s->loop, vm_pidfd(s->vm), EPOLLIN, on_vm_ended, s, e);
	s->qmp_io = s->vm_io ? loop_add(s->loop, vm_qmp_fd(s->vm), EPOLLIN, on_qmp, s, e) : NULL;
	if (s->qmp_io)
		return 0;
	loop_remove(&s->vm_io);
	return -1;
}

static void undo_watch(void *arg)
{
	loop_remove(&((struct sandbox *)arg)->vm_io);
	loop_remove(&((struct sandbox *)arg)->qmp_io);
}

static const struct step open_steps[] = {
	/* name              wanted  run           undo */
	{ "virtual machine", NULL,   open_vm,      undo_vm },
	{ "channel",         NULL,   open_channel, undo_channel },
	{ "watch",           NULL,   open_watch,   undo_watch },
};

struct sandbox *sandbox_start(const struct vm_options *o, struct loop *l, const struct isolation_events *ev,
			      struct err *e)
{
	struct sandbox *s = xcalloc(1, sizeof *s);

	*s = (struct sandbox){
		.loop = l, .events = *ev, .timeout_ms = CALL_TIMEOUT_MS, .options = o, .sockets = sockets_new()
	};
	if (steps_run(open_steps, array_len(open_steps), s, NULL, e)) {
		sockets_free(s->sockets);
		free(s);
		return NULL;
	}
	s->options = NULL;
	return s;
}

void sandbox_belongs(struct sandbox *s, const struct bundle *b, const struct isolation_events *ev)
{
	s->bundle = b;
	s->events = *ev;
	s->timeout_ms = (int)json_int(json_object_get(b->silo, "vm"), "timeout_ms", CALL_TIMEOUT_MS);
	/* Who asked for a buffer of some size wants it to be used. */
	s->settled = json_object_get(json_object_get(b->silo, "vm"), "translation_mib");
}

static struct sandbox *sandbox_open(const struct bundle *b, struct loop *l, const struct isolation_events *ev,
				    struct err *e)
{
	const json_t *vm = json_object_get(b->silo, "vm");
	struct devices devices = { 0 };
	struct allowance allowance = { 0 };
	struct sandbox *s = NULL;
	struct vm_options o = {
		.id = json_str(vm, "name", b->id),
		.template_dir = json_str(vm, "template", ""),
		.uid = (uid_t)json_int(vm, "uid", 0),
		.image_path = b->rootfs.image,
		.disk_path = b->rootfs.disk,
		.cold = json_bool(vm, "cold", false),
		.translation_mib = json_int(vm, "translation_mib", 0),
	};

	if (!sandbox_check(b, e) && !devices_open(b->config, &devices, e) &&
	    !allowance_open(&allowance, b, o.template_dir, e)) {
		o.more = devices.list;
		o.n_more = devices.n;
		o.cgroup = allowance.cgroup;
		o.oom_score_adj = allowance.oom_score_adj;
		s = sandbox_start(&o, l, ev, e);
	}
	devices_close(&devices);
	if (!s) {
		allowance_close(&allowance);
		return NULL;
	}
	s->allowance = allowance;
	sandbox_belongs(s, b, ev);
	if (!sandbox_plug_first(s, e) && !sandbox_setup(s, e))
		return s;
	err_prefix(e, "guest");
	sandbox_close(s);
	return NULL;
}

static void sandbox_close(struct sandbox *s)
{
	autojson *request = json_object();
	struct err e;

	/* The disks were unmounted with their containers; this is for what a busy one left behind. */
	if (!s->lost && agent_order(s, "sync", request, &e))
		log_warn("sync: %s", e.msg);
	loop_remove(&s->telling);
	loop_remove(&s->settling);
	loop_remove(&s->vm_io);
	loop_remove(&s->qmp_io);
	sockets_free(s->sockets);
	channel_free(s->channel);
	vm_free(s->vm);
	allowance_close(&s->allowance);
	free(s);
}

static pid_t sandbox_pid(const struct sandbox *s)
{
	return vm_pid(s->vm);
}

/* ---- containers ---- */

/* {"container": id}, the beginning of most requests. */
static json_t *request_for(const struct container *c)
{
	return json_pack("{s:s}", "container", c->id);
}

static json_t *request_for_process(const struct process *p)
{
	return json_pack("{s:s, s:I}", "container", p->container->id, "process", (json_int_t)p->key);
}

static void container_free(struct container *c)
{
	for (struct container **at = &c->sandbox->containers; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	while (c->processes)
		process_destroy(c->processes);
	free(c);
}

static void close_io(struct process_io *io)
{
	close_fd(&io->in);
	close_fd(&io->out);
	close_fd(&io->err);
}

/* The documents of the request, for which its disks and shares must be known. */
static int describe(struct container *c, json_t *request, struct err *e)
{
	struct guest_places at;
	json_t *config, *silo, *sockets;

	if (container_plug(c, &at, e))
		return -1;
	config = guest_config(c->bundle->config, c->id, c->sandbox->allowance.cpus, &at, e);
	silo = config ? guest_silo(c->bundle, &at, e) : NULL;
	json_object_set_new(request, "config", config);
	json_object_set_new(request, "silo", silo);
	if (c->n_shares)
		json_object_set_new(request, "shares", json_true());
	sockets = sockets_describe(c->sandbox->sockets, c);
	if (sockets)
		json_object_set_new(request, "sockets", sockets);
	return silo ? 0 : -1;
}

/* Not one that has joined it: the limits of the machine and its life on the host are its own container's. */
static bool owns_machine(const struct container *c)
{
	return c->bundle == c->sandbox->bundle;
}

static struct container *container_create(struct sandbox *s, const struct bundle *b, struct process_io *io,
					  struct err *e)
{
	autojson *request = json_object();
	struct container *c = xcalloc(1, sizeof *c);

	*c = (struct container){ .sandbox = s, .bundle = b, .slot = -1, .next = s->containers };
	memcpy(c->id, b->id, sizeof c->id);
	s->containers = c;
	if (describe(c, request, e)) {
		close_io(io);
		container_unplug(c);
		container_free(c);
		return NULL;
	}
	c->init = process_new(c, io, request, e);
	autojson *answer = c->init ? agent_call(s, "create", request, e) : NULL;

	if (answer && !process_made(c->init, answer, e))
		return c;
	close_fd(&io->tty_fd);
	container_unplug(c);
	container_free(c);
	return NULL;
}

static struct process *container_init(struct container *c)
{
	return c->init;
}

static int container_start(struct container *c, struct err *e)
{
	autojson *request = request_for(c);

	if ((owns_machine(c) && allowance_hold(&c->sandbox->allowance, e)) ||
	    agent_order(c->sandbox, "start", request, e))
		return -1;
	sandbox_settle(c->sandbox);
	return 0;
}

static struct process *container_exec(struct container *c, const json_t *process, struct process_io *io, struct err *e)
{
	autojson *request = request_for(c);
	struct process *p = process_new(c, io, request, e);

	if (!p)
		return NULL;
	json_object_set(request, "spec", (json_t *)(uintptr_t)process);
	autojson *answer = agent_call(c->sandbox, "exec", request, e);

	if (answer && !process_made(p, answer, e))
		return p;
	close_fd(&io->tty_fd);
	process_destroy(p);
	return NULL;
}

static void process_free(struct process *p)
{
	process_destroy(p);
}

static pid_t process_pid(const struct process *p)
{
	return p->pid;
}

static int process_signal(struct process *p, int signo, bool all, struct err *e)
{
	autojson *request = request_for_process(p);

	if (p->exited)
		return err_set(e, ERR_NOT_FOUND, 0, "the process has ended");
	json_object_set_new(request, "signal", json_integer(signo));
	json_object_set_new(request, "all", json_boolean(all));
	return agent_order(p->container->sandbox, "signal", request, e);
}

static int process_resize(struct process *p, uint16_t rows, uint16_t cols, struct err *e)
{
	autojson *request = request_for_process(p);

	json_object_set_new(request, "rows", json_integer(rows));
	json_object_set_new(request, "cols", json_integer(cols));
	return agent_order(p->container->sandbox, "resize", request, e);
}

static int container_freeze(struct container *c, bool frozen, struct err *e)
{
	autojson *request = request_for(c);

	json_object_set_new(request, "frozen", json_boolean(frozen));
	return agent_order(c->sandbox, "freeze", request, e);
}

/* What the guest says is data for others to look at: only its form is checked. */
static json_t *container_top(struct container *c, const json_t *ps_args, struct err *e)
{
	autojson *request = request_for(c);
	const json_t *pid;
	size_t i;

	json_object_set(request, "args", (json_t *)(uintptr_t)ps_args);
	autojson *answer = agent_call(c->sandbox, "top", request, e);
	bool good = answer && json_is_string(json_object_get(answer, "output")) &&
		    json_is_array(json_object_get(answer, "pids"));

	if (!answer)
		return NULL;
	json_array_foreach(json_object_get(answer, "pids"), i, pid)
		good = good && json_is_integer(pid);
	if (!good) {
		err_set(e, ERR_SYSTEM, 0, "the virtual machine answered rubbish");
		return NULL;
	}
	json_object_del(answer, "id");
	return take_ptr(&answer);
}

static json_t *container_stats(struct container *c, struct err *e)
{
	autojson *request = request_for(c);
	autojson *answer = agent_call(c->sandbox, "stats", request, e);

	json_object_del(answer, "id");
	return take_ptr(&answer);
}

static int container_update(struct container *c, const json_t *resources, struct err *e)
{
	autojson *request = request_for(c);

	json_object_set_new(request, "resources", guest_resources(resources, c->sandbox->allowance.cpus));
	if (agent_order(c->sandbox, "update", request, e))
		return -1;
	return owns_machine(c) ? allowance_update(&c->sandbox->allowance, resources, e) : 0;
}

static void container_delete(struct container *c)
{
	autojson *request = request_for(c);
	struct err e;

	/* Unmounting and the like is no time of the container's. */
	if (owns_machine(c) && allowance_release(&c->sandbox->allowance, &e))
		log_warn("%s: %s", c->id, e.msg);
	if (!c->sandbox->lost && agent_order(c->sandbox, "delete", request, &e))
		log_warn("%s: delete in the guest: %s", c->id, e.msg);
	container_unplug(c);
	container_free(c);
}

const struct isolation isolation_hyperv = {
	.name = "hyperv",
	.sandbox_open = sandbox_open,
	.standby_open = standby_open,
	.standby_take = standby_take,
	.sandbox_close = sandbox_close,
	.sandbox_pid = sandbox_pid,
	.sandbox_network = sandbox_network,
	.container_create = container_create,
	.container_init = container_init,
	.container_start = container_start,
	.container_exec = container_exec,
	.process_free = process_free,
	.process_pid = process_pid,
	.process_signal = process_signal,
	.process_resize = process_resize,
	.container_freeze = container_freeze,
	.container_top = container_top,
	.container_stats = container_stats,
	.container_update = container_update,
	.container_delete = container_delete,
};
