/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "isolation/hyperv/jail.h"
#include "isolation/hyperv/vm_launch.h"
#include "os/mount.h"

#define CLONE_DEADLINE_MS 30000
#define ORDER_DEADLINE_MS 10000
#define LAST_WORDS_MAX 2048       /* bytes kept for an error text */
#define LAST_WORDS_PIPE (16 * 1024) /* what vmwp can say while nobody reads; more is dropped */

struct vm {
	pid_t pid;
	int pidfd;
	int agent;
	int words; /* read end of vmwp's stderr and of the guest's console */
	struct qmp qmp;
	unsigned attached; /* how often disks were plugged in */
	bool shares;       /* it may get directories of the host */
	char last_words[LAST_WORDS_MAX + 1];
};

static struct vm *vm_new(void)
{
	struct vm *v = xcalloc(1, sizeof *v);

	v->pidfd = v->agent = v->words = v->qmp.sock = -1;
	return v;
}

void vm_free(struct vm *v)
{
	if (!v)
		return;
	jail_kill(&v->pidfd);
	qmp_close(&v->qmp);
	close_fd(&v->agent);
	close_fd(&v->words);
	free(v);
}

int vm_channel(const struct vm *v)
{
	return v->agent;
}

pid_t vm_pid(const struct vm *v)
{
	return v->pid;
}

int vm_pidfd(const struct vm *v)
{
	return v->pidfd;
}

int vm_qmp_fd(const struct vm *v)
{
	return v->qmp.sock;
}

bool vm_drain(struct vm *v)
{
	return qmp_drain(&v->qmp);
}

struct qmp *vm_qmp(struct vm *v)
{
	return &v->qmp;
}

/* The guest can write here: nothing but printable characters gets through. */
static void append_words(struct vm *v, const char *data, size_t n)
{
	size_t have = strlen(v->last_words);

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)data[i];

		if (c == '\r')
			continue;
		if (have == LAST_WORDS_MAX) {
			memmove(v->last_words, v->last_words + LAST_WORDS_MAX / 2, LAST_WORDS_MAX / 2);
			have = LAST_WORDS_MAX / 2;
		}
		v->last_words[have++] = c == '\n' || (c >= ' ' && c < 0x7f) ? (char)c : '?';
	}
	v->last_words[have] = '\0';
}

const char *vm_last_words(struct vm *v)
{
	char buf[1024];
	ssize_t n;
	size_t len;

	/* Bounded, in case somebody keeps writing. */
	for (int round = 0; round < 64 && (n = read(v->words, buf, sizeof buf)) > 0; round++)
		append_words(v, buf, (size_t)n);
	len = strlen(v->last_words);
	while (len && strchr("\n ", v->last_words[len - 1]))
		v->last_words[--len] = '\0';
	return v->last_words;
}

/* ---- start ---- */

/* Descriptors of the child, closed in the parent when it has them. */
struct child_fds {
	int fd[VM_FD_COUNT];
};

static void child_fds_close(struct child_fds *c)
{
	for (size_t i = 0; i < VM_FD_COUNT; i++)
		/* The console's, that of errors and the cards' are copies; the disks of VM_FD_MORE are the caller's. */
		if (i != VM_FD_ERR && i != VM_FD_CONSOLE && i < VM_FD_MORE)
			close_fd(&c->fd[i]);
}

#define autochild __attribute__((cleanup(child_fds_close))) struct child_fds

static int open_pipe_of_words(struct vm *v, struct child_fds *c, struct err *e)
{
	int ends[2];

	/* Non-blocking on both sides: a guest that floods its console must not stop vmwp, nor us. */
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return err_set(e, ERR_SYSTEM, errno, "pipe");
	v->words = ends[0];
	c->fd[VM_FD_OUT] = c->fd[VM_FD_ERR] = c->fd[VM_FD_CONSOLE] = ends[1];
	(void)fcntl(ends[0], F_SETPIPE_SZ, LAST_WORDS_PIPE); /* the default size does as well */
	return 0;
}

static int open_pair(int *ours, int *theirs, struct err *e)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return err_set(e, ERR_SYSTEM, errno, "socketpair");
	*ours = ends[0];
	*theirs = ends[1];
	return 0;
}

/*
 * By a mount of its own that is read-only: who has the descriptor may open the file anew, and vmwp is in command over the
 * files that it can reach.
 */
static int open_readonly(const char *path, struct err *e)
{
	autoclose int place = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW), mount = -1;
	char again[32];
	int fd;

	if (place < 0)
		return err_set(e, ERR_SYSTEM, errno, "open %s", path);
	mount = mount_clone(place, "", false, e);
	if (mount < 0 || mount_change(mount, MOUNT_ATTR_RDONLY, 0, 0, false, e))
		return err_prefix(e, "%s", path);
	snprintf(again, sizeof again, "/proc/self/fd/%d", mount);
	fd = open(again, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? err_set(e, ERR_SYSTEM, errno, "open %s", path) : fd;
}

/* A disk must be a regular file: a device node or a FIFO under its name would be somebody's trick. */
int vm_open_disk(const char *path, int flags, int *fd, struct err *e)
{
	struct stat st;

	if (!path)
		return 0;
	if (flags == O_RDONLY)
		*fd = open_readonly(path, e);
	else
		*fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (*fd < 0)
		return flags == O_RDONLY ? -1 : err_set(e, ERR_SYSTEM, errno, "open %s", path);
	if (fstat(*fd, &st))
		return err_set(e, ERR_SYSTEM, errno, "stat %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_INVALID, 0, "%s: not a regular file", path);
	return 0;
}

/* Nobody is connected with this socket, and nobody can be. */
static int open_no_wire(struct child_fds *c, struct err *e)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, errno, "socket");
	c->fd[VM_FD_NO_WIRE] = fd;
	for (int i = 0; i < GUEST_CARDS; i++)
		c->fd[VM_FD_CARDS + i] = fd;
	return 0;
}

static int open_memory(const struct vm_launch *l, int *fd, struct err *e)
{
	autofree char *path = xasprintf("%s/" TEMPLATE_MEMORY_FILE, l->template_dir);

	if (l->mode == VM_MODE_COLD)
		return 0;
	if (l->mode != VM_MODE_TEMPLATE)
		return vm_open_disk(path, O_RDONLY, fd, e);
	*fd = fcntl(l->memory, F_DUPFD_CLOEXEC, 0);
	return *fd < 0 ? err_set(e, ERR_SYSTEM, errno, "open %s", path) : 0;
}

static int open_all(struct vm *v, const struct vm_launch *l, struct child_fds *c, struct err *e)
{
	c->fd[VM_FD_IN] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (c->fd[VM_FD_IN] < 0)
		return err_set(e, ERR_SYSTEM, errno, "open /dev/null");
	if (!strcmp(l->facts->accelerator, "kvm")) {
		c->fd[VM_FD_KVM] = open("/dev/kvm", O_RDWR | O_CLOEXEC);
		if (c->fd[VM_FD_KVM] < 0)
			return err_set(e, ERR_UNAVAILABLE, errno, "open /dev/kvm");
	}
	if (open_pipe_of_words(v, c, e) || open_pair(&v->qmp.sock, &c->fd[VM_FD_QMP], e) ||
	    open_pair(&v->agent, &c->fd[VM_FD_AGENT], e) || open_no_wire(c, e) ||
	    open_memory(l, &c->fd[VM_FD_MEMORY], e) || vm_open_disk(l->image_path, O_RDONLY, &c->fd[VM_FD_IMAGE], e) ||
	    vm_open_disk(l->disk_path, O_RDWR, &c->fd[VM_FD_DISK], e))
		return -1;
	for (size_t i = 0; i < l->n_more; i++)
		c->fd[VM_FD_MORE + i] = l->more[i].fd;
	if (fcntl(v->agent, F_SETFL, O_NONBLOCK))
		return err_set(e, ERR_SYSTEM, errno, "agent channel");
	return 0;
}

/* The largest file that vmwp has any business to write to: its disks, or the template's memory. */
static uint64_t largest_file(const struct vm_launch *l, const struct child_fds *c)
{
	uint64_t largest = l->later_bytes;
	struct stat st;

	for (size_t i = 0; i < VM_FD_COUNT; i++)
		if ((i == VM_FD_DISK || i == VM_FD_MEMORY || i >= VM_FD_MORE) && c->fd[i] >= 0 &&
		    !fstat(c->fd[i], &st) && (uint64_t)st.st_size > largest)
			largest = (uint64_t)st.st_size;
	return largest;
}

/* Without them nobody could be in command over files for it: such a machine has none of the host. */
static bool host_has_user_namespaces(void)
{
	autostr text;

	str_init(&text, 64);
	return io_read_file(AT_FDCWD, "/proc/sys/user/max_user_namespaces", &text, NULL) || atoll(text.s) > 0;
}

static int spawn(struct vm *v, const struct vm_launch *l, const struct child_fds *c, struct err *e)
{
	autofree char *root = xasprintf("%s/" TEMPLATE_ROOT_DIR, l->template_dir);
	char memory[32], kvm[32], null[32];
	char *envp[] = { "PATH=/usr/bin",
			 "HOME=/",
			 "LC_ALL=C",
			 "QEMU_MODULE_DIR=" VMWP_MODULES,
			 "LD_PRELOAD=" VMWP_SHIM,
			 memory,
			 kvm,
			 null,
			 NULL };
	const struct vm_disks disks = {
		.image = l->image_path, .disk = l->disk_path, .more = l->more, .n_more = l->n_more
	};
	char **argv = vm_args(l->facts, l->mode, l->id, &disks, e);

	v->shares = l->mode != VM_MODE_TEMPLATE && host_has_user_namespaces();
	struct jail_options jail = { .root_path = root,
				     .program = VMWP_PROGRAM,
				     .argv = argv,
				     .envp = envp,
				     .uid = l->uid,
				     .file_bytes = largest_file(l, c),
				     .fds = c->fd,
				     .n_fds = VM_FD_COUNT,
				     .shares = v->shares,
				     .cgroup = l->cgroup,
				     .oom_score_adj = l->oom_score_adj };
	int rc;

	if (!argv)
		return -1;
	snprintf(memory, sizeof memory, "VMWP_MEMORY_FD=%d", VM_FD_MEMORY);
	snprintf(kvm, sizeof kvm, "VMWP_KVM_FD=%d", VM_FD_KVM);
	snprintf(null, sizeof null, "VMWP_NULL_FD=%d", VM_FD_IN);
	rc = jail_spawn(&jail, &v->pid, &v->pidfd, e);
	vm_args_free(argv);
	return rc;
}

/* Add what QEMU said to an error that it caused. */
static void explain(struct vm *v, struct err *e)
{
	const char *words = vm_last_words(v);
	struct err plain = *e;

	if (*words)
		err_set(e, plain.kind, 0, "%.200s: %s", plain.msg,
			words + (strlen(words) > 280 ? strlen(words) - 280 : 0));
}

struct vm *vm_launch(const struct vm_launch *l, struct err *e)
{
	autochild c;
	struct vm *v = vm_new();
	int sock;

	for (size_t i = 0; i < VM_FD_COUNT; i++)
		c.fd[i] = -1;
	if (open_all(v, l, &c, e) || spawn(v, l, &c, e)) {
		vm_free(v);
		return NULL;
	}
	child_fds_close(&c); /* so that QEMU's end is seen as an end of file */
	sock = take_fd(&v->qmp.sock);
	if (qmp_open(&v->qmp, sock, l->deadline_ms, e)) {
		explain(v, e);
		vm_free(v);
		return NULL;
	}
	return v;
}

/* ---- restore ---- */

int vm_migration_capabilities(struct qmp *q, struct err *e)
{
	json_t *arguments = json_pack("{s:[{s:s, s:b}, {s:s, s:b}]}", "capabilities", "capability", "x-ignore-shared",
				      "state", 1, "capability", "events", "state", 1);

	return qmp_call(q, "migrate-set-capabilities", arguments, -1, NULL, e);
}

int vm_migration_wait(struct qmp *q, struct err *e)
{
	for (;;) {
		autojson *event = qmp_wait_event(q, "MIGRATION", e);
		const char *status;

		if (!event)
			return -1;
		status = json_str(json_object_get(event, "data"), "status", "");
		if (!strcmp(status, "completed"))
			return 0;
		if (!strcmp(status, "failed") || !strcmp(status, "cancelled"))
			return err_set(e, ERR_SYSTEM, 0, "QEMU can't save or restore the state of the VM");
	}
}

static int restore(struct vm *v, const char *template_dir, struct err *e)
{
	autofree char *path = xasprintf("%s/" TEMPLATE_STATE_FILE, template_dir);
	autoclose int state = open(path, O_RDONLY | O_CLOEXEC);
	struct qmp *q = &v->qmp;

	if (state < 0)
		return err_set(e, ERR_SYSTEM, errno, "open %s", path);
	if (vm_migration_capabilities(q, e) ||
	    qmp_call(q, "getfd", json_pack("{s:s}", "fdname", "state"), state, NULL, e) ||
	    qmp_call(q, "migrate-incoming", json_pack("{s:s}", "uri", "fd:state"), -1, NULL, e) ||
	    vm_migration_wait(q, e))
		return -1;
	return qmp_call(q, "cont", NULL, -1, NULL, e);
}

struct vm *vm_clone(const struct vm_options *o, struct err *e)
{
	struct vm_facts facts;
	struct vm_launch launch = {
		.facts = &facts,
		.mode = o->cold ? VM_MODE_COLD : VM_MODE_CLONE,
		.template_dir = o->template_dir,
		.id = o->id,
		.uid = o->uid,
		.image_path = o->image_path,
		.disk_path = o->disk_path,
		.more = o->more,
		.n_more = o->n_more,
		.cgroup = o->cgroup,
		.oom_score_adj = o->oom_score_adj,
		.later_bytes = o->later_bytes,
		.memory = -1,
		.deadline_ms = time_monotonic_ms() + CLONE_DEADLINE_MS,
	};
	struct vm *v;

	if (facts_load(o->template_dir, &facts, e))
		return NULL;
	facts.translation_mib = o->translation_mib;
	v = vm_launch(&launch, e);
	if (v && !o->cold && restore(v, o->template_dir, e)) {
		explain(v, e);
		vm_free(v);
		v = NULL;
	}
	facts_fini(&facts);
	if (!v)
		err_prefix(e, "start the virtual machine");
	return v;
}

/* ---- orders to the shim ---- */

int vm_order(struct vm *v, const char *path, struct err *e)
{
	struct qmp *q = &v->qmp;
	json_t *backend = json_pack("{s:s, s:{s:s}}", "type", "file", "data", "out", path);

	q->deadline_ms = time_monotonic_ms() + ORDER_DEADLINE_MS;
	if (qmp_call(q, "chardev-add", json_pack("{s:s, s:o}", "id", "order", "backend", backend), -1, NULL, e))
		return -1;
	return qmp_call(q, "chardev-remove", json_pack("{s:s}", "id", "order"), -1, NULL, e);
}

int vm_trim(struct vm *v, struct err *e)
{
	return vm_order(v, VMWP_TRIM, e);
}

/* ---- shares ---- */

int vm_share(struct vm *v, const int *mounts, size_t n, unsigned first, struct err *e)
{
	if (n && !v->shares)
		return err_set(e, ERR_UNAVAILABLE, 0,
			       "a virtual machine can't have directories of a host without user namespaces "
			       "(user.max_user_namespaces)");
	return jail_share(v->pid, mounts, n, first, e);
}

int vm_unshare(struct vm *v, size_t n, unsigned first, struct err *e)
{
	return jail_unshare(v->pid, n, first, e);
}

/* ---- disks that come later ---- */

/* Open a file in QEMU as a new node, and put it below the node that the device has had from the start. The node of the
 * file that was there before is closed. */
static int attach_disk(struct vm *v, const char *node, int set, int fd, bool read_only, struct err *e)
{
	autofree char *file = xasprintf("%s-file%u", node, v->attached);
	autofree char *old = xasprintf("%s-file%u", node, v->attached - 1);
	autofree char *path = xasprintf("/dev/fdset/%d", set);
	struct qmp *q = &v->qmp;
	json_t *add = json_pack("{s:s, s:s, s:s, s:b, s:s}", "driver", "file", "node-name", file, "filename", path,
				"read-only", read_only, "locking", "off");
	json_t *reopen = json_pack("{s:s, s:s, s:b, s:s}", "driver", "raw", "node-name", node, "read-only", read_only,
				   "file", file);

	if (!read_only) {
		json_object_set_new(add, "discard", json_string("unmap"));
		json_object_set_new(reopen, "discard", json_string("unmap"));
	}
	reopen = json_pack("{s:[o]}", "options", reopen);
	if (qmp_call(q, "add-fd", json_pack("{s:i}", "fdset-id", set), fd, NULL, e)) {
		json_decref(add);
		json_decref(reopen);
		return -1;
	}
	if (qmp_call(q, "blockdev-add", add, -1, NULL, e)) {
		json_decref(reopen);
		return -1;
	}
	if (qmp_call(q, "blockdev-reopen", reopen, -1, NULL, e))
		return -1;
	return v->attached ? qmp_call(q, "blockdev-del", json_pack("{s:s}", "node-name", old), -1, NULL, e) : 0;
}

int vm_attach_disks(struct vm *v, const char *image_path, const char *disk_path, struct err *e)
{
	autoclose int image = -1;
	autoclose int disk = -1;
	int first_set = (int)(1 + v->attached) * VM_FD_COUNT; /* away from those of the command line */

	v->qmp.deadline_ms = time_monotonic_ms() + CLONE_DEADLINE_MS;
	if (vm_open_disk(image_path, O_RDONLY, &image, e) || vm_open_disk(disk_path, O_RDWR, &disk, e) ||
	    attach_disk(v, "image", first_set, image, true, e) || attach_disk(v, "disk", first_set + 1, disk, false, e))
		return err_prefix(e, "disks of the virtual machine");
	v->attached++;
	return 0;
}
