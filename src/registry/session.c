/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/msg.h"
#include "base/own.h"
#include "registry/internal.h"

#define START_MS 60000 /* until the helper is in its jail; on a busy machine */
#define TICK_MS 200

struct session {
	atomic_int refs;
	int control;
	pid_t pid;
	pthread_mutex_t lock; /* one sender at a time */
};

static const char *const passed_on[] = { "http_proxy",  "https_proxy", "all_proxy", "no_proxy",
					 "HTTPS_PROXY", "ALL_PROXY",   "NO_PROXY",  "HTTP_PROXY" };

/* silod's proxies are the helper's. curl reads http_proxy in small letters only. */
static void proxy_environment(char *env[static array_len(passed_on) + 1])
{
	size_t n = 0;

	for (size_t i = 0; i < array_len(passed_on); i++) {
		const char *value = getenv(passed_on[i]);

		if (value)
			env[n++] = xasprintf("%s=%s", strcmp(passed_on[i], "HTTP_PROXY") ? passed_on[i] : "http_proxy",
					     value);
	}
	env[n] = NULL;
}

static int spawn(const char *program, int control, pid_t *pid)
{
	char *env[array_len(passed_on) + 1];
	char *const argv[] = { "silo-registry", NULL };
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none;
	int rc;

	sigemptyset(&none);
	proxy_environment(env);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, control, REGISTRY_CONTROL_FD);
	rc = posix_spawn(pid, program, &fa, &attr, argv, env);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	for (size_t i = 0; env[i]; i++)
		free(env[i]);
	return rc;
}

static int start_helper(struct session *s, const char *program, struct err *e)
{
	int pair[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return err_set(e, ERR_SYSTEM, errno, "socketpair");
	s->control = pair[0];
	/* dup2() to the same number would leave close-on-exec set. */
	if (pair[1] == REGISTRY_CONTROL_FD)
		fcntl(pair[1], F_SETFD, 0);
	rc = spawn(program, pair[1], &s->pid);
	close(pair[1]);
	if (!rc)
		return 0;
	s->pid = 0;
	return err_set(e, ERR_SYSTEM, rc, "%s", program);
}

struct session *session_open(struct registry *r, const char *name, bool pull, const json_t *auth, struct err *e)
{
	struct session *s = xcalloc(1, sizeof(*s));
	autojson *config = settings_helper(&r->settings, name, pull, auth);
	int rc;

	s->refs = 1;
	s->control = -1;
	pthread_mutex_init(&s->lock, NULL);
	rc = start_helper(s, r->o.helper_path, e);
	if (!rc) {
		autojson *ready = msg_call(s->control, config, NULL, 0, START_MS, e);

		rc = ready ? 0 : -1;
	}
	if (!rc)
		return s;
	err_prefix(e, "silo-registry");
	session_put(s);
	return NULL;
}

struct session *session_get(struct session *s)
{
	s->refs++;
	return s;
}

void session_put(struct session *s)
{
	if (!s || --s->refs)
		return;
	close_fd(&s->control);
	if (s->pid > 0) {
		kill(s->pid, SIGKILL);
		while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* op is taken, the files (-1: none) are borrowed. */
static int start(struct session *s, json_t *op, int file, int file2, struct err *e)
{
	autojson *owned = op;
	int pair[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return err_set(e, ERR_SYSTEM, errno, "socketpair");
	const int fds[] = { pair[1], file, file2 };

	pthread_mutex_lock(&s->lock);
	rc = msg_send(s->control, owned, fds, file < 0 ? 1 : file2 < 0 ? 2 : 3, e);
	pthread_mutex_unlock(&s->lock);
	close(pair[1]);
	if (!rc)
		return pair[0];
	close(pair[0]);
	return err_prefix(e, "silo-registry");
}

int session_start(struct session *s, json_t *op, int file, struct err *e)
{
	return start(s, op, file, -1, e);
}

/* The helper's error: made of what a registry has said. */
static void take_error(const json_t *message, char *code, struct err *e)
{
	if (code)
		snprintf(code, ANSWER_CODE_MAX, "%s", json_str(message, "code", ""));
	if (!msg_check_error(message, e))
		err_set(e, ERR_SYSTEM, 0, "silo-registry: bad answer");
	text_clean(e->msg);
}

json_t *session_finish(int reply, session_tell_fn *tell, void *arg, char *code, struct err *e)
{
	autoclose int sock = reply;

	if (code)
		*code = '\0';
	for (;;) {
		struct err mine = { 0 };
		autojson *m = msg_recv(sock, TICK_MS, NULL, NULL, &mine);
		json_t *done = json_object_get(m, "done");

		if (json_is_object(done))
			return json_incref(done);
		if (!m && mine.kind != ERR_TIMEOUT)
			return err_set(e, ERR_SYSTEM, 0, "silo-registry ended unexpectedly"), NULL;
		if (m && json_object_get(m, "error"))
			return take_error(m, code, e), NULL;
		if (tell && tell(arg, m))
			return err_set(e, ERR_SYSTEM, 0, "context canceled"), NULL;
	}
}

json_t *session_call(struct session *s, json_t *op, int file, session_tell_fn *tell, void *arg, char *code,
		     struct err *e)
{
	int reply = session_start(s, op, file, e);

	return reply < 0 ? NULL : session_finish(reply, tell, arg, code, e);
}

int session_compress(struct session *s, int in, int out, session_tell_fn *tell, void *arg, struct err *e)
{
	int reply = start(s, json_pack("{s:s}", "op", "compress"), in, out, e);
	autojson *done = reply < 0 ? NULL : session_finish(reply, tell, arg, NULL, e);

	return done ? 0 : -1;
}

char *session_text(struct session *s, json_t *op, session_tell_fn *tell, void *arg, json_t **result, char *code,
		   size_t *n, struct err *e)
{
	autoclose int file = memfd_create("silo-registry", MFD_CLOEXEC);
	off_t size;

	if (code)
		*code = '\0';
	if (file < 0) {
		json_decref(op);
		return err_set(e, ERR_SYSTEM, errno, "memfd_create"), NULL;
	}
	autojson *done = session_call(s, op, file, tell, arg, code, e);

	if (!done)
		return NULL;
	size = lseek(file, 0, SEEK_END);
	if (size < 0 || (uint64_t)size > REGISTRY_JSON_MAX)
		return err_set(e, ERR_LIMIT, 0, "the registry's answer is larger than %llu bytes",
			       (unsigned long long)REGISTRY_JSON_MAX),
		       NULL;
	autofree char *text = xmalloc((size_t)size + 1);

	if (pread(file, text, (size_t)size, 0) != size)
		return err_set(e, ERR_SYSTEM, errno, "read"), NULL;
	text[size] = '\0';
	*n = (size_t)size;
	if (result)
		*result = json_incref(done);
	return take_ptr(&text);
}
