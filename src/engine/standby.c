/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One virtual machine that waits for the next hyperv container, so that its start needn't clone and warm one. The first
 * is made after the first hyperv container: hosts without such containers pay nothing. It is made in the background, at
 * low priority, and made anew after each use.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/msg.h"
#include "base/own.h"
#include "engine/body.h"
#include "engine/seccomp.h"
#include "engine/spec.h"
#include "engine/state.h"
#include "engine/template_use.h"
#include "monitor/client.h"

#define READY_MS 60000

struct standby {
	struct engine *g;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	bool wanted, stop;
	json_t *like;              /* HostConfig of the last container: the next one will want a machine of the same size */
	bool ready;                /* vm and template are a waiting machine */
	struct monitor_standby vm; /* process.pidfd -1 = none */
	char *template;
};

/* End the monitor of a machine that nobody takes; its VM dies with it. */
static void discard(struct monitor_standby *vm)
{
	siginfo_t info;

	if (vm->process.pidfd >= 0) {
		syscall(SYS_pidfd_send_signal, vm->process.pidfd, SIGKILL, NULL, 0);
		waitid(P_PIDFD, (id_t)vm->process.pidfd, &info, WEXITED);
	}
	close_fd(&vm->process.pidfd);
	close_fd(&vm->sock);
}

/* What a rehearsal is: the small init is told to run a program that isn't there. No program of an image is run in a
 * machine that another container will get. */
static const char rehearsal_body[] = "{\"Cmd\":[\"/nowhere\"],\"HostConfig\":{\"Init\":true,\"NetworkMode\":\"none\"}}";

static json_t *rehearsal_config(const char *id, struct err *e)
{
	autojson *body = json_parse(rehearsal_body, strlen(rehearsal_body), "rehearsal", e);
	autojson *config = body ? body_config(body, e) : NULL;
	autojson *host = config ? body_host(json_object_get(body, "HostConfig"), e) : NULL;
	struct spec_input in = { .id = id, .hostname = "standby", .config = config, .host = host, .hyperv = true };
	json_t *spec = host ? spec_make(&in, e) : NULL;

	if (spec)
		files_add_init(spec);
	return spec;
}

static json_t *rehearsal_silo(struct engine *g, const char *id, uid_t uid, const char *template, const char *disk,
			      struct err *e)
{
	autofree char *cache = xasprintf("%s/cache", g->root);
	autofree char *init = xasprintf("%s/silo-init", g->lib_dir);
	autofree char *hosts = xasprintf("%s/standby/hosts", g->exec_root);
	autofree char *seccomp = NULL;
	autofree char *image = NULL;
	autojson *caps = spec_caps(NULL);
	unsigned flags = 0; /* the default profile has none */
	char image_id[IMAGE_ID_MAX];

	if (image_resolve(g->images, "silo/base:latest", image_id, e))
		return NULL;
	image = image_erofs(g->images, image_id, e);
	if (!image || seccomp_profile_file(cache, caps, NULL, &seccomp, &flags, e) ||
	    io_write_file(AT_FDCWD, hosts, "127.0.0.1\tlocalhost\n", strlen("127.0.0.1\tlocalhost\n"), 0644, false, e))
		return NULL;
	return json_pack("{s:s, s:s, s:{s:s, s:s}, s:[{s:s, s:s}], s:s, s:s, s:{s:s, s:s, s:I}}", "id", id, "isolation",
			 "hyperv", "rootfs", "image", image, "disk", disk, "files", "destination", "/etc/hosts",
			 "source", hosts, "init", init, "seccomp", seccomp, "vm", "template", template, "lib_dir",
			 g->lib_dir, "uid", (json_int_t)uid);
}

static int write_document(const char *dir, const char *name, json_t *j, struct err *e)
{
	autojson *owned = j;
	autofree char *path = xasprintf("%s/%s", dir, name);
	autofree char *text = j ? json_text(j) : NULL;

	return text ? io_write_file(AT_FDCWD, path, text, strlen(text), 0600, false, e) : -1;
}

/* The rehearsal's bundle is EXEC_ROOT/standby; its disk is deleted when it is over. */
static int spawn(struct engine *g, const char *template, const char *disk, struct monitor_standby *vm, struct err *e)
{
	autofree char *program = xasprintf("%s/silo-monitor", g->lib_dir);
	autofree char *dir = xasprintf("%s/standby", g->exec_root);
	char id[32] = "standby-";

	random_hex(id + strlen(id), 6);
	/* A user that no container's VM has: theirs come from the range below. */
	uid_t uid = VM_UID_BASE + VM_UID_COUNT + (uid_t)(strtoul(id + strlen("standby-"), NULL, 16) % VM_UID_COUNT);

	if (io_mkdir_all(dir, 0700, e) || disk_create(g->vm_dir, disk, VM_DISK_BYTES, uid, e) ||
	    write_document(dir, "config.json", rehearsal_config(id, e), e) ||
	    write_document(dir, "silo.json", rehearsal_silo(g, id, uid, template, disk, e), e))
		return -1;
	return monitor_spawn_standby(program, dir, id, uid, VM_DISK_BYTES, STDERR_FILENO, vm, e);
}

/* Blocks until the machine waits, or it can't. */
static int make(struct standby *s, char **template, struct monitor_standby *vm, struct err *e)
{
	autofree char *disk = xasprintf("%s/tmp/standby.ext4", s->g->root);
	autojson *ready = NULL;

	pthread_mutex_lock(&s->lock);
	autojson *like = json_incref(s->like);
	pthread_mutex_unlock(&s->lock);
	*template = vm_template(s->g, like, e);
	if (!*template)
		return -1;
	unlink(disk); /* of a silod that was killed */
	if (spawn(s->g, *template, disk, vm, e) == 0)
		ready = msg_recv(vm->sock, READY_MS, NULL, NULL, e);
	unlink(disk);
	return ready ? 0 : -1;
}

static void fill(struct standby *s)
{
	struct monitor_standby vm = { .process.pidfd = -1, .sock = -1 };
	char *template = NULL;
	struct err e = { 0 };
	bool made;

	pthread_mutex_unlock(&s->lock);
	made = make(s, &template, &vm, &e) == 0;
	if (!made) {
		discard(&vm);
		log_debug("waiting virtual machine: %s", e.msg);
	}
	pthread_mutex_lock(&s->lock);
	free(s->template);
	s->template = template;
	s->vm = vm;
	s->ready = made;
	s->wanted = false;
}

static void *fill_thread(void *arg)
{
	struct standby *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		if (s->wanted && !s->ready)
			fill(s);
		else
			pthread_cond_wait(&s->more, &s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

struct standby *standby_new(struct engine *g, struct err *e)
{
	struct standby *s = xcalloc(1, sizeof(*s));

	s->g = g;
	s->vm = (struct monitor_standby){ .process.pidfd = -1, .sock = -1 };
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->more, NULL);
	errno = pthread_create(&s->thread, NULL, fill_thread, s);
	if (errno) {
		err_set(e, ERR_SYSTEM, errno, "start a thread");
		free(s);
		return NULL;
	}
	return s;
}

void standby_free(struct standby *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->more);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	discard(&s->vm);
	free(s->template);
	json_decref(s->like);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->more);
	free(s);
}

void standby_want(struct standby *s, json_t *host)
{
	pthread_mutex_lock(&s->lock);
	json_decref(s->like);
	s->like = json_incref(host);
	s->wanted = true;
	pthread_cond_signal(&s->more);
	pthread_mutex_unlock(&s->lock);
}

static bool is_alive(const struct monitor_standby *vm)
{
	struct pollfd p = { .fd = vm->process.pidfd, .events = POLLIN };

	return poll(&p, 1, 0) == 0;
}

bool standby_take(struct standby *s, const char *template, const char *bundle_dir, int network, int *pidfd)
{
	struct monitor_standby vm = { .process.pidfd = -1, .sock = -1 };
	struct err e = { 0 };
	bool fits;

	pthread_mutex_lock(&s->lock);
	if (s->ready) {
		vm = s->vm;
		s->vm = (struct monitor_standby){ .process.pidfd = -1, .sock = -1 };
		s->ready = false;
	}
	fits = vm.process.pidfd >= 0 && strcmp(s->template, template) == 0;
	pthread_mutex_unlock(&s->lock);
	if (!fits || !is_alive(&vm) || monitor_give(&vm, bundle_dir, network, &e)) {
		discard(&vm);
		return false;
	}
	close_fd(&vm.sock);
	*pidfd = take_fd(&vm.process.pidfd);
	return true;
}
