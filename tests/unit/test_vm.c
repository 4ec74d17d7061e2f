/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host's side of a VM: QEMU's command line, its protocol, what is read from a template. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "isolation/hyperv/allowance.h"
#include "isolation/hyperv/qmp.h"
#include "isolation/hyperv/vm.h"
#include "isolation/hyperv/vm_args.h"

static const struct vm_facts facts = {
	.accelerator = "tcg", .cpu = "max,-smap", .append = "quiet", .memory_mib = 1024, .cpus = 1
};

/* ---- command line ---- */

static char *joined(enum vm_mode mode, const char *id, bool image, bool disk)
{
	struct err e;
	const struct vm_disk more[] = { { .block = true, .read_only = true }, { .block = false } };
	const struct vm_disks disks = { .image = image, .disk = disk, .more = more, .n_more = image ? 2 : 0 };
	char **args = vm_args(&facts, mode, id, &disks, &e);
	struct str text;

	str_init(&text, 64 * KIB);
	assert_non_null(args);
	for (size_t i = 0; args[i]; i++)
		str_printf(&text, "%s ", args[i]);
	vm_args_free(args);
	return str_take(&text);
}

static void clone_has_private_memory_and_no_kernel(void **state)
{
	autofree char *text = joined(VM_MODE_CLONE, "c0ffee", true, true);

	assert_non_null(strstr(text, "-name c0ffee,process=vmwp,"));
	assert_non_null(strstr(text, "mem-path=/memory,share=off "));
	assert_non_null(strstr(text, "-incoming defer"));
	assert_non_null(strstr(text, "elevateprivileges=deny,spawn=deny"));
	assert_non_null(strstr(text, "node-name=image,read-only=on,driver=raw"));
	assert_non_null(strstr(text, "node-name=spare0,driver=raw,read-only=on,discard=unmap,file.driver=host_device"));
	assert_non_null(strstr(text, "node-name=spare1,driver=raw,read-only=off,discard=unmap,file.driver=file"));
	assert_non_null(strstr(text, "node-name=spare2,driver=raw,file.driver=null-co"));
	assert_null(strstr(text, "-kernel"));
}

static void modes_have_the_same_devices(void **state)
{
	autofree char *clone = joined(VM_MODE_CLONE, "a", true, true),
		      *template = joined(VM_MODE_TEMPLATE, "b", false, false);
	autofree char *cold = joined(VM_MODE_COLD, "c", false, true);
	const char *in_clone = clone, *in_template = template, *in_cold = cold;
	int n = 0;

	while ((in_clone = strstr(in_clone, "-device "))) {
		size_t len = strcspn(in_clone + 8, " ") + 8;

		in_template = strstr(in_template, "-device ");
		in_cold = strstr(in_cold, "-device ");
		assert_non_null(in_template);
		assert_non_null(in_cold);
		assert_memory_equal(in_clone, in_template, len);
		assert_memory_equal(in_clone, in_cold, len);
		in_clone += len;
		in_template += len;
		in_cold += len;
		n++;
	}
	assert_true(n >= 8);
	assert_null(strstr(in_template, "-device "));
	assert_non_null(strstr(template, "share=on"));
	assert_non_null(strstr(cold, "memory-backend-ram"));
	assert_non_null(strstr(cold, "-append quiet"));
}

static void ids_cannot_carry_arguments(void **state)
{
	static const char *const bad[] = { "",    "a,process=x", "a b", "-name", "A",
					   "a/b", "a\n",         "a=b", "a.b",   "\xc3\xa9" };
	char longest[VM_ID_MAX + 2];

	for (size_t i = 0; i < array_len(bad); i++) {
		struct err e = { 0 };

		assert_null(vm_args(&facts, VM_MODE_CLONE, bad[i], &(struct vm_disks){ 0 }, &e));
		assert_int_equal(e.kind, ERR_INVALID);
	}
	memset(longest, 'a', sizeof longest);
	longest[VM_ID_MAX + 1] = '\0';
	assert_false(vm_id_is_valid(longest));
	longest[VM_ID_MAX] = '\0';
	assert_true(vm_id_is_valid(longest));
}

/* ---- template.json ---- */

static void incomplete_templates_are_refused(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"layout\": 2}",
		"{\"layout\": 999, \"accelerator\": \"tcg\", \"cpu\": \"max\", \"append\": \"\", \"memory_mib\": 1, "
		"\"cpus\": 1}",
		"{\"layout\": 2, \"accelerator\": \"tcg\", \"cpu\": \"max\", \"append\": \"\", \"memory_mib\": 0, "
		"\"cpus\": 1}",
	};

	for (size_t i = 0; i < array_len(bad); i++) {
		struct err e = { 0 };
		autojson *doc = json_parse(bad[i], strlen(bad[i]), "test", &e);
		struct vm_facts f;

		assert_non_null(doc);
		assert_int_equal(facts_parse(doc, &f, &e), -1);
		assert_int_equal(e.kind, ERR_INVALID);
	}
}

static void no_template_is_unavailable(void **state)
{
	struct vm_options o = { .id = "a", .template_dir = "/nonexistent", .uid = 1 };
	struct err e = { 0 };

	assert_null(vm_clone(&o, &e));
	assert_int_equal(e.kind, ERR_UNAVAILABLE);
	vm_free(NULL);
}

/* ---- QMP ---- */

static void messages_are_cut_out(void **state)
{
	static const char text[] = "{\"return\": {}}\r\n{\"event\": \"STOP\"}\n{\"ret";
	struct err e = { 0 };
	json_t *message;
	autostr in;

	str_init(&in, QMP_LINE_MAX);
	str_puts(&in, text);
	assert_int_equal(qmp_take_message(&in, &message, &e), 1);
	assert_non_null(json_object_get(message, "return"));
	json_decref(message);
	assert_int_equal(qmp_take_message(&in, &message, &e), 1);
	assert_string_equal(json_str(message, "event", ""), "STOP");
	json_decref(message);
	assert_int_equal(qmp_take_message(&in, &message, &e), 0);
	assert_int_equal(in.len, 5);
}

static void rubbish_is_refused(void **state)
{
	static const char *const bad[] = { "hello\n", "[]\n", "{\"a\":1,\"a\":2}\n", "\n", "{\n" };
	autofree char *endless = xmalloc(QMP_LINE_MAX);
	struct err e = { 0 };
	json_t *message;

	for (size_t i = 0; i < array_len(bad); i++) {
		autostr in;

		str_init(&in, QMP_LINE_MAX);
		str_puts(&in, bad[i]);
		assert_int_equal(qmp_take_message(&in, &message, &e), -1);
		assert_int_equal(e.kind, ERR_INVALID);
	}
	memset(endless, ' ', QMP_LINE_MAX);
	autostr in;

	str_init(&in, QMP_LINE_MAX);
	str_add(&in, endless, QMP_LINE_MAX);
	assert_int_equal(qmp_take_message(&in, &message, &e), -1);
}

/* Open a connection to a peer that has said all it will ever say, then closed or not. */
static int open_to(const char *script, bool closed, struct qmp *q, int *peer, struct err *e)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(io_write_all(pair[1], script, strlen(script)), 0);
	if (closed)
		shutdown(pair[1], SHUT_WR);
	*peer = pair[1];
	return qmp_open(q, pair[0], time_monotonic_ms() + 200, e);
}

#define GREETING "{\"QMP\": {}}\n"
#define OK "{\"return\": {}}\n"

static void calls_get_answers_and_events_wait(void **state)
{
	struct err e = { 0 };
	struct qmp q;
	int peer;
	json_t *event, *result;

	assert_int_equal(open_to(GREETING OK "{\"event\": \"A\"}\n{\"event\": \"B\"}\n{\"return\": {\"x\": 1}}\n"
					     "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no way\"}}\n",
				 false, &q, &peer, &e),
			 0);
	assert_int_equal(qmp_call(&q, "query", NULL, -1, &result, &e), 0);
	assert_int_equal(json_int(result, "x", 0), 1);
	json_decref(result);
	assert_int_equal(qmp_call(&q, "other", json_pack("{s:i}", "a", 1), -1, NULL, &e), -1);
	assert_string_equal(e.msg, "other: no way");
	event = qmp_wait_event(&q, "B", &e);
	assert_non_null(event);
	json_decref(event);
	assert_null(qmp_wait_event(&q, "B", &e));
	assert_int_equal(e.kind, ERR_TIMEOUT);
	qmp_close(&q);
	qmp_close(&q);
	close(peer);
}

static void silence_and_death_are_errors(void **state)
{
	static const struct {
		const char *script;
		bool closed;
		enum err_kind kind;
	} cases[] = {
		{ "", false, ERR_TIMEOUT },
		{ GREETING, false, ERR_TIMEOUT },
		{ "", true, ERR_SYSTEM },
		{ GREETING "{\"ret", true, ERR_SYSTEM },
		{ "rubbish\n", false, ERR_INVALID },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct err e = { 0 };
		struct qmp q;
		int peer;

		assert_int_equal(open_to(cases[i].script, cases[i].closed, &q, &peer, &e), -1);
		assert_int_equal(e.kind, cases[i].kind);
		qmp_close(&q);
		close(peer);
	}
}

/* What QEMU tells by itself is forgotten, but not the beginning of a message that isn't complete yet. */
static void unasked_news_are_forgotten(void **state)
{
	struct err e = { 0 };
	struct qmp q;
	int peer;

	assert_int_equal(open_to(GREETING OK, false, &q, &peer, &e), 0);
	assert_true(qmp_drain(&q)); /* nothing there */
	assert_int_equal(io_write_all(peer, "{\"event\": \"A\"}\n{\"event\":", 24), 0);
	assert_true(qmp_drain(&q));
	assert_int_equal(io_write_all(peer, " \"B\"}\n" OK, strlen(" \"B\"}\n" OK)), 0);
	assert_int_equal(qmp_call(&q, "query", NULL, -1, NULL, &e), 0);
	/* No line is that long. */
	for (int i = 0; i < 40 && qmp_drain(&q); i++)
		for (int k = 0; k < 64; k++)
			assert_int_equal(
				io_write_all(peer, "................................................................",
					     64),
				0);
	assert_false(qmp_drain(&q));
	assert_int_equal(qmp_call(&q, "query", NULL, -1, NULL, &e), -1);
	assert_string_equal(e.msg, "query: QEMU doesn't answer any more");
	qmp_close(&q);
	close(peer);
}

#define M (int64_t)MIB

/* The host's bound of a machine: what the container may have, and what guest and QEMU need beside it. */
static void allowances_bound_the_machine(void **state)
{
	static const struct {
		int64_t memory, swap, machine, bound, swap_bound;
	} memory[] = {
		{ CGROUP_UNSET, CGROUP_UNSET, 1024 * M, 1216 * M, CGROUP_UNSET },
		{ 64 * M, 128 * M, 1024 * M, (64 + 16 + 256 + 192) * M, (64 + 16 + 256 + 192 + 64) * M },
		{ 64 * M, -1, 1024 * M, (64 + 16 + 256 + 192) * M, -1 },
		{ 1000 * M, 1000 * M, 1024 * M, 1216 * M, 1216 * M },
	};
	static const struct {
		int64_t quota, period, bound;
	} cpu[] = { { CGROUP_UNSET, CGROUP_UNSET, -1 },
		    { 50000, CGROUP_UNSET, 50000 },
		    { 1000, 100000, 10000 },
		    { 1000, 5000, 1000 } };
	struct cgroup_limits of, out;

	for (size_t i = 0; i < array_len(memory); i++) {
		cgroup_limits_init(&of);
		of.memory_bytes = memory[i].memory;
		of.memory_swap_bytes = memory[i].swap;
		of.pids = 5;
		allowance_limits(&of, memory[i].machine, &out);
		assert_int_equal(out.memory_bytes, memory[i].bound);
		assert_int_equal(out.memory_swap_bytes, memory[i].swap_bound);
		assert_true(out.pids > 64);
	}
	for (size_t i = 0; i < array_len(cpu); i++) {
		cgroup_limits_init(&of);
		of.cpu_quota_us = cpu[i].quota;
		of.cpu_period_us = cpu[i].period;
		allowance_limits(&of, 1024 * M, &out);
		assert_int_equal(out.cpu_quota_us, cpu[i].bound);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clone_has_private_memory_and_no_kernel),
		cmocka_unit_test(modes_have_the_same_devices),
		cmocka_unit_test(ids_cannot_carry_arguments),
		cmocka_unit_test(incomplete_templates_are_refused),
		cmocka_unit_test(no_template_is_unavailable),
		cmocka_unit_test(messages_are_cut_out),
		cmocka_unit_test(rubbish_is_refused),
		cmocka_unit_test(calls_get_answers_and_events_wait),
		cmocka_unit_test(silence_and_death_are_errors),
		cmocka_unit_test(unasked_news_are_forgotten),
		cmocka_unit_test(allowances_bound_the_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
