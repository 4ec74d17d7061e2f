/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* isolation_process: the table, and the operations that are a few lines. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "isolation/process/process.h"
#include "os/numbers.h"
#include "os/pidfd.h"
#include "os/run.h"
#include "os/tty.h"

#define PS_TIMEOUT_MS 10000
#define PS_OUTPUT_MAX (4 * MIB)
#define PS_ARGS_MAX 64
#define SIGNAL_MAX 64

static struct sandbox *sandbox_open(const struct bundle *b, struct loop *l, const struct isolation_events *ev,
				    struct err *e)
{
	struct sandbox *s = xcalloc(1, sizeof(*s));

	*s = (struct sandbox){ .b = b, .loop = l, .ev = *ev };
	return s;
}

static void sandbox_close(struct sandbox *s)
{
	free(s);
}

static pid_t sandbox_pid(const struct sandbox *s)
{
	return 0;
}

static struct process *container_init(struct container *c)
{
	return &c->init;
}

static pid_t process_pid(const struct process *p)
{
	return p->pid;
}

static int process_signal(struct process *p, int signo, bool all, struct err *e)
{
	if (signo < 1 || signo > SIGNAL_MAX)
		return err_set(e, ERR_INVALID, 0, "invalid signal %d", signo);
	if (p->ended)
		return err_set(e, ERR_NOT_FOUND, 0, "the process has ended");
	return all ? cgroup_signal(p->c->cg, signo, e) : pidfd_signal(p->pidfd, signo, e);
}

static int process_resize(struct process *p, uint16_t rows, uint16_t cols, struct err *e)
{
	if (p->ended)
		return err_set(e, ERR_NOT_FOUND, 0, "the process has ended");
	if (p->tty < 0)
		return err_set(e, ERR_INVALID, 0, "the process has no terminal");
	return tty_resize(p->tty, rows, cols, e);
}

static int container_freeze(struct container *c, bool frozen, struct err *e)
{
	return cgroup_freeze(c->cg, frozen, e);
}

static json_t *container_top(struct container *c, const json_t *ps_args, struct err *e)
{
	const char *argv[PS_ARGS_MAX + 2] = { "ps" };
	autojson *pids = NULL;
	autostr out;
	json_t *arg;
	size_t i;

	str_init(&out, PS_OUTPUT_MAX);
	if (json_array_size(ps_args) > PS_ARGS_MAX) {
		err_set(e, ERR_INVALID, 0, "more than %d arguments for ps", PS_ARGS_MAX);
		return NULL;
	}
	json_array_foreach(ps_args, i, arg) {
		argv[i + 1] = json_is_string(arg) ? json_string_value(arg) : "";
	}
	pids = cgroup_pids(c->cg, e);
	if (!pids || run_capture(argv, PS_TIMEOUT_MS, &out, e))
		return NULL;
	return json_pack("{s:o, s:O}", "output", json_stringn_nocheck(out.s ? out.s : "", out.len), "pids", pids);
}

/* Columns of /proc/PID/net/dev that are of interest; the others are kinds of errors. */
static const struct {
	const char *key;
	size_t column;
} net_columns[] = {
	{ "rx_bytes",   0 }, { "rx_packets", 1 }, { "rx_errors", 2  }, { "rx_dropped", 3  },
	{ "tx_bytes",   8 }, { "tx_packets", 9 }, { "tx_errors", 10 }, { "tx_dropped", 11 },
};

/* "  eth0: bytes packets ...". */
static void add_network(json_t *networks, char *line)
{
	char *name = line + strspn(line, " ");
	char *colon = strchr(name, ':');
	int64_t values[16];
	json_t *one;

	if (!colon || numbers_read(colon + 1, values, array_len(values)) != array_len(values))
		return;
	*colon = '\0';
	if (!strcmp(name, "lo"))
		return;
	one = json_object();
	for (size_t i = 0; i < array_len(net_columns); i++)
		json_object_set_new(one, net_columns[i].key, json_integer(values[net_columns[i].column]));
	json_object_set_new(networks, name, one);
}

static json_t *read_networks(pid_t pid)
{
	autofree char *path = xasprintf("/proc/%d/net/dev", pid);
	json_t *networks = json_object();
	char *save = NULL;
	autostr text;

	str_init(&text, 256 * KIB);
	if (io_read_file(AT_FDCWD, path, &text, NULL) || !text.len)
		return networks;
	for (char *line = strtok_r(text.s, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		add_network(networks, line);
	return networks;
}

static json_t *container_stats(struct container *c, struct err *e)
{
	json_t *out;

	if (c->init.ended) {
		err_set(e, ERR_NOT_FOUND, 0, "the container has ended");
		return NULL;
	}
	out = cgroup_stats(c->cg);
	json_object_set_new(out, "networks", read_networks(c->init.pid));
	return out;
}

static int container_update(struct container *c, const json_t *resources, struct err *e)
{
	autofree struct cgroup_limits *l = xcalloc(1, sizeof(*l));

	if (oci_resources_parse(resources, l, e))
		return -1;
	return cgroup_update(c->cg, l, e);
}

const struct isolation isolation_process = {
	.name = "process",
	.sandbox_open = sandbox_open,
	.sandbox_close = sandbox_close,
	.sandbox_pid = sandbox_pid,
	.container_create = process_container_create,
	.container_init = container_init,
	.container_start = process_container_start,
	.container_exec = process_container_exec,
	.process_free = process_exec_free,
	.process_pid = process_pid,
	.process_signal = process_signal,
	.process_resize = process_resize,
	.container_freeze = container_freeze,
	.container_top = container_top,
	.container_stats = container_stats,
	.container_update = container_update,
	.container_delete = process_container_delete,
};
