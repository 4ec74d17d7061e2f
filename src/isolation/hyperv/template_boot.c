/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/template_boot.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "isolation/hyperv/vm_launch.h"
#include "isolation/hyperv/wire.h"

#define TEMPLATE_UID 1936288876u /* nobody's; template VMs run one at a time */

#define SAVE_DEADLINE_MS 30000

/* What became of KVM the last time, beside the templates: a new agent needn't wait for it once more. */
#define VERDICT_FILE "kvm.json"
#define VERDICT_BYTES_MAX (16 * KIB)

/* Ways to run the guest, best first. */
static const struct attempt {
	const char *accelerator, *cpu;
	int deadline_ms; /* from start of QEMU to the agent's first frame */
} attempts[] = {
	/* A KVM that works boots in well under a second; one that doesn't spins for ever (nested in some clouds). */
	{ "kvm", "host", 6000 },
	{ "kvm", "host,-arch-capabilities", 6000 }, /* refused MSR on some nested hypervisors */
	/* -smap: Wine in the guest makes QEMU 7.2's emulation of it oops the kernel. */
	{ "tcg", "max,-smap", 120000 },
};

/* Is the first frame of the agent complete? */
static bool have_frame(const unsigned char *data, size_t n, struct err *e)
{
	uint32_t length;

	if (n < FRAME_HEADER_BYTES)
		return false;
	length = (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
	if (length > FRAME_PAYLOAD_MAX)
		err_set(e, ERR_INVALID, 0, "the guest's agent talks rubbish");
	return n >= FRAME_HEADER_BYTES + (size_t)length;
}

/* Wait for the agent's first frame. */
static int wait_ready(struct vm *v, int64_t deadline_ms, struct err *e)
{
	unsigned char frame[4096]; /* {"event": "ready"} is short */
	size_t n = 0;

	e->kind = ERR_NONE;
	while (!have_frame(frame, n, e)) {
		struct pollfd fds[] = { { .fd = vm_channel(v), .events = POLLIN },
					{ .fd = vm_pidfd(v), .events = POLLIN } };
		int64_t left = deadline_ms - time_monotonic_ms();
		ssize_t got;

		if (e->kind != ERR_NONE)
			return -1;
		if (left <= 0)
			return err_set(e, ERR_TIMEOUT, 0, "the guest doesn't come up in time%s%.200s",
				       *vm_last_words(v) ? ": " : "", vm_last_words(v));
		if (poll(fds, 2, (int)left) < 0 && errno != EINTR)
			return err_set(e, ERR_SYSTEM, errno, "poll");
		(void)vm_last_words(v); /* keep the pipe empty, so that the last ones are the last */
		if (n == sizeof frame)
			return err_set(e, ERR_INVALID, 0, "the guest's agent talks rubbish");
		got = read(vm_channel(v), frame + n, sizeof frame - n);
		if (got > 0)
			n += (size_t)got;
		else if (fds[1].revents)
			return err_set(e, ERR_SYSTEM, 0, "QEMU has ended: %.400s", vm_last_words(v));
	}
	return 0;
}

static int save_state(struct vm *v, const char *dir, json_t *facts, struct err *e)
{
	autofree char *path = xasprintf("%s/" TEMPLATE_STATE_FILE, dir);
	autoclose int state = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0400);
	struct qmp *q = vm_qmp(v);
	json_t *version = NULL;

	if (state < 0)
		return err_set(e, ERR_SYSTEM, errno, "create %s", path);
	q->deadline_ms = time_monotonic_ms() + SAVE_DEADLINE_MS;
	if (qmp_call(q, "query-version", NULL, -1, &version, e))
		return -1;
	json_object_update(facts, version);
	json_decref(version);
	if (qmp_call(q, "stop", NULL, -1, NULL, e) || vm_migration_capabilities(q, e) ||
	    qmp_call(q, "migrate-set-parameters", json_pack("{s:I}", "max-bandwidth", (json_int_t)100000000000), -1,
		     NULL, e) ||
	    qmp_call(q, "getfd", json_pack("{s:s}", "fdname", "state"), state, NULL, e) ||
	    qmp_call(q, "migrate", json_pack("{s:s}", "uri", "fd:state"), -1, NULL, e) || vm_migration_wait(q, e))
		return -1;
	if (fsync(state))
		return err_set(e, ERR_SYSTEM, errno, "write %s", path);
	return 0;
}

/* From here on the memory is nobody's to change. */
static int seal_memory(int memory, struct err *e)
{
	if (fchown(memory, 0, 0) || fchmod(memory, 0400) || fsync(memory))
		return err_set(e, ERR_SYSTEM, errno, "keep the template's memory");
	return 0;
}

static int boot_with(const char *dir, json_t *facts, const struct vm_facts *parsed, int deadline_ms, struct err *e)
{
	autofree char *path = xasprintf("%s/" TEMPLATE_MEMORY_FILE, dir);
	autoclose int memory = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int64_t start = time_monotonic_ms();
	struct vm_launch launch = { .facts = parsed,
				    .mode = VM_MODE_TEMPLATE,
				    .template_dir = dir,
				    .id = "template",
				    .uid = TEMPLATE_UID,
				    .memory = memory,
				    .deadline_ms = start + deadline_ms };
	struct vm *v;
	int rc;

	if (memory < 0 || ftruncate(memory, (off_t)((uint64_t)parsed->memory_mib * MIB)))
		return err_set(e, ERR_SYSTEM, errno, "create %s", path);
	v = vm_launch(&launch, e);
	if (!v)
		return -1;
	rc = wait_ready(v, launch.deadline_ms, e);
	json_object_set_new(facts, "boot_ms", json_integer(time_monotonic_ms() - start));
	rc = rc || save_state(v, dir, facts, e) ? -1 : 0;
	vm_free(v);
	return rc ? -1 : seal_memory(memory, e);
}

/* Whatever the attempt says: a clone must come up. */
static int try_clone(const char *dir, struct err *e)
{
	struct vm_options o = { .id = "template", .template_dir = dir, .uid = TEMPLATE_UID };
	struct vm *v = vm_clone(&o, e);

	vm_free(v);
	return v ? 0 : -1;
}

/*
 * Kernel arguments. rdinit: the agent. reboot=t panic=-1: a panic ends vmwp at once. rcu_expedited: mounts and
 * namespaces come and go without waiting for grace periods. The rest takes self-tests, watchdogs and facilities that
 * nobody in the guest can use out of the way.
 */
#define COMMON_ARGUMENTS \
	"rdinit=/init console=ttyS0 quiet reboot=t panic=-1 cryptomgr.notests rcupdate.rcu_expedited=1 nowatchdog " \
	"audit=0 apparmor=0"
/*
 * Of an emulated processor: its clock is the host's, no need to measure it. mitigations: guest code never runs as it
 * is, so that what keeps a real processor from speculating would only be translated in vain.
 */
#define EMULATED_ARGUMENTS "tsc=reliable no_timer_check mitigations=off"

static char *kernel_arguments(const struct attempt *a)
{
	if (!strcmp(a->accelerator, "kvm"))
		return xstrdup(COMMON_ARGUMENTS);
	return xasprintf(COMMON_ARGUMENTS " " EMULATED_ARGUMENTS " tsc_early_khz=%u", host_tsc_khz());
}

static int attempt(const char *dir, const struct attempt *a, json_t *facts, struct err *e)
{
	autofree char *append = kernel_arguments(a), *path = xasprintf("%s/" TEMPLATE_FACTS_FILE, dir), *text = NULL;
	struct vm_facts parsed;

	json_object_set_new(facts, "accelerator", json_string(a->accelerator));
	json_object_set_new(facts, "cpu", json_string(a->cpu));
	json_object_set_new(facts, "append", json_string(append));
	if (facts_parse(facts, &parsed, e) || boot_with(dir, facts, &parsed, a->deadline_ms, e))
		return err_prefix(e, "%s, CPU %s", a->accelerator, a->cpu);
	text = json_text(facts);
	if (io_write_file(AT_FDCWD, path, text, strlen(text), 0444, true, e))
		return -1;
	return try_clone(dir, e);
}

/* All that decides whether a guest boots under KVM. */
static json_t *kvm_identity(const struct vm_host *h)
{
	return json_pack("{s:s, s:s, s:s, s:o*}", "cpu", h->cpu_model, "kvm", h->kvm, "kernel", h->kernel.release,
			 "qemu", host_stat_source(h->qemu_path, NULL));
}

/* Has KVM been tried with all this, in vain? Then the reason is put into facts. */
static bool kvm_has_failed(const char *vm_dir, const struct vm_host *h, json_t *facts)
{
	autofree char *path = xasprintf("%s/" VERDICT_FILE, vm_dir);
	autojson *verdict = json_parse_file(AT_FDCWD, path, VERDICT_BYTES_MAX, NULL), *identity = kvm_identity(h);

	if (!verdict || !json_equal(identity, json_object_get(verdict, "identity")))
		return false;
	json_object_set_new(facts, "kvm_problem", json_string(json_str(verdict, "problem", "")));
	return true;
}

/* For the next time; if it can't be kept, KVM is tried again then. */
static void keep_verdict(const char *vm_dir, const struct vm_host *h, const json_t *facts)
{
	autofree char *path = xasprintf("%s/" VERDICT_FILE, vm_dir);
	autojson *verdict =
		json_pack("{s:o, s:s}", "identity", kvm_identity(h), "problem", json_str(facts, "kvm_problem", ""));
	autofree char *text = json_text(verdict);
	struct err e;

	if (io_write_file(AT_FDCWD, path, text, strlen(text), 0600, false, &e))
		log_debug("%s", e.msg);
}

int template_boot(const char *dir, const char *vm_dir, const struct vm_host *h, json_t *facts, struct err *e)
{
	bool known = *h->kvm && kvm_has_failed(vm_dir, h, facts), kvm_hangs = !*h->kvm || known;

	for (size_t i = 0; i < array_len(attempts); i++) {
		const struct attempt *a = &attempts[i];
		bool kvm = !strcmp(a->accelerator, "kvm");

		if (kvm && kvm_hangs)
			continue;
		if (!attempt(dir, a, facts, e)) {
			/* Emulation works where KVM did not: it is KVM, not the guest. */
			if (!kvm && *h->kvm && !known)
				keep_verdict(vm_dir, h, facts);
			return 0;
		}
		log_debug("VM template: %s", e->msg);
		if (kvm) {
			/* Another CPU model helps where QEMU gave up at once, not where the guest came to nothing. */
			kvm_hangs = e->kind == ERR_TIMEOUT;
			json_object_set_new(facts, "kvm_problem", json_string(e->msg));
		}
	}
	return -1;
}
