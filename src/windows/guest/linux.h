/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Linux system calls of a Windows program: Wine has no handles for what they work on. Results are -errno.
 * Source: Linux, arch/x86/entry/syscalls/syscall_64.tbl; include/uapi.
 */
#ifndef SILO_WINDOWS_LINUX_H
#define SILO_WINDOWS_LINUX_H

enum {
	SYS_READ = 0,
	SYS_WRITE = 1,
	SYS_CLOSE = 3,
	SYS_POLL = 7,
	SYS_IOCTL = 16,
	SYS_SOCKET = 41,
	SYS_CONNECT = 42,
	SYS_SENDTO = 44,
	SYS_SHUTDOWN = 48,
	SYS_FCNTL = 72,
};
enum { LINUX_EINTR = 4, LINUX_EAGAIN = 11, LINUX_ERESTARTSYS = 512 };
enum { LINUX_SHUT_WR = 1, LINUX_SHUT_RDWR = 2 };
#define LINUX_F_SETFD 2
#define LINUX_FD_CLOEXEC 1
#define LINUX_AF_UNIX 1
#define LINUX_SOCK_STREAM 1
#define LINUX_SOCK_CLOEXEC 02000000
#define LINUX_MSG_NOSIGNAL 0x4000
#define LINUX_SIOCOUTQ 0x5411

struct linux_pollfd {
	int fd;
	short events, revents;
};

struct linux_sockaddr_un {
	unsigned short family;
	char path[108];
};

static inline long long linux_call(long long number, long long a, long long b, long long c)
{
	long long result;
	register long long r10 __asm__("r10") = 0;
	register long long r8 __asm__("r8") = 0;
	register long long r9 __asm__("r9") = 0;

	if (number == SYS_SENDTO)
		r10 = LINUX_MSG_NOSIGNAL;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

/* Wine's own signals interrupt. */
static inline long long linux_again(long long number, long long a, long long b, long long c)
{
	long long result;

	do
		result = linux_call(number, a, b, c);
	while (result == -LINUX_EINTR || result == -LINUX_EAGAIN || result == -LINUX_ERESTARTSYS);
	return result;
}

#endif
