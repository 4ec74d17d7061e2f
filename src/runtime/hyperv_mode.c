/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Containers of hyperv isolation: the monitor is the stand-in of init among the host's processes. It has the container's
 * streams, and its exit code is the container's.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/msg.h"
#include "base/own.h"
#include "monitor/client.h"
#include "oci/hooks.h"
#include "os/cgroup.h"
#include "os/pidfd.h"
#include "os/run.h"
#include "runtime/guest_stdio.h"
#include "runtime/pod.h"
#include "runtime/pod_network.h"
#include "runtime/runtime.h"

#define TEMPLATE_TIMEOUT_MS (15 * 60 * 1000) /* made once; an emulated one boots slowly */
#define PREPARE_TIMEOUT_MS 180000
#define CALL_TIMEOUT_MS 60000
#define DEATH_TIMEOUT_MS 20000
#define VM_UID_BASE 1900200000u /* after those of the engine */
#define VM_UID_COUNT 65536u
#define LISTENER 3

/* ---- what a VM needs ---- */

static char *find_lib_dir(const struct runtime *rt)
{
	const char *own = getenv("_SILO_SEALED");
	const char *const places[] = { rt->lib_dir, own, "/usr/libexec/silo", "/usr/local/libexec/silo" };

	for (size_t i = 0; i < array_len(places); i++) {
		autofree char *monitor = places[i] ? xasprintf("%s/silo-monitor", places[i]) : NULL;
		autofree char *beside = places[i] ? xasprintf("%s/../libexec/silo/silo-monitor", places[i]) : NULL;

		if (monitor && !access(monitor, X_OK))
			return xstrdup(places[i]);
		if (beside && !access(beside, X_OK))
			return xasprintf("%s/../libexec/silo", places[i]);
	}
	return NULL;
}

/* Where it is, or made: what that takes (archives, a kernel) isn't linked into this program. */
static char *find_template(const struct runtime *rt, const char *lib_dir, struct err *e)
{
	autofree char *tool = xasprintf("%s/silo-tool", lib_dir);
	const char *const argv[] = { tool, "template", "build", "--vm-dir", rt->vm_dir, "--lib-dir", lib_dir, NULL };
	autostr out;
	char *line;

	str_init(&out, 64 * KIB);
	if (run_capture(argv, TEMPLATE_TIMEOUT_MS, &out, e)) {
		err_prefix(e, "template of virtual machines");
		return NULL;
	}
	/* the path is the last line */
	while (out.len && out.s[out.len - 1] == '\n')
		out.s[--out.len] = '\0';
	line = out.s ? strrchr(out.s, '\n') : NULL;
	line = line ? line + 1 : out.s;
	if (line && *line == '/')
		return xstrdup(line);
	err_set(e, ERR_SYSTEM, 0, "template of virtual machines: %s", line ? line : "none");
	return NULL;
}

/* One that no other machine of this root has. The directory is locked, so that two don't choose the same. */
static uid_t free_uid(const struct runtime *rt)
{
	autojson *ids = record_list(rt);
	autofree bool *used = xcalloc(VM_UID_COUNT, sizeof(*used));
	uid_t i = (uid_t)getpid() % VM_UID_COUNT;
	json_t *id;
	size_t k;

	json_array_foreach(ids, k, id) {
		struct err ignored;
		struct record *r = record_open(rt, json_string_value(id), false, &ignored);
		int64_t uid = r ? json_int(json_object_get(json_object_get(r->doc, "silo"), "vm"), "uid", 0) : 0;

		if (uid >= VM_UID_BASE && uid < VM_UID_BASE + VM_UID_COUNT)
			used[uid - VM_UID_BASE] = true;
		record_close(r);
	}
	while (used[i])
		i = (i + 1) % VM_UID_COUNT;
	return VM_UID_BASE + i;
}

/* QEMU's name for it: lower-case letters, digits and '-'. */
static json_t *machine_name(const char *id)
{
	char name[CONTAINER_ID_MAX + 8];
	int n = snprintf(name, sizeof(name), "oci-%s", id);

	for (int i = 0; i < n; i++) {
		name[i] = (char)tolower((unsigned char)name[i]);
		if (!isalnum((unsigned char)name[i]))
			name[i] = '-';
	}
	return json_string(name);
}

static int add_vm(const struct runtime *rt, struct record *r, struct err *e)
{
	autofree char *lib_dir = find_lib_dir(rt);
	autofree char *template = NULL;
	autoclose int root = open(rt->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	json_t *silo = json_object_get(r->doc, "silo");

	if (!lib_dir)
		return err_set(e, ERR_UNAVAILABLE, 0,
			       "silo-monitor isn't beside this program: say where with --lib-dir");
	template = find_template(rt, lib_dir, e);
	if (!template)
		return -1;
	if (root < 0 || flock(root, LOCK_EX))
		return err_set(e, ERR_SYSTEM, errno, "lock %s", rt->root);
	json_object_set_new(silo, "vm",
			    json_pack("{s:o, s:s, s:s, s:I}", "name", machine_name(r->id), "template", template,
				      "lib_dir", lib_dir, "uid", (json_int_t)free_uid(rt)));
	return record_save(r, getpid(), e); /* the uid is taken */
}

/* ---- create ---- */

struct creation {
	struct record *r;
	struct pod_network *network;
};

static _Noreturn void become_monitor(const struct record *r, const char *program, const struct guest_stdio *io,
				     int listener, int tap)
{
	char *const argv[] = { (char[]){ "silo-monitor" }, (char[]){ "--stand-in" }, r->dir, NULL };
	const char *network = json_str(r->doc, "pod_network", NULL);
	autoclose int ns = network ? open(network, O_RDONLY | O_CLOEXEC) : -1;
	char *const env[] = { (char[]){ "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" }, NULL };
	sigset_t none;
	int fds[5];

	/* Who takes the stand-in's namespaces for the container's must not get the host's. */
	if (unshare(CLONE_NEWIPC | CLONE_NEWUTS) || (network && (ns < 0 || setns(ns, CLONE_NEWNET))))
		_exit(126);
	for (int i = 0; i < 3; i++)
		fds[i] = io->fds[i] >= 0 ? io->fds[i] : open("/dev/null", O_RDWR | O_CLOEXEC);
	fds[3] = listener;
	fds[4] = tap;
	for (int i = 0; i < 5; i++)
		fds[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, 10);
	for (int i = 0; i < 5; i++) {
		if (fds[i] >= 0 && dup2(fds[i], i) < 0)
			_exit(126);
	}
	if (tap < 0)
		close(4);
	close_range(5, ~0u, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(program, argv, env);
	_exit(127);
}

static int spawn(struct creation *cr, const struct guest_stdio *io, struct launched *out, struct err *e)
{
	struct record *r = cr->r;
	const char *lib_dir = json_str(json_object_get(json_object_get(r->doc, "silo"), "vm"), "lib_dir", "");
	autofree char *program = xasprintf("%s/silo-monitor", lib_dir);
	autofree char *path = xasprintf("/proc/self/fd/%d/monitor.sock", r->dir_fd);
	autoclose int listener = msg_listen(path, 0600, e);

	if (listener < 0)
		return -1;
	out->pid = pidfd_clone(0, -1, &out->pidfd, e);
	if (out->pid < 0)
		return -1;
	if (out->pid == 0)
		become_monitor(r, program, io, listener, pod_network_tap(cr->network));
	return 0;
}

/* The monitor answers when it has prepared the container; or it has ended. */
static int wait_prepared(const struct record *r, struct err *e)
{
	autojson *request = json_pack("{s:s}", "op", "state");
	autojson *state = monitor_call(r->dir, request, NULL, 0, PREPARE_TIMEOUT_MS, e);

	return state ? 0 : -1;
}

static bool is_in_pod(const struct record *r)
{
	return json_object_get(r->doc, "sandbox");
}

/* Its monitor is that of the pod, which goes on: the end of the connection is the container's. */
static void end_in_pod(const struct record *r)
{
	struct err ignored;
	autoclose int watch = monitor_watch(r->dir, NULL, &ignored);
	json_t *event;

	if (watch < 0 || monitor_end(r->dir, &ignored))
		return;
	while ((event = msg_recv(watch, DEATH_TIMEOUT_MS, NULL, NULL, &ignored)))
		json_decref(event);
}

static void stop_monitor(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int code;

	(void)!pidfd_signal(pidfd, SIGTERM, NULL);
	if (poll(&p, 1, DEATH_TIMEOUT_MS) != 1)
		(void)!pidfd_signal(pidfd, SIGKILL, NULL);
	(void)!pidfd_wait(pidfd, true, &code, NULL);
}

static void hyperv_destroy(struct record *r, struct launched *l)
{
	struct creation *cr = l->container;

	if (is_in_pod(r))
		end_in_pod(r);
	stop_monitor(l->pidfd);
	close_fd(&l->pidfd);
	close_fd(&l->tty);
	pod_network_undo(r->doc);
	pod_network_free(cr->network);
	free(cr);
}

static int run_created_hooks(struct record *r, struct err *e)
{
	autojson *state = record_state(r, STATUS_CREATED);

	json_object_set_new(state, "status", json_string("creating"));
	return hooks_run(r->config, "prestart", state, -1, e) || hooks_run(r->config, "createRuntime", state, -1, e)
		       ? -1
		       : 0;
}

static int connect_network(struct creation *cr, struct err *e)
{
	struct record *r = cr->r;

	cr->network = pod_network_connect(r->config, r->doc, e);
	return cr->network ? 0 : -1;
}

static int launch(struct creation *cr, const struct guest_stdio *io, struct launched *out, struct err *e)
{
	struct record *r = cr->r;

	if (connect_network(cr, e) || record_write(r, "silo.json", json_object_get(r->doc, "silo"), e) ||
	    spawn(cr, io, out, e))
		return -1;
	if (!record_save(r, out->pid, e) && !run_created_hooks(r, e) && !wait_prepared(r, e))
		return 0;
	stop_monitor(out->pidfd);
	close_fd(&out->pidfd);
	return -1;
}

/* ---- stand-ins: processes of ours that the caller waits for ---- */

struct guest_exec {
	const struct record *r;
	char id[24]; /* "": the container's init */
};

static int signal_exec(void *arg, int signo)
{
	const struct guest_exec *x = arg;
	struct err ignored;

	return monitor_signal(x->r->dir, *x->id ? x->id : NULL, signo, false, &ignored);
}

/* Passes signals on and ends as the process in the guest does. */
static _Noreturn void stand_in(struct guest_exec *x, int watch, int signals)
{
	const struct foreground f = { .pidfd = watch, .tty = -1, .signal = signal_exec, .arg = x };

	for (;;) {
		struct err e;
		autojson *event = NULL;

		foreground_run(&f, signals);
		event = msg_recv(watch, CALL_TIMEOUT_MS, NULL, NULL, &e);
		if (!event)
			_exit(e.kind == ERR_TIMEOUT ? 255 : 137);
		if (!strcmp(json_str(event, "event", ""), "exit"))
			_exit(*x->id ? 137 : (int)json_int(event, "exit_code", 255));
		if (!strcmp(json_str(event, "event", ""), "exec_exit") && !strcmp(json_str(event, "id", ""), x->id))
			_exit((int)json_int(event, "exit_code", 255));
	}
}

/* ---- create, in a pod ---- */

/* The container ends with the process, as it would with its init: the connection holds it. */
static _Noreturn void stand_in_for_init(const struct record *r, int watch)
{
	struct guest_exec x = { .r = r };
	int null = open("/dev/null", O_RDWR), signals;
	struct err e;

	setsid();
	prctl(PR_SET_NAME, "silo-pod");
	/* Its end of the streams would keep them open for those who read them. */
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 || dup2(watch, 3) < 0)
		_exit(255);
	close_range(4, ~0u, 0);
	signals = foreground_begin(&e);
	if (signals < 0)
		_exit(255);
	stand_in(&x, 3, signals);
}

static int launch_in_pod(struct record *r, const struct runtime *rt, const struct guest_stdio *io, struct launched *out,
			 struct err *e)
{
	struct record *sandbox = pod_open_sandbox(rt, json_str(r->doc, "sandbox", ""), e);
	autoclose int watch = -1;
	int rc = -1;

	if (sandbox && !record_write(r, "silo.json", json_object_get(r->doc, "silo"), e))
		rc = monitor_spawn_in_pod(sandbox->dir, r->dir, io->fds, e);
	record_close(sandbox);
	if (rc)
		return -1;
	watch = monitor_hold(r->dir, e);
	if (watch < 0 || wait_prepared(r, e))
		return -1;
	out->pid = pidfd_clone(0, -1, &out->pidfd, e);
	if (out->pid == 0)
		stand_in_for_init(r, watch);
	return out->pid < 0 || record_save(r, out->pid, e) || run_created_hooks(r, e) ? -1 : 0;
}

static int hyperv_create(struct record *r, const struct launch_options *o, bool started, struct launched *out,
			 struct err *e)
{
	const json_t *process = json_object_get(r->config, "process");
	struct creation *cr = xcalloc(1, sizeof(*cr));
	struct guest_stdio io;
	int rc;

	cr->r = r;
	*out = (struct launched){ .pidfd = -1, .tty = -1, .container = cr };
	if (o->preserve_fds) {
		free(cr);
		return err_set(e, ERR_UNSUPPORTED, 0,
			       "--preserve-fds: descriptors can't be handed into a virtual machine");
	}
	if (guest_stdio_open(&io, r->dir, NULL, json_bool(process, "terminal", false), e)) {
		free(cr);
		return -1;
	}
	if (is_in_pod(r))
		rc = launch_in_pod(r, o->runtime, &io, out, e);
	else
		rc = add_vm(o->runtime, r, e) || launch(cr, &io, out, e) ? -1 : 0;
	if (!rc && io.master >= 0 && o->console_socket)
		rc = console_send(o->console_socket, io.master, e);
	if (!o->console_socket)
		out->tty = take_fd(&io.master);
	guest_stdio_close(&io);
	if (!rc)
		return 0;
	if (is_in_pod(r))
		end_in_pod(r);
	if (out->pidfd >= 0)
		stop_monitor(out->pidfd);
	close_fd(&out->pidfd);
	close_fd(&out->tty);
	pod_network_undo(r->doc);
	pod_network_free(cr->network);
	free(cr);
	return -1;
}

static int hyperv_start(struct record *r, struct err *e)
{
	autojson *answer = monitor_start(r->dir, e);

	return answer ? 0 : -1;
}

static int hyperv_start_created(struct record *r, struct launched *l, struct err *e)
{
	return hyperv_start(r, e);
}

/* What is on its way to a file has to be there before we end; our only children that are left. */
static void wait_copiers(void)
{
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}

static int hyperv_wait(struct launched *l, struct err *e)
{
	int code;

	if (pidfd_wait(l->pidfd, true, &code, e) < 0)
		return -1;
	wait_copiers();
	return code;
}

static void hyperv_leave(struct launched *l)
{
	struct creation *cr = l->container;

	close_fd(&l->pidfd);
	close_fd(&l->tty);
	pod_network_free(cr->network);
	free(cr);
}

/* ---- exec ---- */

static int request_exec(const struct guest_exec *x, const json_t *process, const struct guest_stdio *io, struct err *e)
{
	uint16_t rows, cols;
	autojson *request = json_pack("{s:s, s:s, s:O, s:b, s:b, s:b, s:b, s:b, s:b}", "op", "exec", "id", x->id,
				      "process", process, "tty", io->terminal, "direct", !io->terminal, "no_keys", 1,
				      "stdin", io->terminal || io->fds[0] >= 0, "stdout",
				      io->terminal || io->fds[1] >= 0, "stderr", io->terminal || io->fds[2] >= 0);
	autojson *answer = NULL;
	int fds[3];
	size_t n = 0;

	console_size(process, &rows, &cols);
	json_object_set_new(request, "rows", json_integer(rows));
	json_object_set_new(request, "cols", json_integer(cols));
	for (int i = 0; i < (io->terminal ? 1 : 3); i++) {
		if (io->fds[i] >= 0)
			fds[n++] = io->fds[i];
	}
	answer = monitor_call(x->r->dir, request, fds, n, CALL_TIMEOUT_MS, e);
	return answer ? 0 : -1;
}

static int run_exec(struct guest_exec *x, const json_t *process, const struct launch_options *o, struct guest_stdio *io,
		    struct err *e)
{
	autojson *state = NULL;
	autoclose int watch = monitor_watch(x->r->dir, &state, e), signals = -1, pidfd = -1;
	int code;
	pid_t pid;

	if (watch < 0 || request_exec(x, process, io, e))
		return -1;
	signals = foreground_begin(e);
	pid = signals < 0 ? -1 : pidfd_clone(0, -1, &pidfd, e);
	if (pid == 0) {
		guest_stdio_close(io);
		stand_in(x, watch, signals);
	}
	if (pid < 0 || (io->master >= 0 && o->console_socket && console_send(o->console_socket, io->master, e)) ||
	    write_pid_file(o->pid_file, pid, e)) {
		signal_exec(x, SIGKILL);
		return -1;
	}
	/* the monitor has its own copies, and what is left open here would keep a stream from its end */
	for (int i = 0; i < 3; i++)
		close_fd(&io->fds[i]);
	if (o->detach)
		return 0;

	const struct foreground f = {
		.pidfd = pidfd, .tty = o->console_socket ? -1 : io->master, .signal = signal_exec, .arg = x
	};

	foreground_run(&f, signals);
	if (pidfd_wait(pidfd, true, &code, e) < 0)
		return -1;
	wait_copiers();
	return code;
}

static int hyperv_exec(struct record *r, const json_t *process, const struct launch_options *o, struct err *e)
{
	struct guest_exec x = { .r = r };
	struct guest_stdio io;
	int rc;

	if (o->preserve_fds)
		return err_set(e, ERR_UNSUPPORTED, 0,
			       "--preserve-fds: descriptors can't be handed into a virtual machine");
	random_hex(x.id, 8);
	if (guest_stdio_open(&io, r->dir, x.id, json_bool(process, "terminal", false), e))
		return -1;
	rc = run_exec(&x, process, o, &io, e);
	guest_stdio_close(&io);
	return rc;
}

/* ---- the rest ---- */

static int hyperv_kill(struct record *r, int signo, bool all, struct err *e)
{
	if (r->pidfd < 0)
		return err_set(e, ERR_CONFLICT, 0, "container not running");
	return monitor_signal(r->dir, NULL, signo, all, e);
}

static int hyperv_clean(struct record *r, struct err *e)
{
	struct pollfd p = { .fd = r->pidfd, .events = POLLIN };
	struct cgroup *left;

	if (is_in_pod(r))
		end_in_pod(r);
	if (r->pidfd >= 0) {
		(void)!pidfd_signal(r->pidfd, SIGTERM, NULL);
		if (poll(&p, 1, DEATH_TIMEOUT_MS) != 1)
			(void)!pidfd_signal(r->pidfd, SIGKILL, NULL);
		if (poll(&p, 1, DEATH_TIMEOUT_MS) != 1)
			return err_set(e, ERR_TIMEOUT, 0, "process %d doesn't die", r->pid);
	}
	if (is_in_pod(r))
		return 0;
	pod_network_undo(r->doc);
	/* what a monitor that was killed has left of its machine */
	left = record_cgroup(r, NULL);
	if (left)
		cgroup_remove(left);
	return 0;
}

static int hyperv_pause(struct record *r, bool paused, struct err *e)
{
	return monitor_pause(r->dir, paused, e);
}

static int hyperv_update(struct record *r, const json_t *resources, struct err *e)
{
	return monitor_update(r->dir, resources, e);
}

/* Of the host: the container's own have their numbers in the guest. */
static json_t *hyperv_pids(struct record *r, struct err *e)
{
	autojson *state = monitor_state(r->dir, e);
	json_t *pids = state ? json_pack("[i]", (int)r->pid) : NULL;
	int64_t vm = json_int(state, "sandbox_pid", 0);

	if (pids && vm > 0)
		json_array_append_new(pids, json_integer(vm));
	return pids;
}

static json_t *hyperv_stats(struct record *r, struct err *e)
{
	return monitor_stats(r->dir, e);
}

const struct mode hyperv_mode = {
	.create = hyperv_create,
	.start_created = hyperv_start_created,
	.start = hyperv_start,
	.wait = hyperv_wait,
	.leave = hyperv_leave,
	.destroy = hyperv_destroy,
	.exec = hyperv_exec,
	.kill = hyperv_kill,
	.clean = hyperv_clean,
	.pause = hyperv_pause,
	.update = hyperv_update,
	.pids = hyperv_pids,
	.stats = hyperv_stats,
};
