/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the hyperv backend share; nobody else includes it. */
#ifndef SILO_HYPERV_BACKEND_H
#define SILO_HYPERV_BACKEND_H

#include "isolation/hyperv/allowance.h"
#include "isolation/hyperv/channel.h"
#include "isolation/hyperv/guest_docs.h"
#include "isolation/hyperv/sockets.h"
#include "isolation/hyperv/vm.h"
#include "isolation/isolation.h"
#include "os/ipaddr.h"

enum process_stream { PROCESS_IN, PROCESS_OUT, PROCESS_ERR, PROCESS_TTY, PROCESS_STREAMS };

struct process {
	struct container *container;
	struct process *next;
	int64_t key; /* our number for it: pids of the guest may come back */
	pid_t pid;   /* as the guest says */
	struct stream *streams[PROCESS_STREAMS];
	bool exited, told;
	int exit_code;
	struct loop_io *give_up; /* timer: nobody takes the rest of the output */
};

struct container {
	struct sandbox *sandbox;
	struct container *next;
	char id[CONTAINER_ID_MAX + 1];
	const struct bundle *bundle;
	int slot;                         /* of its disks on the SCSI bus; -1 = it has the machine's own */
	size_t n_disks;                   /* of those in the slot that are plugged in */
	unsigned first_share;
	size_t n_shares;
	struct process *init, *processes; /* init is one of the processes */
};

struct sandbox {
	const struct bundle *bundle;      /* NULL: it waits for one (standby.c) */
	const struct vm_options *options; /* while the VM is being started */
	struct loop *loop;
	struct isolation_events events;
	struct vm *vm;
	struct allowance allowance;
	struct channel *channel;
	struct loop_io *vm_io;   /* its pidfd */
	struct loop_io *qmp_io;
	char cards[GUEST_CARDS][MAC_TEXT_MAX]; /* MAC of the network that a card belongs to; "" = free */
	struct loop_io *telling;               /* timer: what is left to tell after the sandbox was lost */
	struct loop_io *settling;              /* timer: the first container has been started a while ago */
	bool settled;                          /* it won't be waited for, or no more */
	struct container *containers;
	struct sockets *sockets;
	unsigned next_share; /* number */
	int64_t next_key;
	int timeout_ms; /* for one answer of the guest */
	bool silent;    /* the last call got no answer */
	bool lost;
	struct err why; /* when lost */
};

/* Default of vm.timeout_ms, the budget for one answer. Emulated on a busy host even small things take long. */
#define CALL_TIMEOUT_MS 60000
/* For a guest that has just been silent that long: taking the sandbox down must not take minutes. */
#define CALL_SILENT_MS 5000

/**
 * agent_call - a request to the guest; see channel_call().
 *
 * ERR_TIMEOUT with Hyper-V's own words where no answer came. A broken channel loses the sandbox: the VM is killed, and
 * sandbox_lost is sent from the loop. What the guest says in an error is stripped to printable text.
 */
json_t *agent_call(struct sandbox *s, const char *op, json_t *request, struct err *e) must_check;
/* The same where the answer's content doesn't matter. */
int agent_order(struct sandbox *s, const char *op, json_t *request, struct err *e) must_check;

/* A VM and the channel to its agent, which has not been spoken to. NULL with *e, and nothing is left. */
struct sandbox *sandbox_start(const struct vm_options *o, struct loop *l, const struct isolation_events *ev,
			      struct err *e) must_check;
/* From now on it is this bundle's. */
void sandbox_belongs(struct sandbox *s, const struct bundle *b, const struct isolation_events *ev);
/* What makes the clone a machine of its own: random numbers, clock, machine-id; it binds its disks. */
int sandbox_setup(struct sandbox *s, struct err *e) must_check;
/* What can't be done with this bundle is said before a VM is started for it. */
int sandbox_check(const struct bundle *b, struct err *e) must_check;

/**
 * container_plug - give the machine what of the host is this container's: what it shares, and, where the container has
 * joined another one's machine, its disks and devices. plug.c.
 *
 * @at  receives the names of all that in the guest.
 * On failure container_unplug() takes away what is there; and so it does when the guest has let go.
 */
int container_plug(struct container *c, struct guest_places *at, struct err *e) must_check;
void container_unplug(struct container *c);

/* A container has been started: some time after the first one memory is given back. */
void sandbox_settle(struct sandbox *s);

/* cards.c: as isolation.h says. */
int sandbox_network(struct sandbox *s, const json_t *network, const int *taps, size_t n_taps, struct err *e) must_check;
/* The wire of the bundle's first network, if it has one, before the guest is told: a descriptor of this process, taken. */
int sandbox_plug_first(struct sandbox *s, struct err *e) must_check;

/* standby.c: as isolation.h says. */
struct sandbox *standby_open(const struct standby_options *o, struct loop *l, const struct isolation_events *ev,
			     struct err *e) must_check;
int standby_take(struct sandbox *s, const struct bundle *b, const struct isolation_events *ev,
		 struct err *e) must_check;

/* Handlers of the channel. */
void hyperv_event(void *arg, const char *name, const json_t *body);
void hyperv_broken(void *arg, const struct err *why);

/**
 * process_new - a process that the guest is about to be told of, its streams held.
 *
 * @io  as isolation.h says; its ends are taken.
 * Receives {"process", "streams", "tty", "rows", "cols"} in request.
 */
struct process *process_new(struct container *c, struct process_io *io, json_t *request, struct err *e) must_check;
/* The guest has made it: note the pid, let the streams run. */
int process_made(struct process *p, const json_t *answer, struct err *e) must_check;
void process_destroy(struct process *p);
void process_note_exit(struct process *p, int exit_code);
/* Tell the events' owner now. He may free everything. */
void process_tell_exit(struct process *p);

#endif
