/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What silod is told: command line and daemon.json, one table for both. */
#ifndef SILO_API_CONFIG_H
#define SILO_API_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "api/daemon.h"
#include "base/err.h"
#include "base/log.h"

struct config {
	char *root, *exec_root, *vm_dir, *isolation, *config_path, *log_level, *guest_kernel;
	bool debug, help, version, vm_standby;
	char *hosts[LISTENERS_MAX];
	size_t n_hosts;
	json_t *file; /* daemon.json as it is, or NULL */
};

/**
 * config_load - read the command line, then the file, then fill in defaults. The command line wins over the file.
 *
 * Returns 0, or -1 with ERR_INVALID that names the option or key. In both cases *c must be given to config_fini().
 */
int config_load(struct config *c, int argc, char **argv, struct err *e) must_check;
void config_fini(struct config *c);

/* Just the command line (*c zeroed before), and just the file's keys. Pure: for config_load() and its tests. */
int config_parse_args(struct config *c, int argc, char **argv, struct err *e) must_check;
int config_parse_keys(struct config *c, const json_t *file, struct err *e) must_check;

enum log_level config_log_level(const struct config *c);
void config_print_help(FILE *to);

#endif
