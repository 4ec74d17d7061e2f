/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Wine's first start makes registry and drive C:. Done once here, in namespaces of its own, so that no container has to. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "os/mount.h"
#include "os/pidfd.h"
#include "windows/build.h"
#include "windows/layout.h"
#include "windows/registry.h"

#define HOSTNAME "localhost" /* wineboot resolves it */
#define SERVICES "System\\ControlSet001\\Services\\"

/* --- in the child --------------------------------------------------------------------------------------------------- */

static int raise_loopback(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	autoclose int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return ioctl(sock, SIOCSIFFLAGS, &request);
}

static int enter_root(void)
{
	if (mount_all_private(NULL) || mount("proc", BUILD_ROOT "/proc", "proc", 0, NULL) ||
	    mount("/dev", BUILD_ROOT "/dev", NULL, MS_BIND, NULL))
		return -1;
	return sethostname(HOSTNAME, strlen(HOSTNAME)) || raise_loopback() || chroot(BUILD_ROOT) || chdir("/") ? -1 : 0;
}

static _Noreturn void run_wineboot(int null)
{
	/* Without these it would ask to download .NET and a browser. */
	static const char *const environment[] = { "WINEPREFIX=" WINDOWS_PREFIX,
						   "WINESERVER=" WINDOWS_SERVER,
						   "WINEDLLOVERRIDES=mscoree,mshtml=",
						   "WINEDEBUG=-all",
						   "LC_ALL=C.UTF-8",
						   "HOME=/",
						   "XDG_RUNTIME_DIR=/run/user/0",
						   NULL };

	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	execle(WINDOWS_LOADER, WINDOWS_LOADER, "wineboot", "-u", NULL, environment);
	_exit(127);
}

/* pid 1 of the namespace: the server writes the registry when it is told to end. Exit codes: 100 = no root. */
static _Noreturn void bake_child(void)
{
	int status = 0;
	pid_t pid;

	if (enter_root())
		_exit(100);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	pid = fork();
	if (pid < 0)
		_exit(101);
	if (!pid)
		run_wineboot(null);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	kill(-1, SIGTERM);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 102);
}

int build_bake(void *arg, struct err *e)
{
	autoclose int pidfd = -1;
	int code = -1;
	pid_t pid = pidfd_clone(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS, -1, &pidfd, e);

	if (pid < 0)
		return -1;
	if (pid == 0)
		bake_child();
	if (pidfd_wait(pidfd, true, &code, e) < 0)
		return -1;
	if (code || access(BUILD_PREFIX "/system.reg", R_OK))
		return err_set(e, ERR_SYSTEM, 0, "wineboot: exit status %d", code);
	return 0;
}

/* --- tuning --------------------------------------------------------------------------------------------------------- */

/*
 * What an idle container doesn't need, it doesn't start: 3 = on demand. nsiproxy and MountMgr are started with the
 * others, at once and not delayed: ping and dir need them, and the delay would race with the first program.
 */
static const struct {
	const char *key, *name, *value; /* name NULL: the key goes */
} system_edits[] = {
	{ "Software\\Microsoft\\Windows\\CurrentVersion\\RunServices", NULL, NULL },
	{ "Software\\Microsoft\\Windows\\CurrentVersion\\Telephony", NULL, NULL },
	{ "Software\\Classes\\MediaFoundation", NULL, NULL },
	{ "Software\\Classes\\DirectShow", NULL, NULL },
	{ SERVICES "winebus", NULL, NULL },
	{ SERVICES "wineusb", NULL, NULL },
	{ SERVICES "winebth", NULL, NULL },
	{ "System\\ControlSet001\\Enum\\ROOT\\WINE", NULL, NULL },
	{ SERVICES "FontCache", NULL, NULL },
	{ SERVICES "FontCache3.0.0.0", NULL, NULL },
	{ SERVICES "Spooler", NULL, NULL },
	{ SERVICES "StiSvc", NULL, NULL },
	{ SERVICES "TermService", NULL, NULL },
	{ SERVICES "Eventlog", "Start", "dword:00000003" },
	{ SERVICES "PlugPlay", "Start", "dword:00000003" },
	{ SERVICES "NDIS", "Start", "dword:00000003" },
	{ SERVICES "nsiproxy", "DelayedAutostart", "dword:00000000" },
	{ SERVICES "MountMgr", "DelayedAutostart", "dword:00000000" },
	{ "System\\ControlSet001\\Control", "AutoStartDelay", "dword:00000001" },
};

static int tune_system(struct err *e)
{
	struct registry *r = registry_load(AT_FDCWD, BUILD_PREFIX "/system.reg", e);
	int rc;

	if (!r)
		return -1;
	for (size_t i = 0; i < array_len(system_edits); i++) {
		if (system_edits[i].name)
			registry_set(r, system_edits[i].key, system_edits[i].name, system_edits[i].value);
		else
			registry_delete(r, system_edits[i].key);
	}
	rc = registry_save(r, AT_FDCWD, BUILD_PREFIX "/system.reg", e);
	registry_free(r);
	return rc;
}

static int tune_user(struct err *e)
{
	struct registry *r = registry_load(AT_FDCWD, BUILD_PREFIX "/user.reg", e);
	int rc;

	if (!r)
		return -1;
	registry_set_string(r, "Software\\Wine\\Drivers", "Graphics", "null");
	rc = registry_save(r, AT_FDCWD, BUILD_PREFIX "/user.reg", e);
	registry_free(r);
	return rc;
}

/* No drive leads out of C:, no start looks for a newer Wine. */
int build_tune(void *arg, struct err *e)
{
	static const char *const unwanted[] = { "dosdevices/z:", "dosdevices/com1", "dosdevices/com2",
						"dosdevices/com3", "dosdevices/com4" };

	static const char *const second_profile[] = { "cp", "-a", BUILD_PREFIX "/drive_c/users/ContainerAdministrator",
						      BUILD_PREFIX "/drive_c/users/ContainerUser", NULL };

	for (size_t i = 0; i < array_len(unwanted); i++) {
		autofree char *path = xasprintf(BUILD_PREFIX "/%s", unwanted[i]);

		if (unlink(path) && errno != ENOENT)
			return err_set(e, ERR_SYSTEM, errno, "%s", path);
	}
	if (io_write_file(AT_FDCWD, BUILD_PREFIX "/.update-timestamp", "disable\n", 8, 0644, false, e) ||
	    io_write_file(AT_FDCWD, BUILD_ROOT "/usr/share/wine/wine.inf", "", 0, 0644, false, e) ||
	    io_remove_tree(AT_FDCWD, BUILD_PREFIX "/drive_c/windows/inf", e))
		return -1;
	if (build_run(second_profile, e))
		return -1;
	return tune_system(e) || tune_user(e) ? -1 : 0;
}
