/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/process/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/msg.h"
#include "base/own.h"
#include "os/caps.h"
#include "os/extract.h"
#include "os/pidfd.h"
#include "os/root.h"
#include "os/user.h"

#define CAP_BIT(c) (1ull << (c))
#define FIRST_FD 10
#define IN_BYTES (256 * KIB)
#define PASSWD_BYTES_MAX (4 * MIB)
#define FDS_MAX 4096

/* --- paths: as Docker understands them ------------------------------------------------------------------------- */
/* Cleaned, from the root; a "/" or "/." at the end stays: it asks for what a symlink leads to. */
static char *absolute_path(const char *path)
{
	autofree char *clean = path_clean(path);
	bool root = !strcmp(clean, "/");
	size_t n = strlen(path);

	if ((n >= 2 && !strcmp(path + n - 2, "/.")) || !strcmp(path, "."))
		return xasprintf("%s/.", root ? "" : clean);
	return n && path[n - 1] == '/' && !root ? xasprintf("%s/", clean) : take_ptr(&clean);
}

/* The last component; "/" for the root. */
static char *base_name(const char *path)
{
	size_t n = strlen(path), from;

	while (n > 1 && path[n - 1] == '/')
		n--;
	if (n == 1 && *path == '/')
		return xstrdup("/");
	for (from = n; from && path[from - 1] != '/'; from--)
		;
	return xstrndup(path + from, n - from);
}

/* Path of an open object as the container sees it. */
static char *real_path(const struct files *f, int fd)
{
	autofree char *link = xasprintf("self/fd/%d", fd);
	char path[TAR_NAME_MAX];
	ssize_t n = readlinkat(f->proc_fs, link, path, sizeof(path) - 1);

	return n > 0 && *path == '/' ? xstrndup(path, (size_t)n) : NULL;
}

/* Where a symlink leads in the end; of a dangling one what it says. */
static char *link_target(const struct files *f, const char *path, int fd)
{
	autoclose int followed = root_try_open(f->root, path, O_PATH, 0, 0);
	autofree char *dir = xstrdup(path);
	char *real = followed >= 0 ? real_path(f, followed) : NULL, *slash = strrchr(dir, '/');
	char text[TAR_NAME_MAX];
	ssize_t n;

	if (real)
		return real;
	n = readlinkat(fd, "", text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	*slash = '\0';
	autofree char *joined = *text == '/' ? xstrdup(text) : xasprintf("%s/%s", dir, text);

	return path_clean(joined);
}

/* --- stat ------------------------------------------------------------------------------------------------------ */
/* Go's os.FileMode. */
static uint32_t go_mode(mode_t mode)
{
	static const struct {
		mode_t mask, value;
		unsigned bit;
	} bits[] = {
		{ S_IFMT, S_IFDIR, 31 },  { S_IFMT, S_IFLNK, 27 },   { S_IFMT, S_IFBLK, 26 },   { S_IFMT, S_IFCHR, 26 },
		{ S_IFMT, S_IFCHR, 21 },  { S_IFMT, S_IFIFO, 25 },   { S_IFMT, S_IFSOCK, 24 },
		{ S_ISUID, S_ISUID, 23 }, { S_ISGID, S_ISGID, 22 }, { S_ISVTX, S_ISVTX, 20 },
	};
	uint32_t out = mode & 0777;

	for (size_t i = 0; i < array_len(bits); i++)
		if ((mode & bits[i].mask) == bits[i].value)
			out |= 1u << bits[i].bit;
	return out;
}

/* Any bytes as a JSON string; what isn't UTF-8 becomes U+FFFD. */
static json_t *text_json(const char *s)
{
	autostr text;

	str_init(&text, 64 * KIB);
	str_add_json(&text, s, strlen(s));
	return json_loadb(text.s, text.len, JSON_DECODE_ANY, NULL);
}

int files_head(json_t *head, struct err *e)
{
	autojson *owned = head;
	autofree char *text = json_text(owned);
	autofree char *line = xasprintf("%s\n", text);

	return io_write_all(STDOUT_FILENO, line, strlen(line)) ? err_set(e, ERR_SYSTEM, errno, "answer") : 0;
}

static int not_found(const char *path, struct err *e)
{
	bool missing = errno == ENOENT;

	return err_set(e, missing ? ERR_NOT_FOUND : ERR_INVALID, errno, "%.300s", path);
}

/* The path that is asked for, when we are in the container. */
static char *wanted_path(const struct files *f)
{
	autofree char *path = absolute_path(f->path);

	return f->windows ? files_spell(f, path) : take_ptr(&path);
}

/* O_PATH of the object itself, and its head. */
static int open_and_tell(struct files *f, const char *path, struct stat *st, struct err *e)
{
	autoclose int fd = root_try_open(f->root, path, O_PATH | O_NOFOLLOW, 0, 0);
	autofree char *name = base_name(path);
	autofree char *target = NULL;
	char mtime[TIME_TEXT_MAX];

	if (fd < 0 || fstat(fd, st))
		return not_found(path, e);
	if (S_ISLNK(st->st_mode))
		target = link_target(f, path, fd);
	time_format(&st->st_mtim, mtime);
	if (files_head(json_pack("{s:{s:o, s:I, s:I, s:s, s:o}}", "stat", "name", text_json(name), "size",
				 (json_int_t)st->st_size, "mode", (json_int_t)go_mode(st->st_mode), "mtime", mtime,
				 "linkTarget", text_json(target ? target : "")),
		       e))
		return -1;
	return take_fd(&fd);
}

static int do_stat(struct files *f, struct err *e)
{
	autofree char *path = NULL;
	autoclose int fd = -1;
	struct stat st;

	if (files_enter(f, true, e))
		return -1;
	path = wanted_path(f);
	fd = open_and_tell(f, path, &st, e);
	return fd < 0 ? -1 : 0;
}

/* --- get, export ----------------------------------------------------------------------------------------------- */
/* The directory that holds path's last component. */
static int open_parent(struct files *f, const char *path, struct err *e)
{
	autofree char *dir = xstrdup(path);
	char *slash = strrchr(dir, '/');
	int fd;

	slash[slash == dir] = '\0';
	fd = root_try_open(f->root, dir, O_PATH | O_DIRECTORY, 0, 0);
	return fd >= 0 ? fd : not_found(path, e);
}

static int send_tree(int dir, const char *name, const char *as, struct err *e)
{
	struct files_tar *t = files_tar_new();
	int rc = files_tar_add(t, dir, name, as, true, e) || files_tar_end(t, e);

	files_tar_free(t);
	return rc ? -1 : 0;
}

static int do_get(struct files *f, struct err *e)
{
	autofree char *as = base_name(f->path); /* as it was asked for: clients look for this name */
	autofree char *path = NULL;
	autofree char *name = NULL;
	autoclose int fd = -1;
	autoclose int parent = -1;
	struct stat st;

	if (files_enter(f, true, e))
		return -1;
	path = wanted_path(f);
	name = base_name(path);
	fd = open_and_tell(f, path, &st, e);
	if (fd < 0)
		return -1;
	if (S_ISDIR(st.st_mode))
		return send_tree(fd, ".", as, e);
	parent = open_parent(f, path, e);
	return parent < 0 ? -1 : send_tree(parent, name, as, e);
}

static int do_export(struct files *f, struct err *e)
{
	struct files_tar *t;
	size_t n;
	char **names;
	int rc = 0, copy;

	if (files_enter(f, false, e) || files_head(json_object(), e))
		return -1;
	copy = openat(f->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	names = copy < 0 ? NULL : files_names_of(copy, &n, e);
	if (!names)
		return copy < 0 ? err_set(e, ERR_SYSTEM, errno, "open the container's root") : -1;
	t = files_tar_new();
	for (size_t i = 0; names[i] && !rc; i++)
		rc = files_tar_add(t, f->root, names[i], names[i], true, e);
	rc = rc || files_tar_end(t, e);
	files_tar_free(t);
	files_names_free(names);
	return rc ? -1 : 0;
}

/* --- put ------------------------------------------------------------------------------------------------------- */
struct input {
	char *data;
};

static ssize_t next_input(void *arg, const void **data, struct err *e)
{
	struct input *in = arg;
	ssize_t n;

	do
		n = read(STDIN_FILENO, in->data, IN_BYTES);
	while (n < 0 && errno == EINTR);
	*data = in->data;
	return n < 0 ? err_set(e, ERR_SYSTEM, errno, "read archive") : n;
}

static int find_owner(struct files *f, struct extract *x, struct err *e)
{
	autofree struct user_ids *ids = xcalloc(1, sizeof(*ids));
	autostr passwd, group;

	str_init(&passwd, PASSWD_BYTES_MAX);
	str_init(&group, PASSWD_BYTES_MAX);
	if (root_read_file(f->root, "/etc/passwd", &passwd, e) || root_read_file(f->root, "/etc/group", &group, e) ||
	    user_resolve(f->owner, passwd.s ? passwd.s : "", group.s ? group.s : "", ids, e))
		return -1;
	x->has_owner = true;
	x->uid = ids->uid;
	x->gid = ids->gid;
	return 0;
}

/* The entry's place below x->base: where it is spelt otherwise there, that way. */
static int entry_path(const struct files *f, const struct extract *x, const char *name, char out[static TAR_NAME_MAX],
		      struct err *e)
{
	char plain[TAR_NAME_MAX];

	if (!f->windows)
		return extract_clean_path(name, out, e);
	files_windows_name(name, plain);
	if (extract_clean_path(plain, out, e) || !*out)
		return *out ? -1 : 0;
	autofree char *whole = xasprintf("%s/%s", x->base, out);
	autofree char *spelt = files_spell(f, whole);

	return extract_clean_path(spelt + strlen(x->base), out, e);
}

static int put_entries(const struct files *f, struct extract *x, struct tar_reader *r, struct err *e)
{
	char path[TAR_NAME_MAX];
	struct extract_place at;
	const struct tar_entry *t;
	int rc;

	while ((rc = tar_next(r, &t, e)) > 0) {
		path[0] = '\0'; /* for the analyzer */
		if (entry_path(f, x, t->name, path, e))
			return -1;
		/* The directory itself stays as it is. */
		if (!path[0])
			continue;
		if (extract_place(x, path, &at, e) || extract_object(x, t, r, &at, e))
			return err_prefix(e, "%.200s", path);
	}
	return rc < 0 || extract_finish(x, e) ? -1 : 0;
}

static int do_put(struct files *f, struct err *e)
{
	autofree char *path = NULL;
	autofree char *real = NULL;
	autoclose int dir = -1;
	struct input in = { 0 };
	struct extract x = { .parent = -1, .no_overwrite = f->no_overwrite };
	struct tar_reader *r;
	struct stat st;
	int rc;

	if (files_enter(f, true, e))
		return -1;
	path = wanted_path(f);
	dir = root_try_open(f->root, path, O_PATH, 0, 0);
	if (dir < 0 || fstat(dir, &st))
		return not_found(path, e);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ERR_INVALID, 0, "extraction point is not a directory");
	real = real_path(f, dir);
	x.root = f->root;
	x.base = real ? real : path;
	if ((f->owner && find_owner(f, &x, e)) || files_head(json_pack("{s:o}", "resolved", text_json(x.base)), e))
		return -1;
	x.base += strcmp(x.base, "/") == 0;
	in.data = xmalloc(IN_BYTES);
	r = tar_reader_new(next_input, &in);
	rc = put_entries(f, &x, r, e);
	tar_reader_free(r);
	extract_fini(&x);
	free(in.data);
	return rc;
}

/* --- the child ------------------------------------------------------------------------------------------------- */
static const struct op {
	const char *name;
	bool mounts; /* it works on the container's mounts; else on the layers, whose marks only SYS_ADMIN sees */
	int (*run)(struct files *f, struct err *e);
} ops[] = {
	{ "stat",   true,  do_stat    },
	{ "get",    true,  do_get     },
	{ "put",    true,  do_put     },
	{ "export", true,  do_export  },
	{ "diff",   false, files_diff },
	{ "layer",  false, files_layer },
};

static const struct op *op_find(const char *name)
{
	for (size_t i = 0; i < array_len(ops); i++)
		if (!strcmp(ops[i].name, name))
			return &ops[i];
	return NULL;
}

/* Until the mounts have been entered SYS_ADMIN is needed; files_enter() is the first thing of those that do. */
int files_drop_rights(bool keep_admin, struct err *e)
{
	uint64_t keep = CAP_BIT(CAP_CHOWN) | CAP_BIT(CAP_DAC_OVERRIDE) | CAP_BIT(CAP_DAC_READ_SEARCH) |
			CAP_BIT(CAP_FOWNER) | CAP_BIT(CAP_FSETID) | CAP_BIT(CAP_MKNOD) | CAP_BIT(CAP_SETFCAP) |
			(keep_admin ? CAP_BIT(CAP_SYS_ADMIN) : 0);
	const struct rlimit fds = { FDS_MAX, FDS_MAX };
	struct caps own, c = { 0 };

	if (caps_get(&own, e) || caps_limit_bounding(0, e))
		return -1;
	c.effective = c.permitted = keep & own.permitted;
	(void)!setrlimit(RLIMIT_NOFILE, &fds); /* a lower limit only means less deep trees */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return err_set(e, ERR_SYSTEM, errno, "no_new_privs");
	return caps_set(&c, e);
}

/* The writable layer and those below it, while the host's paths are still there. */
static int open_layers(struct files *f, struct err *e)
{
	const struct rootfs *r = &f->c->b->rootfs;

	if (!r->upper)
		return err_set(e, ERR_UNSUPPORTED, 0, "the container's root file system has no writable layer");
	f->root = open(r->upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->root < 0)
		return err_set(e, ERR_SYSTEM, errno, "open the writable layer");
	f->layers = xcalloc(r->n_layers + 1, sizeof(*f->layers));
	for (f->n_layers = 0; f->n_layers < r->n_layers; f->n_layers++) {
		f->layers[f->n_layers] = open(r->layers[f->n_layers], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (f->layers[f->n_layers] < 0)
			return err_set(e, ERR_SYSTEM, errno, "open a layer");
	}
	return 0;
}

static int use_stdio(const struct process_io *io, struct err *e)
{
	const int given[] = { io->in, io->out, io->err };
	int ends[3];

	for (int i = 0; i < 3; i++) {
		ends[i] = given[i] < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC)
				       : fcntl(given[i], F_DUPFD_CLOEXEC, FIRST_FD);
		if (ends[i] < 0)
			return err_set(e, ERR_SYSTEM, errno, "streams");
	}
	for (int i = 0; i < 3; i++)
		if (dup2(ends[i], i) < 0)
			return err_set(e, ERR_SYSTEM, errno, "streams");
	return 0;
}

/* Nothing of the supervisor stays open but what the work needs: its sockets must close when it closes them. */
static int close_others(struct files *f, struct err *e)
{
	int keep = fcntl(f->c->init.pidfd, F_DUPFD_CLOEXEC, FIRST_FD);

	if (keep < 0 || dup2(keep, 3) < 0 || close_range(4, ~0u, 0))
		return err_set(e, ERR_SYSTEM, errno, "close descriptors");
	return 0;
}

static void report(const struct err *e)
{
	autojson *body = e->kind ? msg_error(e) : json_object();
	autofree char *text = json_text(body);
	autofree char *line = xasprintf("%s\n", text);

	(void)!io_write_all(STDERR_FILENO, line, strlen(line));
}

static int prepare(struct files *f, const struct op *op, const struct process_io *io, struct err *e)
{
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(0);
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		return err_set(e, ERR_SYSTEM, errno, "prctl");
	if (use_stdio(io, e) || close_others(f, e))
		return -1;
	return op->mounts ? 0 : open_layers(f, e) || files_drop_rights(true, e) ? -1 : 0;
}

static _Noreturn void child(struct files *f, const struct op *op, const struct process_io *io)
{
	/* The copy of the container's handle that is ours: its pidfd has another number here. */
	struct container c = *f->c;
	struct err e = { 0 };
	int rc;

	rc = prepare(f, op, io, &e);
	c.init.pidfd = 3;
	f->c = &c;
	rc = rc || op->run(f, &e);
	report(&e);
	_exit(rc ? 1 : 0);
}

struct process *files_start(struct container *c, const json_t *request, struct process_io *io, struct err *e)
{
	const struct op *op = op_find(json_str(request, "op", ""));
	struct files f = { .c = c,
			   .path = json_str(request, "path", "/"),
			   .owner = json_str(request, "owner", NULL),
			   .no_overwrite = json_bool(request, "no_overwrite", false),
			   .windows = json_bool(request, "windows", false),
			   .proc_fs = -1,
			   .root = -1 };
	struct process *p;

	if (!op || io->tty) {
		err_set(e, ERR_INVALID, 0, "files: unknown operation");
		return NULL;
	}
	p = xcalloc(1, sizeof(*p));
	*p = (struct process){ .c = c, .pidfd = -1, .tty = -1, .listener = -1, .report = -1, .report_end = -1,
				.first = -1 };
	/* Not in the container's cgroup: a frozen container has files too, and its limits are not ours. */
	p->pid = pidfd_clone(0, -1, &p->pidfd, e);
	if (p->pid == 0)
		child(&f, op, io);
	if (p->pid > 0 && !process_watch(p, e))
		return p;
	if (p->pid > 0)
		process_abort(p);
	close_fd(&p->pidfd);
	free(p);
	return NULL;
}
