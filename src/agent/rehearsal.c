/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One container is run before the template's snapshot: what the kernel makes at the first use of namespaces, cgroups,
 * overlays and filters (slab caches, patched jump labels, per-CPU chunks) is then in every clone, which would otherwise
 * make it anew at each start.
 */
#include <fcntl.h>

#include "agent/agent.h"
#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "isolation/isolation.h"

#define REHEARSAL_DIR AGENT_RUN_DIR "/rehearsal"
#define PROGRAM "/silo-init"
#define PROGRAM_BYTES_MAX (16 * MIB)
#define WAIT_MS 30000

/* silo-init forks, its child finds no program: all of a container's life. */
static const char config_text[] =
	"{\"ociVersion\":\"1.2.0\",\"hostname\":\"rehearsal\",\"root\":{\"path\":\"rootfs\"},"
	"\"process\":{\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"" PROGRAM "\",\"/nowhere\"],\"env\":[\"PATH=/bin\"],"
	"\"cwd\":\"/\",\"noNewPrivileges\":true,\"capabilities\":{\"bounding\":[\"CAP_KILL\"],"
	"\"effective\":[\"CAP_KILL\"],\"permitted\":[\"CAP_KILL\"]}},"
	"\"mounts\":["
	"{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\",\"options\":[\"nosuid\",\"nodev\"]},"
	"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"mode=755\"]},"
	"{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":[\"newinstance\","
	"\"ptmxmode=0666\",\"mode=0620\",\"gid=5\"]},"
	"{\"destination\":\"/dev/mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\"},"
	"{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":[\"ro\",\"nosuid\",\"noexec\"]},"
	"{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\",\"options\":[\"ro\"]}],"
	"\"linux\":{\"cgroupsPath\":\"/silo/rehearsal\",\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"uts\"},"
	"{\"type\":\"ipc\"},{\"type\":\"pid\"},{\"type\":\"cgroup\"}],"
	"\"maskedPaths\":[\"/proc/kcore\",\"/sys/firmware\"],\"readonlyPaths\":[\"/proc/sys\"],"
	"\"resources\":{\"pids\":{\"limit\":10},\"memory\":{\"limit\":67108864},\"devices\":["
	"{\"allow\":false,\"access\":\"rwm\"},"
	"{\"allow\":true,\"type\":\"c\",\"major\":1,\"minor\":3,\"access\":\"rwm\"}]}}}";

/* The filter is one instruction: allow. */
static const char silo_text[] = "{\"id\":\"rehearsal\",\"isolation\":\"process\",\"seccomp_data\":\"BgAAAAAA/38=\","
				"\"rootfs\":{\"layers\":[\"" REHEARSAL_DIR "/lower\"],\"upper\":\"" REHEARSAL_DIR
				"/upper\",\"work\":\"" REHEARSAL_DIR "/work\"},"
				"\"files\":[{\"destination\":\"/etc/hosts\",\"data\":\"127.0.0.1 localhost\\n\"}]}";

static void on_exited(void *arg, struct process *p, int exit_code)
{
	bool *ended = arg;

	*ended = true;
}

static int make_lower(struct err *e)
{
	autostr program;

	str_init(&program, PROGRAM_BYTES_MAX);
	if (io_mkdir_all(REHEARSAL_DIR "/lower", 0755, e) || io_read_file(AT_FDCWD, PROGRAM, &program, e))
		return -1;
	return io_write_file(AT_FDCWD, REHEARSAL_DIR "/lower" PROGRAM, program.s, program.len, 0755, false, e);
}

static int wait_for(const bool *ended, struct loop *l, struct err *e)
{
	for (int64_t deadline = time_monotonic_ms() + WAIT_MS; !*ended;) {
		int64_t left = deadline - time_monotonic_ms();

		if (left <= 0)
			return err_set(e, ERR_TIMEOUT, 0, "no end after %d ms", WAIT_MS);
		if (loop_once(l, (int)left, e) < 0)
			return -1;
	}
	return 0;
}

static int run_in(struct sandbox *s, const struct bundle *b, struct loop *l, const bool *ended, struct err *e)
{
	struct process_io io = { .in = -1, .out = -1, .err = -1, .tty_fd = -1 };
	struct container *c = isolation_process.container_create(s, b, &io, e);
	int rc;

	if (!c)
		return -1;
	rc = isolation_process.container_start(c, e) || wait_for(ended, l, e) ? -1 : 0;
	isolation_process.container_delete(c);
	return rc;
}

static int run_bundle(const struct bundle *b, struct err *e)
{
	bool ended = false;
	const struct isolation_events events = { .arg = &ended, .process_exited = on_exited };
	struct loop *l = loop_new(e);
	struct sandbox *s = l ? isolation_process.sandbox_open(b, l, &events, e) : NULL;
	int rc = s ? run_in(s, b, l, &ended, e) : -1;

	if (s)
		isolation_process.sandbox_close(s);
	loop_free(l);
	return rc;
}

int agent_rehearse(struct err *e)
{
	json_t *config = json_parse(config_text, sizeof config_text - 1, "rehearsal", e);
	json_t *silo = config ? json_parse(silo_text, sizeof silo_text - 1, "rehearsal", e) : NULL;
	struct bundle *b = silo ? bundle_new(config, silo, e) : NULL;
	int rc;

	if (!b) {
		json_decref(config);
		json_decref(silo);
		return -1;
	}
	rc = make_lower(e) || run_bundle(b, e) ? -1 : 0;
	bundle_free(b);
	io_remove_tree(AT_FDCWD, REHEARSAL_DIR, &(struct err){ 0 });
	return rc;
}
