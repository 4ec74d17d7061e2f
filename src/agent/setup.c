/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What makes a clone different from its template, and from all other clones. */
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/str.h"

#define ENTROPY_BYTES_MAX 256

#ifndef RNDRESEEDCRNG
#define RNDRESEEDCRNG _IO('R', 0x07)
#endif

static int hex_digit(char c)
{
	return c >= 'a' ? c - 'a' + 10 : c - '0';
}

/* All clones start with the template's random state: mix in the host's bytes, and use them from now on. */
static int add_entropy(const char *hex, struct err *e)
{
	struct {
		struct rand_pool_info info;
		unsigned char bytes[ENTROPY_BYTES_MAX];
	} pool = { 0 };
	size_t n = strlen(hex) / 2;
	unsigned char *to = (unsigned char *)pool.info.buf;

	if (n < 32 || n > ENTROPY_BYTES_MAX || strlen(hex) % 2 || !str_is_hex(hex, 2 * n))
		return err_set(e, ERR_INVALID, 0, "entropy: 32 to %d bytes in hex are wanted", ENTROPY_BYTES_MAX);
	for (size_t i = 0; i < n; i++)
		to[i] = (unsigned char)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
	pool.info.entropy_count = (int)(8 * n);
	pool.info.buf_size = (int)n;
	autoclose int fd = open("/dev/random", O_RDWR | O_CLOEXEC);
	int failed = fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) || ioctl(fd, RNDRESEEDCRNG);

	if (failed)
		err_set(e, ERR_SYSTEM, errno, "entropy");
	explicit_bzero(&pool, sizeof pool);
	return failed ? -1 : 0;
}

int op_time_sync(struct agent *a, const json_t *request, json_t **answer, struct err *e)
{
	int64_t ns = json_int(request, "time_ns", 0);
	const struct timespec t = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	if (ns <= 0)
		return err_set(e, ERR_INVALID, 0, "time_ns is missing");
	return clock_settime(CLOCK_REALTIME, &t) ? err_set(e, ERR_SYSTEM, errno, "clock") : 0;
}

static int set_identity(struct agent *a, const json_t *request, struct err *e)
{
	const char *id = json_str(request, "machine_id", "");
	const char *hostname = json_str(request, "hostname", NULL);

	if (strlen(id) != AGENT_MACHINE_ID_LEN || !str_is_hex(id, AGENT_MACHINE_ID_LEN))
		return err_set(e, ERR_INVALID, 0, "machine_id: 32 hex digits are wanted");
	memcpy(a->machine_id, id, sizeof a->machine_id);
	if (hostname && sethostname(hostname, strlen(hostname)))
		return err_set(e, ERR_SYSTEM, errno, "hostname");
	autofree char *text = xasprintf("%s\n", id);

	return io_write_file(AT_FDCWD, "/etc/machine-id", text, strlen(text), 0444, false, e);
}

int op_setup(struct agent *a, const json_t *request, json_t **answer, struct err *e)
{
	if (a->set_up)
		return err_set(e, ERR_CONFLICT, 0, "already set up");
	if (add_entropy(json_str(request, "entropy", ""), e) || op_time_sync(a, request, answer, e) ||
	    set_identity(a, request, e) ||
	    agent_bind_disks(true, AGENT_DISKS + (int)json_int(request, "disks", 0), e) ||
	    agent_set_network(a, json_object_get(request, "network"), e))
		return -1;
	a->set_up = true;
	return 0;
}

/* A rehearsal is over, and the machine waits for its container: its disks are about to be replaced by other ones. */
int op_reset(struct agent *a, const json_t *request, json_t **answer, struct err *e)
{
	if (a->containers)
		return err_set(e, ERR_CONFLICT, 0, "there are containers");
	if (agent_bind_disks(false, AGENT_DISKS, e))
		return -1;
	a->set_up = false;
	return 0;
}

int op_sync(struct agent *a, const json_t *request, json_t **answer, struct err *e)
{
	sync();
	return 0;
}
