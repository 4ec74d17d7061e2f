/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a bundle to a container whose init waits, and back. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/json.h"
#include "base/own.h"
#include "monitor/core.h"

#define SILO_JSON_MAX (8 * MIB)

/* Where the exit record goes must be known even when the bundle is refused: read before anything is checked. */
static int launch_exit_path(struct monitor *m, struct err *e)
{
	autofree char *path = xasprintf("%s/silo.json", m->o.bundle_dir);
	autojson *silo = json_parse_file(AT_FDCWD, path, SILO_JSON_MAX, e);
	const char *exit_path;

	if (!silo)
		return -1;
	exit_path = json_str(silo, "exit_path", NULL);
	if (exit_path)
		m->exit_path = xstrdup(exit_path);
	return 0;
}

static int launch_bundle(struct monitor *m, struct err *e)
{
	static const struct isolation *const modes[] = { &isolation_process, &isolation_hyperv };

	m->bundle = bundle_load(m->o.bundle_dir, e);
	if (!m->bundle)
		return -1;
	memcpy(m->id, m->bundle->id, sizeof(m->id));
	m->detach_keys = xstrdup(json_str(m->bundle->silo, "detach_keys", ""));
	for (size_t i = 0; i < array_len(modes); i++)
		if (strcmp(modes[i]->name, m->bundle->isolation) == 0)
			m->isolation = modes[i];
	if (!m->isolation)
		return err_set(e, ERR_INVALID, 0, "unknown isolation %s", m->bundle->isolation);
	return 0;
}

static int launch_log(struct monitor *m, struct err *e)
{
	const json_t *log = json_object_get(m->bundle->silo, "log");
	const json_t *attributes = json_object_get(log, "attributes");
	autofree char *more =
		json_object_size(attributes) ? json_dumps(attributes, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	const char *path = json_str(log, "path", NULL);

	if (!path)
		return 0;
	m->log = jsonlog_open(path, json_int(log, "max_size", 0), (int)json_int(log, "max_files", 1), more, e);
	return m->log ? 0 : -1;
}

/* Before the sandbox, which opens what the container has bound. */
static int launch_pipes(struct monitor *m, struct err *e)
{
	return pipes_open(&m->pipes, json_object_get(m->bundle->silo, "pipes"), m->loop, e);
}

static int launch_sandbox(struct monitor *m, struct err *e)
{
	struct isolation_events ev;

	if (m->owner) {
		if (m->isolation != m->owner->isolation)
			return err_set(e, ERR_UNSUPPORTED, 0, "container %s is in no virtual machine", m->owner->id);
		m->sandbox = m->owner->sandbox;
		return 0;
	}
	monitor_events_init(m, &ev);
	if (m->o.standby) {
		struct sandbox *s = m->o.standby;

		m->o.standby = NULL;
		if (!m->isolation->standby_take) {
			isolation_hyperv.sandbox_close(s);
			return err_set(e, ERR_INVALID, 0, "a virtual machine waits, but the bundle wants none");
		}
		if (m->isolation->standby_take(s, m->bundle, &ev, e))
			return -1;
		m->sandbox = s;
		return 0;
	}
	m->sandbox = m->isolation->sandbox_open(m->bundle, m->loop, &ev, e);
	return m->sandbox ? 0 : -1;
}

static void init_options(const struct monitor *m, struct session_options *o)
{
	const json_t *process = json_object_get(m->bundle->config, "process");
	const json_t *size = json_object_get(process, "consoleSize");
	const json_t *in = json_object_get(m->bundle->silo, "stdin");

	*o = (struct session_options){ .tty = json_bool(process, "terminal", false),
				       .rows = (uint16_t)json_int(size, "height", 0),
				       .cols = (uint16_t)json_int(size, "width", 0),
				       .in = json_bool(in, "open", false),
				       .out = true,
				       .err = true,
				       .stdin_once = json_bool(in, "once", false),
				       .log = m->log };
}

static bool is_null(int fd)
{
	struct stat st;

	return fstat(fd, &st) || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

/* Our own streams are the process's. What we have to say ourselves goes to the log. */
static int take_own_streams(struct monitor *m, struct err *e)
{
	autofree char *path = xasprintf("%s/monitor.log", m->o.bundle_dir);
	autoclose int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	autoclose int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (log < 0 || null < 0)
		return err_set(e, ERR_SYSTEM, errno, "open %s", path);
	for (int fd = 0; fd < 3; fd++) {
		m->o.streams[fd] = is_null(fd) ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 5);
		dup2(fd ? log : null, fd);
	}
	return 0;
}

static void hand_streams(struct monitor *m, struct process_io *io)
{
	int *const ends[] = { &io->in, &io->out, &io->err };

	for (int fd = 0; fd < 3; fd++)
		*ends[fd] = take_fd(&m->o.streams[fd]);
}

/* With a tty, 0 is the socket of the one who has the terminal on the host. */
static int attach_terminal(struct monitor *m, int sock, struct err *e)
{
	const struct attach_wants w = { .in = true, .out = true, .no_keys = true };

	return session_attach(m->init, sock, &w, e);
}

static int launch_container(struct monitor *m, struct err *e)
{
	struct session_options o;
	struct session_owner owner;
	struct process_io io;
	autoclose int terminal = -1;

	init_options(m, &o);
	if (m->o.stand_in)
		o.in = o.out = o.err = false;
	if (m->o.stand_in && !m->owner && take_own_streams(m, e))
		return -1;
	monitor_session_owner(m, &owner);
	m->init = session_new(m->loop, &o, &owner, &io, e);
	if (!m->init)
		return -1;
	if (m->o.stand_in && io.tty)
		terminal = take_fd(&m->o.streams[0]);
	else if (m->o.stand_in)
		hand_streams(m, &io);
	m->container = m->isolation->container_create(m->sandbox, m->bundle, &io, e);
	if (!m->container)
		return -1;
	if (session_bind(m->init, m->isolation->container_init(m->container), &io, e))
		return -1;
	return terminal < 0 ? 0 : attach_terminal(m, take_fd(&terminal), e);
}

int monitor_launch(struct monitor *m, struct err *e)
{
	/* No step table: its names would stand in front of texts that users know ("exec: ...: not found"), and what was
	 * done isn't undone at a failure but by monitor_clean(), after a failure as after a life. */
	static int (*const steps[])(struct monitor *, struct err *) = { launch_exit_path, launch_bundle,
									launch_log,       launch_pipes,
									launch_sandbox,   launch_container };

	for (size_t i = 0; i < array_len(steps); i++)
		if (steps[i](m, e))
			return -1;
	return 0;
}

int monitor_release(struct monitor *m, struct err *e)
{
	struct timespec now;

	/* Before the program runs: its first byte must find a reader, its exit a session. */
	session_watch(m->init);
	if (m->isolation->container_start(m->container, e))
		return -1;
	now = time_now();
	time_format(&now, m->started_at);
	return 0;
}

void monitor_clean(struct monitor *m)
{
	if (m->o.standby) /* the launch didn't get that far */
		isolation_hyperv.sandbox_close(m->o.standby);
	m->o.standby = NULL;
	if (m->container)
		m->isolation->container_delete(m->container);
	if (m->sandbox && !m->owner)
		m->isolation->sandbox_close(m->sandbox);
	pipes_end(m->pipes);
	m->container = NULL;
	m->sandbox = NULL;
	/* The processes went with their container. */
	if (m->init)
		m->init->process = NULL;
	for (struct session *s = m->execs; s; s = s->next)
		s->process = NULL;
}
