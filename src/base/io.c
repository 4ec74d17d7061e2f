/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"

#define TREE_DEPTH_MAX 200 /* directory levels that io_remove_tree enters */

int io_write_all(int fd, const void *data, size_t n)
{
	const char *p = data;

	while (n) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0 && errno == EAGAIN) {
			struct pollfd pfd = { .fd = fd, .events = POLLOUT };

			poll(&pfd, 1, -1);
			continue;
		}
		if (w < 0)
			return -1;
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

int io_read_full(int fd, void *data, size_t n)
{
	char *p = data;

	while (n) {
		ssize_t r = read(fd, p, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0) {
			if (!r)
				errno = 0;
			return -1;
		}
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

int io_read_file(int dirfd, const char *path, struct str *out, struct err *e)
{
	autoclose int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	char buf[16 * KIB];
	ssize_t n;

	if (fd < 0)
		return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM, errno, "open %s", path);
	while ((n = read(fd, buf, sizeof buf)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, ERR_SYSTEM, errno, "read %s", path);
		if (str_add(out, buf, (size_t)n))
			return err_set(e, ERR_LIMIT, 0, "%s is larger than %zu bytes", path, out->max);
	}
	return 0;
}

static int sync_directory_of(int dirfd, const char *path)
{
	const char *slash = strrchr(path, '/');
	autofree char *dir = slash ? xstrndup(path, (size_t)(slash - path) + 1) : xstrdup(".");
	autoclose int fd = openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -1 : fsync(fd);
}

static int write_new_file(int dirfd, const char *path, const void *data, size_t n, mode_t mode, bool durable)
{
	autoclose int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);

	if (fd < 0 || fchmod(fd, mode) || io_write_all(fd, data, n) || (durable && fdatasync(fd)))
		return -1;
	return close(take_fd(&fd));
}

int io_write_file(int dirfd, const char *path, const void *data, size_t n, mode_t mode, bool durable, struct err *e)
{
	char random[13];

	random_hex(random, 6);
	autofree char *aside = xasprintf("%s.tmp%s", path, random);

	if (write_new_file(dirfd, aside, data, n, mode, durable) || renameat(dirfd, aside, dirfd, path)) {
		int saved = errno;

		unlinkat(dirfd, aside, 0);
		return err_set(e, ERR_SYSTEM, saved, "write %s", path);
	}
	if (durable && sync_directory_of(dirfd, path))
		return err_set(e, ERR_SYSTEM, errno, "sync directory of %s", path);
	return 0;
}

int io_write_kernel(int dirfd, const char *path, const char *text, struct err *e)
{
	autoclose int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
	size_t n = strlen(text);

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, errno, "open %s", path);
	ssize_t w = write(fd, text, n);

	if (w != (ssize_t)n)
		return err_set(e, ERR_SYSTEM, w < 0 ? errno : EIO, "write \"%s\" to %s", text, path);
	return 0;
}

int io_mkdir_all(const char *path, mode_t mode, struct err *e)
{
	autofree char *p = xstrdup(path);

	for (char *s = p + 1; *s; s++) {
		if (*s != '/')
			continue;
		*s = 0;
		if (mkdir(p, mode) && errno != EEXIST)
			return err_set(e, ERR_SYSTEM, errno, "mkdir %s", p);
		*s = '/';
	}
	if (mkdir(p, mode) && errno != EEXIST)
		return err_set(e, ERR_SYSTEM, errno, "mkdir %s", p);
	return 0;
}

struct remove {
	int top;     /* the tree's root directory */
	dev_t dev;   /* other file systems are left alone: a forgotten mount must not cost its content */
	bool lifted; /* something was moved up into top: go over it again */
};

static int remove_entries(struct remove *r, int dir, int depth);

/* One name below dir. A hostile tree can be deeper than the descriptors and the stack that we want to spend: what lies
 * below TREE_DEPTH_MAX is moved up into top instead of being entered. */
static int remove_name(struct remove *r, int dir, const char *name, int depth)
{
	struct stat st;
	char up[32] = "deep-";

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -1;
	autoclose int sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (sub < 0)
		return errno == ENOENT ? 0 : -1; /* somebody else removes it too */
	if (fstat(sub, &st))
		return -1;
	if (st.st_dev != r->dev) {
		errno = EBUSY;
		return -1;
	}
	if (depth >= TREE_DEPTH_MAX) {
		random_hex(up + 5, 12);
		r->lifted = true;
		return renameat(dir, name, r->top, up);
	}
	if (remove_entries(r, sub, depth + 1))
		return -1;
	return unlinkat(dir, name, AT_REMOVEDIR) && errno != ENOENT ? -1 : 0;
}

static int remove_entries(struct remove *r, int dir, int depth)
{
	int copy = fcntl(dir, F_DUPFD_CLOEXEC, 0);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *de;
	int failed = 0;

	if (!d) {
		close_fd(&copy);
		return -1;
	}
	rewinddir(d);
	while (!failed && (de = readdir(d)))
		if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
			failed = remove_name(r, dir, de->d_name, depth);
	int saved = errno;

	closedir(d);
	errno = saved;
	return failed;
}

int io_remove_tree(int dirfd, const char *path, struct err *e)
{
	struct stat st;
	autoclose int top = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (top < 0) {
		if (errno != ENOENT && unlinkat(dirfd, path, 0) && errno != ENOENT)
			return err_set(e, ERR_SYSTEM, errno, "remove %s", path);
		return 0;
	}
	if (fstat(top, &st))
		return err_set(e, ERR_SYSTEM, errno, "stat %s", path);
	struct remove r = { .top = top, .dev = st.st_dev };

	do {
		r.lifted = false;
		if (remove_entries(&r, top, 0))
			return err_set(e, ERR_SYSTEM, errno, "remove content of %s", path);
	} while (r.lifted);
	if (unlinkat(dirfd, path, AT_REMOVEDIR))
		return err_set(e, ERR_SYSTEM, errno, "remove %s", path);
	return 0;
}

static int64_t bytes_below(int fd, dev_t dev, int depth)
{
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	struct stat st;
	int64_t sum = 0;

	if (!d) {
		close_fd(&fd);
		return 0;
	}
	while (depth > 0 && (entry = readdir(d))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != dev)
			continue;
		if (S_ISDIR(st.st_mode))
			sum += bytes_below(
				openat(dirfd(d), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), dev,
				depth - 1);
		else if (S_ISREG(st.st_mode))
			sum += st.st_size;
	}
	closedir(d);
	return sum;
}

int64_t io_tree_bytes(int fd, int depth_max)
{
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0)
		return bytes_below(fd, st.st_dev, depth_max);
	close_fd(&fd);
	return 0;
}

/* gmtime_r(3) would read /etc/localtime: ten system calls that a starting container can do without. */
void time_format(const struct timespec *t, char out[static TIME_TEXT_MAX])
{
	int64_t days = t->tv_sec / 86400, rest = t->tv_sec % 86400;

	if (rest < 0) {
		rest += 86400;
		days--;
	}
	/* Proleptic Gregorian calendar, counted in eras of 400 years from 1 March of year 0. */
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t day_of_era = z - era * 146097;
	int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t shifted_month = (5 * day_of_year + 2) / 153; /* 0 = March */
	int day = (int)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
	int month = (int)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
	int year = (int)(year_of_era + era * 400 + (month <= 2));

	snprintf(out, TIME_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ", year, month, day, (int)(rest / 3600),
		 (int)(rest / 60 % 60), (int)(rest % 60), t->tv_nsec);
}

/* ".123" as nanoseconds; moves *s behind it. */
static long parse_fraction(const char **s)
{
	long nano = 0, unit = 100000000;

	if (**s != '.')
		return 0;
	for ((*s)++; **s >= '0' && **s <= '9'; (*s)++) {
		nano += (**s - '0') * unit;
		unit /= 10;
	}
	return nano;
}

static int parse_unix_seconds(const char *s, struct timespec *out)
{
	char *end;

	errno = 0;
	out->tv_sec = strtoll(s, &end, 10);
	if (end == s || errno)
		return -1;
	const char *rest = end;

	out->tv_nsec = parse_fraction(&rest);
	return *rest ? -1 : 0;
}

int time_parse(const char *s, struct timespec *out)
{
	struct tm tm = { 0 };
	int used = 0;

	if (sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
		   &tm.tm_sec, &used) != 6 ||
	    used < 19)
		return parse_unix_seconds(s, out);
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	s += used;
	out->tv_nsec = parse_fraction(&s);
	out->tv_sec = timegm(&tm);
	if (!strcmp(s, "Z") || !strcmp(s, "z"))
		return 0;
	int hours, minutes, n = 0;

	if ((*s != '+' && *s != '-') || sscanf(s + 1, "%2d:%2d%n", &hours, &minutes, &n) != 2 || s[1 + n])
		return -1;
	out->tv_sec += (*s == '+' ? -1 : 1) * (hours * 3600 + minutes * 60);
	return 0;
}

struct timespec time_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t;
}

int64_t time_monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void random_hex(char *out, size_t n_bytes)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n_bytes; i++) {
		unsigned char byte;

		while (getrandom(&byte, 1, 0) != 1)
			;
		out[2 * i] = digits[byte >> 4];
		out[2 * i + 1] = digits[byte & 15];
	}
	out[2 * n_bytes] = 0;
}
