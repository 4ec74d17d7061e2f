/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "monitor/standby.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/json.h"
#include "base/msg.h"
#include "base/own.h"
#include "monitor/client.h"

#define WAITING_NICE 10

struct wait {
	bool called; /* silod has spoken, or gone */
	bool stopped;
	bool lost;
};

static void on_called(void *arg, uint32_t events unused_arg)
{
	((struct wait *)arg)->called = true;
}

static void on_stopped(void *arg, uint32_t events unused_arg)
{
	((struct wait *)arg)->stopped = true;
}

static void on_lost(void *arg, const struct err *why unused_arg)
{
	((struct wait *)arg)->lost = true;
}

static int wait_for_call(struct loop *l, int sock, int stop_fd, struct wait *w, struct err *e)
{
	struct loop_io *call = loop_add(l, sock, EPOLLIN, on_called, w, e);
	struct loop_io *stop = call ? loop_add(l, stop_fd, EPOLLIN, on_stopped, w, e) : NULL;
	int rc = stop ? 0 : -1;

	while (rc == 0 && !w->called && !w->stopped && !w->lost)
		rc = loop_once(l, -1, e) < 0 ? -1 : 0;
	loop_remove(&call);
	loop_remove(&stop);
	if (w->lost)
		return err_set(e, ERR_SYSTEM, 0, "the waiting virtual machine has died");
	return rc;
}

/* Waiting machines are made beside containers that somebody waits for. Priority belongs to threads; children inherit. */
static void set_nice(pid_t pid, int nice)
{
	autofree char *path = xasprintf("/proc/%d/task", pid);
	DIR *d = opendir(path);
	struct dirent *de;

	while (d && (de = readdir(d)))
		if (de->d_name[0] != '.')
			setpriority(PRIO_PROCESS, (id_t)strtoul(de->d_name, NULL, 10), nice);
	if (d)
		closedir(d);
}

/* 1: an order; 0: silod has gone. */
static int take_order(int sock, struct monitor_options *o, struct err *e)
{
	int fds[MSG_FDS_MAX];
	size_t n_fds;
	autojson *order = msg_recv(sock, 0, fds, &n_fds, e);
	const char *dir = json_str(order, "bundle", NULL);

	if (!order && e->kind == ERR_NOT_FOUND)
		return 0;
	if (!dir || n_fds < 2 || n_fds > 3)
		return order ? err_set(e, ERR_INVALID, 0, "an order needs a bundle and its descriptors") : -1;
	if (dup2(fds[1], STDOUT_FILENO) < 0 || dup2(fds[1], STDERR_FILENO) < 0)
		return err_set(e, ERR_SYSTEM, 0, "log");
	close(fds[1]);
	if (n_fds == 3 && fds[2] != MONITOR_NETWORK_FD) {
		if (dup3(fds[2], MONITOR_NETWORK_FD, O_CLOEXEC) < 0)
			return err_set(e, ERR_SYSTEM, 0, "network");
		close(fds[2]);
	}
	o->listener = fds[0];
	o->bundle_dir = xstrdup(dir);
	return 1;
}

static int say_ready(int sock, struct err *e)
{
	autojson *ready = json_pack("{s:b}", "ready", 1);

	return msg_send(sock, ready, NULL, 0, e);
}

int monitor_standby(const struct standby_options *vm, int sock, int stop_fd, struct monitor_options *o, struct err *e)
{
	autoclose int owned = sock;
	struct wait w = { 0 };
	const struct isolation_events ev = { .arg = &w, .sandbox_lost = on_lost };
	struct loop *l = loop_new(e);

	set_nice(getpid(), WAITING_NICE);

	struct sandbox *s = l ? isolation_hyperv.standby_open(vm, l, &ev, e) : NULL;
	int rc = s ? say_ready(sock, e) || wait_for_call(l, sock, stop_fd, &w, e) : -1;

	if (rc == 0 && w.called)
		rc = take_order(sock, o, e);
	if (rc == 1) {
		set_nice(getpid(), 0);
		set_nice(isolation_hyperv.sandbox_pid(s), 0);
		o->loop = l;
		o->standby = s;
		return 1;
	}
	if (s)
		isolation_hyperv.sandbox_close(s);
	loop_free(l);
	return rc;
}
