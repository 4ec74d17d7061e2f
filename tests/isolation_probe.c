/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Leaves marks in every part of a system that containers may share, and looks for the marks of others. The same program
 * runs on the host and in containers; tests/flow/test_matrix.py compares who sees what.
 *
 *	isolation-probe plant TOKEN		leave marks, wait for SIGTERM, take them away
 *	isolation-probe look TOKEN...		one line for each mark seen: "TOKEN what"
 *
 * PROBE_FILES: directory for the mark in the file system (/tmp); PROBE_SOCKET: a unix socket to plant and to look at.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/own.h"

#define TEXT_MAX 64
#define WAIT_S 2 /* for a peer that accepts and says nothing */

static unsigned hash_of(const char *token)
{
	unsigned h = 2166136261u;

	for (; *token; token++)
		h = (h ^ (unsigned char)*token) * 16777619u;
	return h;
}

/* ---- files ---- */

static void file_path(const char *token, char out[static 256])
{
	const char *dir = getenv("PROBE_FILES");

	snprintf(out, 256, "%s/%s", dir ? dir : "/tmp", token);
}

static void file_plant(const char *token)
{
	char path[256];
	autoclose int fd = -1;

	file_path(token, path);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
}

static void file_clean(const char *token)
{
	char path[256];

	file_path(token, path);
	unlink(path);
}

static bool file_look(const char *token)
{
	char path[256];

	file_path(token, path);
	return access(path, F_OK) == 0;
}

static bool user_look(const char *token)
{
	FILE *f = fopen("/etc/passwd", "re");
	char line[512];
	bool found = false;
	size_t n = strlen(token);

	while (f && !found && fgets(line, sizeof(line), f))
		found = !strncmp(line, token, n) && line[n] == ':';
	if (f)
		fclose(f);
	return found;
}

/* ---- processes and threads ---- */

/* Calls match() with every number in a directory until it says yes. */
static bool any_entry(const char *path, bool (*match)(const char *path, const char *token), const char *token)
{
	DIR *d = opendir(path);
	struct dirent *entry;
	bool found = false;

	while (d && !found && (entry = readdir(d))) {
		char child[512];

		snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
		found = entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && match(child, token);
	}
	if (d)
		closedir(d);
	return found;
}

static size_t read_small(const char *path, char *buf, size_t size)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
	return n > 0 ? (size_t)n : 0;
}

/* The arguments "plant TOKEN": those who look have the token in their arguments, too. */
static bool process_matches(const char *path, const char *token)
{
	char file[600], text[1024], wanted[TEXT_MAX + 8];
	size_t n, len = (size_t)snprintf(wanted, sizeof(wanted), "plant%c%s", 0, token);

	snprintf(file, sizeof(file), "%s/cmdline", path);
	n = read_small(file, text, sizeof(text));
	return n && memmem(text, n, wanted, len);
}

static bool process_look(const char *token)
{
	return any_entry("/proc", process_matches, token);
}

static bool thread_name_matches(const char *path, const char *token)
{
	char file[600], text[64];

	snprintf(file, sizeof(file), "%s/comm", path);
	read_small(file, text, sizeof(text));
	text[strcspn(text, "\n")] = '\0';
	return *text && !strncmp(text, token, 15) && strlen(text) == strnlen(token, 15);
}

static bool threads_match(const char *path, const char *token)
{
	char tasks[600];

	snprintf(tasks, sizeof(tasks), "%s/task", path);
	return any_entry(tasks, thread_name_matches, token);
}

static bool thread_look(const char *token)
{
	return any_entry("/proc", threads_match, token);
}

static void *named_thread(void *token)
{
	prctl(PR_SET_NAME, token);
	for (;;)
		pause();
	return NULL;
}

static void thread_plant(const char *token)
{
	pthread_t t;

	pthread_create(&t, NULL, named_thread, (void *)(uintptr_t)token);
}

/* ---- sockets: who connects is told the token ---- */

struct server {
	int fd;
	const char *token;
};

static void *serve(void *arg)
{
	struct server *s = arg;

	for (;;) {
		autoclose int client = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);

		if (client >= 0 && write(client, s->token, strlen(s->token)) < 0)
			continue;
	}
	return NULL;
}

static void server_start(int family, const void *address, socklen_t len, const char *token)
{
	struct server *s = xcalloc(1, sizeof(*s));
	pthread_t t;
	int on = 1;

	*s = (struct server){ socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), token };
	setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(s->fd, address, len) || listen(s->fd, 16))
		perror("listen");
	else
		pthread_create(&t, NULL, serve, s);
}

static bool client_look(int family, const void *address, socklen_t len, const char *token)
{
	autoclose int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval wait = { .tv_sec = WAIT_S };
	char text[TEXT_MAX] = "";

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	return !connect(fd, address, len) && recv(fd, text, sizeof(text) - 1, MSG_WAITALL) > 0 && !strcmp(text, token);
}

static struct sockaddr_in port_of(const char *token, uint32_t address)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons((uint16_t)(20000 + hash_of(token) % 10000)),
				     .sin_addr.s_addr = htonl(address) };
}

static void port_plant(const char *token)
{
	struct sockaddr_in a = port_of(token, INADDR_ANY);

	server_start(AF_INET, &a, sizeof(a), token);
}

static bool port_look(const char *token)
{
	struct sockaddr_in a = port_of(token, INADDR_LOOPBACK);

	return client_look(AF_INET, &a, sizeof(a), token);
}

static socklen_t abstract_of(const char *token, struct sockaddr_un *a)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return (socklen_t)(sizeof(sa_family_t) + 1 + (size_t)snprintf(a->sun_path + 1, 100, "probe-%s", token));
}

static void abstract_plant(const char *token)
{
	struct sockaddr_un a;
	socklen_t len = abstract_of(token, &a);

	server_start(AF_UNIX, &a, len, token);
}

static bool abstract_look(const char *token)
{
	struct sockaddr_un a;
	socklen_t len = abstract_of(token, &a);

	return client_look(AF_UNIX, &a, len, token);
}

static bool socket_path(struct sockaddr_un *a)
{
	const char *path = getenv("PROBE_SOCKET");

	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (path)
		snprintf(a->sun_path, sizeof(a->sun_path), "%s", path);
	return path;
}

static void socket_plant(const char *token)
{
	struct sockaddr_un a;

	if (socket_path(&a))
		server_start(AF_UNIX, &a, sizeof(a), token);
}

static bool socket_look(const char *token)
{
	struct sockaddr_un a;

	return socket_path(&a) && client_look(AF_UNIX, &a, sizeof(a), token);
}

/* ---- IPC objects ---- */

static void sysv_plant(const char *token)
{
	int id = shmget((key_t)hash_of(token), 4096, IPC_CREAT | 0666);
	char *memory = id < 0 ? (char *)-1 : shmat(id, NULL, 0);

	if (memory == (char *)-1)
		perror("shared memory");
	else
		snprintf(memory, TEXT_MAX, "%s", token);
}

static void sysv_clean(const char *token)
{
	int id = shmget((key_t)hash_of(token), 0, 0);

	if (id >= 0)
		shmctl(id, IPC_RMID, NULL);
}

static bool sysv_look(const char *token)
{
	int id = shmget((key_t)hash_of(token), 0, 0);
	char *memory = id < 0 ? (char *)-1 : shmat(id, NULL, SHM_RDONLY);
	bool found;

	if (memory == (char *)-1)
		return false;
	found = !strcmp(memory, token);
	shmdt(memory);
	return found;
}

static void mqueue_plant(const char *token)
{
	char name[TEXT_MAX + 2];
	mqd_t q;

	snprintf(name, sizeof(name), "/%s", token);
	q = mq_open(name, O_CREAT | O_RDWR, 0666, &(struct mq_attr){ .mq_maxmsg = 1, .mq_msgsize = 16 });
	if (q == (mqd_t)-1)
		perror("message queue");
	else
		mq_close(q);
}

static void mqueue_clean(const char *token)
{
	char name[TEXT_MAX + 2];

	snprintf(name, sizeof(name), "/%s", token);
	mq_unlink(name);
}

static bool mqueue_look(const char *token)
{
	char name[TEXT_MAX + 2];
	mqd_t q;

	snprintf(name, sizeof(name), "/%s", token);
	q = mq_open(name, O_RDONLY);
	if (q == (mqd_t)-1)
		return false;
	mq_close(q);
	return true;
}

static void memory_path(const char *token, char out[static 128])
{
	snprintf(out, 128, "/dev/shm/%s", token);
}

static void memory_plant(const char *token)
{
	char path[128];
	autoclose int fd = -1;

	memory_path(token, path);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
}

static void memory_clean(const char *token)
{
	char path[128];

	memory_path(token, path);
	unlink(path);
}

static bool memory_look(const char *token)
{
	char path[128];

	memory_path(token, path);
	return access(path, F_OK) == 0;
}

/* ---- the machine ---- */

static bool hostname_look(const char *token)
{
	char name[TEXT_MAX + 1] = "";

	gethostname(name, sizeof(name) - 1);
	return !strcmp(name, token);
}

static bool kernel_look(const char *token)
{
	char text[TEXT_MAX];

	read_small("/proc/sys/kernel/random/boot_id", text, sizeof(text));
	text[strcspn(text, "\n")] = '\0';
	return !strcmp(text, token);
}

/* A device node of the kernel's log, by its number: there may be none in /dev. */
static int open_kernel_log(int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/tmp/probe-kmsg-%d", getpid());
	mknod(path, S_IFCHR | 0600, makedev(1, 11));
	fd = open(path, flags | O_CLOEXEC);
	unlink(path);
	return fd;
}

static void device_plant(const char *token)
{
	autoclose int fd = open_kernel_log(O_WRONLY);
	char line[TEXT_MAX + 16];
	int n = snprintf(line, sizeof(line), "<7>probe-%s\n", token);

	if (fd >= 0 && write(fd, line, (size_t)n) < 0)
		perror("kernel log");
}

static bool device_look(const char *token)
{
	autoclose int fd = open_kernel_log(O_RDONLY | O_NONBLOCK);
	char line[8192], wanted[TEXT_MAX + 8];
	ssize_t n;

	snprintf(wanted, sizeof(wanted), "probe-%s", token);
	while (fd >= 0 && ((n = read(fd, line, sizeof(line) - 1)) > 0 || errno == EPIPE)) {
		line[n > 0 ? n : 0] = '\0';
		if (strstr(line, wanted))
			return true;
	}
	return false;
}

/* ---- all of it ---- */

static const struct mark {
	const char *name;
	void (*plant)(const char *token); /* NULL: it is there without */
	void (*clean)(const char *token); /* NULL: it goes with the process */
	bool (*look)(const char *token);
} marks[] = {
	{ "file", file_plant, file_clean, file_look },
	{ "user", NULL, NULL, user_look },
	{ "process", NULL, NULL, process_look },
	{ "thread", thread_plant, NULL, thread_look },
	{ "port", port_plant, NULL, port_look },
	{ "abstract", abstract_plant, NULL, abstract_look },
	{ "socket", socket_plant, NULL, socket_look },
	{ "sysv", sysv_plant, sysv_clean, sysv_look },
	{ "mqueue", mqueue_plant, mqueue_clean, mqueue_look },
	{ "memory", memory_plant, memory_clean, memory_look },
	{ "hostname", NULL, NULL, hostname_look },
	{ "kernel", NULL, NULL, kernel_look },
	{ "device", device_plant, NULL, device_look },
};

static int plant(const char *token)
{
	sigset_t end;
	int signo;

	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigprocmask(SIG_BLOCK, &end, NULL);
	for (size_t i = 0; i < array_len(marks); i++) {
		if (marks[i].plant)
			marks[i].plant(token);
	}
	sigwait(&end, &signo);
	for (size_t i = 0; i < array_len(marks); i++) {
		if (marks[i].clean)
			marks[i].clean(token);
	}
	return 0;
}

static int look(char **tokens)
{
	for (; *tokens; tokens++) {
		for (size_t i = 0; i < array_len(marks); i++) {
			if (marks[i].look(*tokens))
				printf("%s %s\n", *tokens, marks[i].name);
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	for (int i = 2; i < argc; i++) {
		if (strlen(argv[i]) >= TEXT_MAX - 8)
			return 2;
	}
	if (argc == 3 && !strcmp(argv[1], "plant"))
		return plant(argv[2]);
	if (argc >= 3 && !strcmp(argv[1], "look"))
		return look(argv + 2);
	fprintf(stderr, "usage: isolation-probe plant TOKEN | look TOKEN...\n");
	return 2;
}
