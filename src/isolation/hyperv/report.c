/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* template_report(): what this host has for virtual machines and what it lacks. Looks, starts nothing but QEMU's -version. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/own.h"
#include "isolation/hyperv/capture.h"
#include "isolation/hyperv/facts.h"
#include "isolation/hyperv/host.h"
#include "isolation/hyperv/template.h"

struct report {
	const struct template_options *o;
	json_t *out, *problems, *warnings;
	char *qemu_path;
	struct kernel kernel;
	char *template_dir;
};

static void problem(struct report *r, const char *what, const char *fix)
{
	json_array_append_new(r->problems, json_pack("{s:s, s:s}", "what", what, "fix", fix));
}

/* "QEMU emulator version 7.2.22 (Debian ...)" -> "7.2.22"; heap string, or NULL. */
static char *qemu_version(const char *path)
{
	const char *const argv[] = { path, "--version", NULL }, *const envp[] = { "LC_ALL=C", NULL };
	static const char word[] = " version ";
	autostr text;
	char *at;

	str_init(&text, 4 * KIB);
	if (capture_output(argv, envp, &text, NULL) || !text.s || !(at = strstr(text.s, word)))
		return NULL;
	at += sizeof word - 1;
	return xstrndup(at, strspn(at, "0123456789."));
}

static void look_for_qemu(struct report *r)
{
	autofree char *version = NULL;

	r->qemu_path = host_find_qemu();
	if (!r->qemu_path) {
		problem(r, "qemu-system-x86_64 is not installed", "install the package qemu-system-x86");
		return;
	}
	json_object_set_new(r->out, "qemu_path", json_string(r->qemu_path));
	version = qemu_version(r->qemu_path);
	if (version)
		json_object_set_new(r->out, "qemu", json_string(version));
}

static void look_for_kernel(struct report *r)
{
	struct err e = { 0 };

	if (kernel_find(r->o->kernel_dir, r->o->vm_dir, &r->kernel, &e)) {
		problem(r, "there is no guest kernel with its modules",
			"run script/fetch-guest-kernel: it unpacks the distribution's kernel package into "
			"/usr/local/lib/silo/kernel");
		return;
	}
	json_object_set_new(r->out, "kernel", json_string(r->kernel.release));
	json_object_set_new(r->out, "kernel_path", json_string(r->kernel.image_path));
}

static void look_for_programs(struct report *r)
{
	static const char *const ours[] = { "silo-agent", "silo-init", "silo-vmwp.so" };
	static const struct {
		const char *program, *fix;
	} theirs[] = {
		{ "mkfs.erofs", "install the package erofs-utils" },
		{ "mkfs.ext4", "install the package e2fsprogs" },
	};

	for (size_t i = 0; i < array_len(ours); i++) {
		autofree char *path = xasprintf("%s/%s", r->o->lib_dir ? r->o->lib_dir : "", ours[i]);
		autofree char *what = xasprintf("%s is missing", path);

		if (access(path, R_OK))
			problem(r, what, "install Silo completely");
	}
	for (size_t i = 0; i < array_len(theirs); i++) {
		autofree char *path = capture_find_program(theirs[i].program);
		autofree char *what = xasprintf("%s is not installed", theirs[i].program);

		if (!path)
			problem(r, what, theirs[i].fix);
	}
	if (access("/usr/bin/ps", X_OK) && access("/bin/ps", X_OK))
		json_array_append_new(r->warnings, json_string("ps is not installed: docker top won't work with hyperv "
							       "isolation (install the package procps)"));
}

static void warn_emulated(struct report *r, const char *why)
{
	autofree char *text =
		xasprintf("KVM can't be used (%s): virtual machines are emulated, isolated as well but slower", why);

	json_array_append_new(r->warnings, json_string(text));
}

/* Known from the template, which was made by trying; without one, only that there is no /dev/kvm. */
static void look_at_acceleration(struct report *r)
{
	struct vm_facts f;

	if (r->template_dir && !facts_load(r->template_dir, &f, &(struct err){ 0 })) {
		json_object_set_new(r->out, "accelerator", json_string(f.accelerator));
		json_object_set(r->out, "boot_ms", json_object_get(f.doc, "boot_ms"));
		if (strcmp(f.accelerator, "kvm"))
			warn_emulated(r, json_str(f.doc, "kvm_problem", "/dev/kvm can't be opened"));
		facts_fini(&f);
		return;
	}
	if (access("/dev/kvm", F_OK)) {
		json_object_set_new(r->out, "accelerator", json_string("tcg"));
		warn_emulated(r, "there is no /dev/kvm: switch virtualization on in the firmware, or nested "
				 "virtualization in the hypervisor, and load kvm_intel or kvm_amd");
	} else {
		autoclose int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

		if (kvm < 0) {
			json_object_set_new(r->out, "accelerator", json_string("tcg"));
			warn_emulated(r, strerror(errno));
		}
	}
}

json_t *template_report(const struct template_options *o)
{
	struct report r = { .o = o, .out = json_object(), .problems = json_array(), .warnings = json_array() };

	json_object_set_new(r.out, "accelerator", json_null());
	look_for_qemu(&r);
	look_for_kernel(&r);
	look_for_programs(&r);
	if (!json_array_size(r.problems))
		r.template_dir = template_find(o);
	look_at_acceleration(&r);
	json_object_set_new(r.out, "template", r.template_dir ? json_string(r.template_dir) : json_null());
	json_object_set_new(r.out, "available", json_boolean(!json_array_size(r.problems)));
	json_object_set_new(r.out, "problems", r.problems);
	json_object_set_new(r.out, "warnings", r.warnings);
	free(r.qemu_path);
	kernel_fini(&r.kernel);
	free(r.template_dir);
	return r.out;
}
