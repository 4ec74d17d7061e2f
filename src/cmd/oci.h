/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line of the OCI runtime: options as runc has them. One line a command in the table of silo-oci.c. */
#ifndef SILO_CMD_OCI_H
#define SILO_CMD_OCI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "runtime/runtime.h"

/* An option of a table: "--name value", "--name=value" or "-n value"; a flag takes none. */
struct cli_option {
	const char *name;
	char letter; /* 0 = none */
	enum cli_kind { CLI_FLAG, CLI_STRING, CLI_NUMBER, CLI_LIST, CLI_IGNORED, CLI_REFUSED } kind;
	size_t offset; /* of bool, const char *, int, or json_t * (array of strings) */
};

/**
 * cli_parse - take the options out of argv: those behind an operand, too, up to a "--". The operands are then at its end.
 * cli_parse_front - up to the first operand: what follows may be somebody else's options.
 *
 * Returns the index of the first operand, or -1 with *e. The lists belong to the caller.
 */
int cli_parse(int argc, char **argv, const struct cli_option *options, size_t n, void *out, struct err *e) must_check;
int cli_parse_front(int argc, char **argv, const struct cli_option *options, size_t n, void *out,
		    struct err *e) must_check;
/* The one operand that most commands have. */
const char *cli_id(int argc, char **argv, int first, struct err *e);

/* Each returns an exit code, or -1 with *e. argv[0] is the command. */
int oci_create(const struct runtime *rt, int argc, char **argv, struct err *e);
int oci_run(const struct runtime *rt, int argc, char **argv, struct err *e);
int oci_start(const struct runtime *rt, int argc, char **argv, struct err *e);
int oci_exec(const struct runtime *rt, int argc, char **argv, struct err *e);
int oci_state(const struct runtime *rt, int argc, char **argv, struct err *e);
int oci_kill(const struct runtime *rt, int argc, char **argv, struct err *e);
int oci_delete(const struct runtime *rt, int argc, char **argv, struct err *e);
int oci_pause(const struct runtime *rt, int argc, char **argv, struct err *e);
int oci_resume(const struct runtime *rt, int argc, char **argv, struct err *e);
int oci_update(const struct runtime *rt, int argc, char **argv, struct err *e);
int oci_ps(const struct runtime *rt, int argc, char **argv, struct err *e);
int oci_list(const struct runtime *rt, int argc, char **argv, struct err *e);
int oci_events(const struct runtime *rt, int argc, char **argv, struct err *e);
int oci_spec(const struct runtime *rt, int argc, char **argv, struct err *e);
int oci_features(const struct runtime *rt, int argc, char **argv, struct err *e);
int oci_checkpoint(const struct runtime *rt, int argc, char **argv, struct err *e);

#endif
