/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/caps.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAME(c) [c] = #c

static const char *const cap_names[] = {
	NAME(CAP_CHOWN),           NAME(CAP_DAC_OVERRIDE),     NAME(CAP_DAC_READ_SEARCH), NAME(CAP_FOWNER),
	NAME(CAP_FSETID),          NAME(CAP_KILL),             NAME(CAP_SETGID),          NAME(CAP_SETUID),
	NAME(CAP_SETPCAP),         NAME(CAP_LINUX_IMMUTABLE),  NAME(CAP_NET_BIND_SERVICE), NAME(CAP_NET_BROADCAST),
	NAME(CAP_NET_ADMIN),       NAME(CAP_NET_RAW),          NAME(CAP_IPC_LOCK),        NAME(CAP_IPC_OWNER),
	NAME(CAP_SYS_MODULE),      NAME(CAP_SYS_RAWIO),        NAME(CAP_SYS_CHROOT),      NAME(CAP_SYS_PTRACE),
	NAME(CAP_SYS_PACCT),       NAME(CAP_SYS_ADMIN),        NAME(CAP_SYS_BOOT),        NAME(CAP_SYS_NICE),
	NAME(CAP_SYS_RESOURCE),    NAME(CAP_SYS_TIME),         NAME(CAP_SYS_TTY_CONFIG),  NAME(CAP_MKNOD),
	NAME(CAP_LEASE),           NAME(CAP_AUDIT_WRITE),      NAME(CAP_AUDIT_CONTROL),   NAME(CAP_SETFCAP),
	NAME(CAP_MAC_OVERRIDE),    NAME(CAP_MAC_ADMIN),        NAME(CAP_SYSLOG),          NAME(CAP_WAKE_ALARM),
	NAME(CAP_BLOCK_SUSPEND),   NAME(CAP_AUDIT_READ),       NAME(CAP_PERFMON),         NAME(CAP_BPF),
	NAME(CAP_CHECKPOINT_RESTORE),
};

int caps_parse(const char *name)
{
	for (size_t i = 0; i < array_len(cap_names); i++) {
		if (!strcasecmp(cap_names[i], name))
			return (int)i;
	}
	return -1;
}

const char *caps_name(int number)
{
	return number >= 0 && (size_t)number < array_len(cap_names) ? cap_names[number] : NULL;
}

static struct __user_cap_header_struct cap_header(void)
{
	return (struct __user_cap_header_struct){ .version = _LINUX_CAPABILITY_VERSION_3 };
}

int caps_get(struct caps *out, struct err *e)
{
	struct __user_cap_header_struct h = cap_header();
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d))
		return err_set(e, ERR_SYSTEM, errno, "capget");
	*out = (struct caps){
		.effective = d[0].effective | (uint64_t)d[1].effective << 32,
		.permitted = d[0].permitted | (uint64_t)d[1].permitted << 32,
		.inheritable = d[0].inheritable | (uint64_t)d[1].inheritable << 32,
	};
	for (int i = 0; i < 64; i++) {
		int r = prctl(PR_CAPBSET_READ, i, 0, 0, 0);

		if (r < 0)
			break;
		if (r)
			out->bounding |= 1ull << i;
	}
	return 0;
}

int caps_limit_bounding(uint64_t mask, struct err *e)
{
	for (int i = 0; i < 64; i++) {
		int r;

		if (mask >> i & 1)
			continue;
		r = prctl(PR_CAPBSET_READ, i, 0, 0, 0);
		if (r < 0)
			break; /* beyond the last capability of this kernel */
		if (r && prctl(PR_CAPBSET_DROP, i, 0, 0, 0))
			return err_set(e, ERR_SYSTEM, errno, "drop capability %d", i);
	}
	return 0;
}

int caps_set(const struct caps *c, struct err *e)
{
	struct __user_cap_header_struct h = cap_header();
	struct __user_cap_data_struct d[2] = {
		{ (uint32_t)c->effective, (uint32_t)c->permitted, (uint32_t)c->inheritable },
		{ (uint32_t)(c->effective >> 32), (uint32_t)(c->permitted >> 32), (uint32_t)(c->inheritable >> 32) },
	};

	if (syscall(SYS_capset, &h, d))
		return err_set(e, ERR_SYSTEM, errno, "capset");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		return err_set(e, ERR_SYSTEM, errno, "clear ambient capabilities");
	for (unsigned i = 0; i < 64; i++) {
		if ((c->ambient >> i & 1) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0))
			return err_set(e, ERR_SYSTEM, errno, "raise ambient capability %u", i);
	}
	return 0;
}
