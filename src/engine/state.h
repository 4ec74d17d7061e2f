/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the engine share among themselves. Outside, only engine.h counts. */
#ifndef SILO_ENGINE_STATE_H
#define SILO_ENGINE_STATE_H

#include <pthread.h>
#include <stdbool.h>

#include "base/db.h"
#include "engine/engine.h"
#include "engine/events.h"
#include "engine/record.h"
#include "isolation/hyperv/guest_docs.h"

struct watcher;
struct reaper;
struct preparer;
struct networking;
struct restarter;
struct health_checker;

struct engine {
	char *root, *exec_root, *vm_dir, *lib_dir, *kernel_dir;
	int host_mounts;       /* the host's mount namespace: ours only receives what is mounted there */
	const char *isolation; /* daemon's choice: "process", "hyperv" or NULL = by host kind */
	bool client_machine;
	bool prefer_process; /* hyperv where windows-host-version forbids process */
	json_t *config; /* daemon.json, or NULL */
	char id[40];    /* GET /info */
	struct db *db;
	struct image_store *images;
	struct registry *registry;
	struct builder *builder;
	struct volume_store *volumes;
	struct events *events;
	struct watcher *watcher;
	struct reaper *reaper;
	struct preparer *preparer;
	struct standby *standby; /* NULL: switched off */
	struct networking *net;
	struct restarter *restarter;
	struct health_checker *health;

	pthread_mutex_t lock; /* guards the table below */
	struct container **containers;
	size_t n_containers, cap_containers;
	atomic_bool closing;
};

/* --- table of containers (table.c) ------------------------------------------------------------------------------- */
/* ERR_NOT_FOUND "No such container: REF". New reference. */
struct container *table_find(struct engine *g, const char *ref, struct err *e) must_check;
/* Conflict text of Docker when the name is taken. */
int table_add(struct engine *g, struct container *c, struct err *e) must_check;
void table_remove(struct engine *g, struct container *c);
int table_rename(struct engine *g, struct container *c, const char *name, struct err *e) must_check;
/* All containers, newest first, NULL-terminated; each with a reference. Free with table_free_list(). */
struct container **table_all(struct engine *g);
void table_free_list(struct container **list);
/* Exec by id, and its container: new references. */
struct exec *table_find_exec(struct engine *g, const char *exec_id, struct container **c, struct err *e) must_check;

/* --- paths (files.c) ----------------------------------------------------------------------------------------------- */
/* Heap strings: ROOT/containers/ID[/name], EXEC_ROOT/containers/ID[/name]. name NULL = the directory. */
char *path_data(const struct engine *g, const char *id, const char *name);
char *path_run(const struct engine *g, const char *id, const char *name);
char *path_log(const struct engine *g, const char *id);

/* Make ROOT/containers/ID with hosts, hostname, resolv.conf and the writable layer. */
int files_create(struct engine *g, struct container *c, struct err *e) must_check;
/* What a run has of the network: a descriptor for its monitor (network namespace or tap; -1 = none), and the guest's
 * devices (silo.json, key "network"; NULL = none). */
struct net_setup {
	int fd;
	json_t *guest;
	int more[GUEST_CARDS]; /* of a VM: taps of the networks after the first */
	size_t n_more;
	char machine[ENGINE_ID_MAX]; /* container whose VM this one joins; "" = none */
};
void net_setup_close(struct net_setup *n);
/* Write the bundle below exec_root. May take long at the first use of an image with hyperv. */
int files_bundle(struct engine *g, struct container *c, const struct net_setup *net, bool files_only,
		 struct err *e) must_check;
/* hosts and resolv.conf. own: a line of /etc/hosts for each text "ADDRESS"; lines: more of them; dns: the embedded
 * server is asked.
 * gateway: for --add-host NAME:host-gateway, or "". The files are written in place: a running container sees it. */
int files_names(struct engine *g, struct container *c, const json_t *own, const json_t *lines, bool dns,
		const char *gateway, struct err *e) must_check;
/* With --init the program of an OCI document is an argument of the small init. */
void files_add_init(json_t *spec);
/* hostname as the container sees it: Config.Hostname or the short id. */
void container_hostname(const struct container *c, const json_t *config, char out[static 65]);

/* --- life (run.c, settle.c) ---------------------------------------------------------------------------------------- */
/* Start c; c->op held. */
int run_start(struct engine *g, struct container *c, struct err *e) must_check;
/* Prepare c up to just before exec, so that its start has little left to do; and undo that. c->op held. */
void run_park(struct engine *g, struct container *c);
void run_unpark(struct engine *g, struct container *c);
/* Prepare c, which doesn't run, for work on its files; and, after that, let it go a little later: who copies one file
 * copies another. c->op held. */
int run_park_files(struct engine *g, struct container *c, struct err *e) must_check;
void run_linger(struct engine *g, struct container *c);

/* Are these keys to detach, where any are given? (attach.c) */
int attach_check_keys(const char *keys, struct err *e) must_check;

/* --- preparer (prepare.c): parks containers after their creation was answered ---------------------------------------- */
struct preparer *preparer_new(struct engine *g, struct err *e) must_check;
void preparer_free(struct preparer *p);
void preparer_add(struct preparer *p, struct container *c);
/* c is parked: unpark it in a few seconds. False: no room, the caller does it. */
bool preparer_linger(struct preparer *p, struct container *c);

/* --- standby (standby.c): a VM that waits for the next hyperv container ----------------------------------------------- */
#define VM_UID_BASE  1900000000u /* far from users, system accounts and usual subordinate ranges */
#define VM_UID_COUNT 65536u
#define VM_DISK_BYTES DISK_MODEL_BYTES /* usual virtual size of a VM container's writable disk; sparse */
struct standby *standby_new(struct engine *g, struct err *e) must_check;
void standby_free(struct standby *s);
/* A machine will be wanted, of the size that a container with this HostConfig has: make one in the background where none
 * waits. */
void standby_want(struct standby *s, json_t *host);
/* Give the waiting machine of this template, if there is one, to a bundle: as monitor_spawn() then. */
bool standby_take(struct standby *s, const char *template, const char *bundle_dir, int network, int *pidfd);

/* The container has ended: record (exit.json's keys) decides. From the watcher. */
void settle_exit(struct engine *g, struct container *c, const json_t *record);
/* The monitor's process is gone. From the watcher; settles the container if it wasn't. */
void settle_monitor_gone(struct engine *g, struct container *c);
void settle_event(struct engine *g, struct container *c, const json_t *event);
/* Logical removal: names and records go at once, files later. c must not run. */
int settle_remove(struct engine *g, struct container *c, struct err *e) must_check;
/* Wait until fn(c) holds or timeout_ms is over (-1 = none); c->lock held. False on timeout or when closing. */
bool container_wait_for(struct engine *g, struct container *c, bool (*fn)(const struct container *c, const void *arg),
			const void *arg, int timeout_ms);
bool container_has_ended(const struct container *c, const void *arg);
bool container_no_monitor(const struct container *c, const void *arg);
/* Stop within timeout_s (signal, wait, SIGKILL). Emits kill and die, not stop. */
int container_halt(struct engine *g, struct container *c, int signo, int timeout_s, struct err *e) must_check;

/* --- networking (net_*.c, networks.c): see networking.h ------------------------------------------------------------- */
int networking_open(struct engine *g, struct err *e) must_check;
/* After the containers have been recovered. */
void networking_recover(struct engine *g);
void networking_close(struct engine *g);
/* Check and keep what a request to create says about networks. */
int net_create(struct engine *g, struct container *c, const json_t *body, struct err *e) must_check;
void net_forget(struct engine *g, const char *id);
/* For a run: addresses, ports, devices, names. On failure nothing is left. */
int net_start(struct engine *g, struct container *c, struct net_setup *out, struct err *e) must_check;
/* The ports of a container that was prepared without them; no matter when they are there. */
int net_publish(struct engine *g, struct container *c, struct err *e) must_check;
void net_started(struct engine *g, struct container *c); /* events */
void net_release(struct engine *g, struct container *c); /* the end of a run; may be called twice */
/* For inspect and lists. */
json_t *net_settings(struct engine *g, struct container *c, const json_t *config, const json_t *host);
json_t *net_networks(struct engine *g, struct container *c, const json_t *host);
json_t *net_port_list(struct engine *g, struct container *c, const json_t *config);

/* --- watcher (watch.c): one thread for all monitors ------------------------------------------------------------------ */
struct watcher *watcher_new(struct engine *g, struct err *e) must_check;
void watcher_free(struct watcher *w);
/* Take over a connection on which `watch` was answered, and the monitor's pidfd (or -1 when it isn't our child). */
int watcher_add(struct watcher *w, struct container *c, int sock, int pidfd, struct err *e) must_check;

/* --- reaper (reap.c): deletes what is logically gone ----------------------------------------------------------------- */
struct reaper *reaper_new(struct engine *g, struct err *e) must_check;
void reaper_free(struct reaper *r);
/* Delete ROOT/tmp/removed-ID and EXEC_ROOT/containers/ID in the background: the container has no record and no monitor. */
void reaper_add(struct reaper *r, const char *id);
/* Kill and remove what a dead monitor left: cgroups silo/ID, the bundle directory. */
void clean_leftovers(struct engine *g, const char *id);

/* At engine_open: records, living monitors, dead ones, directories without a record. */
int recover_all(struct engine *g, struct err *e) must_check;

/* Docker's event of a container, with its image, name and labels; extra: NULL-terminated key, value pairs. */
void container_event(struct engine *g, struct container *c, const char *action, ...) __attribute__((sentinel));

#endif
