/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "os/caps.h"
#include "os/cgroup_priv.h"
#include "os/lookup.h"
#include "os/mount.h"
#include "os/ns.h"
#include "os/numbers.h"
#include "os/root.h"
#include "os/seccomp.h"

static void test_path_clean(void **state)
{
	static const char *const cases[][2] = {
		{ "/", "/" },	       { "", "/" },	       { "/a/../..", "/" },	{ "//a//b/", "/a/b" },
		{ "a/./b", "/a/b" },   { "/../../a", "/a" },   { "/a/b/../c", "/a/c" }, { "/.../..a", "/.../..a" },
		{ "/proc/../etc", "/etc" },
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		autofree char *out = path_clean(cases[i][0]);

		assert_string_equal(out, cases[i][1]);
	}
	assert_true(path_is_below("/proc/x", "/proc") && path_is_below("/proc", "/proc") && path_is_below("/x", "/"));
	assert_false(path_is_below("/process", "/proc"));
}

static void test_mount_options(void **state)
{
	static const char *const options[] = { "rw",    "ro",     "nosuid",  "noatime",     "relatime",
					       "rbind", "rslave", "size=1k", "newinstance", "rro" };
	static const char *const refused[] = { "remount" };
	struct mount_options o;
	struct err e;

	assert_int_equal(mount_options_parse(options, array_len(options), &o, &e), 0);
	assert_int_equal(o.set, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_RELATIME);
	assert_int_equal(o.clr & MOUNT_ATTR_RDONLY, 0);
	assert_int_equal(o.rec_set, MOUNT_ATTR_RDONLY);
	assert_true(o.bind && o.recursive && o.propagation == MS_SLAVE && o.propagation_rec);
	assert_int_equal(o.n_data, 2);
	assert_string_equal(o.data[1], "newinstance");
	assert_int_equal(mount_options_parse(refused, 1, &o, &e), -1);
	assert_int_equal(e.kind, ERR_UNSUPPORTED);
}

static const char *setting(const struct cgroup_limits *l, int version, const char *file)
{
	static struct cgroup_setting out[CGROUP_SETTINGS_MAX];
	size_t n = cgroup_settings(l, version, out);

	for (size_t i = 0; i < n; i++) {
		if (!strcmp(out[i].file, file))
			return out[i].value;
	}
	return "";
}

static void test_cgroup_settings(void **state)
{
	static struct cgroup_limits l;

	cgroup_limits_init(&l);
	assert_string_equal(setting(&l, 1, "memory.limit_in_bytes"), "");
	assert_string_equal(setting(&l, 2, "cpu.max"), "");
	l.memory_bytes = 1000;
	l.memory_swap_bytes = 3000;
	l.cpu_shares = 1024;
	l.cpu_quota_us = 50000;
	l.pids = -1;
	l.throttles[0] = (struct cgroup_throttle){ THROTTLE_WRITE_BPS, 8, 16, 99 };
	l.n_throttles = 1;
	assert_string_equal(setting(&l, 1, "memory.memsw.limit_in_bytes"), "3000");
	assert_string_equal(setting(&l, 2, "memory.swap.max"), "2000");
	assert_string_equal(setting(&l, 2, "cpu.max"), "50000 100000");
	assert_string_equal(setting(&l, 2, "cpu.weight"), "39");
	assert_string_equal(setting(&l, 1, "pids.max"), "max");
	assert_string_equal(setting(&l, 2, "io.max"), "8:16 wbps=99");
	assert_string_equal(setting(&l, 1, "blkio.throttle.write_bps_device"), "8:16 99");
	l.cpu_shares = 2;
	assert_string_equal(setting(&l, 2, "cpu.weight"), "1");
	l.cpu_shares = 262144;
	assert_string_equal(setting(&l, 2, "cpu.weight"), "10000");
	l.memory_swap_bytes = -1;
	assert_string_equal(setting(&l, 2, "memory.swap.max"), "max");
	l.cpu_quota_us = -1;
	assert_string_equal(setting(&l, 1, "cpu.cfs_quota_us"), "-1");
}

static void free_mounts(struct cgroup *cg)
{
	for (size_t i = 0; i < cg->n; i++) {
		free(cg->h[i].mount);
		free(cg->h[i].controllers);
	}
}

static void test_cgroup_mounts(void **state)
{
	char hybrid[] = "1 2 0:1 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
			"1 2 0:2 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
			"1 2 0:3 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
			"1 2 0:4 / /other rw - cgroup cgroup rw,cpu,cpuacct\n"
			"1 2 0:5 / / rw - ext4 /dev/x rw\n";
	char unified[] = "1 2 0:1 / /sys/fs/cgroup rw shared:4 master:5 - cgroup2 cgroup2 rw,nsdelegate\n";
	struct cgroup cg = { 0 };

	cgroup_parse_mounts(&cg, hybrid);
	assert_int_equal(cg.version, 1);
	assert_int_equal(cg.n, 1);
	assert_string_equal(cg.h[0].controllers, "cpu,cpuacct");
	free_mounts(&cg);
	cg = (struct cgroup){ 0 };
	cgroup_parse_mounts(&cg, unified);
	assert_int_equal(cg.version, 2);
	assert_string_equal(cg.h[0].mount, "/sys/fs/cgroup");
	free_mounts(&cg);
	assert_true(controllers_have("cpu,cpuacct", "cpuacct") && !controllers_have("cpuacct", "cpu"));
}

static void test_device_line(void **state)
{
	struct cgroup_device any = {
		.allow = true, .type = 'c', .major = 136, .minor = -1, .read = true, .write = true
	};
	struct cgroup_device all = { .type = 'a', .major = -1, .minor = -1 };
	char line[64];

	cgroup_device_line(&any, line);
	assert_string_equal(line, "c 136:* rw");
	cgroup_device_line(&all, line);
	assert_string_equal(line, "a");
}

/* A tree as a hostile image may have it; nothing may be reached or made outside. */
static void test_root(void **state)
{
	char dir[] = "/tmp/silo-test-XXXXXX";
	autoclose int top = -1;
	autoclose int root = -1;
	autoclose int fd = -1;
	struct stat st;
	struct err e = { 0 };
	autostr text;

	assert_non_null(mkdtemp(dir));
	top = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(top, "root", 0755) | mkdirat(top, "root/etc", 0755), 0);
	root = openat(top, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(symlinkat("/../../outside", root, "out") | symlinkat("/etc", root, "link") |
				 symlinkat("../run/x/resolv.conf", root, "etc/resolv.conf") |
				 symlinkat("loop", root, "loop") | mkfifoat(root, "etc/fifo", 0600),
			 0);
	fd = root_mkdirs(root, "/link/a/../b/c", 0755, 0, &e);
	assert_true(fd >= 0);
	assert_int_equal(fstatat(root, "etc/b/c", &st, 0), 0);
	close_fd(&fd);
	/* dangling symlinks: a directory is refused, a file is made behind it, inside */
	assert_int_equal(root_mkdirs(root, "/out/x", 0755, 0, &e), -1);
	fd = root_touch(root, "/out", 0644, &e);
	assert_true(fd >= 0);
	close_fd(&fd);
	assert_int_equal(fstatat(root, "outside", &st, 0), 0);
	assert_int_equal(fstatat(top, "outside", &st, 0), -1);
	fd = root_touch(root, "/etc/resolv.conf", 0644, &e);
	assert_true(fd >= 0);
	assert_int_equal(fstatat(root, "run/x/resolv.conf", &st, 0), 0);
	assert_int_equal(root_touch(root, "/loop", 0644, &e), -1);
	assert_int_equal(root_open(root, "/link", O_PATH, RESOLVE_NO_SYMLINKS, &e), -1);
	assert_int_equal(e.sys, ELOOP);
	str_init(&text, 16);
	assert_int_equal(root_read_file(root, "/etc/fifo", &text, &e), -1);
	assert_int_equal(root_read_file(root, "/etc/nosuch", &text, &e), 0);
	assert_int_equal(io_remove_tree(AT_FDCWD, dir, &e), 0);
}

static void test_lookup(void **state)
{
	static const char *const env[] = { "PATH=/nosuch:relative::/bin", "A=1", "A=2", NULL };
	static const struct {
		const char *name;
		enum err_kind kind;
		const char *text;
	} cases[] = {
		{ "nosuch", ERR_NO_COMMAND, "exec: \"nosuch\": executable file not found in $PATH" },
		{ "", ERR_NO_COMMAND, "exec: \"\": executable file not found in $PATH" },
		{ "/nope", ERR_NO_COMMAND, "exec: \"/nope\": stat /nope: no such file or directory" },
		{ "/etc", ERR_NOT_EXECUTABLE, "exec: \"/etc\": is a directory" },
		{ "/etc/passwd", ERR_NOT_EXECUTABLE, "exec: \"/etc/passwd\": permission denied" },
	};
	char path[256];
	struct err e;

	assert_int_equal(lookup_command("sh", env, path, sizeof(path), &e), 0);
	assert_string_equal(path, "/bin/sh");
	assert_string_equal(lookup_env(env, "A"), "2");
	assert_null(lookup_env(env, "B"));
	for (size_t i = 0; i < array_len(cases); i++) {
		assert_int_equal(lookup_command(cases[i].name, env, path, sizeof(path), &e), -1);
		assert_int_equal(e.kind, cases[i].kind);
		assert_string_equal(e.msg, cases[i].text);
	}
	lookup_exec_error("/x", ENOEXEC, &e);
	assert_int_equal(e.kind, ERR_NOT_EXECUTABLE);
	assert_string_equal(e.msg, "exec /x: exec format error");
}

static void test_numbers(void **state)
{
	int64_t v[3];
	unsigned major, minor;
	const char *rest;

	assert_int_equal(numbers_read(" 1  22 x 3", v, 3), 2);
	assert_int_equal(v[1], 22);
	assert_int_equal(numbers_read("18446744073709551615", v, 3), 1);
	assert_true(v[0] == INT64_MAX);
	assert_int_equal(numbers_read_device("8:16 Read 5", &major, &minor, &rest), 0);
	assert_true(major == 8 && minor == 16 && !strcmp(rest, "Read 5"));
	assert_int_equal(numbers_read_device("Total 5", &major, &minor, &rest), -1);
}

static void test_names(void **state)
{
	assert_int_equal(caps_parse("CAP_CHOWN"), 0);
	assert_int_equal(caps_parse("cap_checkpoint_restore"), 40);
	assert_int_equal(caps_parse("CHOWN"), -1);
	assert_int_equal(ns_flag("network"), CLONE_NEWNET);
	assert_int_equal(ns_flag("net"), 0);
	assert_true(seccomp_is_filter(8) && !seccomp_is_filter(0) && !seccomp_is_filter(12) &&
		    !seccomp_is_filter(8 * 4097));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_path_clean),     cmocka_unit_test(test_mount_options),
		cmocka_unit_test(test_cgroup_settings), cmocka_unit_test(test_cgroup_mounts),
		cmocka_unit_test(test_device_line),    cmocka_unit_test(test_root),
		cmocka_unit_test(test_lookup),	       cmocka_unit_test(test_names),
		cmocka_unit_test(test_numbers),
	};

	return cmocka_run_group_tests_name("os", tests, NULL, NULL);
}
