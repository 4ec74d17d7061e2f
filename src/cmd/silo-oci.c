/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * silo - the OCI runtime's command line; static, because every start of a container is a start of this program. What it
 * doesn't know (doctor, template, ...) is left to silo-tool. Called as silo-process or silo-hyperv, it has that
 * isolation.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "base/str.h"
#include "cmd/oci.h"
#include "os/exec.h"

#define SEALED "_SILO_SEALED"

struct globals {
	struct runtime rt;
	const char *log, *log_format;
	bool debug, help, version;
};

static const struct cli_option global_options[] = {
	{ "root", 0, CLI_STRING, offsetof(struct globals, rt.root) },
	{ "isolation", 0, CLI_STRING, offsetof(struct globals, rt.isolation) },
	{ "vm-dir", 0, CLI_STRING, offsetof(struct globals, rt.vm_dir) },
	{ "lib-dir", 0, CLI_STRING, offsetof(struct globals, rt.lib_dir) },
	{ "systemd-cgroup", 0, CLI_FLAG, offsetof(struct globals, rt.systemd_cgroup) },
	{ "log", 0, CLI_STRING, offsetof(struct globals, log) },
	{ "log-format", 0, CLI_STRING, offsetof(struct globals, log_format) },
	{ "debug", 0, CLI_FLAG, offsetof(struct globals, debug) },
	{ "help", 'h', CLI_FLAG, offsetof(struct globals, help) },
	{ "version", 'v', CLI_FLAG, offsetof(struct globals, version) },
	{ "criu", 0, CLI_IGNORED, 0 },
	{ "rootless", 0, CLI_IGNORED, 0 },
};

static const struct command {
	const char *name, *arguments, *help;
	bool enters; /* runs inside containers: not from a file that they could write to */
	int (*run)(const struct runtime *rt, int argc, char **argv, struct err *e);
	int failure; /* exit code */
} commands[] = {
	{ "create", "ID", "make a container from a bundle; its program waits for start", true, oci_create, 1 },
	{ "start", "ID", "let the program of a created container run", false, oci_start, 1 },
	{ "run", "ID", "create and start", true, oci_run, 1 },
	{ "exec", "ID COMMAND...", "one more process in a running container", true, oci_exec, 255 },
	{ "state", "ID", "what is known of a container, as JSON", false, oci_state, 1 },
	{ "kill", "ID [SIGNAL]", "send a signal (default: TERM)", false, oci_kill, 1 },
	{ "delete", "ID", "remove what is left of a stopped container", false, oci_delete, 1 },
	{ "list", "", "containers of this root", false, oci_list, 1 },
	{ "ps", "ID", "processes of a container", false, oci_ps, 1 },
	{ "pause", "ID", "stop all processes", false, oci_pause, 1 },
	{ "resume", "ID", "let them go on", false, oci_resume, 1 },
	{ "update", "ID", "change limits", false, oci_update, 1 },
	{ "events", "ID", "counters and OOM kills", false, oci_events, 1 },
	{ "spec", "", "write a config.json to begin with", false, oci_spec, 1 },
	{ "features", "", "what this runtime can do, as JSON", false, oci_features, 1 },
	{ "checkpoint", "ID", "is not supported", false, oci_checkpoint, 1 },
	{ "restore", "ID", "is not supported", false, oci_checkpoint, 1 },
};

static void print_usage(FILE *to)
{
	fprintf(to, "usage: silo [options] COMMAND [options] [arguments]\n\nOCI runtime:\n");
	for (size_t i = 0; i < array_len(commands); i++)
		fprintf(to, "  %-11s %-14s %s\n", commands[i].name, commands[i].arguments, commands[i].help);
	fprintf(to, "\nThis host (silo COMMAND --help):\n"
		    "  doctor                     which isolation modes work here, and what to install or change\n"
		    "  template                   the templates that virtual machines are cloned from\n"
		    "  network-cleanup            remove bridges and rules of an engine that is gone for good\n"
		    "\noptions:\n"
		    "  --root DIR                 state of containers (default: " RUNTIME_ROOT ")\n"
		    "  --isolation MODE           process or hyperv (default: annotation io.silo.isolation, or process)\n"
		    "  --vm-dir DIR               files of virtual machines (default: /var/lib/silo/vm)\n"
		    "  --lib-dir DIR              silo-monitor and its siblings\n"
		    "  --log FILE, --log-format text|json, --debug\n"
		    "  --version, --help\n");
}

/* ---- errors ---- */

/* As logrus writes them, which runc's callers read. */
static void report(const struct globals *g, const struct err *e)
{
	struct timespec now = time_now();
	char when[TIME_TEXT_MAX];
	autoclose int file = g->log && *g->log ? open(g->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
	autostr line;

	time_format(&now, when);
	str_init(&line, 8 * KIB);
	if (g->log_format && !strcmp(g->log_format, "json")) {
		str_puts(&line, "{\"level\":\"error\",\"msg\":");
		str_add_json(&line, e->msg, strlen(e->msg));
		str_printf(&line, ",\"time\":\"%s\"}\n", when);
	} else {
		str_printf(&line, "time=\"%s\" level=error msg=", when);
		str_add_json(&line, e->msg, strlen(e->msg));
		str_puts(&line, "\n");
	}
	if (line.s)
		(void)!io_write_all(file >= 0 ? file : STDERR_FILENO, line.s, line.len);
	if (file >= 0)
		fprintf(stderr, "%s\n", e->msg);
}

/* ---- the program as containers see it ---- */

static bool is_readonly(void)
{
	struct statvfs fs;

	return !statvfs("/proc/self/exe", &fs) && (fs.f_flag & ST_RDONLY);
}

/* Without CAP_SYS_ADMIN: a copy in memory that can't be written to any more. */
static int copy_sealed(struct err *e)
{
	autoclose int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	autoclose int out = memfd_create("silo", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ssize_t n;

	if (in < 0 || out < 0)
		return err_set(e, ERR_SYSTEM, errno, "copy of the program");
	while ((n = sendfile(out, in, NULL, 16 * MIB)) > 0)
		;
	if (n < 0 || fchmod(out, 0555) ||
	    fcntl(out, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE))
		return err_set(e, ERR_SYSTEM, errno, "copy of the program");
	return take_fd(&out);
}

/*
 * What runs inside a container before its program does is this file: root in there may find it as /proc/PID/exe and
 * overwrite it (CVE-2019-5736). So it is executed anew from a mount that is read-only.
 */
static int seal(char **argv, struct err *e)
{
	struct err why;
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int fd;

	if (getenv(SEALED) || is_readonly())
		return 0;
	self[n > 0 ? n : 0] = '\0';
	fd = exec_open_readonly("/proc/self/exe", &why);
	if (fd < 0)
		fd = copy_sealed(e);
	if (fd < 0)
		return -1;
	/* it can't find its siblings from there */
	setenv(SEALED, dirname(self), 1);
	execveat(fd, "", argv, environ, AT_EMPTY_PATH);
	err_set(e, ERR_SYSTEM, errno, "execute the program from a read-only place");
	close(fd);
	return -1;
}

/* ---- dispatch ---- */

/* The tools beside the runtime. */
static int run_tool(char **argv, struct err *e)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	autofree char *beside = NULL, *libexec = NULL;

	self[n > 0 ? n : 0] = '\0';
	dirname(self);
	beside = xasprintf("%s/silo-tool", self);
	libexec = xasprintf("%s/../libexec/silo/silo-tool", self);
	argv[0] = (char *)(uintptr_t) "silo";
	execv(beside, argv);
	execv(libexec, argv);
	return err_set(e, ERR_INVALID, 0, "unknown command");
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < array_len(commands); i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	}
	return NULL;
}

static void set_defaults(struct globals *g, const char *called)
{
	const char *slash = strrchr(called, '/');
	const char *name = slash ? slash + 1 : called;
	const char *runtime_dir = getenv("XDG_RUNTIME_DIR");

	g->rt.root = geteuid() && runtime_dir ? xasprintf("%s/silo-oci", runtime_dir) : RUNTIME_ROOT;
	g->rt.vm_dir = "/var/lib/silo/vm";
	if (!strcmp(name, "silo-process") || !strcmp(name, "silo-hyperv"))
		g->rt.isolation = name + strlen("silo-");
}

static int run_command(const struct globals *g, int argc, char **argv, char **all, struct err *e)
{
	const struct command *c = find_command(argv[0]);

	if (!c)
		return run_tool(all, e);
	if (c->enters && seal(all, e))
		return -1;
	int code = c->run(&g->rt, argc, argv, e);

	return code;
}

int main(int argc, char **argv)
{
	struct globals g = { 0 };
	struct err e = { 0 };
	const struct command *c = NULL;
	int first, code = -1;

	log_init("silo", LOG_LEVEL_WARN);
	set_defaults(&g, argc ? argv[0] : "");
	first = cli_parse_front(argc, argv, global_options, array_len(global_options), &g, &e);
	if (g.debug)
		log_init("silo", LOG_LEVEL_DEBUG);
	if (first >= 0 && g.version) {
		puts("silo version " SILO_VERSION "\nspec: " OCI_VERSION);
		return 0;
	}
	if (first >= 0 && (g.help || first == argc || !strcmp(argv[first], "help"))) {
		print_usage(first == argc && !g.help ? stderr : stdout);
		return first == argc && !g.help ? 2 : 0;
	}
	if (first >= 0) {
		c = find_command(argv[first]);
		code = run_command(&g, argc - first, argv + first, argv, &e);
	}
	if (code >= 0)
		return code;
	report(&g, &e);
	return c ? c->failure : 1;
}
