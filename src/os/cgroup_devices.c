/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which device nodes a container may use: devices.allow on v1, a BPF program on v2. Later rules win. */
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/own.h"
#include "os/cgroup_priv.h"

/* What every container may do, before its own rules: make any node, use the harmless ones. */
static const struct cgroup_device default_rules[] = {
	{ false, 'a', -1,  -1, true,  true,  true }, { true, 'c', -1, -1, false, false, true },
	{ true,  'b', -1,  -1, false, false, true }, { true, 'c', 1,  3,  true,  true,  true }, /* null */
	{ true,  'c', 1,   5,  true,  true,  true }, { true, 'c', 1,  7,  true,  true,  true }, /* zero full */
	{ true,  'c', 1,   8,  true,  true,  true }, { true, 'c', 1,  9,  true,  true,  true }, /* random urandom */
	{ true,  'c', 5,   0,  true,  true,  true }, { true, 'c', 5,  1,  true,  true,  true }, /* tty console */
	{ true,  'c', 5,   2,  true,  true,  true }, { true, 'c', 136, -1, true, true,  true }, /* ptmx pts */
};

#define RULES_MAX (CGROUP_DEVICES_MAX + array_len(default_rules))

static size_t merge_rules(const struct cgroup_limits *l, struct cgroup_device out[static RULES_MAX])
{
	memcpy(out, default_rules, sizeof(default_rules));
	memcpy(out + array_len(default_rules), l->devices, l->n_devices * sizeof(out[0]));
	return array_len(default_rules) + l->n_devices;
}

void cgroup_device_line(const struct cgroup_device *d, char out[static 64])
{
	char major[24] = "*", minor[24] = "*";

	if (d->type == 'a') {
		strcpy(out, "a");
		return;
	}
	if (d->major >= 0)
		snprintf(major, sizeof(major), "%lld", (long long)d->major);
	if (d->minor >= 0)
		snprintf(minor, sizeof(minor), "%lld", (long long)d->minor);
	snprintf(out, 64, "%c %s:%s %s%s%s", d->type, major, minor, d->read ? "r" : "", d->write ? "w" : "",
		 d->mknod ? "m" : "");
}

/* A deny-all in the container's list is one of ours already: start with the rules from the last one that concerns all
 * devices and all accesses. */
static size_t first_rule(const struct cgroup_device *rules, size_t n)
{
	size_t first = 0;

	for (size_t i = array_len(default_rules); i < n; i++) {
		if (rules[i].type == 'a' && rules[i].allow && rules[i].read && rules[i].write && rules[i].mknod)
			first = i;
	}
	return first;
}

/* "deny everything" is Docker's first rule; the defaults would be lost behind it. They are allowed in any case. */
static bool is_deny_all(const struct cgroup_device *d)
{
	return !d->allow && d->type == 'a';
}

static int v1_apply(int dir, const struct cgroup_device *rules, size_t n, struct err *e)
{
	for (size_t i = first_rule(rules, n); i < n; i++) {
		char line[64];

		if (i && is_deny_all(&rules[i]))
			continue;
		cgroup_device_line(&rules[i], line);
		if (cgroup_write(dir, rules[i].allow ? "devices.allow" : "devices.deny", line))
			return err_set(e, ERR_SYSTEM, errno, "device rule \"%s\"", line);
	}
	return 0;
}

#define INSN(c, d, s, o, i) ((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })
#define INSNS_PER_RULE 12
#define INSNS_MAX (8 + RULES_MAX * INSNS_PER_RULE)

/* Registers: r2 type (low half of access_type), r3 access (high half), r4 major, r5 minor. */
static size_t bpf_prologue(struct bpf_insn *p)
{
	size_t n = 0;

	p[n++] = INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0);
	p[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 3, 2, 0, 0);
	p[n++] = INSN(BPF_ALU64 | BPF_AND | BPF_K, 2, 0, 0, 0xffff);
	p[n++] = INSN(BPF_ALU64 | BPF_RSH | BPF_K, 3, 0, 0, 16);
	p[n++] = INSN(BPF_LDX | BPF_MEM | BPF_W, 4, 1, 4, 0);
	p[n++] = INSN(BPF_LDX | BPF_MEM | BPF_W, 5, 1, 8, 0);
	return n;
}

/* If the rule speaks about this request, return its verdict; else fall through to the next rule. For an allow rule all
 * wanted accesses must be in it, for a deny rule one is enough. */
static size_t bpf_rule(struct bpf_insn *start, const struct cgroup_device *d)
{
	struct bpf_insn *p = start;
	int bits = (d->mknod ? BPF_DEVCG_ACC_MKNOD : 0) | (d->read ? BPF_DEVCG_ACC_READ : 0) |
		   (d->write ? BPF_DEVCG_ACC_WRITE : 0);

	if (d->type != 'a')
		*p++ = INSN(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 0,
			    d->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
	*p++ = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 3, 0, 0);
	*p++ = INSN(BPF_ALU64 | BPF_AND | BPF_K, 1, 0, 0, d->allow ? ~bits & 7 : bits);
	*p++ = INSN(BPF_JMP | (d->allow ? BPF_JNE : BPF_JEQ) | BPF_K, 1, 0, 0, 0);
	if (d->type != 'a' && d->major >= 0)
		*p++ = INSN(BPF_JMP | BPF_JNE | BPF_K, 4, 0, 0, (int)d->major);
	if (d->type != 'a' && d->minor >= 0)
		*p++ = INSN(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 0, (int)d->minor);
	*p++ = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, d->allow);
	*p++ = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (struct bpf_insn *q = start; q < p; q++) {
		if (BPF_CLASS(q->code) == BPF_JMP && BPF_OP(q->code) != BPF_EXIT)
			q->off = (short)(p - q - 1);
	}
	return (size_t)(p - start);
}

/* The newest rule decides, so it is asked first; nothing said is a denial. */
static size_t bpf_program(struct bpf_insn *p, const struct cgroup_device *rules, size_t n)
{
	size_t first = first_rule(rules, n);
	size_t len = bpf_prologue(p);

	for (size_t i = n; i-- > first;) {
		if (!is_deny_all(&rules[i]))
			len += bpf_rule(p + len, &rules[i]);
	}
	p[len++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	p[len++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return len;
}

static bool allows_all(const struct cgroup_device *rules, size_t n)
{
	bool all = false;

	for (size_t i = 0; i < n; i++) {
		const struct cgroup_device *r = &rules[i];

		if (r->type == 'a' && r->major < 0 && r->minor < 0 && r->read && r->write && r->mknod)
			all = r->allow;
		else
			all &= r->allow;
	}
	return all;
}

int cgroup_devices_attach(int dir, const struct cgroup_device *rules, size_t n, struct err *e)
{
	autofree struct bpf_insn *insns = xcalloc(INSNS_MAX, sizeof(*insns));
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
		.insn_cnt = (uint32_t)bpf_program(insns, rules, n),
		.insns = (uintptr_t)insns,
		.license = (uintptr_t) "LGPL",
	};
	autoclose int prog = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));
	union bpf_attr attach = { 0 };

	if (prog < 0)
		return err_set(e, ERR_SYSTEM, errno, "load device filter");
	attach.target_fd = (uint32_t)dir;
	attach.attach_bpf_fd = (uint32_t)prog;
	attach.attach_type = BPF_CGROUP_DEVICE;
	/* A filter that lets everything pass doesn't keep the container from filters for what it runs itself. */
	attach.attach_flags = allows_all(rules, n) ? BPF_F_ALLOW_OVERRIDE : 0;
	if (syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof(attach)))
		return err_set(e, ERR_SYSTEM, errno, "attach device filter");
	return 0;
}

int cgroup_apply_devices(struct cgroup *cg, const struct cgroup_limits *l, struct err *e)
{
	autofree struct cgroup_device *rules = xcalloc(RULES_MAX, sizeof(*rules));
	size_t n = merge_rules(l, rules);
	int dir = cgroup_dir(cg, "devices");

	if (cg->version == 2)
		return cgroup_devices_attach(cg->h[0].dir, rules, n, e);
	return dir < 0 ? 0 : v1_apply(dir, rules, n, e);
}
