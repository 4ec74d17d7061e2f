/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * silo-monitor BUNDLE_DIR, with the listening socket as descriptor 3: see monitor/monitor.h.
 * silo-monitor --stand-in BUNDLE_DIR, the same with the container's streams as 0, 1, 2; started by the OCI runtime.
 * silo-monitor --standby BUNDLE_DIR ID UID DISK_BYTES ROOM, with a socket to silod as descriptor 3: see monitor/standby.h.
 */
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "monitor/client.h"
#include "monitor/monitor.h"
#include "monitor/standby.h"

#define LISTENER 3

/* Handlers and not SIG_IGN: what is ignored stays ignored across exec, in the container's programs too. */
static void ignore(int signo unused_arg)
{
}

/* A signalfd for SIGTERM; the container's processes unblock it before exec. */
static int set_signals(struct err *e)
{
	struct sigaction sa = { .sa_handler = ignore, .sa_flags = SA_RESTART };
	static const int ignored[] = { SIGHUP, SIGINT, SIGQUIT, SIGPIPE };
	sigset_t term;
	int fd;

	for (size_t i = 0; i < array_len(ignored); i++)
		sigaction(ignored[i], &sa, NULL);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_SETMASK, &term, NULL);
	fd = signalfd(-1, &term, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? err_set(e, ERR_SYSTEM, 0, "signalfd") : fd;
}

/* Whoever starts it, however careless: own session, no stray descriptors, a known place and mode. */
static void set_process(void)
{
	struct err err;

	setsid(); /* fails when it leads one already */
	close_range(MONITOR_NETWORK_FD + 1, ~0u, 0);
	fcntl(MONITOR_NETWORK_FD, F_SETFD, FD_CLOEXEC); /* there with a network of silod's making */
	fcntl(LISTENER, F_SETFD, FD_CLOEXEC);
	umask(022);
	prctl(PR_SET_NAME, "silo-monitor");
	/* Without the monitor nobody knows how the container ended: let the kernel take it last. */
	if (io_write_kernel(AT_FDCWD, "/proc/self/oom_score_adj", "-999", &err))
		log_debug("%s", err.msg);
	/* Few small allocations: give memory back early, keep no second arena and no thread caches. */
	mallopt(M_TRIM_THRESHOLD, 64 * 1024);
	mallopt(M_MMAP_THRESHOLD, 64 * 1024);
	mallopt(M_TOP_PAD, 0);
	mallopt(M_ARENA_MAX, 1);
}

/* Returns as monitor_standby(). */
static int stand_by(char **argv, struct monitor_options *o, struct err *e)
{
	struct bundle *rehearsal = bundle_load(argv[2], e);
	struct standby_options vm = { .rehearsal = rehearsal,
				      .id = argv[3],
				      .uid = (uid_t)strtoul(argv[4], NULL, 10),
				      .disk_bytes = strtoull(argv[5], NULL, 10) };
	int go;

	if (!rehearsal)
		return -1;
	vm.template_dir = json_str(json_object_get(rehearsal->silo, "vm"), "template", "");
	go = monitor_standby(&vm, LISTENER, o->stop_fd, o, e);
	bundle_free(rehearsal);
	return go;
}

/* The command line of a monitor that has waited becomes that of one that was started for this bundle. */
static void show_bundle(int argc, char **argv, const char *bundle_dir)
{
	size_t room = (size_t)(argv[argc - 1] + strlen(argv[argc - 1]) - argv[0]);
	size_t name = strlen(argv[0]) + 1;

	if (name + strlen(bundle_dir) >= room)
		return;
	memset(argv[0] + name, 0, room - name);
	memcpy(argv[0] + name, bundle_dir, strlen(bundle_dir));
}

int main(int argc, char **argv)
{
	bool standby = argc == 7 && strcmp(argv[1], "--standby") == 0;
	bool stand_in = argc == 3 && strcmp(argv[1], "--stand-in") == 0;
	struct stat st;
	struct err err;
	int go = 1, code = 0;

	log_init("silo-monitor", LOG_LEVEL_INFO);
	if ((argc != 2 && !standby && !stand_in) || fstat(LISTENER, &st) || !S_ISSOCK(st.st_mode)) {
		fprintf(stderr,
			"usage: silo-monitor BUNDLE_DIR, with a listening socket as descriptor 3; started by silod\n");
		return 2;
	}
	set_process();
	/* A waiting monitor gets its network later: the place is kept free for it. */
	if (standby)
		dup3(STDIN_FILENO, MONITOR_NETWORK_FD, O_CLOEXEC);

	autoclose int stop = set_signals(&err);
	struct monitor_options o = { .bundle_dir = argv[argc == 3 ? 2 : 1],
				     .listener = LISTENER,
				     .stop_fd = stop,
				     .stand_in = stand_in,
				     .streams = { -1, -1, -1 },
				     .exit_code = &code };

	if (standby)
		go = stop < 0 ? -1 : stand_by(argv, &o, &err);
	if (standby && go == 1)
		show_bundle(argc, argv, o.bundle_dir);
	autofree char *socket_path = go == 1 ? xasprintf("%s/monitor.sock", o.bundle_dir) : NULL;

	o.socket_path = socket_path;
	if (stop < 0 || go < 0 || (go == 1 && monitor_run(&o, &err))) {
		log_error("%s", err.msg);
		return 1;
	}
	return stand_in ? code : 0;
}
