/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/guest_docs.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"

#define FILE_BYTES_MAX (256 * KIB)

/* File systems that are of the guest's own kernel and need nothing of the host. */
static const char *const guest_mount_types[] = { "proc", "sysfs", "tmpfs", "mqueue", "devpts", "cgroup", "cgroup2" };

/* Members of config.json's "linux" and of the top level that speak of the host. */
static const char *const host_only_linux[] = { "mountLabel", "intelRdt", "rootfsPropagation" };
static const char *const host_only_process[] = { "apparmorProfile", "selinuxLabel" };

static void drop(json_t *object, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		json_object_del(object, names[i]);
}

static bool is_guest_type(const char *type)
{
	for (size_t i = 0; i < array_len(guest_mount_types); i++)
		if (!strcmp(guest_mount_types[i], type))
			return true;
	return false;
}

static bool is_socket(const json_t *mount)
{
	return json_object_get(mount, "socket");
}

bool guest_is_bind(const json_t *mount)
{
	const char *type = json_str(mount, "type", "bind");
	const json_t *option;
	size_t i;

	if (is_socket(mount) || json_object_get(mount, "container"))
		return false;
	json_array_foreach(json_object_get(mount, "options"), i, option) {
		const char *text = json_is_string(option) ? json_string_value(option) : "";

		if (!strcmp(text, "bind") || !strcmp(text, "rbind"))
			return true;
	}
	return !strcmp(type, "bind");
}

/* Mounts made later on one side don't show up on the other. */
static int check_propagation(const json_t *mount, struct err *e)
{
	static const char *const words[] = { "shared", "rshared", "slave", "rslave" };
	const json_t *option;
	size_t i;

	json_array_foreach(json_object_get(mount, "options"), i, option)
		for (size_t k = 0; k < array_len(words); k++)
			if (json_is_string(option) && !strcmp(json_string_value(option), words[k]))
				return err_set(e, ERR_UNSUPPORTED, 0,
					       "%s: propagation \"%s\" can't reach into a virtual machine",
					       json_str(mount, "destination", ""), words[k]);
	return 0;
}

static int rewrite_mounts(json_t *mounts, unsigned share, struct err *e)
{
	json_t *mount;
	size_t i;

	json_array_foreach(mounts, i, mount) {
		const char *type = json_str(mount, "type", "");

		if (is_socket(mount)) {
			json_object_set_new(
				mount, "source",
				json_sprintf(GUEST_SOCKETS_DIR "/%lld", (long long)json_int(mount, "socket", 0)));
			json_object_del(mount, "socket");
		} else if (guest_is_bind(mount)) {
			if (check_propagation(mount, e))
				return -1;
			json_object_set_new(mount, "source", json_sprintf(GUEST_SHARES_DIR "/%u", share++));
			json_object_del(mount, "subpath"); /* done by the host */
		} else if (!json_object_get(mount, "container") && !is_guest_type(type)) {
			return err_set(e, ERR_UNSUPPORTED, 0,
				       "a hyperv container has no file system of type \"%s\" for %s", type,
				       json_str(mount, "destination", ""));
		}
	}
	return 0;
}

/* Those kinds that run in the container are the agent's to run; their state has the annotations. */
static void keep_inner_hooks(json_t *config)
{
	static const char *const outer[] = { "prestart", "createRuntime", "poststart", "poststop" };
	json_t *hooks = json_object_get(config, "hooks");

	drop(hooks, outer, array_len(outer));
	if (!json_object_size(hooks)) {
		json_object_del(config, "hooks");
		json_object_del(config, "annotations");
	}
}

/* Those of the host are disks of the VM, in this order; the others are the guest's own. */
static void rewrite_devices(json_t *devices, int target)
{
	json_t *device;
	size_t i, n = 0;

	json_array_foreach(devices, i, device)
		if (json_object_get(device, "source")) {
			if (target >= 0)
				json_object_set_new(device, "target", json_integer(target + (json_int_t)n));
			else
				json_object_set_new(device, "disk", json_integer((json_int_t)n));
			n++;
			json_object_del(device, "source");
		}
}

/* The namespaces without the network: that of the VM is the container's. */
static int own_namespaces(json_t *linux_part, struct err *e)
{
	const json_t *namespaces = json_object_get(linux_part, "namespaces");
	json_t *ns, *kept = json_array();
	size_t i;

	json_array_foreach(namespaces, i, ns) {
		const char *type = json_str(ns, "type", "");

		if (!strcmp(type, "network"))
			continue;
		if (json_object_get(ns, "path")) {
			json_decref(kept);
			return err_set(
				e, ERR_UNSUPPORTED, 0,
				"a hyperv container can't share the %s namespace of the host or of another container",
				type);
		}
		json_array_append(kept, ns);
	}
	return json_object_set_new(linux_part, "namespaces", kept);
}

/* "0-2,5": 4. Of a list that isn't well formed: some number. */
static int64_t count_cpus(const char *list)
{
	int64_t n = 0;

	while (*list) {
		char *end;
		int64_t first = strtol(list, &end, 10), last = first;

		if (*end == '-')
			last = strtol(end + 1, &end, 10);
		n += last - first + 1;
		list = *end == ',' ? end + 1 : "";
	}
	return n;
}

json_t *guest_resources(const json_t *resources, int64_t cpus)
{
	json_t *guest = json_deep_copy(resources), *cpu = json_object_get(guest, "cpu");
	const char *list = json_str(cpu, "cpus", "");
	int64_t n = count_cpus(list);

	json_object_del(guest, "blockIO");
	json_object_del(cpu, "mems");
	if (n > cpus)
		n = cpus;
	if (*list)
		json_object_set_new(cpu, "cpus", n > 1 ? json_sprintf("0-%lld", (long long)n - 1) : json_string("0"));
	return guest;
}

json_t *guest_config(const json_t *config, const char *id, int64_t cpus, const struct guest_places *at, struct err *e)
{
	autojson *guest = json_deep_copy(config);
	json_t *linux_part = json_object_get(guest, "linux");
	autofree char *cgroup = xasprintf("/silo/%s", id);

	if (!linux_part) {
		linux_part = json_object();
		json_object_set_new(guest, "linux", linux_part);
	}
	if (rewrite_mounts(json_object_get(guest, "mounts"), at->share, e) || own_namespaces(linux_part, e))
		return NULL;
	rewrite_devices(json_object_get(linux_part, "devices"), at->device);
	json_object_set_new(linux_part, "cgroupsPath", json_string(cgroup));
	if (json_object_get(linux_part, "resources"))
		json_object_set_new(linux_part, "resources",
				    guest_resources(json_object_get(linux_part, "resources"), cpus));
	drop(linux_part, host_only_linux, array_len(host_only_linux));
	keep_inner_hooks(guest);
	drop(json_object_get(guest, "process"), host_only_process, array_len(host_only_process));
	return take_ptr(&guest);
}

static json_t *guest_file(const struct bundle_file *f, struct err *e)
{
	autostr text;

	str_init(&text, FILE_BYTES_MAX);
	if (f->data)
		return json_pack("{s:s, s:s}", "destination", f->destination, "data", f->data);
	if (io_read_file(AT_FDCWD, f->source, &text, e))
		return NULL;
	json_t *file = json_pack("{s:s, s:s%}", "destination", f->destination, "data", text.s ? text.s : "", text.len);

	if (!file || (text.s && memchr(text.s, 0, text.len))) {
		json_decref(file);
		err_set(e, ERR_INVALID, 0, "%s is not UTF-8 text", f->source);
		return NULL;
	}
	return file;
}

json_t *guest_files(const struct bundle *b, struct err *e)
{
	autojson *files = json_array();

	for (size_t i = 0; i < b->n_files; i++) {
		json_t *file = guest_file(&b->files[i], e);

		if (!file)
			return NULL;
		json_array_append_new(files, file);
	}
	return take_ptr(&files);
}

/* A directory of the host: the share that follows those of the mounts. */
static json_t *guest_root(const struct bundle *b, unsigned n)
{
	const json_t *mount;
	size_t i;

	json_array_foreach(json_object_get(b->config, "mounts"), i, mount)
		n += guest_is_bind(mount);
	return json_pack("{s:o}", "path", json_sprintf(GUEST_SHARES_DIR "/%u", n));
}

json_t *guest_silo(const struct bundle *b, const struct guest_places *at, struct err *e)
{
	json_t *files = guest_files(b, e);
	autojson *silo = files ? json_pack("{s:s, s:s, s:{s:s, s:s}, s:o}", "id", b->id, "isolation", "hyperv",
					   "rootfs", "image", at->image, "disk", at->disk, "files", files)
			       : NULL;

	if (!silo)
		return NULL;
	if (b->rootfs.path)
		json_object_set_new(silo, "rootfs", guest_root(b, at->share));
	if (json_object_get(b->silo, "bundle"))
		json_object_set(silo, "bundle", json_object_get(b->silo, "bundle"));
	if (b->seccomp_flags)
		json_object_set_new(silo, "seccomp_flags", json_integer(b->seccomp_flags));
	if (b->seccomp) {
		autofree char *filter = base64_encode(b->seccomp, b->seccomp_bytes);

		json_object_set_new(silo, "seccomp_data", json_string(filter));
	}
	if (b->files_only)
		json_object_set_new(silo, "files_only", json_true());
	if (b->init_path)
		json_object_set_new(silo, "init", json_string(GUEST_INIT_PATH));
	return take_ptr(&silo);
}

char *base64_encode(const unsigned char *data, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = xmalloc((n + 2) / 3 * 4 + 1), *to = text;

	for (size_t i = 0; i < n; i += 3) {
		unsigned v = (unsigned)data[i] << 16;

		if (i + 1 < n)
			v |= (unsigned)data[i + 1] << 8;
		if (i + 2 < n)
			v |= data[i + 2];
		*to++ = digits[v >> 18];
		*to++ = digits[v >> 12 & 63];
		*to++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
		*to++ = i + 2 < n ? digits[v & 63] : '=';
	}
	*to = 0;
	return text;
}

int guest_card(const json_t *interface, struct err *e)
{
	int64_t card = json_int(interface, "card", -1);

	return card >= 0 && card < GUEST_CARDS
		       ? (int)card
		       : err_set(e, ERR_INVALID, 0, "a virtual machine has no network card %lld", (long long)card);
}
