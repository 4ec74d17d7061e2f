/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cmd/oci.h"

/* "--name", "-name" or "-n"; *value is what follows a '='. */
static const struct cli_option *find(const struct cli_option *options, size_t n, const char *word, const char **value)
{
	size_t len = strcspn(word, "=");

	*value = word[len] ? word + len + 1 : NULL;
	for (size_t i = 0; i < n; i++) {
		if ((strlen(options[i].name) == len && !strncmp(options[i].name, word, len)) ||
		    (len == 1 && options[i].letter == *word))
			return &options[i];
	}
	return NULL;
}

static int store(const struct cli_option *o, const char *value, void *out, struct err *e)
{
	char *at = (char *)out + o->offset;
	char *end;
	long n;

	switch (o->kind) {
	case CLI_FLAG:
		*(bool *)at = !value || strcmp(value, "false") != 0;
		return 0;
	case CLI_STRING:
		*(const char **)at = value;
		return 0;
	case CLI_NUMBER:
		n = strtol(value, &end, 10);
		if (!*value || *end || n < 0 || n > 1024)
			return err_set(e, ERR_INVALID, 0, "invalid value \"%s\" for --%s", value, o->name);
		*(int *)at = (int)n;
		return 0;
	case CLI_LIST:
		if (!*(json_t **)at)
			*(json_t **)at = json_array();
		if (json_array_append_new(*(json_t **)at, json_string(value)))
			return err_set(e, ERR_INVALID, 0, "--%s: the value is not UTF-8", o->name);
		return 0;
	case CLI_IGNORED:
		return 0;
	case CLI_REFUSED:
		break;
	}
	return err_set(e, ERR_UNSUPPORTED, 0, "--%s is not supported", o->name);
}

int cli_parse_front(int argc, char **argv, const struct cli_option *options, size_t n, void *out, struct err *e)
{
	int i;

	for (i = 1; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
		const struct cli_option *o;
		const char *value;

		if (!strcmp(argv[i], "--"))
			return i + 1;
		o = find(options, n, argv[i] + (argv[i][1] == '-' ? 2 : 1), &value);
		if (!o)
			return err_set(e, ERR_INVALID, 0, "flag provided but not defined: %s", argv[i]);
		if (o->kind != CLI_FLAG && !value) {
			if (i + 1 == argc)
				return err_set(e, ERR_INVALID, 0, "flag needs an argument: %s", argv[i]);
			value = argv[++i];
		}
		if (store(o, value, out, e))
			return -1;
	}
	return i;
}

/* The operands go to the end, in their order. */
static void take_operand(int argc, char **argv, int i)
{
	char *operand = argv[i];

	memmove(argv + i, argv + i + 1, (size_t)(argc - i - 1) * sizeof(*argv));
	argv[argc - 1] = operand;
}

int cli_parse(int argc, char **argv, const struct cli_option *options, size_t n, void *out, struct err *e)
{
	int i = 0, operands = 0;

	for (;;) {
		/* argv[i] takes the place of the command's name */
		int next = cli_parse_front(argc - operands - i, argv + i, options, n, out, e);

		if (next < 0)
			return -1;
		i += next;
		if (i >= argc - operands)
			return argc - operands;
		if (!strcmp(argv[i - 1], "--"))
			break;
		take_operand(argc, argv, i--);
		operands++;
	}
	for (int left = argc - operands - i; left > 0; left--, operands++)
		take_operand(argc, argv, i);
	return argc - operands;
}

const char *cli_id(int argc, char **argv, int first, struct err *e)
{
	if (first == argc - 1)
		return argv[first];
	err_set(e, ERR_INVALID, 0, "%s: \"%s\" requires exactly 1 argument", argv[0], argv[0]);
	return NULL;
}
