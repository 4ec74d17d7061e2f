/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* sysctls; masked and read-only paths. All of them fail closed: what isn't what it should be ends the start. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/own.h"
#include "isolation/process/child.h"
#include "os/mount.h"
#include "os/root.h"

/* sysctls that belong to a namespace: they may be set when the container has its own. Docker's list. */
static const struct {
	const char *name;
	bool is_prefix;
	uint64_t flag;
} sysctl_table[] = {
	{ "kernel.msgmax", false, CLONE_NEWIPC },	   { "kernel.msgmnb", false, CLONE_NEWIPC },
	{ "kernel.msgmni", false, CLONE_NEWIPC },	   { "kernel.sem", false, CLONE_NEWIPC },
	{ "kernel.shmall", false, CLONE_NEWIPC },	   { "kernel.shmmax", false, CLONE_NEWIPC },
	{ "kernel.shmmni", false, CLONE_NEWIPC },	   { "kernel.shm_rmid_forced", false, CLONE_NEWIPC },
	{ "fs.mqueue.", true, CLONE_NEWIPC },		   { "net.", true, CLONE_NEWNET },
	{ "kernel.domainname", false, CLONE_NEWUTS },
};

/* In a guest the machine itself is the container's boundary. */
static bool has_own(const struct child *ch, uint64_t flag)
{
	return oci_spec_namespace(ch->spec, flag) || !strcmp(ch->c->b->isolation, "hyperv");
}

static int sysctl_check(const struct child *ch, const char *name, struct err *e)
{
	for (size_t i = 0; i < array_len(sysctl_table); i++) {
		bool same = sysctl_table[i].is_prefix
				    ? !strncmp(name, sysctl_table[i].name, strlen(sysctl_table[i].name))
				    : !strcmp(name, sysctl_table[i].name);

		if (same && has_own(ch, sysctl_table[i].flag))
			return 0;
		if (same && sysctl_table[i].flag == CLONE_NEWIPC)
			return err_set(e, ERR_INVALID, 0, "sysctl \"%s\" is not allowed in the hosts ipc namespace",
				       name);
		if (same && sysctl_table[i].flag == CLONE_NEWNET)
			return err_set(e, ERR_INVALID, 0, "sysctl \"%s\" not allowed in host network namespace", name);
	}
	if (!strcmp(name, "kernel.hostname"))
		return err_set(e, ERR_INVALID, 0,
			       "sysctl \"%s\" is not allowed as it conflicts with the OCI \"hostname\" field", name);
	return err_set(e, ERR_INVALID, 0, "sysctl \"%s\" is not in a separate kernel namespace", name);
}

/* Through the procfs that we have mounted ourselves, and nothing but that (CVE-2025-52881). */
static int open_sysctl(int proc_fs, const char *name)
{
	autofree char *path = xasprintf("sys/%s", name);
	struct open_how how = {
		.flags = O_WRONLY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};

	for (char *p = path; *p; p++)
		*p = *p == '.' ? '/' : *p;
	return (int)syscall(SYS_openat2, proc_fs, path, &how, sizeof(how));
}

static int set_sysctl(struct child *ch, const struct oci_pair *s, struct err *e)
{
	autoclose int fd = -1;

	if (sysctl_check(ch, s->key, e))
		return -1;
	if (ch->proc_fs < 0)
		return err_set(e, ERR_INVALID, 0, "sysctl \"%s\": the container has no /proc", s->key);
	fd = open_sysctl(ch->proc_fs, s->key);
	if (fd < 0 || mount_fs_type(fd) != PROC_SUPER_MAGIC)
		return err_set(e, ERR_INVALID, errno, "open sysctl %s", s->key);
	if (write(fd, s->value, strlen(s->value)) < 0)
		return err_set(e, ERR_INVALID, errno, "write sysctl %s", s->key);
	return 0;
}

int child_set_sysctls(void *arg, struct err *e)
{
	struct child *ch = arg;

	for (size_t i = 0; i < ch->spec->n_sysctls; i++) {
		if (set_sysctl(ch, &ch->spec->sysctls[i], e))
			return -1;
	}
	return 0;
}

/* The label of a security module is told to the kernel through the /proc of outside, for the exec to come. */
static int set_label(const char *file, const char *text, struct err *e)
{
	autoclose int fd = open(file, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || mount_fs_type(fd) != PROC_SUPER_MAGIC || write(fd, text, strlen(text)) < 0)
		return err_set(e, ERR_SYSTEM, errno, "set \"%s\"", text);
	return 0;
}

int child_set_label(void *arg, struct err *e)
{
	const struct oci_process *p = ((struct child *)arg)->proc;
	autofree char *apparmor = NULL;

	if (p->apparmor_profile && *p->apparmor_profile) {
		if (access("/sys/module/apparmor/parameters/enabled", F_OK))
			return err_set(e, ERR_UNSUPPORTED, 0,
				       "process.apparmorProfile: \"%s\": this kernel has no AppArmor",
				       p->apparmor_profile);
		apparmor = xasprintf("exec %s", p->apparmor_profile);
		if (set_label("/proc/thread-self/attr/apparmor/exec", apparmor, e))
			return err_prefix(e, "process.apparmorProfile");
	}
	if (!p->selinux_label || !*p->selinux_label)
		return 0;
	if (access("/sys/fs/selinux/enforce", F_OK))
		return err_set(e, ERR_UNSUPPORTED, 0, "process.selinuxLabel: \"%s\": this kernel has no SELinux",
			       p->selinux_label);
	return set_label("/proc/thread-self/attr/exec", p->selinux_label, e) ? err_prefix(e, "process.selinuxLabel")
									     : 0;
}

/* fd of a path to protect; -1 with *e clear: there is none. */
static int open_protected(struct child *ch, const char *path, struct err *e)
{
	int fd = root_try_open(ch->root, path, O_PATH, RESOLVE_NO_SYMLINKS, 0);

	if (fd < 0 && errno != ENOENT && errno != ENOTDIR)
		return err_set(e, ERR_SYSTEM, errno, "open %s", path);
	return fd;
}

/* One empty read-only tmpfs serves all masked directories. */
static int clone_empty(int *empty, struct err *e)
{
	static const char *const options[] = { "size=4k", "nr_inodes=2", "mode=555" };

	if (*empty >= 0)
		return mount_clone(*empty, "", false, e);
	*empty = fs_mount("tmpfs", "tmpfs", options, array_len(options),
			  MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, e);
	return *empty;
}

static int mask_one(struct child *ch, const char *path, int null, int *empty, struct err *e)
{
	struct err none = { 0 };
	autoclose int target = open_protected(ch, path, &none);
	bool first = *empty < 0;
	struct stat st;
	int mount;

	if (target < 0) {
		if (none.kind == ERR_NONE)
			return 0;
		*e = none;
		return -1;
	}
	if (fstat(target, &st))
		return err_set(e, ERR_SYSTEM, errno, "stat %s", path);
	mount = S_ISDIR(st.st_mode) ? clone_empty(empty, e) : mount_clone(null, "", false, e);
	if (mount < 0 || mount_attach(mount, target, e))
		return err_prefix(e, "%s", path);
	/* the first empty directory stays open to be cloned from: it is *empty */
	if (!S_ISDIR(st.st_mode) || !first)
		close(mount);
	return 0;
}

int child_mask_paths(void *arg, struct err *e)
{
	struct child *ch = arg;
	autoclose int null = -1;
	autoclose int empty = -1;

	if (!ch->spec->n_masked_paths)
		return 0;
	null = child_open_null(ch->root, O_PATH, e);
	if (null < 0)
		return -1;
	for (size_t i = 0; i < ch->spec->n_masked_paths; i++) {
		if (mask_one(ch, ch->spec->masked_paths[i], null, &empty, e))
			return -1;
	}
	return 0;
}

static int lock_one(struct child *ch, const char *path, struct err *e)
{
	struct err none = { 0 };
	autoclose int target = open_protected(ch, path, &none);
	autoclose int mount = -1;

	if (target < 0) {
		if (none.kind == ERR_NONE)
			return 0;
		*e = none;
		return -1;
	}
	mount = mount_clone(target, "", true, e);
	if (mount < 0 || mount_change(mount, MOUNT_ATTR_RDONLY, 0, 0, true, e) || mount_attach(mount, target, e))
		return err_prefix(e, "%s", path);
	return 0;
}

int child_lock_paths(void *arg, struct err *e)
{
	struct child *ch = arg;

	for (size_t i = 0; i < ch->spec->n_readonly_paths; i++) {
		if (lock_one(ch, ch->spec->readonly_paths[i], e))
			return -1;
	}
	if (ch->dev_readonly && mount_change(ch->dev, MOUNT_ATTR_RDONLY, 0, 0, false, e))
		return -1;
	if (!ch->spec->root_readonly)
		return 0;
	return mount_change(ch->root, MOUNT_ATTR_RDONLY, 0, 0, false, e);
}
