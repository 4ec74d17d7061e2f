/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* silo - the command line beside the engine: what this host can do, and the templates of virtual machines. */
#include "cmd/silo.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/daemon.h"
#include "base/log.h"
#include "base/own.h"

static const struct command {
	const char *name, *arguments, *help;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "doctor", "", "which isolation modes work on this host, and what to install or change", cmd_doctor },
	{ "template", "build|list|rm NAME", "the templates that virtual machines are cloned from", cmd_template },
	{ "network-cleanup", "", "remove bridges and rules of an engine that is gone for good", cmd_network_cleanup },
	{ "windows-base", "build", "what Windows containers run on, from the distribution's packages of Wine",
	  cmd_windows_base },
};

static void print_usage(FILE *to)
{
	fprintf(to, "usage: silo [--debug] COMMAND [options]\n\ncommands:\n");
	for (size_t i = 0; i < array_len(commands); i++)
		fprintf(to, "  %-15s %-19s %s\n", commands[i].name, commands[i].arguments, commands[i].help);
	fprintf(to, "\noptions:\n"
		    "  --root DIR        state of the engine (default: /var/lib/silo)\n"
		    "  --vm-dir DIR      files of virtual machines (default: ROOT/vm)\n"
		    "  --lib-dir DIR     silo-agent and its siblings\n"
		    "  --kernel-dir DIR  guest kernel: boot/vmlinuz-* and lib/modules/*\n"
		    "  --format FORMAT   text or json\n"
		    "  --version, --help\n");
}

/* Long options, and where their values go. */
struct option_target {
	const char *name;
	size_t offset;
};

static const struct option_target targets[] = {
	{ "root", offsetof(struct silo_options, root) },
	{ "vm-dir", offsetof(struct silo_options, vm_dir) },
	{ "lib-dir", offsetof(struct silo_options, lib_dir) },
	{ "kernel-dir", offsetof(struct silo_options, kernel_dir) },
};

int silo_options_parse(int argc, char **argv, struct silo_options *o)
{
	struct option longs[array_len(targets) + 2] = { 0 };
	int index;

	*o = (struct silo_options){ .root = "/var/lib/silo" };
	for (size_t i = 0; i < array_len(targets); i++)
		longs[i] = (struct option){ targets[i].name, required_argument, NULL, 'o' };
	longs[array_len(targets)] = (struct option){ "format", required_argument, NULL, 'f' };
	optind = 0;
	for (int c; (c = getopt_long(argc, argv, "", longs, &index)) != -1;) {
		if (c == '?')
			return -1; /* getopt has told */
		if (c == 'o') {
			*(const char **)((char *)o + targets[index].offset) = optarg;
		} else if (!strcmp(optarg, "json") || !strcmp(optarg, "text")) {
			o->json = optarg[0] == 'j';
		} else {
			log_error("--format must be text or json");
			return -1;
		}
	}
	if (!o->vm_dir)
		o->vm_dir = xasprintf("%s/vm", o->root);
	if (!o->lib_dir)
		o->lib_dir = find_lib_dir(&(struct err){ 0 });
	if (!o->lib_dir)
		o->lib_dir = "/usr/libexec/silo";
	return optind;
}

struct template_options silo_template_options(const struct silo_options *o)
{
	return (struct template_options){ .vm_dir = o->vm_dir, .lib_dir = o->lib_dir, .kernel_dir = o->kernel_dir };
}

int main(int argc, char **argv)
{
	bool debug = argc > 1 && !strcmp(argv[1], "--debug");
	const char *name = argc > 1 + debug ? argv[1 + debug] : NULL;

	log_init("silo", debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN);
	if (name && !strcmp(name, "--version")) {
		puts("silo " SILO_VERSION);
		return 0;
	}
	if (name && (!strcmp(name, "--help") || !strcmp(name, "help"))) {
		print_usage(stdout);
		return 0;
	}
	for (size_t i = 0; name && i < array_len(commands); i++)
		if (!strcmp(name, commands[i].name))
			return commands[i].run(argc - 1 - debug, argv + 1 + debug);
	if (name)
		log_error("unknown command: %s", name);
	print_usage(stderr);
	return EXIT_USAGE;
}
