/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A bundle is a directory with two files: config.json, an OCI runtime-spec 1.2 document, and silo.json, what the spec
 * has no word for. silod (or `silo create`) writes it, the monitor reads it; in hyperv mode the monitor sends both
 * documents to the agent, which reads them with the same code. docs/architecture.md describes every key of silo.json.
 */
#ifndef SILO_OCI_BUNDLE_H
#define SILO_OCI_BUNDLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "oci/spec.h"

#define CONTAINER_ID_MAX 128

/* Where the root file system comes from. Strings are borrowed from the bundle's documents; NULL = not given. */
struct rootfs {
	const char *path;    /* a prepared directory (OCI runtime): used as it is */
	const char **layers; /* process: unpacked layers, topmost first */
	size_t n_layers;
	const char *upper, *work; /* process: writable layer */
	const char *image;        /* hyperv: EROFS image of all layers merged; in the guest: its block device */
	const char *disk;         /* hyperv: ext4 disk for the writable layer; in the guest: its block device */
	bool is_volatile;         /* process: "volatile": the upper layer need not survive a power cut (--rm) */
};

/* A small file of Silo's making that is bound into the container (/etc/hosts, /etc/resolv.conf, /etc/hostname). */
struct bundle_file {
	const char *destination;
	const char *source; /* host path, or NULL */
	const char *data;   /* content instead of a source (how the agent gets it) */
};

struct bundle {
	char id[CONTAINER_ID_MAX + 1];
	const char *isolation; /* "process" or "hyperv" */
	char *dir;             /* the bundle's directory; NULL in the guest */
	json_t *config, *silo; /* the documents */
	struct oci_spec *spec; /* config, parsed */
	struct rootfs rootfs;
	struct bundle_file *files;
	size_t n_files;
	bool files_only;         /* prepared for work on its files (isolation/process/files.h), never to be started */
	const char *init_path;   /* binary to bind at /sbin/docker-init (--init), or NULL */
	unsigned char *seccomp;  /* compiled classic BPF: array of struct sock_filter, or NULL = no filter */
	size_t seccomp_bytes;
	unsigned seccomp_flags;  /* SECCOMP_FILTER_FLAG_* */
	bool seccomp_asks;       /* the filter has SECCOMP_RET_USER_NOTIF: there is a listener */
};

/* Read and check both files. NULL with ERR_INVALID naming the key. */
struct bundle *bundle_load(const char *dir, struct err *e) must_check;
/* From documents (references are taken over on success only); the agent's way in. */
struct bundle *bundle_new(json_t *config, json_t *silo, struct err *e) must_check;
void bundle_free(struct bundle *b);

#endif
