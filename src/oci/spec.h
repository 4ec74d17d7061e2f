/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The runtime-spec 1.2 document (config.json) as C structs: what Silo's process isolation acts on. All strings are
 * borrowed from the JSON document, which must outlive the struct; arrays belong to the struct.
 * What Silo can't do is refused (ERR_UNSUPPORTED) instead of ignored where ignoring would weaken the isolation.
 */
#ifndef SILO_OCI_SPEC_H
#define SILO_OCI_SPEC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "os/caps.h"
#include "os/cgroup.h"
#include "os/userns.h"

#define OCI_VERSION "1.2.0"
#define OCI_UMASK_UNSET (-1)

struct oci_user {
	uid_t uid;
	gid_t gid;
	const char *username;       /* raw text of --user, resolved inside the container; wins over uid and gid; or NULL */
	gid_t *groups;              /* additionalGids that are numbers */
	size_t n_groups;
	const char **group_names;   /* and those given as strings, resolved inside the container (our extension) */
	size_t n_group_names;
	int umask;                  /* OCI_UMASK_UNSET */
};

struct oci_rlimit {
	int resource; /* RLIMIT_* */
	uint64_t soft, hard;
};

/* sched_setattr(2) and ioprio_set(2). */
struct oci_scheduling {
	bool has_policy;
	uint32_t policy, priority;
	int32_t nice;
	uint64_t flags, runtime_ns, deadline_ns, period_ns;
	bool has_io;
	int io_class, io_priority;
	const char *cpus_initial, *cpus_final; /* execCPUAffinity: lists as "0-1,3"; NULL = leave */
};

/* "process": of the container's init, or of an exec. */
struct oci_process {
	bool terminal;
	uint16_t rows, cols;
	struct oci_user user;
	const char **args, **env; /* NULL-terminated, never NULL */
	size_t n_args, n_env;
	const char *cwd;
	bool has_caps;
	struct caps caps;
	struct oci_rlimit *rlimits;
	size_t n_rlimits;
	bool no_new_privs;
	bool reports_exit; /* it writes its exit code to descriptor 3: more than Linux can carry (our extension, "reportsExit") */
	bool has_oom_score_adj;
	int oom_score_adj;
	struct oci_scheduling scheduling;
	const char *apparmor_profile, *selinux_label; /* NULL = none asked for */
};

struct oci_mount {
	const char *destination; /* absolute, not cleaned */
	const char *type;        /* NULL = bind */
	const char *host_ns;     /* bind: the source is looked up in this mount namespace, and stays its peer (ours); or NULL */
	const char *mount_ns;    /* bind: the source is of this mount namespace (our extension, "namespace"); or NULL */
	const char *subpath;     /* bind: below the source and never outside it (our extension); or NULL */
	const char *source;      /* NULL = none */
	const char **options;
	size_t n_options;
	struct id_maps maps; /* of an id-mapped mount; none: those of the container, where the options say so */
};

struct oci_namespace {
	uint64_t flag;    /* CLONE_NEW* */
	const char *path; /* join this one; NULL = a new one */
};

struct oci_device {
	const char *path;
	char type; /* 'c', 'b', 'p' */
	unsigned major, minor;
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

struct oci_pair {
	const char *key, *value;
};

struct oci_time_offset {
	const char *clock; /* "monotonic", "boottime" */
	int64_t seconds, nanoseconds;
};

struct oci_spec {
	bool has_process;
	struct oci_process process;
	const char *root_path; /* NULL = not given */
	bool root_readonly;
	const char *hostname, *domainname; /* NULL = leave */
	struct oci_mount *mounts;
	size_t n_mounts;
	struct oci_namespace *namespaces;
	size_t n_namespaces;
	struct oci_device *devices;
	size_t n_devices;
	struct oci_pair *sysctls;
	size_t n_sysctls;
	const char **masked_paths, **readonly_paths;
	size_t n_masked_paths, n_readonly_paths;
	const char *cgroups_path;      /* NULL = not given */
	struct cgroup_limits limits;
	uint64_t rootfs_propagation;   /* MS_PRIVATE ..., 0 = not given */
	struct id_maps maps;       /* of the user namespace */
	struct oci_time_offset time_offsets[2];
	size_t n_time_offsets;
	bool has_personality;
	unsigned long personality;     /* personality(2) */
};

/* NULL with ERR_INVALID / ERR_UNSUPPORTED and the path of the member ("linux.resources.memory.limit: ..."). */
struct oci_spec *oci_spec_parse(const json_t *config, struct err *e) must_check;
void oci_spec_free(struct oci_spec *s);

int oci_process_parse(const json_t *j, struct oci_process *p, struct err *e) must_check;
void oci_process_fini(struct oci_process *p);
int oci_resources_parse(const json_t *j, struct cgroup_limits *l, struct err *e) must_check;

/* Parts of the above, by file. maps.c: */
int oci_id_maps_parse(const json_t *obj, const char *uids_key, const char *gids_key, struct id_maps *m,
		      struct err *e) must_check;
void oci_id_maps_fini(struct id_maps *m);
/* resources_rest.c: what isn't supported is refused by its name; zero, false and nothing ask for nothing. */
int oci_resources_check(const json_t *resources, struct err *e) must_check;
int oci_unified_parse(const json_t *resources, struct cgroup_limits *l, struct err *e) must_check;
/* scheduling.c */
int oci_scheduling_parse(const json_t *process, struct oci_scheduling *s, struct err *e) must_check;

/* The namespace entry of this kind, or NULL: the container shares the caller's. */
const struct oci_namespace *oci_spec_namespace(const struct oci_spec *s, uint64_t flag);

#endif
