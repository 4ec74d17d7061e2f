/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A container's files on disk: data below root, bundle below exec_root. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/limits.h"
#include "engine/links.h"
#include "engine/log_config.h"
#include "engine/networking.h"
#include "engine/pipes.h"
#include "engine/seccomp.h"
#include "engine/spec.h"
#include "engine/state.h"
#include "engine/template_use.h"
#include "isolation/hyperv/template.h"
#include "monitor/client.h"
#include "windows/process.h"

char *path_data(const struct engine *g, const char *id, const char *name)
{
	return xasprintf("%s/containers/%s%s%s", g->root, id, name ? "/" : "", name ? name : "");
}

char *path_run(const struct engine *g, const char *id, const char *name)
{
	return xasprintf("%s/containers/%s%s%s", g->exec_root, id, name ? "/" : "", name ? name : "");
}

char *path_log(const struct engine *g, const char *id)
{
	return xasprintf("%s/containers/%s/%s-json.log", g->root, id, id);
}

void container_hostname(const struct container *c, const json_t *config, char out[static 65])
{
	const char *given = json_str(config, "Hostname", "");

	snprintf(out, 65, "%.*s", *given ? 64 : 12, *given ? given : c->id);
}

static int write_data(struct engine *g, struct container *c, const char *name, const char *text, struct err *e)
{
	autofree char *path = path_data(g, c->id, name);
	/* In place: what a container has bound is this file, not a new one of its name. */
	autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd < 0 || io_write_all(fd, text, strlen(text)) < 0)
		return err_set(e, ERR_SYSTEM, errno, "write %s", path);
	return 0;
}

static int write_hosts(struct engine *g, struct container *c, const json_t *own, const json_t *lines,
		       const char *gateway, struct err *e)
{
	autojson *host = record_host(c);
	autojson *config = record_config(c);
	json_t *extra = json_object_get(host, "ExtraHosts"), *entry;
	const char *domain = json_str(config, "Domainname", "");
	char name[65];
	autostr text;
	size_t i;

	str_init(&text, 256 * KIB);
	str_puts(&text, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n"
			"ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n");
	json_array_foreach(extra, i, entry) {
		const char *line = json_string_value(entry), *colon = strchr(line, ':');
		const char *address = strcmp(colon + 1, "host-gateway") == 0 ? gateway : colon + 1;

		if (*address)
			str_printf(&text, "%s\t%.*s\n", address, (int)(colon - line), line);
	}
	json_array_foreach((json_t *)(uintptr_t)lines, i, entry)
		str_printf(&text, "%s\n", json_string_value(entry));
	container_hostname(c, config, name);
	json_array_foreach((json_t *)(uintptr_t)own, i, entry)
		str_printf(&text, "%s\t%s%s%s%s%s\n", json_string_value(entry), name, *domain ? "." : "", domain,
			   *domain ? " " : "", *domain ? name : "");
	return write_data(g, c, "hosts", text.s, e);
}

/* Servers that the container can't reach (the host's loopback) are left out. */
static void copy_resolv(struct str *out, char *text)
{
	char *rest = text, *line;

	while ((line = strsep(&rest, "\n"))) {
		bool loopback = strstr(line, "nameserver 127.") || strstr(line, "nameserver ::1");

		if (*line && *line != '#' && *line != ';' && !loopback)
			str_printf(out, "%s\n", line);
	}
}

static void add_list(struct str *out, const char *word, const json_t *list, bool one_line)
{
	json_t *entry;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, entry)
		str_printf(out, "%s%s%s", i && one_line ? " " : word, json_string_value(entry), one_line ? "" : "\n");
	if (one_line && json_array_size(list) > 0)
		str_puts(out, "\n");
}

/* The embedded server forwards by itself: of the host's file it takes the rest. */
static void without_servers(char *text)
{
	char *line, *next;

	for (line = text; line && *line; line = next) {
		next = strchr(line, '\n');
		next = next ? next + 1 : NULL;
		if (str_starts(line, "nameserver"))
			*line = '#';
	}
}

static int write_resolv(struct engine *g, struct container *c, bool embedded, struct err *e)
{
	autojson *config = record_host(c);
	const json_t *dns = defaults_of(g, config, "Dns"), *options = defaults_of(g, config, "DnsOptions");
	autostr host, text;

	str_init(&host, 64 * KIB);
	str_init(&text, 256 * KIB);
	if (embedded)
		str_puts(&text, "nameserver 127.0.0.11\n");
	else
		add_list(&text, "nameserver ", dns, false);
	if (json_array_size(dns) == 0 && io_read_file(AT_FDCWD, "/etc/resolv.conf", &host, NULL) == 0 && host.s) {
		if (embedded)
			without_servers(host.s);
		copy_resolv(&text, host.s);
	}
	add_list(&text, "search ", defaults_of(g, config, "DnsSearch"), true);
	if (embedded && json_array_size(options) == 0)
		str_puts(&text, "options ndots:0\n");
	add_list(&text, "options ", options, true);
	return write_data(g, c, "resolv.conf", text.s ? text.s : "", e);
}

static int make_disk(struct engine *g, struct container *c, const char *path, struct err *e)
{
	int64_t bytes;

	if (limits_disk_bytes(c->host, true, &bytes, e) < 0)
		return -1;
	return disk_create(g->vm_dir, path, bytes ? (uint64_t)bytes : VM_DISK_BYTES, c->vm_uid, e);
}

/* The writable layer. process: upper and work of an overlay; hyperv: a disk that only its own VM's user may open. */
static int make_writable(struct engine *g, struct container *c, struct err *e)
{
	autofree char *upper = path_data(g, c->id, "upper");
	autofree char *work = path_data(g, c->id, "work");
	autofree char *disk = path_data(g, c->id, "disk.ext4");

	if (strcmp(c->isolation, "hyperv") == 0)
		return make_disk(g, c, disk, e);
	if (io_mkdir_all(upper, 0755, e) < 0)
		return -1;
	return io_mkdir_all(work, 0700, e);
}

int files_create(struct engine *g, struct container *c, struct err *e)
{
	autofree char *dir = path_data(g, c->id, NULL);
	char name[65], line[66];

	container_hostname(c, c->config, name);
	snprintf(line, sizeof(line), "%s\n", name);
	if (mkdir(dir, 0710) < 0)
		return err_set(e, ERR_SYSTEM, errno, "create %s", dir);
	if (write_hosts(g, c, NULL, NULL, "", e) < 0 || write_data(g, c, "hostname", line, e) < 0 ||
	    write_resolv(g, c, false, e) < 0)
		return -1;
	return make_writable(g, c, e);
}

/* --- bundle -------------------------------------------------------------------------------------------------------- */

/* Who shares a network shares the files that speak of it. */
static json_t *bundle_files(struct engine *g, struct container *c, const json_t *host)
{
	static const char *const names[] = { "hosts", "hostname", "resolv.conf" };
	const char *mode = json_str(host, "NetworkMode", "");
	autorecord *other = str_starts(mode, "container:") ? table_find(g, mode + strlen("container:"), NULL) : NULL;
	json_t *list = json_array();

	for (size_t i = 0; i < array_len(names); i++) {
		autofree char *source = path_data(g, other ? other->id : c->id, names[i]);

		json_array_append_new(list, json_pack("{s:o, s:s}", "destination", json_sprintf("/etc/%s", names[i]),
						      "source", source));
	}
	return list;
}

static json_t *bundle_rootfs(struct engine *g, struct container *c, struct err *e)
{
	if (strcmp(c->isolation, "hyperv") == 0) {
		autofree char *image = image_erofs(g->images, c->image_id, e);
		autofree char *disk = path_data(g, c->id, "disk.ext4");

		return image ? json_pack("{s:s, s:s}", "image", image, "disk", disk) : NULL;
	}
	autofree char *upper = path_data(g, c->id, "upper");
	autofree char *work = path_data(g, c->id, "work");
	json_t *layers = image_layer_dirs(g->images, c->image_id, e);

	return layers ? json_pack("{s:o, s:s, s:s}", "layers", layers, "upper", upper, "work", work) : NULL;
}

static json_t *bundle_log(struct engine *g, struct container *c, const json_t *config, const json_t *host)
{
	autofree char *path = path_log(g, c->id);
	autofree char *name = record_name(c);
	const struct log_subject subject = { .id = c->id, .name = name, .image_id = c->image_id, .config = config };

	return log_config_bundle(json_object_get(host, "LogConfig"), path, &subject);
}

static const char *seccomp_option(const json_t *host)
{
	json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(host, "SecurityOpt"), i, entry) {
		const char *text = json_string_value(entry);

		if (str_starts(text, "seccomp=") || str_starts(text, "seccomp:"))
			return text + strlen("seccomp=");
	}
	return json_bool(host, "Privileged", false) ? "unconfined" : NULL;
}

static int bundle_seccomp(struct engine *g, const json_t *host, json_t *silo, struct err *e)
{
	autofree char *cache = xasprintf("%s/cache", g->root);
	autofree char *path = NULL;
	autojson *caps = spec_caps(host);
	unsigned flags = 0;

	if (seccomp_profile_file(cache, caps, seccomp_option(host), &path, &flags, e) < 0)
		return -1;
	if (path)
		json_object_set_new(silo, "seccomp", json_string(path));
	if (flags)
		json_object_set_new(silo, "seccomp_flags", json_integer(flags));
	return 0;
}

static int bundle_vm(struct engine *g, struct container *c, json_t *silo, struct err *e)
{
	autojson *host = record_host(c);
	autofree char *template = vm_template(g, host, e);

	if (!template)
		return -1;
	/* SILO_VM_COLD: boot each VM instead of cloning it. For script/bench, which shows what cloning saves. */
	json_object_set_new(silo, "vm",
			    json_pack("{s:s, s:s, s:I, s:b}", "template", template, "lib_dir", g->lib_dir, "uid",
				      (json_int_t)c->vm_uid, "cold", getenv("SILO_VM_COLD") != NULL));
	autojson *config = record_config(c);

	/* Wine's programs don't fit into the buffer that is enough for a small Linux container. */
	if (windows_is(config))
		json_object_set_new(json_object_get(silo, "vm"), "translation_mib",
				    json_integer(WINDOWS_TRANSLATION_MIB));
	return 0;
}

static json_t *make_silo(struct engine *g, struct container *c, const json_t *config, const json_t *host, struct err *e)
{
	autofree char *exit_path = path_data(g, c->id, "exit.json");
	autofree char *init = xasprintf("%s/silo-init", g->lib_dir);
	json_t *rootfs = bundle_rootfs(g, c, e), *log;
	autojson *silo = NULL;

	if (!rootfs)
		return NULL;
	silo = json_pack("{s:s, s:s, s:o, s:o, s:{s:b, s:b}, s:s}", "id", c->id, "isolation", c->isolation, "rootfs",
			 rootfs, "files", bundle_files(g, c, host), "stdin", "open",
			 json_bool(config, "OpenStdin", false), "once", json_bool(config, "StdinOnce", false),
			 "exit_path", exit_path);
	log = bundle_log(g, c, config, host);
	if (log)
		json_object_set_new(silo, "log", log);
	if (json_bool(host, "Init", false))
		json_object_set_new(silo, "init", json_string(init));
	if (bundle_seccomp(g, host, silo, e) < 0)
		return NULL;
	return take_ptr(&silo);
}

static int write_json(struct engine *g, struct container *c, const char *name, const json_t *j, struct err *e)
{
	autofree char *path = path_run(g, c->id, name);
	autofree char *text = json_text(j);

	return io_write_file(AT_FDCWD, path, text, strlen(text), 0600, false, e);
}

/* With --init the program is an argument of the small init. */
void files_add_init(json_t *spec)
{
	json_t *args = json_object_get(json_object_get(spec, "process"), "args");

	json_array_insert_new(args, 0, json_string("/sbin/docker-init"));
	json_array_insert_new(args, 1, json_string("--"));
}

/* The namespace that silod has made, by the descriptor that the monitor has got. */
static void join_network(json_t *spec, int fd)
{
	json_t *ns;
	size_t i;

	if (fd < 0)
		return;
	json_array_foreach(json_object_get(json_object_get(spec, "linux"), "namespaces"), i, ns) {
		if (strcmp(json_str(ns, "type", ""), "network") == 0)
			json_object_set_new(ns, "path", json_sprintf("/proc/self/fd/%d", MONITOR_NETWORK_FD));
	}
}

int files_names(struct engine *g, struct container *c, const json_t *own, const json_t *lines, bool dns,
		const char *gateway, struct err *e)
{
	return write_hosts(g, c, own, lines, gateway, e) < 0 ? -1 : write_resolv(g, c, dns, e);
}

/* Nothing of it will run: no program, log or terminal, and nobody else's namespaces or devices are needed. */
static void leave_files(json_t *spec, json_t *silo)
{
	static const char *const without[] = { "exit_path", "log", "seccomp", "stdin" };
	json_t *linux_part = json_object_get(spec, "linux"), *ns;
	size_t i;

	json_object_set_new(silo, "files_only", json_true());
	for (i = 0; i < array_len(without); i++)
		json_object_del(silo, without[i]);
	json_object_del(json_object_get(spec, "process"), "terminal");
	json_object_del(linux_part, "devices");
	json_object_del(linux_part, "sysctl");
	json_array_foreach(json_object_get(linux_part, "namespaces"), i, ns)
		json_object_del(ns, "path");
}

int files_bundle(struct engine *g, struct container *c, const struct net_setup *net, bool files_only, struct err *e)
{
	autofree char *dir = path_run(g, c->id, NULL);
	autojson *config = record_config(c);
	autojson *host = record_host(c);
	autojson *silo = make_silo(g, c, config, host, e);
	char name[65];
	autofree char *host_mounts = xasprintf("/proc/%d/fd/%d", (int)getpid(), g->host_mounts);
	struct spec_input in = { .id = c->id,
				 .hostname = name,
				 .config = config,
				 .host = host,
				 .host_mounts = host_mounts,
				 .hyperv = strcmp(c->isolation, "hyperv") == 0 };

	if (!silo)
		return -1;
	if (in.hyperv && !*net->machine && bundle_vm(g, c, silo, e) < 0)
		return -1;
	if (net->guest)
		json_object_set_new(silo, "network", machine_first_network(net->guest));
	container_hostname(c, config, name);
	autojson *links = links_env(g, c);

	in.links = links;
	autojson *spec = spec_make(&in, e);

	if (!spec || io_mkdir_all(dir, 0700, e) < 0)
		return -1;
	if (json_bool(host, "Init", false))
		files_add_init(spec);
	join_network(spec, net->fd);
	if (pipes_wanted(host) && pipes_settle(g, c, spec, silo, files_only, e) < 0)
		return -1;
	if (files_only)
		leave_files(spec, silo);
	if (write_json(g, c, "config.json", spec, e) < 0)
		return -1;
	return write_json(g, c, "silo.json", silo, e);
}
