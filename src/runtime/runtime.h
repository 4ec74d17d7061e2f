/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The OCI runtime: containers without an engine. Each command is a process of its own; what they know of a container is
 * a directory ROOT/ID:
 *
 *	state.json   what `state` tells, and how to find it again (written atomically)
 *	config.json  the specification as it was at create
 *	silo.json    hyperv: the rest of the bundle that the monitor reads
 *	go, status   process: FIFOs of an init that waits to be started
 *	monitor.sock hyperv: the monitor, the container's stand-in among the host's processes
 */
#ifndef SILO_RUNTIME_RUNTIME_H
#define SILO_RUNTIME_RUNTIME_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "oci/bundle.h"

#define RUNTIME_ROOT "/run/silo-oci"

/* Options that every command has. */
struct runtime {
	const char *root;      /* --root */
	const char *isolation; /* --isolation, or the name it was called by; NULL = what the annotation says */
	const char *vm_dir, *lib_dir;
	bool systemd_cgroup;
};

/* Options of create, run and exec. */
struct launch_options {
	const struct runtime *runtime; /* the one of the command */
	const char *bundle;            /* directory */
	const char *console_socket, *pid_file;
	int preserve_fds;
	bool no_pivot, no_new_keyring;
	bool detach, keep;  /* run, exec; run */
	bool ignore_paused; /* exec */
	int listen_fds;     /* of preserve_fds: sockets as in sd_listen_fds(3) */
};

enum container_status { STATUS_CREATED, STATUS_RUNNING, STATUS_PAUSED, STATUS_STOPPED };

/* A container as its directory tells. */
struct record {
	char id[CONTAINER_ID_MAX + 1];
	char *dir;      /* ROOT/ID */
	int dir_fd;     /* locked while the record is open, unless it was opened to look only */
	json_t *doc;    /* state.json */
	json_t *config; /* config.json; NULL until record_config() */
	pid_t pid;
	int pidfd;      /* -1 = it has ended */
	bool hyperv;
};

/* record.c */
int record_check_id(const char *id, struct err *e) must_check;
/* Make the directory. ERR_CONFLICT when there is one. */
struct record *record_new(const struct runtime *rt, const char *id, struct err *e) must_check;
/* ERR_NOT_FOUND "container does not exist". locked: for whoever changes it. */
struct record *record_open(const struct runtime *rt, const char *id, bool locked, struct err *e) must_check;
void record_close(struct record *r);
/* Remove the directory. */
void record_remove(struct record *r);
/* Note the process and write state.json; doc is filled but for that. */
int record_save(struct record *r, pid_t pid, struct err *e) must_check;
int record_config(struct record *r, struct err *e) must_check;
enum container_status record_status(const struct record *r);
const char *status_name(enum container_status s);
/* What `state` prints and hooks read. New reference. */
json_t *record_state(const struct record *r, enum container_status status);
/* The bundle: config.json, and a silo.json made from the record. */
struct bundle *record_bundle(struct record *r, struct err *e) must_check;
/* The cgroup of a process container. */
struct cgroup *record_cgroup(const struct record *r, struct err *e) must_check;
int record_write(const struct record *r, const char *name, const json_t *doc, struct err *e) must_check;
/* Ids of all containers, sorted; new array. */
json_t *record_list(const struct runtime *rt);

/* prepare.c: read a bundle's config.json and check it; relative paths become absolute. New reference. */
json_t *prepare_config(const struct runtime *rt, const char *bundle_dir, struct err *e) must_check;
/* "process" or "hyperv". ERR_INVALID where option, name and annotation disagree. */
const char *prepare_isolation(const struct runtime *rt, const json_t *config, struct err *e) must_check;
/* Fill a new record from a checked config (reference taken). */
int prepare_record(const struct runtime *rt, struct record *r, const char *bundle_dir, const char *isolation,
		   json_t *config, struct err *e) must_check;

/* check.c: ERR_INVALID with the name of the member. */
int check_config(const json_t *config, struct err *e) must_check;
/* guest_devices.c: give linux.devices of a hyperv container the form that isolation/hyperv/devices.h knows. */
int guest_devices_prepare(json_t *config, struct err *e) must_check;

/* scope.c: --systemd-cgroup. Can it be, and is linux.cgroupsPath a "slice:prefix:name" or nothing? */
int scope_check(const char *path, struct err *e) must_check;
/* Note the names in the record. */
int scope_name(struct record *r, const char *path, struct err *e) must_check;
/* Where the record names one: have it made, its cgroup being the container's. *holder: a process in it, to be released
 * when there is another; -1 = none. On failure the caller removes the record, which forgets the scope. */
int scope_start(struct record *r, int *holder, struct err *e) must_check;
void scope_release(int *holder);
int scope_update(const struct record *r, const json_t *resources, struct err *e) must_check;
void scope_forget(const struct record *r);

/* seccomp.c: compile linux.seccomp. *path: file with the filter, NULL = none wanted. *flags, *asks: as in silo.json. */
int seccomp_of_config(const struct runtime *rt, const json_t *config, char **path, unsigned *flags, bool *asks,
		      struct err *e) must_check;
/* Hand the listener to linux.seccomp.listenerPath. */
int seccomp_send_listener(const struct record *r, const json_t *config, pid_t pid, int listener,
			  struct err *e) must_check;

/* console.c */
int console_check(const struct launch_options *o, bool terminal, bool detach, struct err *e) must_check;
/* process.consoleSize; 0 = not said. */
void console_size(const json_t *process, uint16_t *rows, uint16_t *cols);
int console_send(const char *socket_path, int master, struct err *e) must_check;
/* Be between our own stdin/stdout and a terminal (or none: -1) until the process has ended; pass signals on. */
struct foreground {
	int pidfd;
	int tty; /* master, or -1; borrowed */
	int (*signal)(void *arg, int signo);
	void *arg;
};
int foreground_begin(struct err *e) must_check; /* before the container exists: signals wait from now on; an fd */
void foreground_run(const struct foreground *f, int signals);

/* The commands. Return an exit code, or -1 with *e. */
int runtime_create(const struct runtime *rt, const char *id, const struct launch_options *o, struct err *e) must_check;
int runtime_run(const struct runtime *rt, const char *id, const struct launch_options *o, struct err *e) must_check;
int runtime_start(const struct runtime *rt, const char *id, struct err *e) must_check;
int runtime_exec(const struct runtime *rt, const char *id, const json_t *process, const struct launch_options *o,
		 struct err *e) must_check;
int runtime_kill(const struct runtime *rt, const char *id, int signo, bool all, struct err *e) must_check;
int runtime_delete(const struct runtime *rt, const char *id, bool force, struct err *e) must_check;
int runtime_pause(const struct runtime *rt, const char *id, bool paused, struct err *e) must_check;
int runtime_update(const struct runtime *rt, const char *id, const json_t *resources, struct err *e) must_check;
/* Pids, new array. */
json_t *runtime_pids(const struct runtime *rt, const char *id, struct err *e) must_check;
/* As container_stats() of isolation.h. */
json_t *runtime_stats(const struct runtime *rt, const char *id, struct err *e) must_check;

/* watch.c: what happens to a container that runs. NULL with ERR_CONFLICT where it doesn't. */
struct runtime_watch;
enum runtime_event { EVENT_TIME, EVENT_OOM, EVENT_END, EVENT_OTHER };
struct runtime_watch *runtime_watch_open(const struct runtime *rt, const char *id, struct err *e) must_check;
/* Wait until something happens or time_monotonic_ms() is deadline_ms. */
enum runtime_event runtime_watch_next(struct runtime_watch *w, int64_t deadline_ms);
void runtime_watch_close(struct runtime_watch *w);

/* Write a pid file: complete under its name or not there. */
int write_pid_file(const char *path, pid_t pid, struct err *e) must_check;

/* process_mode.c and hyperv_mode.c: what differs. r is prepared; on failure the caller removes it. */
struct launched {
	pid_t pid;
	int pidfd;
	int tty;  /* master for the caller to relay (foreground), or -1 */
	void *container;
};
struct mode {
	/* started: `run`: the caller will start it at once. */
	int (*create)(struct record *r, const struct launch_options *o, bool started, struct launched *out,
		      struct err *e);
	/* Of a container that this process has created. */
	int (*start_created)(struct record *r, struct launched *l, struct err *e);
	int (*start)(struct record *r, struct err *e);
	/* Reap it: its exit code. */
	int (*wait)(struct launched *l, struct err *e);
	/* Forget or destroy what create made. */
	void (*leave)(struct launched *l);
	void (*destroy)(struct record *r, struct launched *l);
	int (*exec)(struct record *r, const json_t *process, const struct launch_options *o, struct err *e);
	int (*kill)(struct record *r, int signo, bool all, struct err *e);
	int (*clean)(struct record *r, struct err *e); /* stopped: remove what is left */
	int (*pause)(struct record *r, bool paused, struct err *e);
	int (*update)(struct record *r, const json_t *resources, struct err *e);
	json_t *(*pids)(struct record *r, struct err *e);
	json_t *(*stats)(struct record *r, struct err *e);
};
extern const struct mode process_mode, hyperv_mode;

#endif
