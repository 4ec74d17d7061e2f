/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The default seccomp profile, decided by a small emulator of classic BPF: no process is ever filtered here. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "engine/seccomp.h"

#define ALLOW SECCOMP_RET_ALLOW
#define DENY (SECCOMP_RET_ERRNO | EPERM)
#define ABSENT (SECCOMP_RET_ERRNO | ENOSYS)
#define X64 AUDIT_ARCH_X86_64
#define I386 AUDIT_ARCH_I386
#define X32 0x40000000

/* Runs the program; every jump is forward, so that it ends. */
static uint32_t decide(const struct str *code, const struct seccomp_data *data)
{
	const struct sock_filter *prog = (const void *)code->s;
	size_t n = code->len / sizeof(*prog);
	uint32_t acc = 0;

	for (size_t pc = 0; pc < n; pc++) {
		const struct sock_filter *f = &prog[pc];

		switch (f->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(f->k + 4 <= sizeof(*data));
			memcpy(&acc, (const char *)data + f->k, 4);
			break;
		case BPF_JMP | BPF_JA:
			pc += f->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += acc == f->k ? f->jt : f->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			pc += acc >= f->k ? f->jt : f->jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			pc += acc > f->k ? f->jt : f->jf;
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			acc &= f->k;
			break;
		case BPF_RET | BPF_K:
			return f->k;
		default:
			fail_msg("instruction %#x", f->code);
		}
	}
	fail_msg("ran off the end");
	return 0;
}

static const struct {
	const char *what;
	const char *cap; /* held besides none, or NULL */
	uint32_t arch;
	int nr;
	uint64_t arg0, arg1;
	uint32_t want;
} cases[] = {
	{ "read", NULL, X64, SYS_read, 0, 0, ALLOW },
	{ "read x32", NULL, X64, X32 | SYS_read, 0, 0, ALLOW },
	{ "exit_group", NULL, X64, SYS_exit_group, 0, 0, ALLOW },
	{ "ptrace of own processes", NULL, X64, SYS_ptrace, 0, 0, ALLOW },
	{ "fchmodat2", NULL, X64, 452, 0, 0, ALLOW },
	{ "fchmodat2 i386", NULL, I386, 452, 0, 0, ALLOW },
	{ "fchmodat2 x32", NULL, X64, X32 | 452, 0, 0, ALLOW },
	{ "statmount", NULL, X64, 457, 0, 0, DENY },
	{ "statmount", "CAP_SYS_ADMIN", X64, 457, 0, 0, ALLOW },
	{ "a call of tomorrow", NULL, X64, 600, 0, 0, ABSENT },
	{ "another machine's call", NULL, AUDIT_ARCH_AARCH64, 452, 0, 0, SECCOMP_RET_KILL_THREAD },
	{ "case 14: bpf", NULL, X64, SYS_bpf, 0, 0, DENY },
	{ "case 14: keyctl", NULL, X64, SYS_keyctl, 0, 0, DENY },
	{ "case 14: add_key", "CAP_SYS_ADMIN", X64, SYS_add_key, 0, 0, DENY },
	{ "case 14: mount", NULL, X64, SYS_mount, 0, 0, DENY },
	{ "case 14: mount i386", NULL, I386, 21, 0, 0, DENY },
	{ "case 14: kexec_load", "CAP_SYS_BOOT", X64, SYS_kexec_load, 0, 0, DENY },
	{ "case 14: io_uring_setup", NULL, X64, SYS_io_uring_setup, 0, 0, DENY },
	{ "case 14: io_uring_enter", "CAP_SYS_ADMIN", X64, SYS_io_uring_enter, 0, 0, DENY },
	{ "case 14: userfaultfd", NULL, X64, SYS_userfaultfd, 0, 0, DENY },
	{ "case 14: socket AF_ALG", NULL, X64, SYS_socket, 38, 5, DENY },
	{ "case 14: socket AF_ALG, upper half set", NULL, X64, SYS_socket, (1ull << 32) | 38, 5, DENY },
	{ "case 14: socket AF_ALG i386", NULL, I386, 359, 38, 5, DENY },
	{ "case 14: socketcall(SYS_SOCKET)", NULL, I386, 102, 1, 0, DENY },
	{ "case 14: socket AF_VSOCK", NULL, X64, SYS_socket, 40, 1, DENY },
	{ "socketcall(SYS_BIND)", NULL, I386, 102, 2, 0, ALLOW },
	{ "socket AF_UNIX", NULL, X64, SYS_socket, 1, 1, ALLOW },
	{ "socket AF_INET6", NULL, X64, SYS_socket, 10, 1, ALLOW },
	{ "socket AF_INET i386", NULL, I386, 359, 2, 1, ALLOW },
	{ "socket 37", NULL, X64, SYS_socket, 37, 1, ALLOW },
	{ "socket 39", NULL, X64, SYS_socket, 39, 1, ALLOW },
	{ "socket AF_XDP", NULL, X64, SYS_socket, 44, 3, ALLOW },
	{ "case 15: unshare", NULL, X64, SYS_unshare, CLONE_NEWUSER, 0, DENY },
	{ "case 15: clone of a user namespace", NULL, X64, SYS_clone, CLONE_NEWUSER, 0, DENY },
	{ "case 15: clone of a mount namespace", NULL, X64, SYS_clone, CLONE_NEWNS | 17, 0, DENY },
	{ "case 15: clone3", NULL, X64, SYS_clone3, 0, 0, ABSENT },
	{ "case 15: setns", NULL, X64, SYS_setns, 0, 0, DENY },
	{ "clone of a process", NULL, X64, SYS_clone, 0x1200011, 0, ALLOW },
	{ "clone of a thread", NULL, X64, SYS_clone, 0x3d0f00, 0, ALLOW },
	{ "clone3 with CAP_SYS_ADMIN", "CAP_SYS_ADMIN", X64, SYS_clone3, 0, 0, ALLOW },
	{ "unshare with CAP_SYS_ADMIN", "CAP_SYS_ADMIN", X64, SYS_unshare, CLONE_NEWUSER, 0, ALLOW },
	{ "clone with CAP_SYS_ADMIN", "CAP_SYS_ADMIN", X64, SYS_clone, CLONE_NEWUSER, 0, ALLOW },
	{ "chroot", NULL, X64, SYS_chroot, 0, 0, DENY },
	{ "chroot with CAP_SYS_CHROOT", "CAP_SYS_CHROOT", X64, SYS_chroot, 0, 0, ALLOW },
	{ "settimeofday", NULL, X64, SYS_settimeofday, 0, 0, DENY },
	{ "settimeofday with CAP_SYS_TIME", "CAP_SYS_TIME", X64, SYS_settimeofday, 0, 0, ALLOW },
	{ "personality 0", NULL, X64, SYS_personality, 0, 0, ALLOW },
	{ "personality ask", NULL, X64, SYS_personality, 0xffffffff, 0, ALLOW },
	{ "personality without address randomisation", NULL, X64, SYS_personality, 0x40000, 0, DENY },
	{ "personality i386 ask", NULL, I386, 136, 0xffffffff, 0, ALLOW },
};

static void test_decisions(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		autojson *caps = cases[i].cap ? json_pack("[ss]", "CAP_CHOWN", cases[i].cap) : NULL;
		struct seccomp_data data = { .nr = cases[i].nr, .arch = cases[i].arch };
		struct err e = { 0 };
		uint32_t got;
		autostr code;

		data.args[0] = cases[i].arg0;
		data.args[1] = cases[i].arg1;
		str_init(&code, 1 << 16);
		assert_int_equal(seccomp_compile(caps, &code, &e), 0);
		got = decide(&code, &data);
		if (got != cases[i].want)
			print_error("%s: %#x, wanted %#x\n", cases[i].what, got, cases[i].want);
		assert_int_equal(got, cases[i].want);
	}
}

static void test_file(void **state)
{
	char dir[] = "/tmp/silo-seccomp-XXXXXX";
	autojson *caps = json_pack("[ss]", "CAP_CHOWN", "CAP_SYS_CHROOT");
	autojson *same = json_pack("[ss]", "CAP_SYS_CHROOT", "CAP_KILL");
	autofree char *path = NULL, *again = NULL, *other = NULL, *none = NULL;
	unsigned flags = 0;
	struct err e = { 0 };
	struct stat a, b;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(seccomp_profile_file(dir, caps, NULL, &path, &flags, &e), 0);
	assert_int_equal(stat(path, &a), 0);
	assert_true(a.st_size > 0 && a.st_size % 8 == 0);
	/* Capabilities that no rule asks for make no difference, and the second call only looks. */
	assert_int_equal(seccomp_profile_file(dir, same, "builtin", &again, &flags, &e), 0);
	assert_string_equal(path, again);
	assert_int_equal(stat(again, &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(seccomp_profile_file(dir, NULL, NULL, &other, &flags, &e), 0);
	assert_string_not_equal(path, other);
	assert_int_equal(seccomp_profile_file(dir, caps, "unconfined", &none, &flags, &e), 0);
	assert_null(none);
	assert_int_equal(seccomp_profile_file("/nonexistent", caps, NULL, &none, &flags, &e), -1);
	assert_int_equal(io_remove_tree(AT_FDCWD, dir, &e), 0);
}

/* A profile of the user's own: what "includes", "excludes" and archMap make of it. */
static void test_own_profile(void **state)
{
	static const char text[] =
		"{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"defaultErrnoRet\": 38, \"archMap\": [{\"architecture\": "
		"\"SCMP_ARCH_X86_64\", \"subArchitectures\": [\"SCMP_ARCH_X86\"]}, {\"architecture\": "
		"\"SCMP_ARCH_ARM\"}], "
		"\"syscalls\": [{\"name\": \"read\", \"action\": \"SCMP_ACT_ALLOW\"}, "
		"{\"names\": [\"mount\"], \"action\": \"SCMP_ACT_ALLOW\", \"includes\": {\"caps\": "
		"[\"CAP_SYS_ADMIN\"]}}, "
		"{\"names\": [\"chown\"], \"action\": \"SCMP_ACT_ALLOW\", \"excludes\": {\"caps\": [\"CAP_CHOWN\"]}}, "
		"{\"names\": [\"write\"], \"action\": \"SCMP_ACT_ALLOW\", \"includes\": {\"arches\": [\"amd64\"], "
		"\"minKernel\": \"3.1\"}}, "
		"{\"names\": [\"fork\"], \"action\": \"SCMP_ACT_ALLOW\", \"excludes\": {\"arches\": [\"amd64\"]}}]}";
	static const struct {
		int nr;
		uint32_t want;
	} own_cases[] = { { __NR_read, SECCOMP_RET_ALLOW },
			  { __NR_write, SECCOMP_RET_ALLOW },
			  { __NR_mount, SECCOMP_RET_ERRNO | ENOSYS },
			  { __NR_chown, SECCOMP_RET_ERRNO | ENOSYS },
			  { __NR_fork, SECCOMP_RET_ERRNO | ENOSYS } };
	char dir[] = "/tmp/silo-seccomp-XXXXXX";
	autojson *caps = json_pack("[s]", "CAP_CHOWN");
	autofree char *path = NULL, *bad = NULL;
	unsigned flags = 0;
	struct err e = { 0 };
	autostr code;

	(void)state;
	str_init(&code, 1 * MIB);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(seccomp_profile_file(dir, caps, text, &path, &flags, &e), 0);
	assert_int_equal(io_read_file(AT_FDCWD, path, &code, &e), 0);
	for (size_t i = 0; i < sizeof(own_cases) / sizeof(own_cases[0]); i++) {
		struct seccomp_data data = { .nr = own_cases[i].nr, .arch = AUDIT_ARCH_X86_64 };

		assert_int_equal(decide(&code, &data), own_cases[i].want);
	}
	assert_int_equal(seccomp_profile_file(dir, caps, "{\"defaultAction\": \"NO\"}", &bad, &flags, &e), -1);
	assert_non_null(strstr(e.msg, "unknown action"));
	assert_int_equal(seccomp_profile_file(dir, caps,
					      "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": "
					      "[\"kill\"], \"action\": \"SCMP_ACT_NOTIFY\"}]}",
					      &bad, &flags, &e),
			 -1);
	assert_int_equal(e.kind, ERR_UNSUPPORTED);
	assert_int_equal(io_remove_tree(AT_FDCWD, dir, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decisions),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_own_profile),
	};

	return cmocka_run_group_tests_name("seccomp", tests, NULL, NULL);
}
