/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime/seccomp_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"

#define FILTER_BYTES_MAX (BPF_MAXINSNS * sizeof(struct sock_filter))
#define TEXT_BYTES_MAX (1 * MIB)
#define CONDITIONS_MAX 6

static void own_filter(scmp_filter_ctx *ctx)
{
	if (*ctx)
		seccomp_release(*ctx);
}
#define autofilter __attribute__((cleanup(own_filter))) scmp_filter_ctx

static const struct {
	const char *name;
	uint32_t action;
	bool has_errno;
} actions[] = {
	{ "SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD, false },
	{ "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD, false },
	{ "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS, false },
	{ "SCMP_ACT_TRAP", SCMP_ACT_TRAP, false },
	{ "SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0), true },
	{ "SCMP_ACT_TRACE", SCMP_ACT_TRACE(0), true },
	{ "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW, false },
	{ "SCMP_ACT_LOG", SCMP_ACT_LOG, false },
	{ "SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY, false },
};

static const struct {
	const char *name;
	enum scmp_compare op;
} operators[] = {
	{ "SCMP_CMP_NE", SCMP_CMP_NE }, { "SCMP_CMP_LT", SCMP_CMP_LT }, { "SCMP_CMP_LE", SCMP_CMP_LE },
	{ "SCMP_CMP_EQ", SCMP_CMP_EQ }, { "SCMP_CMP_GE", SCMP_CMP_GE }, { "SCMP_CMP_GT", SCMP_CMP_GT },
	{ "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
};

static const struct {
	const char *name;
	unsigned flag;
} filter_flags[] = {
	{ "SECCOMP_FILTER_FLAG_TSYNC", 0 }, /* the process has one thread */
	{ "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG },
	{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
	{ "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 1u << 5 },
};

struct build {
	scmp_filter_ctx ctx;
	uint32_t default_action;
	int largest; /* number of a system call in the profile, on this architecture */
};

static int parse_action(const json_t *j, const char *key, const char *errno_key, uint32_t *out, struct err *e)
{
	const char *name;
	int64_t number;

	if (json_get_str(j, key, "", &name, e) || json_get_int(j, errno_key, EPERM, &number, e))
		return -1;
	for (size_t i = 0; i < array_len(actions); i++) {
		if (strcmp(actions[i].name, name) != 0)
			continue;
		*out = actions[i].action | (actions[i].has_errno ? (uint32_t)number & 0xffff : 0);
		return 0;
	}
	return err_set(e, ERR_INVALID, 0, "%s: unknown action \"%s\"", key, name);
}

static int add_architectures(struct build *b, const json_t *seccomp, struct err *e)
{
	json_t *list, *item;
	size_t i;

	if (json_get_strings(seccomp, "architectures", &list, e))
		return -1;
	json_array_foreach(list, i, item) {
		const char *name = json_string_value(item);
		char lower[32];
		uint32_t arch;
		int rc;

		snprintf(lower, sizeof(lower), "%s", str_starts(name, "SCMP_ARCH_") ? name + 10 : name);
		for (char *p = lower; *p; p++)
			*p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
		arch = seccomp_arch_resolve_name(lower);
		rc = arch ? seccomp_arch_add(b->ctx, arch) : -EINVAL;
		if (rc && rc != -EEXIST)
			return err_set(e, ERR_INVALID, 0, "architectures[%zu]: unknown architecture \"%s\"", i, name);
	}
	return 0;
}

static int parse_number(const json_t *j, const char *key, uint64_t *out, struct err *e)
{
	json_t *v = json_member(j, key);

	*out = 0;
	if (!v || json_is_integer(v)) {
		*out = (uint64_t)json_integer_value(v);
		return 0;
	}
	if (json_is_real(v) && json_real_value(v) >= 9.2e18 && json_real_value(v) <= 18446744073709551615.0) {
		*out = json_real_value(v) >= 18446744073709551615.0 ? UINT64_MAX : (uint64_t)json_real_value(v);
		return 0;
	}
	return err_set(e, ERR_INVALID, 0, "%s: a number is expected", key);
}

static int parse_condition(const json_t *j, struct scmp_arg_cmp *out, struct err *e)
{
	uint64_t value, second;
	const char *op;
	int64_t index;

	if (json_get_int(j, "index", -1, &index, e) || json_get_str(j, "op", "", &op, e) ||
	    parse_number(j, "value", &value, e) || parse_number(j, "valueTwo", &second, e))
		return -1;
	if (index < 0 || index > 5)
		return err_set(e, ERR_INVALID, 0, "index: not in 0..5");
	for (size_t i = 0; i < array_len(operators); i++) {
		if (!strcmp(operators[i].name, op)) {
			*out = (struct scmp_arg_cmp){ (unsigned)index, operators[i].op, value, second };
			return 0;
		}
	}
	return err_set(e, ERR_INVALID, 0, "op: unknown operator \"%s\"", op);
}

/* Conditions are to hold all; several of the same argument, any of them (as runc reads it). */
static int add_rules(struct build *b, uint32_t action, int nr, const struct scmp_arg_cmp *conditions, size_t n)
{
	unsigned seen = 0;
	bool twice = false;
	int rc = 0;

	for (size_t i = 0; i < n; i++) {
		twice |= seen & 1u << conditions[i].arg;
		seen |= 1u << conditions[i].arg;
	}
	if (!twice)
		return seccomp_rule_add_array(b->ctx, action, nr, (unsigned)n, conditions);
	for (size_t i = 0; i < n && (!rc || rc == -EEXIST); i++)
		rc = seccomp_rule_add_array(b->ctx, action, nr, 1, &conditions[i]);
	return rc;
}

static int add_names(struct build *b, const json_t *names, uint32_t action, const struct scmp_arg_cmp *conditions,
		     size_t n, struct err *e)
{
	json_t *item;
	size_t i;

	json_array_foreach(names, i, item) {
		const char *name = json_string_value(item);
		int nr = seccomp_syscall_resolve_name(name), rc;

		/* Newer than libseccomp, or of a foreign architecture: it gets what unknown calls get. */
		if (nr == __NR_SCMP_ERROR)
			continue;
		if (nr > b->largest)
			b->largest = nr;
		/* the parked init and the FIFO need it, as the hand-over of the listener does */
		if (action == SCMP_ACT_NOTIFY && (!strcmp(name, "write") || !strcmp(name, "read")))
			return err_set(e, ERR_INVALID, 0, "%s: SCMP_ACT_NOTIFY is not possible for it", name);
		rc = add_rules(b, action, nr, conditions, n);
		if (rc < 0 && rc != -EEXIST)
			return err_set(e, ERR_INVALID, -rc, "%s", name);
	}
	return 0;
}

static int add_syscall(struct build *b, const json_t *j, struct err *e)
{
	struct scmp_arg_cmp conditions[CONDITIONS_MAX] = { 0 };
	json_t *names, *args, *item;
	uint32_t action;
	size_t i;

	if (json_get_strings(j, "names", &names, e) || json_get_array(j, "args", &args, e) ||
	    parse_action(j, "action", "errnoRet", &action, e))
		return -1;
	if (json_array_size(args) > CONDITIONS_MAX)
		return err_set(e, ERR_INVALID, 0, "args: more than %d", CONDITIONS_MAX);
	json_array_foreach(args, i, item) {
		if (parse_condition(item, &conditions[i], e))
			return err_prefix(e, "args[%zu]", i);
	}
	/* a rule that says what holds anyway is an error to libseccomp */
	return action == b->default_action ? 0 : add_names(b, names, action, conditions, json_array_size(args), e);
}

static int export_filter(const struct build *b, struct str *out, struct err *e)
{
	autoclose int fd = memfd_create("seccomp", MFD_CLOEXEC);
	autofree char *code = NULL;
	struct stat st;
	int rc = fd < 0 ? -errno : seccomp_export_bpf(b->ctx, fd);

	if (rc < 0 || fstat(fd, &st) || st.st_size <= 0 || (size_t)st.st_size > FILTER_BYTES_MAX - out->len)
		return err_set(e, ERR_SYSTEM, rc < 0 ? -rc : 0, "the compiled filter can't be used");
	code = xmalloc((size_t)st.st_size);
	if (lseek(fd, 0, SEEK_SET) < 0 || io_read_full(fd, code, (size_t)st.st_size) < 0)
		return err_set(e, ERR_SYSTEM, errno, "read the compiled filter");
	return str_add(out, code, (size_t)st.st_size) ? err_set(e, ERR_LIMIT, 0, "the filter is too long") : 0;
}

/* Where the profile refuses what it doesn't name, calls newer than all it names are unknown instead: programs then use
 * the older ones. */
static void emit_unknown(const struct build *b, struct str *out)
{
	const struct sock_filter head[] = {
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch) },
		{ BPF_JMP | BPF_JEQ | BPF_K, 0, 4, AUDIT_ARCH_X86_64 },
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr) },
		{ BPF_JMP | BPF_JGE | BPF_K, 2, 0, 0x40000000u },
		{ BPF_JMP | BPF_JGT | BPF_K, 0, 1, (uint32_t)b->largest },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS },
	};

	if (b->largest > 0 && (b->default_action & 0xffff0000u) == (SCMP_ACT_ERRNO(0) & 0xffff0000u))
		str_add(out, head, sizeof(head));
}

static int compile(const json_t *seccomp, struct str *out, struct err *e)
{
	struct build b = { 0 };
	json_t *list, *j;
	size_t i;

	if (parse_action(seccomp, "defaultAction", "defaultErrnoRet", &b.default_action, e) ||
	    json_get_array(seccomp, "syscalls", &list, e))
		return -1;
	if (b.default_action == SCMP_ACT_NOTIFY)
		return err_set(e, ERR_INVALID, 0, "defaultAction: SCMP_ACT_NOTIFY is not possible");

	autofilter ctx = seccomp_init(b.default_action);

	b.ctx = ctx;
	if (!ctx || seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2) < 0)
		return err_set(e, ERR_SYSTEM, 0, "libseccomp can't start a filter");
	if (add_architectures(&b, seccomp, e))
		return -1;
	json_array_foreach(list, i, j) {
		if (add_syscall(&b, j, e))
			return err_prefix(e, "syscalls[%zu]", i);
	}
	emit_unknown(&b, out);
	return export_filter(&b, out, e);
}

static int parse_flags(const json_t *seccomp, unsigned *flags, struct err *e)
{
	json_t *list, *item;
	size_t i, k;

	if (json_get_strings(seccomp, "flags", &list, e))
		return -1;
	json_array_foreach(list, i, item) {
		for (k = 0; k < array_len(filter_flags); k++)
			if (!strcmp(filter_flags[k].name, json_string_value(item)))
				break;
		if (k == array_len(filter_flags))
			return err_set(e, ERR_INVALID, 0, "flags[%zu]: unknown flag \"%s\"", i,
				       json_string_value(item));
		*flags |= filter_flags[k].flag;
	}
	return 0;
}

/* FNV-1a: it only names the file, which has the text itself to be compared with. */
static uint64_t hash(const char *text)
{
	uint64_t h = 14695981039346656037ull;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 1099511628211ull;
	return h;
}

static bool is_cached(const char *filter, const char *key, const char *text)
{
	struct stat st;
	autostr old;

	str_init(&old, TEXT_BYTES_MAX);
	return !io_read_file(AT_FDCWD, key, &old, NULL) && old.len == strlen(text) && !memcmp(old.s, text, old.len) &&
	       !lstat(filter, &st) && S_ISREG(st.st_mode) && st.st_uid == geteuid();
}

bool seccomp_filter_asks(const json_t *seccomp)
{
	const json_t *j;
	size_t i;

	json_array_foreach(json_member(seccomp, "syscalls"), i, j)
		if (!strcmp(json_str(j, "action", ""), "SCMP_ACT_NOTIFY"))
			return true;
	return false;
}

int seccomp_filter_file(const char *dir, const json_t *seccomp, char **path, unsigned *flags, struct err *e)
{
	autofree char *text = json_text(seccomp);
	autofree char *filter = xasprintf("%s/%016llx.bpf", dir, (unsigned long long)hash(text));
	autofree char *key = xasprintf("%s/%016llx.json", dir, (unsigned long long)hash(text));
	autostr code;

	if (parse_flags(seccomp, flags, e))
		return -1;
	if (!is_cached(filter, key, text)) {
		str_init(&code, FILTER_BYTES_MAX);
		if (compile(seccomp, &code, e) || io_mkdir_all(dir, 0700, e) ||
		    io_write_file(AT_FDCWD, filter, code.s, code.len, 0600, false, e) ||
		    io_write_file(AT_FDCWD, key, text, strlen(text), 0600, false, e))
			return -1;
	}
	*path = take_ptr(&filter);
	return 0;
}
