/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Containers of the guest and their processes; shared by the agent's files only. */
#ifndef SILO_AGENT_CONTAINER_H
#define SILO_AGENT_CONTAINER_H

#include "agent/agent.h"
#include "agent/scsi.h"
#include "isolation/isolation.h"

enum guest_stream { STREAM_IN, STREAM_OUT, STREAM_ERR, STREAM_TTY, STREAM_COUNT };

struct guest_process {
	struct guest_container *container;
	struct guest_process *next;
	int64_t key; /* the host's number for it */
	struct process *p;
	struct stream *streams[STREAM_COUNT];
	bool is_init, exited, told;
	int exit_code;
	struct loop_io *give_up; /* timer: the host doesn't take the rest of the output */
};

struct guest_container {
	struct agent *agent;
	struct guest_container *next;
	struct bundle *bundle;
	struct sandbox *sandbox;
	struct container *container;
	struct guest_process *processes;
	char *dir;  /* AGENT_RUN_DIR/<id>: its mounts */
	char *disk; /* device of the writable layer, while mounted */
	int targets[GUEST_SLOT_DISKS]; /* of its disks on the SCSI bus */
	size_t n_targets;
};

/**
 * disks_mount - mount the container's disks below g->dir and tell the silo document where the layers are.
 *
 * @silo  rootfs {"image": "/dev/vda", "disk": "/dev/vdb"} becomes {"layers", "upper", "work"}.
 */
int disks_mount(struct guest_container *g, json_t *silo, struct err *e) must_check;
/* Unmount cleanly: what the container has written is on the disk afterwards. */
void disks_unmount(struct guest_container *g);

/* Look for a disk on the SCSI bus and note that it is the container's; path receives the device. */
int disks_find(struct guest_container *g, int64_t target, char path[static SCSI_NAME_MAX], struct err *e) must_check;
/* Let go of those, which nothing uses any more. */
void disks_release(struct guest_container *g);

/* Fill in what only this kernel knows of linux.devices: numbers of disks, and all devices where all are wanted. */
int devices_resolve(struct guest_container *g, json_t *config, struct err *e) must_check;

/* linux.namespaces and mounts of another container in this VM ("container": id) become those of its init. */
int neighbours_resolve(struct agent *a, json_t *config, struct err *e) must_check;

/* New contents ([{"destination", "data"}]) of files that Silo has made for it. The container may have done what it
 * likes with them: one that isn't a plain file any more is left alone. */
void container_rewrite_files(const struct guest_container *g, const json_t *files);

/* Streams of a request: {"streams": {"stdin": id, ...}} and the ends to connect them with. */
struct guest_streams {
	uint32_t id[STREAM_COUNT]; /* 0 = none */
	int ours[STREAM_COUNT];    /* -1 = none */
	struct process_io io;
};

/* Read the ids and make pipes. On failure nothing is open. */
int streams_prepare(const json_t *request, struct guest_streams *s, struct err *e) must_check;
/* After the process has been made: bridge our ends. They are taken. */
int streams_connect(struct guest_process *p, struct guest_streams *s, struct err *e) must_check;
void streams_close(struct guest_streams *s);

struct guest_process *guest_process_new(struct guest_container *g, const json_t *request, struct process *p);
/* Takes it from its container's list and frees its streams. An exec's process too; init belongs to the container. */
void guest_process_free(struct guest_process *p);
void guest_process_exited(struct guest_process *p, int exit_code);

/* By {"container": id} and {"process": key}; NULL with ERR_NOT_FOUND. */
struct guest_container *guest_container_find(struct agent *a, const json_t *request, struct err *e);
struct guest_process *guest_process_find(struct agent *a, const json_t *request, struct err *e);

#endif
