/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Limits in a HostConfig: what makes no sense is refused with Docker's texts. */
#include "engine/body_limits.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "engine/limits.h"
#include "os/cgroup.h"

#define CPUS_MAX 8192
#define CGROUP_V2_FILE "/sys/fs/cgroup/cgroup.controllers"

static int check_memory(const json_t *host, struct err *e)
{
	int64_t memory = json_int(host, "Memory", 0), swap = json_int(host, "MemorySwap", 0);
	int64_t reserved = json_int(host, "MemoryReservation", 0), swappiness = json_int(host, "MemorySwappiness", -1);

	if (memory < 0 || (memory > 0 && memory < (int64_t)(6 * MIB)))
		return err_set(e, ERR_INVALID, 0, "Minimum memory limit allowed is 6MB");
	if (memory > 0 && swap > 0 && swap < memory)
		return err_set(e, ERR_INVALID, 0,
			       "Minimum memoryswap limit should be larger than memory limit, see usage");
	if (memory == 0 && swap > 0)
		return err_set(e, ERR_INVALID, 0,
			       "You should always set the Memory limit when using Memoryswap limit, see usage");
	if (swappiness < -1 || swappiness > 100)
		return err_set(e, ERR_INVALID, 0, "Invalid value: %lld, valid memory swappiness range is 0-100",
			       (long long)swappiness);
	if (reserved < 0 || (reserved > 0 && reserved < (int64_t)(6 * MIB)))
		return err_set(e, ERR_INVALID, 0, "Minimum memory reservation allowed is 6MB");
	if (memory > 0 && reserved > memory)
		return err_set(e, ERR_INVALID, 0,
			       "Minimum memory limit can not be less than memory reservation limit, see usage");
	if (json_int(host, "ShmSize", 0) < 0)
		return err_set(e, ERR_INVALID, 0, "SHM size can not be less than 0");
	return 0;
}

static int check_cpu(const json_t *host, struct err *e)
{
	int64_t nano = json_int(host, "NanoCpus", 0), quota = json_int(host, "CpuQuota", 0);
	int64_t period = json_int(host, "CpuPeriod", 0), shares = json_int(host, "CpuShares", 0);
	int cpus = get_nprocs();

	if (nano > 0 && period)
		return err_set(e, ERR_INVALID, 0, "Conflicting options: Nano CPUs and CPU Period cannot both be set");
	if (nano > 0 && quota)
		return err_set(e, ERR_INVALID, 0, "Conflicting options: Nano CPUs and CPU Quota cannot both be set");
	if (nano && (nano < 10000000 || nano > (int64_t)cpus * 1000000000))
		return err_set(e, ERR_INVALID, 0,
			       "range of CPUs is from 0.01 to %d.00, as there are only %d CPUs available", cpus, cpus);
	if (shares < 0)
		return err_set(e, ERR_INVALID, 0, "invalid CPU shares (%lld): value must be a positive integer",
			       (long long)shares);
	if (period && (period < 1000 || period > 1000000))
		return err_set(e, ERR_INVALID, 0,
			       "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
	if (quota > 0 && quota < 1000)
		return err_set(e, ERR_INVALID, 0, "CPU cfs quota can not be less than 1ms (i.e. 1000)");
	return 0;
}

int list_parse(const char *text, unsigned char *set, size_t n)
{
	while (*text) {
		char *end;
		unsigned long first, last;

		if (*text < '0' || *text > '9')
			return -1;
		first = last = strtoul(text, &end, 10);
		if (*end == '-') {
			if (end[1] < '0' || end[1] > '9')
				return -1;
			last = strtoul(end + 1, &end, 10);
		}
		if (last < first || last >= n || (*end && *end != ',') || (*end == ',' && !end[1]))
			return -1;
		memset(set + first, 1, last - first + 1);
		text = *end ? end + 1 : end;
	}
	return 0;
}

/* A list of CPUs or memory nodes: well formed, and all of them there. */
static int check_set(const json_t *host, const char *key, const char *what, const char *option, const char *path,
		     struct err *e)
{
	autofree unsigned char *asked = xcalloc(CPUS_MAX, 1), *there = xcalloc(CPUS_MAX, 1);
	const char *text = json_str(host, key, "");
	autostr online;

	str_init(&online, 64 * KIB);
	if (!*text)
		return 0;
	if (list_parse(text, asked, CPUS_MAX) < 0)
		return err_set(e, ERR_INVALID, 0, "Invalid value %.64s for %s", text, option);
	if (io_read_file(AT_FDCWD, path, &online, NULL) < 0) /* a kernel without NUMA has node 0 only */
		str_puts(&online, "0");
	online.s[strcspn(online.s, "\n")] = '\0';
	if (list_parse(online.s, there, CPUS_MAX) < 0)
		return err_set(e, ERR_SYSTEM, 0, "%s: \"%.64s\"", path, online.s);
	for (size_t i = 0; i < CPUS_MAX; i++) {
		if (asked[i] && !there[i])
			return err_set(e, ERR_INVALID, 0,
				       "Requested %s are not available - requested %.64s, available: %.64s", what, text,
				       online.s);
	}
	return 0;
}

static int check_sets(const json_t *host, struct err *e)
{
	if (check_set(host, "CpusetCpus", "CPUs", "cpuset cpus", "/sys/devices/system/cpu/online", e) < 0)
		return -1;
	return check_set(host, "CpusetMems", "memory nodes", "cpuset mems", "/sys/devices/system/node/online", e);
}

static int check_other(const json_t *host, struct err *e)
{
	int64_t weight = json_int(host, "BlkioWeight", 0), oom = json_int(host, "OomScoreAdj", 0);

	if (weight && (weight < 10 || weight > 1000))
		return err_set(e, ERR_INVALID, 0, "Range of blkio weight is from 10 to 1000");
	if (oom < -1000 || oom > 1000)
		return err_set(e, ERR_INVALID, 0, "Invalid value %lld, range for oom score adj is [-1000, 1000]",
			       (long long)oom);
	return 0;
}

static bool is_set(const json_t *host, const char *key)
{
	const json_t *value = json_object_get(host, key);

	return json_is_array(value) ? json_array_size(value) > 0
				    : json_is_integer(value) && json_integer_value(value) > 0;
}

/* What a kernel may not have. Docker goes on without it and says so. No files: no kernel has it any more. */
static const struct {
	const char *key, *controller;
	const char *files[4]; /* of cgroup v1 and v2: one is enough */
	const char *what, *discarded;
} capabilities[] = {
	{ "BlkioWeight", "blkio", { "blkio.weight", "blkio.bfq.weight", "io.weight", "io.bfq.weight" }, "Block I/O weight",
	  "Weight" },
	{ "BlkioWeightDevice", "blkio", { "blkio.weight_device", "blkio.bfq.weight_device", "io.bfq.weight" },
	  "Block I/O weight_device", "Weight-device" },
	{ "MemorySwappiness", "memory", { "memory.swappiness" }, "memory swappiness capabilities", "Memory swappiness" },
	{ "KernelMemory", "memory", { NULL }, "kernel memory limit capabilities", "Limitation" },
	{ "KernelMemoryTCP", "memory", { NULL }, "kernel memory TCP limit capabilities", "Limitation" },
};

static void warn_of_kernel(const json_t *host, json_t *warnings)
{
	for (size_t i = 0; i < array_len(capabilities); i++) {
		if (is_set(host, capabilities[i].key) &&
		    !cgroup_supports(capabilities[i].controller, capabilities[i].files,
				     array_len(capabilities[i].files)))
			json_array_append_new(warnings,
					      json_sprintf("Your kernel does not support %s or the cgroup is not "
							   "mounted. %s discarded.",
							   capabilities[i].what, capabilities[i].discarded));
	}
}

/* Of cgroup v1 only; the guest has v2. */
static int check_realtime(const json_t *host, bool hyperv, struct err *e)
{
	static const char *const files[] = { "cpu.rt_runtime_us" };
	int64_t period = json_int(host, "CpuRealtimePeriod", 0), runtime = json_int(host, "CpuRealtimeRuntime", 0);

	if (!period && !runtime)
		return 0;
	if (hyperv || !cgroup_supports("cpu", files, array_len(files)))
		return err_set(e, ERR_INVALID, 0, "kernel does not support CPU real-time scheduler");
	if (period < 0 || runtime < 0)
		return err_set(e, ERR_INVALID, 0, "cpu real-time period and runtime cannot be negative");
	if (period && runtime && runtime > period)
		return err_set(e, ERR_INVALID, 0, "cpu real-time runtime cannot be higher than cpu real-time period");
	return 0;
}

static int check_weight_devices(const json_t *host, struct err *e)
{
	json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(host, "BlkioWeightDevice"), i, entry) {
		int64_t weight = json_int(entry, "Weight", 0);

		if (weight < 10 || weight > 1000)
			return err_set(e, ERR_INVALID, 0, "Range of blkio weight is from 10 to 1000");
	}
	return 0;
}

/* It becomes a path below the cgroup hierarchies. */
static int check_cgroup_parent(const json_t *host, struct err *e)
{
	const char *parent = json_str(host, "CgroupParent", "");
	bool good = strlen(parent) < 256 && !strstr(parent, "..");

	for (const char *p = parent; *p; p++)
		good &= isalnum((unsigned char)*p) || strchr("/-_.:@\\", *p);
	return good ? 0 : err_set(e, ERR_INVALID, 0, "invalid cgroup parent: \"%.64s\"", parent);
}

static void warn(const json_t *host, bool hyperv, json_t *warnings)
{
	warn_of_kernel(host, warnings);
	if (!json_bool(host, "OomKillDisable", false))
		return;
	if (hyperv || access(CGROUP_V2_FILE, F_OK) == 0) /* the guest has cgroup v2, always */
		json_array_append_new(warnings,
				      json_string("Your kernel does not support OomKillDisable. OomKillDisable "
						  "discarded."));
	else if (json_int(host, "Memory", 0) <= 0)
		json_array_append_new(warnings,
				      json_string("OOM killer is disabled for the container, but no memory limit is "
						  "set, this can result in the system running out of resources."));
}

int body_check_limits(const json_t *host, bool hyperv, json_t *warnings, struct err *e)
{
	int64_t disk_bytes;

	if (check_memory(host, e) < 0 || check_cpu(host, e) < 0 || check_sets(host, e) < 0 ||
	    check_other(host, e) < 0 || check_weight_devices(host, e) < 0 || check_realtime(host, hyperv, e) < 0 ||
	    check_cgroup_parent(host, e) < 0 || limits_disk_bytes(host, hyperv, &disk_bytes, e) < 0)
		return -1;
	warn(host, hyperv, warnings);
	return 0;
}
