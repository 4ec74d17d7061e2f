/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A virtual machine as a sandbox: its agent's calls, events and end. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "isolation/hyperv/backend.h"
#include "isolation/hyperv/devices.h"
#include "isolation/hyperv/vm.h"

/* The words of Windows for HCS_E_CONNECTION_TIMEOUT and HCS_E_UNEXPECTED_EXIT. */
#define TIMEOUT_TEXT \
	"The operation timed out because a response was not received from the virtual machine or container"
#define LOST_TEXT "The virtual machine or container exited unexpectedly"

#define LAST_WORDS_WAIT_MS 1000
#define LAST_WORDS_MAX 300

/* From a container's start until what that took isn't needed any more. */
#define SETTLE_MS 10000

#define ENTROPY_BYTES 64
#define MACHINE_ID_LEN 32

/* Text of a guest is shown on terminals and written to logs: one line, printable. */
static void make_printable(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p; p++)
		if (*p < ' ' || *p == 0x7f)
			*p = *p == '\n' || *p == '\t' ? ' ' : '?';
}

static void describe_loss(struct sandbox *s, const struct err *why)
{
	if (why->kind == ERR_INVALID) {
		err_set(&s->why, ERR_SYSTEM, 0, LOST_TEXT ": its agent broke the protocol: %s", why->msg);
	} else {
		/* The socket closes a moment before the process is gone; what it had to say is complete only then. */
		struct pollfd p = { .fd = vm_pidfd(s->vm), .events = POLLIN };

		(void)poll(&p, 1, LAST_WORDS_WAIT_MS);
		const char *words = vm_last_words(s->vm);
		size_t n = strlen(words);

		words += n > LAST_WORDS_MAX ? n - LAST_WORDS_MAX : 0;
		err_set(&s->why, ERR_SYSTEM, 0, LOST_TEXT "%s%s", *words ? ": " : "", words);
	}
	make_printable(s->why.msg);
}

/* From here on nothing is asked of the guest any more. */
static void lose(struct sandbox *s, const struct err *why)
{
	if (s->lost)
		return;
	s->lost = true;
	describe_loss(s, why);
	loop_remove(&s->vm_io);
	loop_remove(&s->settling);
	(void)syscall(SYS_pidfd_send_signal, vm_pidfd(s->vm), SIGKILL, NULL, 0);
}

json_t *agent_call(struct sandbox *s, const char *op, json_t *request, struct err *e)
{
	if (s->lost) {
		*e = s->why;
		return NULL;
	}
	int budget = s->silent && s->timeout_ms > CALL_SILENT_MS ? CALL_SILENT_MS : s->timeout_ms;
	json_t *answer = channel_call(s->channel, op, request, budget, e);

	s->silent = !answer && e->kind == ERR_TIMEOUT;
	if (answer)
		return answer;
	if (channel_is_broken(s->channel)) {
		lose(s, e);
		*e = s->why;
	} else if (e->kind == ERR_TIMEOUT) {
		log_warn("%s", e->msg);
		err_set(e, ERR_TIMEOUT, 0, TIMEOUT_TEXT);
	}
	make_printable(e->msg);
	return NULL;
}

int agent_order(struct sandbox *s, const char *op, json_t *request, struct err *e)
{
	autojson *answer = agent_call(s, op, request, e);

	return answer ? 0 : -1;
}

/* ---- setup ---- */

/* The container's own where it has the form of a machine-id, so that it stays the same over restarts. */
static void machine_id(const char *id, char out[static MACHINE_ID_LEN + 1])
{
	if (strlen(id) >= MACHINE_ID_LEN && str_is_hex(id, MACHINE_ID_LEN)) {
		memcpy(out, id, MACHINE_ID_LEN);
		out[MACHINE_ID_LEN] = 0;
	} else {
		random_hex(out, MACHINE_ID_LEN / 2);
	}
}

int sandbox_setup(struct sandbox *s, struct err *e)
{
	char entropy[2 * ENTROPY_BYTES + 1], id[MACHINE_ID_LEN + 1];
	struct timespec now;

	random_hex(entropy, ENTROPY_BYTES);
	machine_id(s->bundle->id, id);
	now = time_now();
	autojson *request = json_pack("{s:s, s:s, s:I}", "entropy", entropy, "machine_id", id, "time_ns",
				      (json_int_t)now.tv_sec * 1000000000 + now.tv_nsec);

	json_t *network = json_object_get(s->bundle->silo, "network");

	if (network)
		json_object_set(request, "network", network);
	if (devices_wanted(s->bundle->config))
		json_object_set_new(request, "disks", json_integer((json_int_t)devices_wanted(s->bundle->config)));
	explicit_bzero(entropy, sizeof entropy);
	return agent_order(s, "setup", request, e);
}

/* ---- memory ---- */

static void on_settled(void *arg, uint32_t events)
{
	struct sandbox *s = arg;
	struct err e;

	s->settling = NULL;
	if (!s->lost && vm_trim(s->vm, &e))
		log_debug("%s", e.msg);
}

void sandbox_settle(struct sandbox *s)
{
	struct err e;

	if (s->settled)
		return;
	s->settled = true;
	s->settling = loop_timer(s->loop, SETTLE_MS, on_settled, s, &e);
	if (!s->settling)
		log_warn("%s", e.msg);
}

/* ---- events ---- */

static void on_process_exited(struct sandbox *s, const json_t *body)
{
	int64_t key = json_int(body, "process", 0), code = json_int(body, "exit_code", -1);

	for (struct container *c = s->containers; c; c = c->next)
		for (struct process *p = c->processes; p; p = p->next)
			if (p->key == key) {
				process_note_exit(p, code >= INT32_MIN && code <= INT32_MAX ? (int)code : 255);
				return;
			}
}

static void on_oom(struct sandbox *s, const json_t *body)
{
	const char *id = json_str(body, "container", "");

	for (struct container *c = s->containers; c; c = c->next)
		if (!strcmp(c->id, id)) {
			if (s->events.oom)
				s->events.oom(s->events.arg, c);
			return;
		}
}

static const struct {
	const char *name;
	void (*handle)(struct sandbox *s, const json_t *body);
} guest_events[] = {
	{ "process_exited", on_process_exited },
	{ "oom", on_oom },
	{ "socket_connect", sockets_on_connect },
	{ "socket_opened", sockets_on_opened },
};

void hyperv_event(void *arg, const char *name, const json_t *body)
{
	for (size_t i = 0; i < array_len(guest_events); i++)
		if (!strcmp(guest_events[i].name, name)) {
			guest_events[i].handle(arg, body);
			return;
		}
	/* "ready" of a cold boot, and what a newer agent may have to say */
}

/* ---- the end ---- */

static struct process *exited_and_untold(struct sandbox *s)
{
	for (struct container *c = s->containers; c; c = c->next)
		for (struct process *p = c->processes; p; p = p->next)
			if (p->exited && !p->told)
				return p;
	return NULL;
}

/* Exits that were known come before the news of the loss. Each handler may free the sandbox: one at a time. */
static void on_telling(void *arg, uint32_t events)
{
	struct sandbox *s = arg;
	struct process *p = exited_and_untold(s);
	struct err e;

	s->telling = NULL;
	if (!p) {
		if (allowance_exceeded(&s->allowance) && s->containers && s->events.oom)
			s->events.oom(s->events.arg, s->containers);
		s->events.sandbox_lost(s->events.arg, &s->why);
		return;
	}
	s->telling = loop_timer(s->loop, 0, on_telling, s, &e);
	if (!s->telling)
		log_error("%s", e.msg);
	process_tell_exit(p);
}

void hyperv_broken(void *arg, const struct err *why)
{
	struct sandbox *s = arg;

	lose(s, why);
	on_telling(s, 0);
}
