/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/net.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "engine/seccomp_profile.h"
#include "engine/seccomp_rules.h"
#include "runtime/seccomp_filter.h"

#define FILTER_BYTES_MAX (BPF_MAXINSNS * sizeof(struct sock_filter))
#define I386_SOCKETCALL 102
#define X32_BIT 0x40000000u

static void own_filter(scmp_filter_ctx *ctx)
{
	if (*ctx)
		seccomp_release(*ctx);
}
#define autofilter __attribute__((cleanup(own_filter))) scmp_filter_ctx

static bool has_cap(const json_t *caps, const char *name)
{
	size_t i;
	json_t *cap;

	json_array_foreach(caps, i, cap)
		if (json_is_string(cap) && strcmp(json_string_value(cap), name) == 0)
			return true;
	return false;
}

/* One bit per entry of cap_groups: two sets of capabilities with the same bits have the same filter. */
static unsigned groups_mask(const json_t *caps)
{
	unsigned mask = 0;

	for (size_t i = 0; i < array_len(cap_groups); i++)
		if (has_cap(caps, cap_groups[i].cap))
			mask |= 1u << i;
	return mask;
}

/* A rule for a name, on every architecture that has it. libseccomp's number for a foreign name is negative, and
 * adding such a rule where an architecture lacks it does nothing. */
static int add_rule(scmp_filter_ctx ctx, uint32_t action, const char *name, const struct scmp_arg_cmp *cmp,
		    struct err *e)
{
	int nr = seccomp_syscall_resolve_name(name);
	int rc;

	if (nr == __NR_SCMP_ERROR)
		return err_set(e, ERR_SYSTEM, 0, "seccomp: libseccomp doesn't know the system call %s", name);
	rc = seccomp_rule_add_array(ctx, action, nr, cmp ? 1 : 0, cmp);
	/* -EEXIST: two capabilities allow the same call. */
	if (rc < 0 && rc != -EEXIST)
		return err_set(e, ERR_SYSTEM, -rc, "seccomp: rule for %s", name);
	return 0;
}

static int allow_names(scmp_filter_ctx ctx, const char *names, struct err *e)
{
	autofree char *copy = xstrdup(names);
	char *save = NULL;

	for (char *name = strtok_r(copy, " ", &save); name; name = strtok_r(NULL, " ", &save))
		if (add_rule(ctx, SCMP_ACT_ALLOW, name, NULL, e) < 0)
			return -1;
	return 0;
}

static int add_conditional(scmp_filter_ctx ctx, const json_t *caps, struct err *e)
{
	for (size_t i = 0; i < array_len(arg_rules); i++) {
		const struct arg_rule *r = &arg_rules[i];
		struct scmp_arg_cmp cmp = { r->arg, SCMP_CMP_MASKED_EQ, r->mask, r->value };

		if (r->unless_cap && has_cap(caps, r->unless_cap))
			continue;
		if (add_rule(ctx, SCMP_ACT_ALLOW, r->name, &cmp, e) < 0)
			return -1;
	}
	for (size_t i = 0; i < array_len(errno_rules); i++) {
		const struct errno_rule *r = &errno_rules[i];

		if (r->unless_cap && has_cap(caps, r->unless_cap))
			continue;
		if (add_rule(ctx, SCMP_ACT_ERRNO((uint32_t)r->error), r->name, NULL, e) < 0)
			return -1;
	}
	return 0;
}

static int fill_filter(scmp_filter_ctx ctx, const json_t *caps, struct err *e)
{
	for (size_t i = 0; i < array_len(architectures); i++) {
		int rc = seccomp_arch_add(ctx, architectures[i]);

		if (rc < 0 && rc != -EEXIST)
			return err_set(e, ERR_SYSTEM, -rc, "seccomp: architecture %#x", architectures[i]);
	}
	if (allow_names(ctx, allowed_names, e) < 0)
		return -1;
	for (size_t i = 0; i < array_len(cap_groups); i++)
		if (has_cap(caps, cap_groups[i].cap) && allow_names(ctx, cap_groups[i].names, e) < 0)
			return -1;
	return add_conditional(ctx, caps, e);
}

static int emit(struct str *out, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	struct sock_filter f = { code, jt, jf, k };

	return str_add(out, &f, sizeof(f));
}

/*
 * libseccomp allows socketcall(SYS_SOCKET) as a whole where socket() is allowed for some families, since the family
 * lies in memory there. Who could call it would have every family, so nobody can.
 */
static int emit_socketcall(struct str *out)
{
	int full = 0;

	full |= emit(out, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
	full |= emit(out, BPF_JMP | BPF_JEQ | BPF_K, 0, 5, AUDIT_ARCH_I386);
	full |= emit(out, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
	full |= emit(out, BPF_JMP | BPF_JEQ | BPF_K, 0, 3, I386_SOCKETCALL);
	full |= emit(out, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, args[0]));
	full |= emit(out, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_SOCKET);
	full |= emit(out, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EPERM);
	return full;
}

/*
 * The calls that libseccomp can't name are decided in front of its filter, which loads everything it looks at itself
 * and so can follow at any place.
 */
static int emit_new_calls(struct str *out, const json_t *caps)
{
	int full = 0;

	full |= emit(out, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
	full |= emit(out, BPF_JMP | BPF_JEQ | BPF_K, 2, 0, AUDIT_ARCH_X86_64);
	full |= emit(out, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_I386);
	/* Another architecture: beyond the table, where libseccomp's filter kills. Filled in below. */
	size_t skip_foreign = out->len;
	full |= emit(out, BPF_JMP | BPF_JA, 0, 0, 0);
	full |= emit(out, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
	full |= emit(out, BPF_ALU | BPF_AND | BPF_K, 0, 0, ~X32_BIT);
	full |= emit(out, BPF_JMP | BPF_JGE | BPF_K, 1, 0, NEW_CALL_FIRST);
	size_t skip_known = out->len;
	full |= emit(out, BPF_JMP | BPF_JA, 0, 0, 0);
	full |= emit(out, BPF_JMP | BPF_JGT | BPF_K, 0, 1, NEW_CALL_LAST);
	full |= emit(out, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS);
	for (size_t i = 0; i < array_len(new_calls); i++) {
		if (new_calls[i].cap && !has_cap(caps, new_calls[i].cap))
			continue;
		full |= emit(out, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, new_calls[i].nr);
		full |= emit(out, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
	}
	full |= emit(out, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EPERM);
	if (full)
		return -1;

	const size_t skips[] = { skip_foreign, skip_known };
	for (size_t i = 0; i < array_len(skips); i++) {
		struct sock_filter f;

		memcpy(&f, out->s + skips[i], sizeof(f));
		f.k = (uint32_t)((out->len - skips[i]) / sizeof(f) - 1);
		memcpy(out->s + skips[i], &f, sizeof(f));
	}
	return 0;
}

/* libseccomp writes its program to a descriptor only (seccomp_export_bpf_mem came with 2.6). */
static int export_filter(scmp_filter_ctx ctx, struct str *out, struct err *e)
{
	autoclose int fd = memfd_create("seccomp", MFD_CLOEXEC);
	struct stat st;
	int rc;

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, errno, "seccomp: memfd_create");
	rc = seccomp_export_bpf(ctx, fd);
	if (rc < 0)
		return err_set(e, ERR_SYSTEM, -rc, "seccomp: compile");
	if (fstat(fd, &st) < 0 || st.st_size <= 0 || (size_t)st.st_size > FILTER_BYTES_MAX)
		return err_set(e, ERR_SYSTEM, 0, "seccomp: unusable size of the compiled filter");

	autofree char *code = xmalloc((size_t)st.st_size);
	if (lseek(fd, 0, SEEK_SET) < 0 || io_read_full(fd, code, (size_t)st.st_size) < 0)
		return err_set(e, ERR_SYSTEM, errno, "seccomp: read the compiled filter");
	if (str_add(out, code, (size_t)st.st_size) < 0)
		return err_set(e, ERR_LIMIT, 0, "seccomp: the filter is too long");
	return 0;
}

int seccomp_compile(const json_t *caps, struct str *out, struct err *e)
{
	autofilter ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));

	if (!ctx)
		return err_set(e, ERR_SYSTEM, 0, "seccomp: libseccomp can't start a filter");
	/* A binary tree instead of a list: a third of the time to load and to run. */
	if (seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2) < 0)
		return err_set(e, ERR_SYSTEM, 0, "seccomp: libseccomp 2.5 or newer is needed");
	if (fill_filter(ctx, caps, e) < 0)
		return -1;
	if (emit_socketcall(out) < 0 || emit_new_calls(out, caps) < 0)
		return err_set(e, ERR_LIMIT, 0, "seccomp: the filter is too long");
	return export_filter(ctx, out, e);
}

/* A file of ours that isn't empty and holds whole instructions. It is only ever written by an atomic rename. */
static bool is_cached(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
	       st.st_size % (off_t)sizeof(struct sock_filter) == 0;
}

static int own_profile(const char *cache_dir, const json_t *caps, const char *text, char **path, unsigned *flags,
		       struct err *e)
{
	autofree char *dir = xasprintf("%s/seccomp", cache_dir);
	autojson *seccomp = seccomp_profile_parse(text, caps, e);

	if (!seccomp)
		return -1;
	if (seccomp_filter_asks(seccomp))
		return err_set(e, ERR_UNSUPPORTED, 0, "seccomp profile: SCMP_ACT_NOTIFY: not supported by Silo");
	return seccomp_filter_file(dir, seccomp, path, flags, e) < 0 ? err_prefix(e, "seccomp profile") : 0;
}

int seccomp_profile_file(const char *cache_dir, const json_t *caps, const char *profile, char **path, unsigned *flags,
			 struct err *e)
{
	*path = NULL;
	if (profile && strcmp(profile, "unconfined") == 0)
		return 0;
	if (profile && *profile == '{')
		return own_profile(cache_dir, caps, profile, path, flags, e);
	if (profile && *profile && strcmp(profile, "builtin") != 0)
		return err_set(e, ERR_UNSUPPORTED, 0, "seccomp: \"%.64s\" is no profile", profile);

	autofree char *name = xasprintf("%s/seccomp-%s-x86_64-%04x.bpf", cache_dir, PROFILE_VERSION, groups_mask(caps));
	if (!is_cached(name)) {
		autostr code;

		str_init(&code, FILTER_BYTES_MAX);
		if (seccomp_compile(caps, &code, e) < 0 ||
		    io_write_file(AT_FDCWD, name, code.s, code.len, 0600, false, e) < 0)
			return -1;
	}
	*path = take_ptr(&name);
	return 0;
}
