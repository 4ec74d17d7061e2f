/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "isolation/hyperv/capture.h"
#include "isolation/hyperv/facts.h"

#define CPUINFO_BYTES_MAX (8 * MIB)

uint64_t host_hash(const char *text)
{
	uint64_t h = 0xcbf29ce484222325ull;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3ull;
	return h;
}

char *host_find_qemu(void)
{
	static const char *const places[] = { "/usr/bin/qemu-system-x86_64", "/usr/local/bin/qemu-system-x86_64",
					      "/usr/libexec/qemu-kvm" };
	const char *chosen = getenv("SILO_QEMU");

	if (chosen)
		return capture_find_program(chosen);
	for (size_t i = 0; i < array_len(places); i++)
		if (!access(places[i], X_OK))
			return xstrdup(places[i]);
	return NULL;
}

/* The first processor's lines of /proc/cpuinfo that say what it is, as one hash; not its clock of this moment. */
static char *cpu_identity(struct err *e)
{
	static const char *const keys[] = { "vendor_id", "cpu family", "model", "stepping", "microcode", "flags" };
	autostr info, identity;
	char *line, *rest;

	str_init(&info, CPUINFO_BYTES_MAX);
	str_init(&identity, 64 * KIB);
	if (io_read_file(AT_FDCWD, "/proc/cpuinfo", &info, e))
		return NULL;
	for (line = strtok_r(info.s, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (str_starts(line, "processor") && identity.len)
			break; /* the second one */
		for (size_t i = 0; i < array_len(keys); i++)
			if (str_starts(line, keys[i]))
				str_printf(&identity, "%s\n", line);
	}
	return xasprintf("%016llx", (unsigned long long)host_hash(identity.s ? identity.s : ""));
}

static void add_module_identity(struct str *out, const char *module)
{
	static const char *const files[] = { "srcversion", "version", "parameters/nested" };
	autofree char *dir = xasprintf("/sys/module/%s", module);

	if (access(dir, F_OK))
		return;
	str_printf(out, " %s", module);
	for (size_t i = 0; i < array_len(files); i++) {
		autofree char *path = xasprintf("%s/%s", dir, files[i]);
		autostr text;

		str_init(&text, 256);
		if (!io_read_file(AT_FDCWD, path, &text, NULL))
			str_printf(out, "/%.*s", (int)strcspn(text.s ? text.s : "", "\n"), text.s ? text.s : "");
	}
}

char *host_kvm_identity(void)
{
	static const char *const modules[] = { "kvm", "kvm_intel", "kvm_amd", "kvm_pvm" };
	autoclose int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct utsname host;
	autostr text;

	str_init(&text, 1024);
	if (kvm < 0 || uname(&host))
		return xstrdup("");
	str_puts(&text, host.release);
	for (size_t i = 0; i < array_len(modules); i++)
		add_module_identity(&text, modules[i]);
	return str_take(&text);
}

static int find_programs(const struct template_options *o, struct vm_host *h, struct err *e)
{
	const struct {
		const char *name;
		char **path;
	} ours[] = {
		{ "silo-agent", &h->agent_path }, { "silo-init", &h->init_path }, { "silo-vmwp.so", &h->shim_path }
	};

	h->qemu_path = host_find_qemu();
	if (!h->qemu_path)
		return err_set(e, ERR_UNAVAILABLE, 0,
			       "qemu-system-x86_64 is not installed (install the package qemu-system-x86)");
	for (size_t i = 0; i < array_len(ours); i++) {
		*ours[i].path = xasprintf("%s/%s", o->lib_dir, ours[i].name);
		if (access(*ours[i].path, R_OK))
			return err_set(e, ERR_UNAVAILABLE, 0, "%s is missing (install Silo completely)", *ours[i].path);
	}
	return 0;
}

int host_find(const struct template_options *o, struct vm_host *h, struct err *e)
{
	*h = (struct vm_host){ 0 };
#ifndef __x86_64__
	return err_set(e, ERR_UNAVAILABLE, 0, "virtual machines are implemented for x86-64 only");
#endif
	if (!find_programs(o, h, e) && !kernel_find(o->kernel_dir, o->vm_dir, &h->kernel, e) &&
	    (h->cpu_model = cpu_identity(e))) {
		h->kvm = host_kvm_identity();
		return 0;
	}
	host_fini(h);
	return -1;
}

void host_fini(struct vm_host *h)
{
	char **strings[] = { &h->qemu_path, &h->agent_path, &h->init_path, &h->shim_path, &h->cpu_model, &h->kvm };

	kernel_fini(&h->kernel);
	for (size_t i = 0; i < array_len(strings); i++) {
		free(*strings[i]);
		*strings[i] = NULL;
	}
}

json_t *host_facts(const struct vm_host *h)
{
	return json_pack("{s:i, s:s, s:s}", "layout", TEMPLATE_LAYOUT, "cpu", h->cpu_model, "kvm", h->kvm);
}

json_t *host_stat_source(const char *path, struct err *e)
{
	struct stat st;

	if (stat(path, &st)) {
		err_set(e, ERR_SYSTEM, errno, "stat %s", path);
		return NULL;
	}
	return json_pack("{s:s, s:I, s:I}", "path", path, "size", (json_int_t)st.st_size, "mtime_ns",
			 (json_int_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
}

json_t *host_sources(const struct vm_host *h, struct err *e)
{
	autofree char *dep = xasprintf("%s/modules.dep", h->kernel.modules_dir);
	/* Silo's own go by their names: silod sees them through a mount of its own, at another path. */
	const struct {
		const char *path, *name;
	} files[] = {
		{ h->qemu_path, NULL },
		{ h->agent_path, "silo-agent" },
		{ h->init_path, "silo-init" },
		{ h->shim_path, "silo-vmwp.so" },
		{ h->kernel.image_path, NULL },
		{ dep, NULL },
	};
	json_t *sources = json_array();

	for (size_t i = 0; i < array_len(files); i++) {
		json_t *source = host_stat_source(files[i].path, e);

		if (!source) {
			json_decref(sources);
			return NULL;
		}
		if (files[i].name)
			json_object_set_new(source, "path", json_string(files[i].name));
		json_array_append_new(sources, source);
	}
	return sources;
}

bool host_sources_unchanged(const json_t *sources)
{
	const json_t *source;
	size_t i;

	json_array_foreach(sources, i, source) {
		autojson *now = host_stat_source(json_str(source, "path", ""), NULL);

		if (!now || !json_equal(now, source))
			return false;
	}
	return json_array_size(sources);
}

static double raw_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

unsigned host_tsc_khz(void)
{
	double start = raw_ns(), end;
	uint64_t from = __rdtsc(), to;

	do {
		end = raw_ns();
		to = __rdtsc();
	} while (end - start < 10e6);
	return (unsigned)((double)(to - from) / (end - start) * 1e3 + 0.5) * 1000u;
}
