/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/virtio.h"
#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "base/step.h"
#include "base/str.h"
#include "os/netlink.h"

#define PORTS_DIR "/sys/class/virtio-ports"
#define PORT_NAME "silo.agent"
#define PORT_WAIT_MS 10000
#define OPEN_FILES_MAX (1 << 20) /* what Docker gives its containers */

/*
 * The root of an initramfs has no parent mount and can't be pivoted, which every container must do: cover it with a
 * bind of itself. Nothing is copied.
 */
static int boot_root(void *arg, struct err *e)
{
	if (mount("/", "/mnt", NULL, MS_BIND, NULL) || chdir("/mnt") || mount(".", "/", NULL, MS_MOVE, NULL) ||
	    chroot(".") || chdir("/"))
		return err_set(e, ERR_SYSTEM, errno, "cover the initramfs");
	return 0;
}

static const struct {
	const char *type, *target;
	unsigned long flags;
	const char *data;
} boot_mounts[] = {
	{ "proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL },
	{ "sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL },
	{ "devtmpfs", "/dev", MS_NOSUID, "mode=0755" },
	{ "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666" },
	{ "tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, NULL },
	{ "tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755" },
	{ "tmpfs", "/tmp", MS_NOSUID | MS_NODEV, NULL },
	{ "cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL },
};

static int boot_file_systems(void *arg, struct err *e)
{
	for (size_t i = 0; i < array_len(boot_mounts); i++) {
		(void)mkdir(boot_mounts[i].target, 0755);
		if (mount(boot_mounts[i].type, boot_mounts[i].target, boot_mounts[i].type, boot_mounts[i].flags,
			  boot_mounts[i].data))
			return err_set(e, ERR_SYSTEM, errno, "mount %s", boot_mounts[i].target);
	}
	return io_mkdir_all(AGENT_RUN_DIR, 0700, e);
}

/* Without a console init starts without descriptors 0 to 2: nothing else may get these numbers. */
static int boot_standard_streams(void *arg, struct err *e)
{
	int fd;

	do {
		fd = open("/dev/kmsg", O_RDWR);
		if (fd < 0)
			return err_set(e, ERR_SYSTEM, errno, "/dev/kmsg");
	} while (fd <= 2);
	close(fd);
	return 0;
}

/*
 * The console ends in the host's "last words" of a VM that died: only what is critical goes there, not what a container
 * makes the kernel complain about.
 */
static int boot_console(void *arg, struct err *e)
{
	return io_write_kernel(AT_FDCWD, "/proc/sys/kernel/printk", "3", e);
}

static int boot_limits(void *arg, struct err *e)
{
	const struct rlimit files = { OPEN_FILES_MAX, OPEN_FILES_MAX };
	const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };

	if (setrlimit(RLIMIT_NOFILE, &files) || setrlimit(RLIMIT_NPROC, &none))
		return err_set(e, ERR_SYSTEM, errno, "resource limits");
	if (setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1))
		return err_set(e, ERR_SYSTEM, errno, "PATH");
	return 0;
}

/* Hand the controllers down to the containers' parent, so that their cgroups have them. A missing one is no fault. */
static int boot_cgroups(void *arg, struct err *e)
{
	static const char *const controllers[] = { "+cpu", "+cpuset", "+memory", "+pids", "+io" };
	struct err ignored;

	if (mkdir("/sys/fs/cgroup/silo", 0755))
		return err_set(e, ERR_SYSTEM, errno, "cgroup");
	for (size_t i = 0; i < array_len(controllers); i++)
		if (io_write_kernel(AT_FDCWD, "/sys/fs/cgroup/cgroup.subtree_control", controllers[i], &ignored) ||
		    io_write_kernel(AT_FDCWD, "/sys/fs/cgroup/silo/cgroup.subtree_control", controllers[i], &ignored))
			log_warn("no cgroup controller %s", controllers[i] + 1);
	return 0;
}

static int load_module(char *line, struct err *e)
{
	char *parameters = strchr(line, ' ');

	if (parameters)
		*parameters++ = 0;
	autoclose int fd = open(line, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, errno, "module %s", line);
	if (syscall(SYS_finit_module, fd, parameters ? parameters : "", 0) && errno != EEXIST)
		return err_set(e, ERR_SYSTEM, errno, "load module %s", line);
	(void)unlink(line); /* an initramfs is memory */
	return 0;
}

/* Load the modules that a list names ("path[ parameters]" a line) and delete their files. Missing list: nothing. */
static int load_modules(const char *list_path, struct err *e)
{
	autostr list;
	char *rest, *line;

	str_init(&list, 64 * KIB);
	if (io_read_file(AT_FDCWD, list_path, &list, e))
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	rest = list.s;
	while (rest && (line = strsep(&rest, "\n"))) {
		struct err why;

		/* What the container really needs is missed by name later; a driver less is none of its concern. */
		if (*line && load_module(line, &why))
			log_warn("%s", why.msg);
	}
	return 0;
}

static int boot_modules(void *arg, struct err *e)
{
	return load_modules("/modules", e);
}

/*
 * A disk's size is read when its driver binds, and a clone has other disks than the template: the driver is loaded now,
 * which takes long, and bound later by agent_bind_disks().
 */
static int boot_disk_driver(void *arg, struct err *e)
{
	if (io_write_kernel(AT_FDCWD, "/sys/bus/virtio/drivers_autoprobe", "0", e) || load_modules("/modules.late", e))
		return -1;
	return io_write_kernel(AT_FDCWD, "/sys/bus/virtio/drivers_autoprobe", "1", e);
}

static int boot_network(void *arg, struct err *e)
{
	/* The container uses the VM's network namespace: give it what Docker sets in a container's. */
	static const struct {
		const char *path, *value;
	} sysctls[] = {
		{ "/proc/sys/net/ipv4/ping_group_range", "0 2147483647" },
		{ "/proc/sys/net/ipv4/ip_unprivileged_port_start", "0" },
	};

	for (size_t i = 0; i < array_len(sysctls); i++)
		if (io_write_kernel(AT_FDCWD, sysctls[i].path, sysctls[i].value, e))
			return -1;
	/* Each card gets its driver back when a network needs it. */
	for (int i = 0; i < GUEST_CARDS; i++)
		if (virtio_bind(VIRTIO_CARD, i, false, e))
			return -1;
	return netlink_lo_up(e);
}

/* Path in /dev of the port with our name, once the driver has been told the name by the host. */
static char *find_port(void)
{
	DIR *dir = opendir(PORTS_DIR);
	char *found = NULL;

	for (struct dirent *d; dir && !found && (d = readdir(dir));) {
		autofree char *path = xasprintf(PORTS_DIR "/%s/name", d->d_name);
		struct err ignored;
		autostr name;

		str_init(&name, 256);
		if (d->d_name[0] != '.' && !io_read_file(AT_FDCWD, path, &name, &ignored) && name.s &&
		    !strcmp(name.s, PORT_NAME "\n"))
			found = xasprintf("/dev/%s", d->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

static int boot_port(void *arg, struct err *e)
{
	struct agent *a = arg;

	/* Ports are announced in a work queue, and nothing that could be waited on tells of their names. */
	for (int64_t deadline = time_monotonic_ms() + PORT_WAIT_MS; time_monotonic_ms() < deadline; poll(NULL, 0, 2)) {
		autofree char *path = find_port();

		if (!path)
			continue;
		a->port = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
		if (a->port >= 0)
			return 0;
		if (errno != ENOENT && errno != ENXIO)
			return err_set(e, ERR_SYSTEM, errno, "%s", path);
	}
	return err_set(e, ERR_TIMEOUT, 0, "no virtio-serial port named " PORT_NAME);
}

/* Only speed depends on it. */
static int boot_rehearsal(void *arg, struct err *e)
{
	struct err why;

	if (agent_rehearse(&why))
		log_error("rehearsal: %s", why.msg);
	return 0;
}

/* What is in caches now would be in the memory of every clone. */
static int boot_drop_caches(void *arg, struct err *e)
{
	sync();
	return io_write_kernel(AT_FDCWD, "/proc/sys/vm/drop_caches", "3", e);
}

static const struct step boot_steps[] = {
	/* name                wanted  run                    undo */
	{ "root",              NULL,   boot_root,             NULL },
	{ "file systems",      NULL,   boot_file_systems,     NULL },
	{ "standard streams",  NULL,   boot_standard_streams, NULL },
	{ "console",           NULL,   boot_console,          NULL },
	{ "limits",            NULL,   boot_limits,           NULL },
	{ "cgroups",           NULL,   boot_cgroups,          NULL },
	{ "modules",           NULL,   boot_modules,          NULL },
	{ "disk driver",       NULL,   boot_disk_driver,      NULL },
	{ "network",           NULL,   boot_network,          NULL },
	{ "port",              NULL,   boot_port,             NULL },
	{ "rehearsal",         NULL,   boot_rehearsal,        NULL },
	{ "caches",            NULL,   boot_drop_caches,      NULL },
};

int agent_boot(struct agent *a, struct err *e)
{
	return steps_run(boot_steps, array_len(boot_steps), a, NULL, e);
}

_Noreturn void agent_power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	reboot(RB_AUTOBOOT); /* QEMU runs with -no-reboot */
	abort();
}
