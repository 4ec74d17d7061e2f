/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "monitor/client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/msg.h"
#include "base/own.h"

#define CALL_MS 60000   /* requests that a healthy monitor answers in milliseconds; a guest has its own deadlines */
#define START_MS 180000 /* preparation included: an emulated machine may boot cold */

#define MONITOR_NAME_ROOM 192

#define SOCKET_NAME "monitor.sock"
#define LOG_NAME "monitor.log"

/* --- spawn ------------------------------------------------------------------------------------------------------ */

/* sun_path holds 107 bytes, a directory's path may be longer: name the socket through a descriptor. */
static char *socket_path_at(int dir)
{
	return xasprintf("/proc/self/fd/%d/" SOCKET_NAME, dir);
}

static int open_bundle(const char *bundle_dir, struct err *e)
{
	int dir = open(bundle_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM, errno, "bundle %s", bundle_dir);
	return dir;
}

/* What the monitor gets as 0, 1, 2, 3 and MONITOR_NETWORK_FD. Above that, so that putting one in place doesn't
 * overwrite another. */
struct spawn_fds {
	int null, log, listener, network;
};

static int above(int fd, struct err *e)
{
	autoclose int low = fd;
	int high;

	if (fd < 0 || fd > MONITOR_NETWORK_FD)
		return take_fd(&low);
	high = fcntl(low, F_DUPFD_CLOEXEC, MONITOR_NETWORK_FD + 1);
	return high < 0 ? err_set(e, ERR_SYSTEM, errno, "fcntl") : high;
}

static void spawn_fds_close(struct spawn_fds *f)
{
	close_fd(&f->null);
	close_fd(&f->log);
	close_fd(&f->listener);
	close_fd(&f->network);
}

static int spawn_fds_open(const char *bundle_dir, int network, struct spawn_fds *f, struct err *e)
{
	autoclose int dir = open_bundle(bundle_dir, e);
	autofree char *path = socket_path_at(dir);

	if (dir < 0)
		return -1;
	f->null = above(open("/dev/null", O_RDWR | O_CLOEXEC), e);
	f->log = above(openat(dir, LOG_NAME, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600), e);
	if (f->null < 0 || f->log < 0)
		return err_set(e, ERR_SYSTEM, errno, "descriptors for the monitor of %s", bundle_dir);
	if (network >= 0) {
		f->network = fcntl(network, F_DUPFD_CLOEXEC, MONITOR_NETWORK_FD + 1);
		if (f->network < 0)
			return err_set(e, ERR_SYSTEM, errno, "fcntl");
	}
	f->listener = above(msg_listen(path, 0600, e), e);
	return f->listener < 0 ? -1 : 0;
}

static int spawn_actions(posix_spawn_file_actions_t *a, const struct spawn_fds *f)
{
	return posix_spawn_file_actions_adddup2(a, f->null, 0) || posix_spawn_file_actions_adddup2(a, f->log, 1) ||
	       posix_spawn_file_actions_adddup2(a, f->log, 2) || posix_spawn_file_actions_adddup2(a, f->listener, 3) ||
	       (f->network >= 0 && posix_spawn_file_actions_adddup2(a, f->network, MONITOR_NETWORK_FD)) ||
	       posix_spawn_file_actions_addclosefrom_np(a, MONITOR_NETWORK_FD + (f->network >= 0));
}

static int spawn_attributes(posix_spawnattr_t *at)
{
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	return posix_spawnattr_setflags(at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID) ||
	       posix_spawnattr_setsigmask(at, &none) || posix_spawnattr_setsigdefault(at, &all);
}

/* Returns 0 or an errno. */
static int spawn(const char *program, char *const argv[], const struct spawn_fds *f, pid_t *pid)
{
	const char *fail = getenv("SILO_FAIL_STEP");
	autofree char *fail_env = fail ? xasprintf("SILO_FAIL_STEP=%s", fail) : NULL;
	char path_env[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char *env[] = { path_env, fail_env, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int rc;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	rc = spawn_actions(&actions, f) || spawn_attributes(&attributes) ? ENOMEM : 0;
	/* glibc: CLONE_VM | CLONE_VFORK, so its cost doesn't grow with silod. */
	if (rc == 0)
		rc = posix_spawn(pid, program, &actions, &attributes, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return rc;
}

/* pid and pidfd of what spawn() started. */
static int spawn_process(const char *program, char *const argv[], const struct spawn_fds *f,
			 struct monitor_process *out, struct err *e)
{
	int rc = spawn(program, argv, f, &out->pid);

	if (rc)
		return err_set(e, ERR_SYSTEM, rc, "start %s", program);
	/* No race: a dead child keeps its pid until silod reaps it. */
	out->pidfd = (int)syscall(SYS_pidfd_open, out->pid, 0);
	if (out->pidfd >= 0)
		return 0;
	err_set(e, ERR_SYSTEM, errno, "pidfd_open");
	kill(out->pid, SIGTERM);
	waitpid(out->pid, NULL, 0);
	return -1;
}

int monitor_spawn(const char *program, const char *bundle_dir, int network, struct monitor_process *out, struct err *e)
{
	autofree char *dir = xstrdup(bundle_dir);
	char *argv[] = { (char[]){ "silo-monitor" }, dir, NULL };
	struct spawn_fds f = { -1, -1, -1, -1 };
	int rc;

	*out = (struct monitor_process){ .pidfd = -1 };
	rc = spawn_fds_open(bundle_dir, network, &f, e) || spawn_process(program, argv, &f, out, e) ? -1 : 0;
	spawn_fds_close(&f);
	return rc;
}

/* --- standby ---------------------------------------------------------------------------------------------------- */

int monitor_spawn_standby(const char *program, const char *rehearsal_dir, const char *id, uid_t uid,
			  uint64_t disk_bytes, int log_fd, struct monitor_standby *out, struct err *e)
{
	autofree char *rehearsal = xstrdup(rehearsal_dir);
	autofree char *name = xstrdup(id);
	autofree char *user = xasprintf("%u", uid);
	autofree char *bytes = xasprintf("%llu", (unsigned long long)disk_bytes);
	/* Room for the path of its bundle, so that ps(1) shows whose monitor it has become. */
	autofree char *room = xasprintf("%*s", MONITOR_NAME_ROOM, "");
	char *argv[] = {
		(char[]){ "silo-monitor" }, (char[]){ "--standby" }, rehearsal, name, user, bytes, room, NULL
	};
	struct spawn_fds f = { .null = above(open("/dev/null", O_RDWR | O_CLOEXEC), e),
			       .log = above(fcntl(log_fd, F_DUPFD_CLOEXEC, 4), e),
			       .listener = -1,
			       .network = -1 };
	int ends[2] = { -1, -1 };
	int rc = -1;

	*out = (struct monitor_standby){ .process.pidfd = -1, .sock = -1 };
	if (f.null < 0 || f.log < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) {
		err_set(e, ERR_SYSTEM, errno, "descriptors for a waiting monitor");
	} else {
		f.listener = above(ends[1], e);
		rc = f.listener < 0 ? -1 : spawn_process(program, argv, &f, &out->process, e);
	}
	spawn_fds_close(&f);
	if (rc)
		close_fd(&ends[0]);
	out->sock = ends[0];
	return rc;
}

int monitor_give(struct monitor_standby *s, const char *bundle_dir, int network, struct err *e)
{
	autojson *order = json_pack("{s:s}", "bundle", bundle_dir);
	struct spawn_fds f = { -1, -1, -1, -1 };
	int rc = spawn_fds_open(bundle_dir, network, &f, e);

	if (rc == 0)
		rc = msg_send(s->sock, order, (int[]){ f.listener, f.log, f.network }, network < 0 ? 2 : 3, e);
	spawn_fds_close(&f);
	return rc;
}

/* --- calls ------------------------------------------------------------------------------------------------------ */

int monitor_connect(const char *bundle_dir, struct err *e)
{
	autoclose int dir = open_bundle(bundle_dir, e);
	autofree char *path = socket_path_at(dir);

	return dir < 0 ? -1 : msg_connect(path, e);
}

json_t *monitor_call(const char *bundle_dir, const json_t *request, const int *fds, size_t n_fds, int timeout_ms,
		     struct err *e)
{
	autoclose int sock = monitor_connect(bundle_dir, e);

	return sock < 0 ? NULL : msg_call(sock, request, fds, n_fds, timeout_ms, e);
}

/* As monitor_call, for a request of our own making (taken). */
static json_t *ask(const char *bundle_dir, json_t *request, int timeout_ms, struct err *e)
{
	autojson *owned = request;

	if (!owned) {
		err_set(e, ERR_INVALID, 0, "request: a text isn't UTF-8");
		return NULL;
	}
	return monitor_call(bundle_dir, owned, NULL, 0, timeout_ms, e);
}

/* The answer says nothing but "done". */
static int tell(const char *bundle_dir, json_t *request, struct err *e)
{
	autojson *answer = ask(bundle_dir, request, CALL_MS, e);

	return answer ? 0 : -1;
}

static int watch(const char *bundle_dir, bool hold, json_t **state, struct err *e)
{
	autoclose int sock = monitor_connect(bundle_dir, e);
	autojson *request = json_pack("{s:s, s:b}", "op", "watch", "hold", hold);

	if (sock < 0)
		return -1;
	/* It may still be preparing the container. */
	json_t *answer = msg_call(sock, request, NULL, 0, START_MS, e);

	if (!answer)
		return -1;
	if (state)
		*state = answer;
	else
		json_decref(answer);
	return take_fd(&sock);
}

int monitor_watch(const char *bundle_dir, json_t **state, struct err *e)
{
	return watch(bundle_dir, false, state, e);
}

int monitor_hold(const char *bundle_dir, struct err *e)
{
	return watch(bundle_dir, true, NULL, e);
}

json_t *monitor_state(const char *bundle_dir, struct err *e)
{
	return ask(bundle_dir, json_pack("{s:s}", "op", "state"), CALL_MS, e);
}

json_t *monitor_start(const char *bundle_dir, struct err *e)
{
	return ask(bundle_dir, json_pack("{s:s}", "op", "start"), START_MS, e);
}

static int join(const char *machine_dir, const char *bundle_dir, const int *streams, struct err *e)
{
	autoclose int dir = open_bundle(bundle_dir, e);
	autofree char *path = socket_path_at(dir);
	autoclose int listener = dir < 0 ? -1 : msg_listen(path, 0600, e);
	autojson *request = json_pack("{s:s, s:s}", "op", "join", "bundle", bundle_dir);
	int fds[4] = { listener };
	size_t n = 1;

	if (listener < 0)
		return -1;
	if (streams)
		json_object_set_new(request, "streams", json_array());
	for (size_t i = 0; streams && i < 3; i++) {
		json_array_append_new(json_object_get(request, "streams"), json_boolean(streams[i] >= 0));
		if (streams[i] >= 0)
			fds[n++] = streams[i];
	}
	autojson *answer = monitor_call(machine_dir, request, fds, n, CALL_MS, e);

	return answer ? 0 : -1;
}

int monitor_spawn_joined(const char *machine_dir, const char *bundle_dir, struct err *e)
{
	return join(machine_dir, bundle_dir, NULL, e);
}

int monitor_spawn_in_pod(const char *machine_dir, const char *bundle_dir, const int streams[static 3], struct err *e)
{
	return join(machine_dir, bundle_dir, streams, e);
}

static void add_streams(json_t *request, const struct monitor_streams *s)
{
	json_object_set_new(request, "stdin", json_boolean(s->in));
	json_object_set_new(request, "stdout", json_boolean(s->out));
	json_object_set_new(request, "stderr", json_boolean(s->err));
	if (s->detach_keys && *s->detach_keys)
		json_object_set_new(request, "detach_keys", json_string(s->detach_keys));
}

int monitor_attach(const char *bundle_dir, const struct monitor_streams *s, struct err *e)
{
	autojson *request = json_pack("{s:s}", "op", "attach");

	add_streams(request, s);
	autojson *answer = monitor_call(bundle_dir, request, &s->client, 1, CALL_MS, e);

	return answer ? 0 : -1;
}

pid_t monitor_exec(const char *bundle_dir, const struct monitor_exec *x, struct err *e)
{
	autojson *request = json_pack("{s:s, s:s, s:O, s:b, s:i, s:i}", "op", x->is_files ? "files" : "exec", "id",
				      x->id, "process", x->process, "tty", x->tty, "rows", x->rows, "cols", x->cols);
	const struct monitor_streams *s = x->streams;
	bool has_client = s && s->client >= 0;

	if (!request)
		return err_set(e, ERR_INVALID, 0, "exec: id isn't UTF-8");
	if (has_client)
		add_streams(request, s);
	autojson *answer =
		monitor_call(bundle_dir, request, has_client ? &s->client : NULL, has_client ? 1 : 0, CALL_MS, e);

	return answer ? (pid_t)json_integer_value(json_object_get(answer, "pid")) : -1;
}

int monitor_signal(const char *bundle_dir, const char *exec, int signo, bool all, struct err *e)
{
	return tell(bundle_dir,
		    json_pack("{s:s, s:i, s:b, s:s*}", "op", "signal", "signal", signo, "all", all, "exec", exec), e);
}

int monitor_resize(const char *bundle_dir, const char *exec, int rows, int cols, struct err *e)
{
	return tell(bundle_dir,
		    json_pack("{s:s, s:i, s:i, s:s*}", "op", "resize", "rows", rows, "cols", cols, "exec", exec), e);
}

int monitor_pause(const char *bundle_dir, bool paused, struct err *e)
{
	return tell(bundle_dir, json_pack("{s:s}", "op", paused ? "pause" : "resume"), e);
}

json_t *monitor_top(const char *bundle_dir, const json_t *ps_args, struct err *e)
{
	return ask(bundle_dir, json_pack("{s:s, s:O*}", "op", "top", "args", ps_args), CALL_MS, e);
}

json_t *monitor_stats(const char *bundle_dir, struct err *e)
{
	return ask(bundle_dir, json_pack("{s:s}", "op", "stats"), CALL_MS, e);
}

int monitor_update(const char *bundle_dir, const json_t *resources, struct err *e)
{
	return tell(bundle_dir, json_pack("{s:s, s:O}", "op", "update", "resources", resources), e);
}

int monitor_network(const char *bundle_dir, const json_t *network, const int *taps, size_t n_taps, struct err *e)
{
	autojson *request = json_pack("{s:s, s:O}", "op", "network", "network", network);
	autojson *answer = monitor_call(bundle_dir, request, taps, n_taps, CALL_MS, e);

	return answer ? 0 : -1;
}

int monitor_end(const char *bundle_dir, struct err *e)
{
	return tell(bundle_dir, json_pack("{s:s}", "op", "shutdown"), e);
}
