/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Subcommands of `silo`: one file each, one line each in the table of silo.c. */
#ifndef SILO_CMD_SILO_H
#define SILO_CMD_SILO_H

#include <stdbool.h>

#include "isolation/hyperv/template.h"

#define EXIT_USAGE 2

/* Options that every subcommand has. */
struct silo_options {
	const char *root, *vm_dir, *lib_dir, *kernel_dir;
	bool json; /* --format json */
};

/**
 * silo_options_parse - take the options above out of argv.
 *
 * Returns the index of the first operand, or -1 after telling what is wrong. Paths that were not given are filled in;
 * these strings live as long as the program.
 */
int silo_options_parse(int argc, char **argv, struct silo_options *o);
struct template_options silo_template_options(const struct silo_options *o);

/* argv[0] is the subcommand. They return the exit code. */
int cmd_doctor(int argc, char **argv);
int cmd_template(int argc, char **argv);
int cmd_network_cleanup(int argc, char **argv);
int cmd_windows_base(int argc, char **argv);

#endif
