/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GET /info and GET /system/df. */
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/inspect.h"
#include "engine/log_config.h"
#include "engine/template_use.h"
#include "registry/registry.h"

static void set_counts(struct engine *g, json_t *out)
{
	struct container **all = table_all(g);
	autojson *images = image_list(g->images, false, NULL, false, NULL);
	int n[LIFE_N] = { 0 }, total = 0;

	for (size_t i = 0; all[i]; i++, total++) {
		pthread_mutex_lock(&all[i]->lock);
		n[all[i]->state]++;
		pthread_mutex_unlock(&all[i]->lock);
	}
	table_free_list(all);
	json_object_set_new(out, "Containers", json_integer(total));
	json_object_set_new(out, "ContainersRunning", json_integer(n[LIFE_RUNNING] + n[LIFE_RESTARTING]));
	json_object_set_new(out, "ContainersPaused", json_integer(n[LIFE_PAUSED]));
	json_object_set_new(out, "ContainersStopped", json_integer(n[LIFE_CREATED] + n[LIFE_EXITED] + n[LIFE_DEAD]));
	json_object_set_new(out, "Images", json_integer((json_int_t)json_array_size(images)));
}

/* PRETTY_NAME and VERSION_ID of os-release(5). */
static char *os_release(const char *key, const char *fallback)
{
	autofree char *line = xasprintf("\n%s=", key);
	autostr text;
	const char *p;

	str_init(&text, 64 * KIB);
	str_puts(&text, "\n");
	if (io_read_file(AT_FDCWD, "/etc/os-release", &text, NULL) < 0)
		return xstrdup(fallback);
	p = strstr(text.s, line);
	if (!p)
		return xstrdup(fallback);
	p += strlen(line);
	p += *p == '"';
	return xstrndup(p, strcspn(p, "\"\n"));
}

static void set_host(struct engine *g, json_t *out)
{
	autofree char *os = os_release("PRETTY_NAME", "Linux");
	autofree char *version = os_release("VERSION_ID", "");
	char name[256] = "";
	struct utsname u = { 0 };
	struct sysinfo s = { 0 };
	char now[TIME_TEXT_MAX];
	struct timespec t = time_now();

	gethostname(name, sizeof(name) - 1);
	uname(&u);
	sysinfo(&s);
	time_format(&t, now);
	json_object_set_new(out, "SystemTime", json_string(now));
	json_object_set_new(out, "KernelVersion", json_string(u.release));
	json_object_set_new(out, "OperatingSystem", json_string(os));
	json_object_set_new(out, "OSVersion", json_string(version));
	json_object_set_new(out, "OSType", json_string("linux"));
	json_object_set_new(out, "Architecture", json_string(u.machine));
	json_object_set_new(out, "NCPU", json_integer(get_nprocs()));
	json_object_set_new(out, "MemTotal", json_integer((json_int_t)s.totalram * s.mem_unit));
	json_object_set_new(out, "Name", json_string(name));
	json_object_set_new(out, "ID", json_string(g->id));
	json_object_set_new(out, "DockerRootDir", json_string(g->root));
}

static const struct {
	const char *name;
	bool value;
} flags[] = {
	{ "MemoryLimit", true },    { "SwapLimit", true },	  { "CpuCfsPeriod", true },	{ "CpuCfsQuota", true },
	{ "CPUShares", true },	    { "CPUSet", true },		  { "PidsLimit", true },	{ "IPv4Forwarding", true },
	{ "BridgeNfIptables", false }, { "BridgeNfIp6tables", false }, { "Debug", false },
	{ "ExperimentalBuild", false }, { "LiveRestoreEnabled", true },
};

/* What clients expect to find and is the same everywhere. */
static const char constants[] =
	"{\"Driver\":\"overlay2\","
	"\"Plugins\":{\"Volume\":[\"local\"],\"Network\":[\"bridge\",\"host\",\"macvlan\",\"null\"],"
	"\"Authorization\":null,\"Log\":[\"json-file\",\"local\",\"none\"]},"
	"\"NFd\":0,\"NGoroutines\":0,\"NEventsListener\":0,"
	"\"IndexServerAddress\":\"https://index.docker.io/v1/"
	"\",\"GenericResources\":null,\"HttpProxy\":\"\",\"HttpsProxy\":\"\","
	"\"NoProxy\":\"\",\"Labels\":[],\"Runtimes\":{\"silo\":{\"path\":\"silo\"},\"runc\":{\"path\":\"silo\"},"
	"\"io.containerd.runc.v2\":{\"path\":\"silo\"}},\"DefaultRuntime\":\"silo\",\"Swarm\":{\"NodeID\":\"\","
	"\"NodeAddr\":\"\",\"LocalNodeState\":\"inactive\",\"ControlAvailable\":false,\"Error\":\"\","
	"\"RemoteManagers\":null},\"InitBinary\":\"silo-init\",\"ContainerdCommit\":{\"ID\":\"\",\"Expected\":\"\"},"
	"\"RuncCommit\":{\"ID\":\"\",\"Expected\":\"\"},\"InitCommit\":{\"ID\":\"\",\"Expected\":\"\"},"
	"\"SecurityOptions\":[\"name=seccomp,profile=builtin\",\"name=cgroupns\"],\"CDISpecDirs\":[],"
	"\"ProductLicense\":\"LGPL-2.1-or-later\"}";

/* The file system below data-root, by Docker's names. */
static json_t *driver_status(struct engine *g)
{
	static const struct {
		long magic;
		const char *name;
	} known[] = { { EXT4_SUPER_MAGIC, "extfs" },  { XFS_SUPER_MAGIC, "xfs" },     { BTRFS_SUPER_MAGIC, "btrfs" },
		      { TMPFS_MAGIC, "tmpfs" },	      { OVERLAYFS_SUPER_MAGIC, "overlayfs" }, { F2FS_SUPER_MAGIC, "f2fs" } };
	struct statfs fs = { 0 };
	const char *name = "<unknown>";

	for (size_t i = 0; statfs(g->root, &fs) == 0 && i < array_len(known); i++) {
		if (known[i].magic == (long)fs.f_type)
			name = known[i].name;
	}
	return json_pack("[[s, s], [s, s]]", "Backing Filesystem", name, "Supports d_type", "true");
}

/* Says so where a mode can't work, or works slowly. */
static json_t *warnings(struct engine *g)
{
	struct template_options o = template_options_of(g);
	autojson *report = template_report(&o);
	json_t *out = json_array(), *entry;
	size_t i;

	json_array_foreach(json_object_get(report, "warnings"), i, entry)
		json_array_append_new(out, json_sprintf("WARNING: %s", json_string_value(entry)));
	if (!json_bool(report, "available", false)) {
		entry = json_array_get(json_object_get(report, "problems"), 0);
		json_array_append_new(out, json_sprintf("WARNING: hyperv isolation is not available: %s",
							json_str(entry, "what", "see silo doctor")));
	} else if (strcmp(json_str(report, "accelerator", ""), "tcg") == 0 && json_array_size(out) == 0) {
		json_array_append_new(out,
				      json_string("WARNING: KVM is not usable: hyperv isolation is emulated (slower)"));
	}
	return out;
}

json_t *engine_info(struct engine *g, struct err *e)
{
	json_t *out = json_parse(constants, strlen(constants), "info", e);
	bool unified = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
	const char *isolation = g->isolation ? g->isolation : g->client_machine ? "hyperv" : "process";

	if (!out)
		return NULL;
	set_counts(g, out);
	set_host(g, out);
	for (size_t i = 0; i < array_len(flags); i++)
		json_object_set_new(out, flags[i].name, json_boolean(flags[i].value));
	json_object_set_new(out, "OomKillDisable", json_boolean(!unified));
	json_object_set_new(out, "DriverStatus", driver_status(g));
	json_object_set_new(out, "LoggingDriver", json_string(json_str(g->config, "log-driver", LOG_DRIVER_DEFAULT)));
	json_object_set_new(out, "RegistryConfig", registry_info(g->registry));
	json_object_set_new(out, "CgroupDriver", json_string("cgroupfs"));
	json_object_set_new(out, "CgroupVersion", json_string(unified ? "2" : "1"));
	json_object_set_new(out, "Isolation", json_string(isolation));
	json_object_set_new(out, "ServerVersion", json_string(SILO_VERSION));
	json_object_set_new(out, "Warnings", warnings(g));
	return out;
}

json_t *engine_disk_usage(struct engine *g, struct err *e)
{
	autojson *images = image_disk_usage(g->images, e);
	json_t *containers = images ? engine_container_list(g, true, 0, true, NULL, e) : NULL;
	json_t *volumes = containers ? engine_volume_usage(g, e) : NULL;

	if (!volumes) {
		json_decref(containers);
		return NULL;
	}
	return json_pack("{s:I, s:O, s:o, s:o, s:[], s:i}", "LayersSize", (json_int_t)json_int(images, "LayersSize", 0),
			 "Images", json_object_get(images, "Images"), "Containers", containers, "Volumes", volumes,
			 "BuildCache", "BuilderSize", 0);
}
