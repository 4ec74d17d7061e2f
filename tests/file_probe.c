/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Run inside containers by the flow tests: what a file system does (posix), who holds a lock (hold, locks), what a unix
 * socket carries (talk, many). Static and of one file, so that it runs wherever it is bound.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "base/attr.h"

#define MANY_NAMES 10000

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static int open_new(const char *path, int flags)
{
	int fd = open(path, O_CREAT | flags, 0644);

	if (fd < 0)
		die(path);
	return fd;
}

static void put(int fd, const char *text)
{
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		die("write");
}

static bool holds(const char *path, const char *text)
{
	char buf[256];
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof buf);

	close(fd);
	return n == (ssize_t)strlen(text) && !memcmp(buf, text, (size_t)n);
}

/* ---- posix: each check in an empty directory ---- */

static bool rename_replaces(void)
{
	int a = open_new("a", O_WRONLY), b = open_new("b", O_RDWR);
	char c = 0;

	put(a, "new");
	put(b, "old");
	/* Whoever has the replaced file open keeps it. */
	return !rename("a", "b") && holds("b", "new") && access("a", F_OK) && pread(b, &c, 1, 0) == 1 && c == 'o';
}

static bool unlinked_stays_open(void)
{
	int fd = open_new("f", O_RDWR);
	struct stat st;
	char buf[8] = "";

	put(fd, "before");
	if (unlink("f") || access("f", F_OK) == 0)
		return false;
	put(fd, "!");
	return pread(fd, buf, sizeof buf, 0) == 7 && !strncmp(buf, "before!", 7) && !fstat(fd, &st) && st.st_size == 7;
}

static bool unlinked_changes(void)
{
	int fd = open_new("f", O_RDWR);
	struct stat st;

	put(fd, "before");
	return !unlink("f") && !ftruncate(fd, 3) && !fchmod(fd, 0600) && !fstat(fd, &st) && st.st_size == 3 &&
	       (st.st_mode & 0777) == 0600;
}

static bool syncs(void)
{
	int fd = open_new("f", O_RDWR), dir = open(".", O_RDONLY | O_DIRECTORY);

	put(fd, "x");
	return !fsync(fd) && !fdatasync(fd) && !fsync(dir);
}

static bool has_user_xattrs(void)
{
	int fd = open_new("f", O_RDWR);
	char buf[16], names[64];

	return !setxattr("f", "user.one", "value", 5, XATTR_CREATE) &&
	       fgetxattr(fd, "user.one", buf, sizeof buf) == 5 && !memcmp(buf, "value", 5) &&
	       listxattr("f", names, sizeof names) == 9 && !removexattr("f", "user.one") &&
	       getxattr("f", "user.one", buf, sizeof buf) < 0 && errno == ENODATA;
}

static bool maps_shared(void)
{
	int fd = open_new("f", O_RDWR);
	char *m;

	if (ftruncate(fd, 8192))
		return false;
	m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (m == MAP_FAILED)
		return false;
	memset(m + 5000, 'm', 6);
	char buf[6];

	return !msync(m, 8192, MS_SYNC) && pread(fd, buf, 6, 5000) == 6 && !memcmp(buf, "mmmmmm", 6);
}

static bool keeps_owners(void)
{
	struct stat st;

	close(open_new("f", O_RDWR));
	return !chown("f", 1234, 4321) && !chmod("f", 06751) && !stat("f", &st) && st.st_uid == 1234 &&
	       st.st_gid == 4321 && (st.st_mode & 07777) == 06751 && !symlink("none", "l") && !lchown("l", 7, 8) &&
	       !lstat("l", &st) && st.st_uid == 7;
}

static bool is_sparse(void)
{
	int fd = open_new("f", O_RDWR);
	struct stat st;

	return pwrite(fd, "end", 3, 64 * (off_t)MIB) == 3 && !fsync(fd) && !fstat(fd, &st) &&
	       st.st_size == 64 * (off_t)MIB + 3 && st.st_blocks < 2048;
}

/* Two openers, each appends: nobody overwrites anybody. */
static bool appends(void)
{
	int a = open_new("f", O_WRONLY | O_APPEND), b = open_new("f", O_WRONLY | O_APPEND);

	put(a, "1");
	put(b, "2");
	put(a, "3");
	return holds("f", "123");
}

static bool links_hard(void)
{
	struct stat one, two;

	close(open_new("f", O_RDWR));
	return !link("f", "g") && !stat("f", &one) && !stat("g", &two) && one.st_nlink == 2 &&
	       one.st_ino == two.st_ino && !unlink("f") && !stat("g", &two) && two.st_nlink == 1;
}

/* The names are there already: in "many", next to the checks' directories. */
static bool lists_many(void)
{
	DIR *d = opendir("../many");
	struct dirent *entry;
	size_t n = 0;

	while (d && (entry = readdir(d)))
		n += !strncmp(entry->d_name, "name-", 5);
	if (d)
		closedir(d);
	return n == MANY_NAMES;
}

static bool has_long_names(void)
{
	char name[257];

	memset(name, 'n', sizeof name);
	name[256] = '\0';
	if (open(name, O_CREAT | O_RDWR, 0600) >= 0 || errno != ENAMETOOLONG)
		return false;
	name[255] = '\0';
	close(open_new(name, O_RDWR));
	return !mkdir("d", 0700) && !access(name, F_OK) && !unlink(name);
}

static bool opens_exclusively(void)
{
	close(open_new("f", O_RDWR | O_EXCL));
	return open("f", O_CREAT | O_EXCL | O_RDWR, 0600) < 0 && errno == EEXIST;
}

static bool keeps_times(void)
{
	const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1000000000 } };
	struct stat st;

	close(open_new("f", O_RDWR));
	return !utimensat(AT_FDCWD, "f", times, 0) && !stat("f", &st) && st.st_mtim.tv_sec == 1000000000 &&
	       st.st_atim.tv_sec == 1;
}

static bool keeps_nanoseconds(void)
{
	const struct timespec times[2] = { { .tv_sec = 1, .tv_nsec = 5000 }, { .tv_sec = 2, .tv_nsec = 7000 } };
	struct stat st;

	close(open_new("f", O_RDWR));
	return !utimensat(AT_FDCWD, "f", times, 0) && !stat("f", &st) && st.st_mtim.tv_nsec == 7000;
}

static bool allocates(void)
{
	int fd = open_new("f", O_RDWR);
	struct stat st;

	return !posix_fallocate(fd, 0, 1 << 20) && !fstat(fd, &st) && st.st_size == 1 << 20;
}

/* A pipe with a name, between processes of one kernel. */
static bool has_fifos(void)
{
	pid_t child;
	char c = 0;
	int fd;

	if (mkfifo("p", 0600))
		return false;
	child = fork();
	if (!child) {
		fd = open("p", O_WRONLY);
		_exit(fd < 0 || write(fd, "x", 1) != 1);
	}
	fd = open("p", O_RDONLY);
	waitpid(child, NULL, 0);
	return fd >= 0 && read(fd, &c, 1) == 1 && c == 'x';
}

static bool has_sockets(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "s" };
	int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);

	return !bind(server, (struct sockaddr *)&name, sizeof name) && !listen(server, 1) &&
	       !connect(client, (struct sockaddr *)&name, sizeof name);
}

static const struct {
	const char *name;
	bool (*holds)(void);
} checks[] = {
	{ "rename", rename_replaces },    { "unlink while open", unlinked_stays_open },
	{ "fsync", syncs },               { "xattr", has_user_xattrs },
	{ "mmap", maps_shared },          { "ownership", keeps_owners },
	{ "sparse", is_sparse },          { "append", appends },
	{ "hard links", links_hard },     { "readdir", lists_many },
	{ "names of 255", has_long_names }, { "O_EXCL", opens_exclusively },
	{ "times", keeps_times },         { "fallocate", allocates },
	{ "change when unlinked", unlinked_changes }, { "nanoseconds", keeps_nanoseconds },
	{ "fifo", has_fifos },            { "socket", has_sockets },
};

/* posix DIR: a line for each check. */
static int posix(char **arg)
{
	for (size_t i = 0; i < array_len(checks); i++) {
		char dir[32];

		snprintf(dir, sizeof dir, "check-%zu", i);
		if (chdir(arg[0]) || mkdir(dir, 0777) || chdir(dir))
			die(dir);
		printf("%s: %s\n", checks[i].name, checks[i].holds() ? "yes" : "no");
	}
	return 0;
}

/* ---- locks ---- */

/* Of two files: over a network file system the two kinds are one. */
static void lock_both(const char *path, bool *flocked, bool *locked)
{
	const struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char other[PATH_MAX];

	snprintf(other, sizeof other, "%s.fcntl", path);
	int one = open_new(path, O_RDWR), two = open_new(other, O_RDWR);

	*flocked = !flock(one, LOCK_EX | LOCK_NB);
	*locked = !fcntl(two, F_SETLK, &whole);
}

/* hold PATH: take both kinds of lock, say so, keep them until the end of input. */
static int hold(char **arg)
{
	bool flocked, locked;
	char c;

	lock_both(arg[0], &flocked, &locked);
	puts(flocked && locked ? "held" : "busy");
	fflush(stdout);
	return read(STDIN_FILENO, &c, 1) < 0;
}

/* locks PATH: can they be had? */
static int locks(char **arg)
{
	bool flocked, locked;

	lock_both(arg[0], &flocked, &locked);
	printf("flock %s, fcntl %s\n", flocked ? "free" : "busy", locked ? "free" : "busy");
	return 0;
}

/* ---- sockets ---- */

static int connect_to(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
	if (connect(fd, (struct sockaddr *)&name, sizeof name))
		die(path);
	return fd;
}

static bool copy(int from, int to)
{
	char buf[65536];
	ssize_t n = read(from, buf, sizeof buf);

	for (ssize_t done = 0, k; done < n; done += k) {
		k = write(to, buf + done, (size_t)(n - done));
		if (k < 0)
			die("write");
	}
	return n > 0;
}

/* talk PATH: input to the socket, then its last word; what it answers to output. */
static int talk(char **arg)
{
	struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
			       { .fd = connect_to(arg[0]), .events = POLLIN } };

	while (poll(p, 2, -1) > 0) {
		if (p[0].revents && !copy(p[0].fd, p[1].fd)) {
			shutdown(p[1].fd, SHUT_WR);
			p[0].fd = -1;
		}
		if (p[1].revents && !copy(p[1].fd, STDOUT_FILENO))
			return 0;
	}
	return 1;
}

/* many PATH N: connections at the same time; each sends a line and wants it back. */
static int many(char **arg)
{
	int n = atoi(arg[1]), good = 0;
	int *fds = calloc((size_t)n, sizeof *fds);
	char line[32], back[32];

	for (int i = 0; i < n; i++) {
		fds[i] = connect_to(arg[0]);
		snprintf(line, sizeof line, "line %d\n", i);
		put(fds[i], line);
	}
	for (int i = n; i-- > 0;) {
		size_t have = 0;

		snprintf(line, sizeof line, "line %d\n", i);
		for (ssize_t k; have < strlen(line) && (k = read(fds[i], back + have, strlen(line) - have)) > 0;)
			have += (size_t)k;
		good += have == strlen(line) && !memcmp(line, back, have);
		close(fds[i]);
	}
	free(fds);
	printf("%d\n", good);
	return 0;
}

/* ---- speed ---- */

#define SPEED_BYTES (32 * MIB)
#define SPEED_BLOCK (128 * KIB)
#define SPEED_FILES 200
#define SPEED_SYNCS 50

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Microseconds for all of the file. */
static double write_all(void)
{
	static char block[SPEED_BLOCK];
	double start = now_us();
	int fd = open_new("big", O_WRONLY | O_TRUNC);

	for (size_t n = 0; n < SPEED_BYTES; n += sizeof block)
		if (write(fd, block, sizeof block) != sizeof block)
			die("write");
	if (fsync(fd))
		die("fsync");
	close(fd);
	return now_us() - start;
}

/* Not from the caches of this kernel. */
static double read_all(void)
{
	static char block[SPEED_BLOCK];
	int fd = open_new("big", O_RDONLY);
	double start;

	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	start = now_us();
	while (read(fd, block, sizeof block) > 0)
		;
	close(fd);
	return now_us() - start;
}

static double make_files(void)
{
	double start = now_us();
	char name[32];

	for (int i = 0; i < SPEED_FILES; i++) {
		snprintf(name, sizeof name, "f%d", i);
		int fd = open_new(name, O_WRONLY);

		put(fd, "a few bytes, as most files have");
		close(fd);
	}
	return (now_us() - start) / SPEED_FILES;
}

static double look_at_files(void)
{
	double start = now_us();
	struct stat st;
	char name[32];

	for (int i = 0; i < SPEED_FILES; i++) {
		snprintf(name, sizeof name, "f%d", i);
		if (stat(name, &st))
			die(name);
	}
	return (now_us() - start) / SPEED_FILES;
}

static double remove_files(void)
{
	double start = now_us();
	char name[32];

	for (int i = 0; i < SPEED_FILES; i++) {
		snprintf(name, sizeof name, "f%d", i);
		if (unlink(name))
			die(name);
	}
	return (now_us() - start) / SPEED_FILES;
}

static double sync_blocks(void)
{
	static char block[4 * KIB];
	int fd = open_new("log", O_WRONLY | O_TRUNC);
	double start = now_us();

	for (int i = 0; i < SPEED_SYNCS; i++)
		if (pwrite(fd, block, sizeof block, i * (off_t)sizeof block) < 0 || fdatasync(fd))
			die("sync");
	start = (now_us() - start) / SPEED_SYNCS;
	close(fd);
	return start;
}

/* speed DIR: microseconds, as JSON. The first pass warms up, the second counts. */
static int speed(char **arg)
{
	static const struct {
		const char *name;
		double (*measure)(void);
	} figures[] = { { "write", write_all },     { "read", read_all },       { "create", make_files },
			{ "stat", look_at_files }, { "unlink", remove_files }, { "sync", sync_blocks } };

	if (chdir(arg[0]))
		die(arg[0]);
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < array_len(figures); i++) {
			double us = figures[i].measure();

			if (pass)
				printf("%s\"%s\": %.2f%s", i ? ", " : "{", figures[i].name, us,
				       i + 1 == array_len(figures) ? "}\n" : "");
		}
	return unlink("big") || unlink("log");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int args;
		int (*run)(char **arg);
	} commands[] = {
		{ "posix", 1, posix }, { "hold", 1, hold }, { "locks", 1, locks }, { "talk", 1, talk }, { "many", 2, many },
		{ "speed", 1, speed },
	};

	for (size_t i = 0; i < array_len(commands); i++)
		if (argc == commands[i].args + 2 && !strcmp(argv[1], commands[i].name))
			return commands[i].run(argv + 2);
	fprintf(stderr, "usage: file-probe posix DIR | hold PATH | locks PATH | talk PATH | many PATH N | speed DIR\n");
	return 2;
}
