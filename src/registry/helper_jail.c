/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a registry must not reach by a bug in curl, GnuTLS or our parsers: files (the root becomes a small read-only file
 * system with copies of what resolving names and checking certificates takes), privileges, other processes. The
 * network stays: it is what the helper is for.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "registry/client.h"

#define FILE_BYTES_MAX (4 * MIB)
#define ROOT_SIZE "48m"

static const char *const name_files[] = { "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf",
					  "/etc/gai.conf" };
static const char *const ca_bundles[] = { "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
					  "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem" };

/* --- the small root ------------------------------------------------------------------------------------------- */
static int make_root(struct err *e)
{
	int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC), root = -1;

	if (fs >= 0 && !syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "size", ROOT_SIZE, 0) &&
	    !syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0755", 0) &&
	    !syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		root = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
				    MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (root < 0)
		err_set(e, ERR_SYSTEM, errno, "tmpfs");
	close_fd(&fs);
	return root;
}

static int put_file(int root, const char *name, const struct str *data, struct err *e)
{
	autoclose int fd = openat(root, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0400);

	if (fd < 0 || io_write_all(fd, data->s ? data->s : "", data->len) || fchown(fd, REGISTRY_UID, REGISTRY_UID))
		return err_set(e, ERR_SYSTEM, errno, "%s", name);
	return 0;
}

/* A missing one isn't needed. */
static int copy_names(int root, struct err *e)
{
	if (mkdirat(root, "etc", 0755) || mkdirat(root, "tls", 0755))
		return err_set(e, ERR_SYSTEM, errno, "directories");
	for (size_t i = 0; i < array_len(name_files); i++) {
		autostr data;

		str_init(&data, FILE_BYTES_MAX);
		if (!io_read_file(AT_FDCWD, name_files[i], &data, NULL) && put_file(root, name_files[i] + 1, &data, e))
			return -1;
	}
	return 0;
}

/* --- certificates: the layout of /etc/docker/certs.d/HOST:PORT -------------------------------------------------- */
/* Append a file to a bundle of certificates, each on lines of its own. */
static int add_file(int dir, const char *name, struct str *bundle, struct err *e)
{
	autostr data;

	str_init(&data, FILE_BYTES_MAX);
	if (io_read_file(dir, name, &data, e) || str_add(bundle, data.s ? data.s : "", data.len) ||
	    str_puts(bundle, "\n"))
		return e->kind ? -1 : err_set(e, ERR_LIMIT, 0, "%s: too many certificates", name);
	return 0;
}

static int add_client_cert(struct endpoint *ep, int root, size_t index, int dir, const char *name, struct err *e)
{
	autofree char *key = xasprintf("%.*s.key", (int)strlen(name) - 5, name);
	autofree char *cert_path = xasprintf("/tls/%zu.cert", index), *key_path = xasprintf("/tls/%zu.key", index);
	autostr cert, secret;

	str_init(&cert, FILE_BYTES_MAX);
	str_init(&secret, FILE_BYTES_MAX);
	if (add_file(dir, name, &cert, e))
		return -1;
	if (add_file(dir, key, &secret, e))
		return err_set(e, ERR_INVALID, 0,
			       "missing key %s for client certificate %s. CA certificates must use the extension .crt",
			       key, name);
	if (put_file(root, cert_path + 1, &cert, e) || put_file(root, key_path + 1, &secret, e))
		return -1;
	free(ep->cert_path);
	free(ep->key_path);
	ep->peer.cert_path = ep->cert_path = take_ptr(&cert_path);
	ep->peer.key_path = ep->key_path = take_ptr(&key_path);
	return 0;
}

static int read_certs(struct endpoint *ep, int root, size_t index, const char *path, struct str *bundle, struct err *e)
{
	DIR *d = opendir(path);
	struct dirent *de;
	int rc = 0;

	if (!d)
		return errno == ENOENT ? 0 : err_set(e, ERR_SYSTEM, errno, "%s", path);
	while (!rc && (de = readdir(d))) {
		if (str_ends(de->d_name, ".crt"))
			rc = add_file(dirfd(d), de->d_name, bundle, e);
		else if (str_ends(de->d_name, ".cert"))
			rc = add_client_cert(ep, root, index, dirfd(d), de->d_name, e);
	}
	closedir(d);
	return rc ? err_prefix(e, "%s", path) : 0;
}

static int copy_tls(struct client *c, int root, size_t index, const struct str *system, struct err *e)
{
	const json_t *config = json_array_get(json_object_get(c->config, "endpoints"), index), *v;
	struct endpoint *ep = &c->endpoints[index];
	autofree char *path = xasprintf("/tls/%zu.ca", index);
	autostr bundle;
	size_t i;

	str_init(&bundle, 2 * FILE_BYTES_MAX);
	str_add(&bundle, system->s ? system->s : "", system->len);
	str_puts(&bundle, "\n");
	json_array_foreach(json_object_get(config, "certs"), i, v)
		if (read_certs(ep, root, index, json_string_value(v), &bundle, e))
			return -1;
	if (put_file(root, path + 1, &bundle, e))
		return -1;
	ep->peer.ca_path = ep->ca_path = take_ptr(&path);
	return 0;
}

static int copy_all(struct client *c, int root, struct err *e)
{
	autostr system;

	str_init(&system, FILE_BYTES_MAX);
	for (size_t i = 0; i < array_len(ca_bundles); i++)
		if (!io_read_file(AT_FDCWD, ca_bundles[i], &system, NULL))
			break;
	if (copy_names(root, e))
		return -1;
	for (size_t i = 0; i < c->n_endpoints; i++)
		if (copy_tls(c, root, i, &system, e))
			return -1;
	return 0;
}

/* --- giving up ------------------------------------------------------------------------------------------------ */
static int enter_root(int root, struct err *e)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };

	if (syscall(SYS_mount_setattr, root, "", AT_EMPTY_PATH, &attr, sizeof(attr)) && errno != ENOSYS)
		return err_set(e, ERR_SYSTEM, errno, "mount_setattr");
	if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS))
		return err_set(e, ERR_SYSTEM, errno, "unshare");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return err_set(e, ERR_SYSTEM, errno, "private mounts");
	if (syscall(SYS_move_mount, root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH))
		return err_set(e, ERR_SYSTEM, errno, "move_mount");
	if (fchdir(root) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		return err_set(e, ERR_SYSTEM, errno, "pivot_root");
	return 0;
}

static int drop_privileges(struct err *e)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct none[2] = { 0 };
	static const struct {
		__rlimit_resource_t resource;
		rlim_t limit;
	} limits[] = { { RLIMIT_CORE, 0 }, { RLIMIT_NOFILE, 512 }, { RLIMIT_AS, 2 * GIB } };

	for (size_t i = 0; i < array_len(limits); i++) {
		const struct rlimit limit = { limits[i].limit, limits[i].limit };

		if (setrlimit(limits[i].resource, &limit))
			return err_set(e, ERR_SYSTEM, errno, "setrlimit");
	}
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap))
			return err_set(e, ERR_SYSTEM, errno, "bounding set");
	if (setgroups(0, NULL) || setresgid(REGISTRY_UID, REGISTRY_UID, REGISTRY_UID) ||
	    setresuid(REGISTRY_UID, REGISTRY_UID, REGISTRY_UID))
		return err_set(e, ERR_SYSTEM, errno, "setresuid");
	if (syscall(SYS_capset, &head, none) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return err_set(e, ERR_SYSTEM, errno, "capabilities");
	return 0;
}

int helper_jail(struct client *c, struct err *e)
{
	autoclose int root = make_root(e);

	if (root < 0 || copy_all(c, root, e) || enter_root(root, e))
		return -1;
	umask(077);
	return drop_privileges(e);
}
