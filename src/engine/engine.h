/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engine: container records, their life cycle, events. Thread-safe: each API connection calls from its own thread.
 * Bodies and answers are the Engine API's JSON, so that api/ only moves bytes. A `ref` is a full id, a unique id
 * prefix, or a name with or without slash; errors carry Docker's texts.
 */
#ifndef SILO_ENGINE_H
#define SILO_ENGINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"
#include "image/image.h"

struct engine;
struct registry;

struct engine_options {
	const char *root;      /* /var/lib/silo */
	const char *exec_root; /* /run/silo */
	const char *vm_dir;    /* kernel, initramfs, templates; default <root>/vm */
	const char *lib_dir;   /* silo-monitor, silo-init, silo-unpack, silo-agent */
	int host_mounts;       /* the host's mount namespace; borrowed */
	const char *isolation; /* daemon default: "process", "hyperv" or NULL = by host kind */
	const json_t *config;  /* daemon.json, or NULL */
};

/* Opens the state, finds the monitors that are still alive and attaches to them, settles containers whose monitor died. */
struct engine *engine_open(const struct engine_options *o, struct err *e) must_check;
/* Leaves containers running. Wakes every blocked call. */
void engine_close(struct engine *g);
struct image_store *engine_images(struct engine *g);
/**
 * engine_windows_pull - the images that stand for a Windows base are made here: at the first use from the distribution's
 * packages of Wine, which takes minutes.
 *
 * Returns 1, 0 when the reference is none of theirs, or -1.
 */
int engine_windows_pull(struct engine *g, const char *reference, image_progress_fn *progress, void *arg,
			struct err *e) must_check;
struct registry *engine_registry(struct engine *g);

/* --- containers ---------------------------------------------------------------------------------------------- */
/* POST /containers/create. New {"Id", "Warnings"}. */
json_t *engine_container_create(struct engine *g, const char *name, const char *platform, const json_t *body,
				struct err *e) must_check;
int engine_container_start(struct engine *g, const char *ref, struct err *e) must_check; /* ERR_NOT_MODIFIED */
/* signal NULL = the image's StopSignal or SIGTERM; timeout_s < 0 with -1 = no limit, INT_MIN = container's default. */
int engine_container_stop(struct engine *g, const char *ref, const char *signal, int timeout_s,
			  struct err *e) must_check;
int engine_container_restart(struct engine *g, const char *ref, const char *signal, int timeout_s,
			     struct err *e) must_check;
/* signal: name with or without SIG, or number; NULL or "" = KILL. */
int engine_container_kill(struct engine *g, const char *ref, const char *signal, struct err *e) must_check;
int engine_container_pause(struct engine *g, const char *ref, bool paused, struct err *e) must_check;
int engine_container_rename(struct engine *g, const char *ref, const char *name, struct err *e) must_check;
int engine_container_remove(struct engine *g, const char *ref, bool force, bool volumes, struct err *e) must_check;
int engine_container_resize(struct engine *g, const char *ref, int rows, int cols, struct err *e) must_check;
json_t *engine_container_update(struct engine *g, const char *ref, const json_t *body, struct err *e) must_check;
json_t *engine_container_inspect(struct engine *g, const char *ref, bool size, struct err *e) must_check;
/* GET /containers/json. limit 0 = all. filters: decoded JSON or NULL (both forms: lists and maps). */
json_t *engine_container_list(struct engine *g, bool all, int limit, bool size, const json_t *filters,
			      struct err *e) must_check;
json_t *engine_container_top(struct engine *g, const char *ref, const char *ps_args, struct err *e) must_check;
/* One body of GET /containers/{id}/stats; precpu_stats from the previous sample of *previous (in/out, may be NULL
 * inside). A stopped container gives zeros, as Docker. */
json_t *engine_container_stats(struct engine *g, const char *ref, json_t **previous, struct err *e) must_check;
json_t *engine_container_prune(struct engine *g, const json_t *filters, struct err *e) must_check;

/**
 * engine_container_wait - block until the condition holds: "not-running" (default for NULL / ""), "next-exit",
 * "removed".
 *
 * @ready   called once when the wait is registered (the HTTP headers must leave before it blocks); may be NULL.
 * @gone    polled about every second and on POLLHUP of client_fd: the client has left -> ERR_TIMEOUT.
 * Returns new {"StatusCode": n, "Error": {...} or absent}.
 */
json_t *engine_container_wait(struct engine *g, const char *ref, const char *condition, int client_fd,
			      void (*ready)(void *arg), void *arg, struct err *e) must_check;

struct attach_options {
	bool logs, stream, in, out, err;
	const char *detach_keys; /* NULL = default ctrl-p,ctrl-q */
};
/* Whether the streams are raw (tty) or multiplexed; ERR_NOT_FOUND / ERR_CONFLICT as attach itself would give. To be
 * called before the connection is upgraded. */
int engine_container_attach_check(struct engine *g, const char *ref, const char *detach_keys, bool *tty,
				  struct err *e) must_check;
/* Hand the hijacked socket to the container's streams. client_fd is taken. A container that isn't running yet gets it
 * when it starts. */
int engine_container_attach(struct engine *g, const char *ref, const struct attach_options *o, int client_fd,
			    struct err *e) must_check;

struct log_options {
	bool follow, out, err, timestamps, details;
	int64_t tail;                 /* -1 = all */
	struct timespec since, until; /* 0 = none */
};
/* Streams log bytes (multiplexed frames unless tty) to sink until end, cancel (sink returns non-zero) or, with follow,
 * the container's end. client_fd is watched for hang-up while following. */
typedef int engine_sink_fn(void *arg, const void *data, size_t n);
int engine_container_logs(struct engine *g, const char *ref, const struct log_options *o, int client_fd,
			  engine_sink_fn *sink, void *arg, struct err *e) must_check;

/* --- files of a container, running or not; path as the client wrote it ----------------------------------------- */
/* {"name", "size", "mode", "mtime", "linkTarget"} of X-Docker-Container-Path-Stat. */
json_t *engine_archive_stat(struct engine *g, const char *ref, const char *path, struct err *e) must_check;
/* GET archive: begin is told the stat before sink gets the first byte of the tar; non-zero of either ends it. */
int engine_archive_get(struct engine *g, const char *ref, const char *path, int (*begin)(void *arg, const json_t *stat),
		       engine_sink_fn *sink, void *arg, struct err *e) must_check;
/* PUT archive: the tar comes from fd. copy_owner: all belongs to the container's user. */
int engine_archive_put(struct engine *g, const char *ref, const char *path, bool no_overwrite, bool copy_owner, int fd,
		       struct err *e) must_check;
int engine_container_export(struct engine *g, const char *ref, engine_sink_fn *sink, void *arg,
			    struct err *e) must_check;
json_t *engine_container_changes(struct engine *g, const char *ref, struct err *e) must_check; /* may be null */

struct commit_options {
	const char *container, *repo, *tag, *author, *comment; /* but for the container all may be NULL */
	const json_t *changes;                                 /* Dockerfile instructions */
	bool pause;
};
/* POST /commit; body: Config or NULL. New {"Id"}. */
json_t *engine_commit(struct engine *g, const struct commit_options *o, const json_t *body, struct err *e) must_check;

/* --- exec ---------------------------------------------------------------------------------------------------- */
json_t *engine_exec_create(struct engine *g, const char *ref, const json_t *body,
			   struct err *e) must_check; /* {"Id"} */
int engine_exec_check(struct engine *g, const char *exec_id, bool *tty, struct err *e) must_check;
/* body: {"Detach", "Tty", "ConsoleSize"}. client_fd taken; -1 when detached. */
int engine_exec_start(struct engine *g, const char *exec_id, const json_t *body, int client_fd,
		      struct err *e) must_check;
int engine_exec_resize(struct engine *g, const char *exec_id, int rows, int cols, struct err *e) must_check;
json_t *engine_exec_inspect(struct engine *g, const char *exec_id, struct err *e) must_check;

/* --- networks: bodies of the Engine API ------------------------------------------------------------------------ */
json_t *engine_network_list(struct engine *g, const json_t *filters, struct err *e) must_check;
json_t *engine_network_inspect(struct engine *g, const char *ref, struct err *e) must_check;
json_t *engine_network_create(struct engine *g, const json_t *body, struct err *e) must_check; /* {"Id", "Warning"} */
int engine_network_remove(struct engine *g, const char *ref, struct err *e) must_check;
json_t *engine_network_prune(struct engine *g, const json_t *filters, struct err *e) must_check;
int engine_network_connect(struct engine *g, const char *ref, const json_t *body, struct err *e) must_check;
int engine_network_disconnect(struct engine *g, const char *ref, const json_t *body, struct err *e) must_check;

/* --- volumes ------------------------------------------------------------------------------------------------- */
json_t *engine_volume_create(struct engine *g, const json_t *body, struct err *e) must_check;
json_t *engine_volume_inspect(struct engine *g, const char *name, struct err *e) must_check;
json_t *engine_volume_list(struct engine *g, const json_t *filters, struct err *e) must_check;
/* ERR_CONFLICT "remove NAME: volume is in use - [ID]". force: one that isn't there is no error. */
int engine_volume_remove(struct engine *g, const char *name, bool force, struct err *e) must_check;
json_t *engine_volume_prune(struct engine *g, const json_t *filters, struct err *e) must_check;
/* All volumes with their UsageData. */
json_t *engine_volume_usage(struct engine *g, struct err *e) must_check;

/* --- system -------------------------------------------------------------------------------------------------- */
json_t *engine_info(struct engine *g, struct err *e) must_check;       /* GET /info */
json_t *engine_disk_usage(struct engine *g, struct err *e) must_check; /* GET /system/df */

/**
 * engine_events - send events (past ones from since, then live ones until `until` or the client leaves).
 *
 * since/until zero = not given. emit gets one event object, borrowed; non-zero ends. idle is called about every
 * second while nothing happens (to notice a client that left); non-zero ends.
 */
int engine_events(struct engine *g, struct timespec since, struct timespec until, const json_t *filters, int client_fd,
		  int (*emit)(void *arg, const json_t *event), void *arg, struct err *e) must_check;
/* Publish. attributes: object of strings, borrowed. */
void engine_event(struct engine *g, const char *type, const char *action, const char *id, const json_t *attributes);

#endif
