/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tables of the default seccomp profile. What is allowed follows Docker's documented default ("Seccomp security
 * profiles for Docker"), with two differences on the safe side: AF_ALG sockets are denied as AF_VSOCK ones are, also
 * through socketcall(2), and socket families are compared on the 32 bits that the kernel looks at.
 * Included by seccomp.c only.
 */
#ifndef SILO_ENGINE_SECCOMP_RULES_H
#define SILO_ENGINE_SECCOMP_RULES_H

#include <sched.h>
#include <seccomp.h>

#include "base/attr.h"

/* Part of the cached file's name: raise it with every change of these tables or of the compiler. */
#define PROFILE_VERSION "1"

/* Allowed to every process. Blank-separated; a name that an architecture lacks is skipped there. */
static const char *const allowed_names =
	/* files and directories */
	"access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 "
	"fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchown fchown32 fchownat fcntl fcntl64 fdatasync "
	"fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate "
	"ftruncate64 futimesat getcwd getdents getdents64 getxattr ioctl lchown lchown32 lgetxattr link linkat "
	"listxattr llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat "
	"name_to_handle_at newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read "
	"readahead readlink readlinkat readv removexattr rename renameat renameat2 rmdir sendfile sendfile64 setxattr "
	"splice stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range syncfs tee truncate "
	"truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev "
	/* watching */
	"epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd "
	"eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch _newselect poll ppoll "
	"ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4 "
	/* processes, credentials, limits */
	"arch_prctl capget capset execve execveat exit exit_group fork getegid getegid32 geteuid geteuid32 getgid "
	"getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid getpriority getresgid getresgid32 getresuid "
	"getresuid32 getrlimit getrusage getsid gettid getuid getuid32 ioprio_get ioprio_set kill modify_ldt "
	"get_thread_area landlock_add_rule landlock_create_ruleset landlock_restrict_self membarrier pidfd_open "
	"pidfd_send_signal prctl prlimit64 process_mrelease process_vm_readv process_vm_writev ptrace rseq "
	"sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min "
	"sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr "
	"sched_setparam sched_setscheduler sched_yield seccomp setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 "
	"setgroups setgroups32 setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 "
	"setreuid setreuid32 setrlimit setsid set_thread_area set_tid_address setuid setuid32 sysinfo times "
	"ugetrlimit uname vfork wait4 waitid waitpid getcpu "
	/* signals */
	"pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend "
	"rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn tgkill tkill "
	/* memory */
	"brk madvise memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap msync munlock "
	"munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages "
	/* time; setting it is up to CAP_SYS_TIME, that the kernel checks in these */
	"adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 "
	"clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create "
	"timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create "
	"timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 "
	/* communication; on x86 libseccomp turns socket calls into the right cases of socketcall(2) too */
	"accept accept4 bind connect futex futex_time64 futex_waitv get_robust_list getpeername getsockname getsockopt "
	"io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ipc listen "
	"mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 "
	"mq_unlink msgctl msgget msgrcv msgsnd pipe pipe2 getrandom recv recvfrom recvmmsg recvmmsg_time64 recvmsg "
	"semctl semget semop semtimedop semtimedop_time64 send sendmmsg sendmsg sendto set_robust_list setsockopt "
	"shmat shmctl shmdt shmget shutdown socketpair";

/* Allowed in addition to who holds a capability. */
static const struct cap_group {
	const char *cap;
	const char *names;
} cap_groups[] = {
	{ "CAP_DAC_READ_SEARCH", "open_by_handle_at" },
	{ "CAP_SYS_ADMIN", "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount "
			   "mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname "
			   "sethostname setns syslog umount umount2 unshare" },
	{ "CAP_SYS_BOOT", "reboot" },
	{ "CAP_SYS_CHROOT", "chroot" },
	{ "CAP_SYS_MODULE", "delete_module finit_module init_module" },
	{ "CAP_SYS_PACCT", "acct" },
	{ "CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise" },
	{ "CAP_SYS_RAWIO", "ioperm iopl" },
	{ "CAP_SYS_TIME", "clock_settime clock_settime64 settimeofday stime" },
	{ "CAP_SYS_TTY_CONFIG", "vhangup" },
	{ "CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node" },
	{ "CAP_SYSLOG", "syslog" },
	{ "CAP_BPF", "bpf" },
	{ "CAP_PERFMON", "perf_event_open" },
};

#define FLAGS_NAMESPACES \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
#define LOW32 0xffffffffu

/* Allowed where (argument & mask) == value. */
static const struct arg_rule {
	const char *name;
	unsigned arg;
	uint64_t mask, value;
	const char *unless_cap; /* with it the call is allowed without a condition, by cap_groups */
} arg_rules[] = {
	{ "personality", 0, UINT64_MAX, 0x0, NULL },        /* PER_LINUX */
	{ "personality", 0, UINT64_MAX, 0x8, NULL },        /* PER_LINUX32 */
	{ "personality", 0, UINT64_MAX, 0x20000, NULL },    /* UNAME26 */
	{ "personality", 0, UINT64_MAX, 0x20008, NULL },    /* both */
	{ "personality", 0, UINT64_MAX, 0xffffffff, NULL }, /* ask */
	{ "clone", 0, FLAGS_NAMESPACES, 0, "CAP_SYS_ADMIN" },
	/* Every address family but AF_ALG (38) and AF_VSOCK (40). The family is an int: the upper half of the
	 * register must not matter, so these are bit patterns and not "greater than". */
	{ "socket", 0, LOW32 & ~31u, 0, NULL }, /* 0..31 */
	{ "socket", 0, LOW32 & ~3u, 32, NULL }, /* 32..35 */
	{ "socket", 0, LOW32 & ~1u, 36, NULL }, /* 36, 37 */
	{ "socket", 0, LOW32, 39, NULL },
	{ "socket", 0, LOW32, 41, NULL },
	{ "socket", 0, LOW32 & ~1u, 42, NULL }, /* 42, 43 */
	{ "socket", 0, LOW32 & ~3u, 44, NULL }, /* 44..47 */
};

/* Answered with another errno than the default EPERM. */
static const struct errno_rule {
	const char *name;
	int error;
	const char *unless_cap;
} errno_rules[] = {
	/* Its flags lie in memory, out of seccomp's sight: C libraries fall back to clone() on ENOSYS. */
	{ "clone3", ENOSYS, "CAP_SYS_ADMIN" },
};

/*
 * Calls that libseccomp 2.5 has no name for, by number: from 424 on numbers are the same on every architecture.
 * Everything beyond the last one is answered with ENOSYS, so that programs fall back as on an older kernel.
 */
static const struct new_call {
	unsigned nr;
	const char *cap; /* needs this capability, or NULL */
} new_calls[] = {
	{ 451, NULL },            /* cachestat */
	{ 452, NULL },            /* fchmodat2 */
	{ 453, NULL },            /* map_shadow_stack */
	{ 454, NULL },            /* futex_wake */
	{ 455, NULL },            /* futex_wait */
	{ 456, NULL },            /* futex_requeue */
	{ 457, "CAP_SYS_ADMIN" }, /* statmount */
	{ 458, "CAP_SYS_ADMIN" }, /* listmount */
	{ 462, NULL },            /* mseal */
	{ 463, NULL },            /* setxattrat */
	{ 464, NULL },            /* getxattrat */
	{ 465, NULL },            /* listxattrat */
	{ 466, NULL },            /* removexattrat */
	{ 467, "CAP_SYS_ADMIN" }, /* open_tree_attr */
};
#define NEW_CALL_FIRST 451u
#define NEW_CALL_LAST 467u

static const uint32_t architectures[] = { SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32 };

#endif
