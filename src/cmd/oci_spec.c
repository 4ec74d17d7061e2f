/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* silo spec | features */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "cmd/oci.h"

/* What runc spec writes; hostname and version are ours. */
static const char template_text[] =
	"{\"ociVersion\":\"" OCI_VERSION "\",\"process\":{\"terminal\":true,\"user\":{\"uid\":0,\"gid\":0},"
	"\"args\":[\"sh\"],\"env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/"
	"bin\",\"TERM=xterm\"],"
	"\"cwd\":\"/\",\"capabilities\":{"
	"\"bounding\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"],"
	"\"effective\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"],"
	"\"permitted\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"]},"
	"\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"hard\":1024,\"soft\":1024}],\"noNewPrivileges\":true},"
	"\"root\":{\"path\":\"rootfs\",\"readonly\":true},\"hostname\":\"silo\",\"mounts\":["
	"{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
	"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\","
	"\"options\":[\"nosuid\",\"strictatime\",\"mode=755\",\"size=65536k\"]},"
	"{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\","
	"\"options\":[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\"]},"
	"{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"shm\","
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size=65536k\"]},"
	"{\"destination\":\"/dev/mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\","
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
	"{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\","
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]},"
	"{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\","
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"relatime\",\"ro\"]}],"
	"\"linux\":{\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]},\"namespaces\":["
	"{\"type\":\"pid\"},{\"type\":\"network\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"},"
	"{\"type\":\"cgroup\"}],"
	"\"maskedPaths\":[\"/proc/acpi\",\"/proc/asound\",\"/proc/kcore\",\"/proc/keys\",\"/proc/latency_stats\","
	"\"/proc/timer_list\",\"/proc/timer_stats\",\"/proc/sched_debug\",\"/sys/firmware\",\"/proc/scsi\"],"
	"\"readonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\",\"/proc/sysrq-trigger\"]}}";

/* Its place in the template. */
#define CGROUP_NAMESPACE 5

/* Without privilege: own ids as root, the host's network and sysfs, no limits. */
static void make_rootless(json_t *spec)
{
	json_t *linux_part = json_object_get(spec, "linux"), *namespaces = json_object_get(linux_part, "namespaces");
	json_t *mounts = json_object_get(spec, "mounts"), *m;
	size_t i;

	json_object_del(linux_part, "resources");
	json_array_remove(namespaces, 1);
	json_array_append_new(namespaces, json_pack("{s:s}", "type", "user"));
	json_object_set_new(
		linux_part, "uidMappings",
		json_pack("[{s:i, s:I, s:i}]", "containerID", 0, "hostID", (json_int_t)geteuid(), "size", 1));
	json_object_set_new(
		linux_part, "gidMappings",
		json_pack("[{s:i, s:I, s:i}]", "containerID", 0, "hostID", (json_int_t)getegid(), "size", 1));
	json_array_foreach(mounts, i, m) {
		json_t *options = json_object_get(m, "options");

		if (!strcmp(json_str(m, "type", ""), "devpts"))
			json_array_remove(options, json_array_size(options) - 1);
		if (strcmp(json_str(m, "type", ""), "sysfs") != 0)
			continue;
		json_object_set_new(m, "type", json_string("none"));
		json_object_set_new(m, "source", json_string("/sys"));
		json_array_insert_new(options, 0, json_string("rbind"));
	}
}

struct spec_options {
	const char *bundle;
	bool rootless;
};

int oci_spec(const struct runtime *rt, int argc, char **argv, struct err *e)
{
	static const struct cli_option options[] = {
		{ "bundle", 'b', CLI_STRING, offsetof(struct spec_options, bundle) },
		{ "rootless", 0, CLI_FLAG, offsetof(struct spec_options, rootless) },
	};
	struct spec_options o = { .bundle = "." };
	autofree char *path = NULL, *text = NULL;
	autojson *spec = NULL;

	if (cli_parse(argc, argv, options, array_len(options), &o, e) < 0)
		return -1;
	spec = json_parse(template_text, sizeof(template_text) - 1, "spec", e);
	if (!spec)
		return -1;
	/* as runc: on v1 the view of its hierarchies is the way */
	if (!cgroup_is_v2())
		json_array_remove(json_object_get(json_object_get(spec, "linux"), "namespaces"), CGROUP_NAMESPACE);
	if (o.rootless)
		make_rootless(spec);
	path = xasprintf("%s/config.json", o.bundle);
	if (access(path, F_OK) == 0)
		return err_set(e, ERR_CONFLICT, 0, "File config.json exists. Remove it first");
	text = json_dumps(spec, JSON_INDENT(8));
	return io_write_file(AT_FDCWD, path, text, strlen(text), 0666 & ~0022, false, e);
}

static const char *const mount_words[] = {
	"async",       "atime",	    "bind",	    "defaults",	    "dev",	"diratime",    "dirsync",  "exec",
	"idmap",       "lazytime",  "noatime",	    "nodev",	    "nodiratime", "noexec",    "norelatime", "nosuid",
	"nosymfollow", "private",   "ratime",	    "rbind",	    "rdev",	"relatime",    "rexec",	   "ridmap",
	"rnoatime",    "rnodev",    "rnoexec",	    "rnosuid",	    "ro",	"rprivate",    "rrelatime", "rro",
	"rrw",	       "rshared",   "rslave",	    "rstrictatime", "rsuid",	"runbindable", "rw",	   "shared",
	"slave",       "strictatime", "suid",	    "symfollow",    "sync",	"tmpcopyup",   "unbindable",
};
static const char *const hook_words[] = { "prestart",       "createRuntime", "createContainer",
					  "startContainer", "poststart",     "poststop" };
static const char *const namespace_words[] = { "cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts" };
static const char *const action_words[] = { "SCMP_ACT_ALLOW",        "SCMP_ACT_ERRNO",       "SCMP_ACT_KILL",
					    "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
					    "SCMP_ACT_NOTIFY",       "SCMP_ACT_TRACE",       "SCMP_ACT_TRAP" };
static const char *const operator_words[] = { "SCMP_CMP_EQ", "SCMP_CMP_GE",        "SCMP_CMP_GT", "SCMP_CMP_LE",
					      "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE" };
static const char *const flag_words[] = { "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
					  "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" };

static json_t *words(const char *const *list, size_t n)
{
	json_t *out = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(out, json_string(list[i]));
	return out;
}
#define WORDS(list) words(list, array_len(list))

static json_t *capability_words(void)
{
	json_t *out = json_array();

	for (int i = 0; caps_name(i); i++)
		json_array_append_new(out, json_string(caps_name(i)));
	return out;
}

int oci_features(const struct runtime *rt, int argc, char **argv, struct err *e)
{
	autojson *seccomp =
		json_pack("{s:b, s:o, s:o, s:o, s:o}", "enabled", 1, "actions", WORDS(action_words), "operators",
			  WORDS(operator_words), "knownFlags", WORDS(flag_words), "supportedFlags", WORDS(flag_words));
	autojson *linux_part = json_pack(
		"{s:o, s:o, s:{s:b, s:b, s:b, s:b, s:b}, s:O, s:{s:b}, s:{s:b}, s:{s:b}, s:{s:{s:b}}}", "namespaces",
		WORDS(namespace_words), "capabilities", capability_words(), "cgroup", "v1", 1, "v2", 1, "systemd", 1,
		"systemdUser", 0, "rdma", 0, "seccomp", seccomp, "apparmor", "enabled", 1, "selinux", "enabled", 1,
		"intelRdt", "enabled", 0, "mountExtensions", "idmap", "enabled", 1);
	autojson *all =
		json_pack("{s:s, s:s, s:o, s:o, s:O, s:{s:s, s:s}, s:[s]}", "ociVersionMin", "1.0.0", "ociVersionMax",
			  OCI_VERSION, "hooks", WORDS(hook_words), "mountOptions", WORDS(mount_words), "linux",
			  linux_part, "annotations", "io.silo.version", SILO_VERSION, "io.silo.isolations",
			  "process,hyperv", "potentiallyUnsafeConfigAnnotations", "io.silo.isolation");
	autofree char *text = NULL;

	if (cli_parse(argc, argv, NULL, 0, NULL, e) < 0)
		return -1;
	text = json_dumps(all, JSON_INDENT(4));
	puts(text ? text : "null");
	return text ? 0 : err_set(e, ERR_SYSTEM, 0, "features");
}
